"""What runs: engines of services brought up, shared, watched, rolled over and ended, as the database says they are meant to be."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from yangfan import errors
from yangfan.engines.base import ChatRequest, Message, Sampling
from yangfan.server.deployments.managed import ManagedService, Route
from yangfan.server.deployments.pool import Pool
from yangfan.server.deployments.state import (
    Deployed,
    Line,
    Running,
    need_bytes_of,
    now_ms,
    reason_of,
    status_of,
    view_of,
    weight_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from yangfan.engines.base import Engine, Kind
    from yangfan.protocol.presets import Preset
    from yangfan.server.deployments.placement import Placement
    from yangfan.server.deployments.planning import Planned, Planner
    from yangfan.server.deployments.store import DeploymentStore
    from yangfan.server.deployments.types import (
        Deployment,
        Service,
        View,
    )
    from yangfan.server.services import Service as AnyService
    from yangfan.server.services import ServicePolicy, Services

FLEET = "(services)"
"""Name of the fleet; no upstream can have it."""

STARTS_AT_ONCE = 2
"""Services that load side by side after a start; the others wait their turn, by priority."""

UNHEALTHY_SECONDS = 10.0
"""A candidate whose replicas are all gone for so long is taken back."""

LOOK_SECONDS = 0.5
"""Between two looks for idle services and for the health of candidates."""

FLUSH_SECONDS = 5.0
"""Between two times that failed calls are written: what a crash can cost of that count."""

FIRST_RETRY_SECONDS = 5.0
MAX_RETRY_SECONDS = 300.0
DAY_SECONDS = 86_400
_log = structlog.get_logger("yangfan.deployments")


class Runner:
    """The services that are meant to run, and their engines; `Deployments` adds the verbs.

    Args:
        store: What is meant to run.
        services: Where they become names.
        planner: Knows what can be deployed.
        policy: Waiting and overload of each.
        placement: Who has claimed how much memory.
        workdir: Name to a folder for the logs of engines.
        limit: Told how many calls a second a service may have, 0 for any number, whenever that changes.
    """

    name = FLEET

    def __init__(
        self,
        store: DeploymentStore,
        services: Services,
        planner: Planner,
        policy: ServicePolicy,
        placement: Placement,
        *,
        workdir: Callable[[str], Path],
        limit: Callable[[str, float], None] = lambda _name, _qps: None,
    ) -> None:
        self.store = store
        self._services = services
        self._planner = planner
        self._policy = policy
        self._placement = placement
        self._workdir = workdir
        self._limit = limit
        self._running: dict[str, Running] = {}
        self._by_suffix: dict[str, Running] = {}
        self._by_name: dict[str, Running] = {}
        self._offline: dict[str, str] = {}
        self._lines: dict[bytes, Line] = {}
        self._pools: dict[str, tuple[Pool, Running]] = {}
        self._ending: list[Pool] = []
        self._starts: asyncio.PriorityQueue[tuple[int, int, str]] = asyncio.PriorityQueue()
        self._tasks: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._creating = asyncio.Lock()
        self._verbs: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._failures: dict[tuple[int, str, str], int] = {}

    # yangfan.server.services.Fleet

    @property
    def services(self) -> Sequence[AnyService]:
        """Those that are meant to run."""
        return [running.service for running in self._running.values()]

    @property
    def states(self) -> list[View]:
        """How those that are meant to run are doing."""
        return [view_of(running) for running in self._running.values()]

    def unready(self) -> list[str]:
        """Which of those that are kept warm cannot answer now, and why, one sentence each."""
        return [
            f"the service {running.row.suffix} is {status_of(running)}"
            + (f": {reason}" if (reason := reason_of(running)) else "")
            for running in self._running.values()
            if running.row.warm and not running.service.ready
        ]

    def find(self, name: str) -> AnyService | None:
        """The one of that suffix, id or name.

        Raises:
            ModelOffline: It is stopped.
        """
        folded = name.casefold()
        running = (
            self._by_suffix.get(folded) or self._running.get(folded) or self._by_name.get(folded)
        )
        if running is not None:
            return running.service
        if folded in self._offline:
            raise errors.ModelOffline(
                f"the service {name[:64]} is stopped; `yangfan services start {name[:64]}` starts it"
            )
        return None

    def serving(self, reference: str) -> str:
        """The name of a running service in front of that model version; "" if there is none."""
        for running in self._running.values():
            if running.stable.row.reference == reference:
                return running.service.name
        return ""

    def stand_for(self, preset: Preset) -> AnyService | None:
        """The one whose suffix is one of the preset's names."""
        for spelling in (preset.name.lower().replace(" ", "-"), *preset.spellings):
            running = self._by_suffix.get(spelling.casefold())
            if running is not None:
                return running.service
        return None

    # Life

    async def start(self) -> None:
        """Read what is meant to run, answer to its names, and begin to load it in the background, by priority."""
        for row, deployments in await self.store.running():
            self._run(row, deployments)
        self._services.attach(self)
        work = [self._load_in_turn() for _ in range(STARTS_AT_ONCE)]
        self._tasks = [
            asyncio.create_task(each) for each in (*work, self._look_around(), self._remember())
        ]

    async def stop(self) -> None:
        """Stop every engine at once."""
        for task in (*self._tasks, *self._background):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._background, return_exceptions=True)
        self._services.detach(self.name)
        for running in self._running.values():
            if running.retry is not None:
                running.retry.cancel()
        pools = {id(pool): pool for pool, _ in self._pools.values()}
        pools |= {id(pool): pool for pool in self._ending}
        await asyncio.gather(*(pool.stop(at_once=True) for pool in pools.values()))
        await self._flush()

    def _run(self, row: Service, deployments: Sequence[Deployment]) -> Running:
        """Answer to the names of a service, and queue its load."""
        by_role = {deployment.role: deployment for deployment in deployments}

        def failed(key: str) -> None:
            today = int(time.time()) // DAY_SECONDS
            count = (today, row.id, key)
            self._failures[count] = self._failures.get(count, 0) + 1

        def wanted() -> None:
            running = self._running.get(row.id)
            if running is not None and not running.begun:
                running.begun = True  # its turn has not come yet, and somebody waits
                self._spawn(self._bring_up(running))

        service = ManagedService(
            row.suffix,
            row.kinds,
            self._policy,
            created=row.created_ms // 1000,
            context_tokens=row.context_tokens,
            find=self._stand_in,
            failed=failed,
            wanted=wanted,
        )
        service.fallback = row.fallback
        running = Running(row, service, Deployed(by_role["stable"]))
        running.previous = by_role.get("previous")
        if "candidate" in by_role:
            running.candidate = Deployed(by_role["candidate"])
        self._running[row.id] = running
        self._by_suffix[row.suffix.casefold()] = running
        self._name(running)
        self._limit(row.suffix, row.qps)
        self._offline.pop(row.suffix.casefold(), None)
        self._starts.put_nowait((-row.priority, row.number, row.id))
        self._services.forget()
        return running

    def _name(self, running: Running) -> None:
        for name, known in list(self._by_name.items()):
            if known is running:
                del self._by_name[name]
        self._by_name.setdefault(running.row.name.casefold(), running)

    def _stand_in(self, name: str) -> AnyService:
        return self._services.find(name).service

    async def _load_in_turn(self) -> None:
        """Bring up services one after the other, those with the highest priority first."""
        while True:
            *_, service_id = await self._starts.get()
            running = self._running.get(service_id)
            if running is None or running.begun:
                continue
            running.begun = True
            try:
                await self._bring_up(running)
            except Exception:  # noqa: BLE001 - a loader that ends would leave all later services dead
                _log.exception("service does not start", service=running.row.suffix)

    async def _bring_up(self, running: Running) -> None:
        stable = running.stable
        try:
            await self._prepare(running, stable)
        except errors.YangfanError as error:
            if not self._is_current(running, stable):
                return
            stable.error = running.service.reason = error.message
            running.service.tell()
            await self._failed_to_load(running, error.message)
            return
        if running.row.warm:
            pool = stable.pool
            assert pool is not None
            if not await pool.bring_up():
                if self._is_current(running, stable):
                    await self._failed_to_load(running, pool.error)
                return
            await self._loaded(running)
        running.failures = 0
        candidate = running.candidate
        if candidate is not None and running.rolling is None:
            running.rolling = self._spawn(self._roll(running, candidate))

    async def _loaded(self, running: Running) -> None:
        stable = running.stable
        assert stable.pool is not None
        context = running.service.context_tokens
        seconds = stable.pool.expected_seconds
        if context != running.row.context_tokens:
            running.service.known_context_tokens = context
            running.row = replace(running.row, context_tokens=context)
            await self.store.change(running.row.id, {"context_tokens": context})
        await self.store.change_deployment(stable.row.id, {"load_seconds": seconds})
        await self._event(
            running.row.id, "serving", f"{stable.row.reference} runs, {seconds:.1f} s"
        )

    async def _failed_to_load(self, running: Running, reason: str) -> None:
        """Try again later, less and less often."""
        pause = min(FIRST_RETRY_SECONDS * 2**running.failures, MAX_RETRY_SECONDS)
        running.failures += 1
        await self._event(
            running.row.id,
            "failed",
            f"{running.stable.row.reference} does not run: {reason}; next try in {pause:.0f} s",
        )

        def again() -> None:
            running.begun = False
            self._starts.put_nowait((-running.row.priority, running.row.number, running.row.id))

        running.retry = asyncio.get_running_loop().call_later(pause, again)

    async def _prepare(self, running: Running, deployed: Deployed) -> None:
        """Plan a deployment and give it its replicas, none of which is started yet.

        Raises:
            YangfanError: It cannot be planned.
        """
        if deployed.pool is not None:
            return
        row = deployed.row
        deployed.error = ""
        if deployed.planned is None:
            deployed.planned = await self._planner.plan(row.reference, row.options)
        planned = deployed.planned
        if not self._is_current(running, deployed):
            raise errors.Conflict("it was replaced meanwhile")
        if planned.adapter is None:
            deployed.pool = self._pool(running, row, planned)
        else:
            await self._join(running, deployed, planned)
        assert deployed.pool is not None
        self._pools[row.id] = (deployed.pool, running)
        route = Route(row.id, deployed.pool, planned.adapter, planned.plan.spec.slots)
        deployed.route = route
        if deployed is running.stable:
            route.weight = 100 - (0 if running.candidate is None else weight_of(running.candidate))
            running.service.routes.insert(0, route)
            running.service.limits = planned.plan.limits
            running.service.reason = ""
        else:
            running.service.routes.append(route)
        running.service.resize()
        running.service.tell()

    def _is_current(self, running: Running, deployed: Deployed) -> bool:
        """Whether a deployment is still meant to run."""
        known = self._running.get(running.row.id) is running
        return known and (deployed is running.stable or deployed is running.candidate)

    def _pool(self, running: Running, row: Deployment, planned: Planned) -> Pool:
        spec = msgspec.structs.replace(planned.plan.spec, model=running.row.suffix)
        named = planned._replace(plan=msgspec.structs.replace(planned.plan, spec=spec))
        return self._pool_of(running, row, lambda: named, running.service.resize)

    async def _join(self, running: Running, deployed: Deployed, planned: Planned) -> None:
        """Share the replicas of the same base model; they learn the adapter if they lack it."""
        spec = planned.plan.spec
        bare = msgspec.structs.replace(spec, adapters={}, model="")
        key = msgspec.json.encode((planned.plan.engine, bare), order="deterministic")
        line = self._lines.get(key)
        if line is None:
            line = Line(self._shared_pool(running, deployed.row, key), planned, set())
            self._lines[key] = line
        known = line.planned.plan.spec.adapters
        lacking = {name: path for name, path in spec.adapters.items() if name not in known}
        if lacking:
            both = msgspec.structs.replace(line.planned.plan.spec, adapters={**known, **lacking})
            plan = msgspec.structs.replace(line.planned.plan, spec=both)
            before, line.planned = line.planned, line.planned._replace(plan=plan)
            try:
                await line.pool.renew()
            except BaseException:
                line.planned = before  # its engines did not learn it
                raise
        line.users.add(deployed.row.id)
        line.pool.wanted = max(line.pool.wanted, deployed.row.replicas)
        deployed.pool, deployed.line = line.pool, key

    def _shared_pool(self, running: Running, row: Deployment, key: bytes) -> Pool:
        def changed() -> None:
            line = self._lines.get(key)
            for user in line.users if line is not None else ():
                found = self._pools.get(user)
                if found is not None:
                    found[1].service.resize()

        return self._pool_of(running, row, lambda: self._lines[key].planned, changed)

    def _pool_of(
        self,
        running: Running,
        row: Deployment,
        planned: Callable[[], Planned],
        changed: Callable[[], None],
    ) -> Pool:
        """Replicas of what `planned` says when each of them starts."""
        folder = self._folder(running.row.id, row.id)
        holder: list[Pool] = []

        async def make(number: int) -> Engine:
            return await asyncio.to_thread(
                self._planner.engine, planned().plan, folder / str(number)
            )

        async def claim(key: str) -> None:
            await self._claim(key, need_bytes_of(row, planned()), running.row.suffix, holder[0])

        pool = Pool(
            f"{running.row.suffix}-{row.generation}",
            make,
            claim=claim,
            loaded=self._placement.loaded,
            release=self._placement.release,
            wanted=row.replicas,
            expected_seconds=row.load_seconds,
            changed=changed,
        )
        holder.append(pool)
        return pool

    async def _claim(self, key: str, need_bytes: int, name: str, asking: Pool) -> None:
        """Take room for a replica; services that calls loaded and nobody uses make room, the longest idle first.

        Raises:
            Overloaded: There is none.
        """
        while (reason := self._placement.claim(key, need_bytes)) is not None:
            victim = self._idlest(asking)
            if victim is None:
                raise errors.Overloaded(
                    f"no room for {name}: {reason}; stop another service, or choose a smaller model or fewer replicas",
                    retry_after_seconds=30,
                )
            pool, running = victim
            await self._event(running.row.id, "unloaded", f"made room for {name}")
            await pool.unload()

    def _idlest(self, asking: Pool) -> tuple[Pool, Running] | None:
        idle = [
            (pool, running)
            for pool, running in self._pools.values()
            if pool is not asking and pool.members and not pool.is_loading and self._evictable(pool)
        ]
        return min(idle, key=lambda found: found[0].last_used, default=None)

    def _evictable(self, pool: Pool) -> bool:
        """Whether every user of some replicas lets them go, and none uses them now."""
        users = [running for known, running in self._pools.values() if known is pool]
        return all(
            not user.row.warm and user.service.idle_since is not None and user.candidate is None
            for user in users
        )

    # Looking after them

    async def _look_around(self) -> None:
        """Stop engines that calls loaded and that nobody has used for long enough."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for pool, running in list(self._pools.values()):
                seconds = running.row.idle_seconds
                since = running.service.idle_since
                if (
                    seconds is not None
                    and since is not None
                    and clock() - since >= seconds
                    and pool.members
                    and not pool.is_loading
                    and self._evictable(pool)
                ):
                    await self._event(running.row.id, "unloaded", f"idle for {seconds:g} s")
                    if self._evictable(pool):  # a call may have come meanwhile
                        self._spawn(pool.unload())

    async def _remember(self) -> None:
        """Learn which names are stopped, then write failed calls again and again."""
        for suffix, service_id in await self.store.offline():
            if service_id not in self._running:
                self._offline[suffix.casefold()] = service_id
        self._services.forget()
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        counts, self._failures = self._failures, {}
        if counts:
            await self.store.add_failures(counts)

    async def failures(
        self, first_day: int, last_day: int, ids: Sequence[str]
    ) -> dict[tuple[str, str], int]:
        """Calls that failed in those days (since 1970-01-01), by service and key, up to this moment."""
        await self._flush()
        return await self.store.failures(first_day, last_day, ids)

    # Rollouts

    async def _roll(self, running: Running, candidate: Deployed) -> None:
        """Bring a candidate up, look whether it answers, give it its share, and watch it."""
        reason = await self._try_out(running, candidate)
        if reason is not None:
            await self._abandon(running, candidate, reason)
            return
        route, stable = candidate.route, running.stable.route
        assert route is not None
        route.calls = route.failures = 0
        route.weight = candidate.row.weight
        if stable is not None:
            stable.weight = 100 - candidate.row.weight
        running.service.resize()
        await self._event(
            running.row.id,
            "canary",
            f"{candidate.row.reference} takes {route.weight} % of the calls",
        )
        reason = await self._watch(candidate)
        if reason is not None:
            await self._abandon(running, candidate, reason)
        else:
            await self._promote(running, candidate)

    async def _try_out(self, running: Running, candidate: Deployed) -> str | None:
        """Start a candidate and ask it something; why it is not fit, None if it is."""
        try:
            await self._prepare(running, candidate)
            assert candidate.pool is not None
            assert candidate.route is not None
            if not await candidate.pool.bring_up():
                return candidate.pool.error
            for member in list(candidate.pool.members):
                await _ask(candidate.route.engine(member))
        except errors.YangfanError as error:
            return error.message
        return None

    async def _watch(self, candidate: Deployed) -> str | None:
        """Why a candidate must be taken back; None once it has had all of the calls for long enough."""
        clock = asyncio.get_running_loop().time
        pool, route = candidate.pool, candidate.route
        assert pool is not None
        assert route is not None
        began = healthy_at = clock()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await route.tripped.wait()
            if route.tripped.is_set():
                return f"it failed {route.failures} of {route.calls} calls"
            now = clock()
            if pool.ready:
                healthy_at = now
            elif now - healthy_at > UNHEALTHY_SECONDS:
                return "its engines died and do not come back"
            if route.weight >= 100 and now - began >= candidate.row.bake_seconds:
                return None

    async def _abandon(self, running: Running, candidate: Deployed, reason: str) -> None:
        """The stable deployment takes all calls again; the candidate ends after its own."""
        async with running.changing:
            if running.candidate is not candidate:
                return
            if running.stable.route is not None:
                running.stable.route.weight = 100
                if candidate.route is not None:
                    candidate.route.weight = 0
            await self.store.drop(candidate.row.id)
            # Whoever sees that it is gone finds the reason among the events.
            await self._event(
                running.row.id, "rolled back", f"{candidate.row.reference} is taken back: {reason}"
            )
            running.candidate = None
            await self._let_go(running, candidate)
            self._end_rolling(running)

    async def _promote(self, running: Running, candidate: Deployed) -> None:
        async with running.changing:
            if running.candidate is not candidate:
                return
            planned = candidate.planned
            assert planned is not None
            kinds = await self._kinds_of(planned)
            old = running.stable
            stable, previous = await self._swap(running.row.id, candidate.row, old.row, kinds)
            await self._event(
                running.row.id, "promoted", f"{stable.reference} takes all calls from now on"
            )
            running.candidate = None
            candidate.row, running.stable, running.previous = stable, candidate, previous
            if candidate.route is not None:
                candidate.route.weight = 100
            running.service.kinds = kinds
            running.service.limits = planned.plan.limits
            await self._let_go(running, old)
            self._end_rolling(running)
        if candidate.pool is not None and candidate.pool.members:
            await self._loaded(running)

    def _end_rolling(self, running: Running) -> None:
        task, running.rolling = running.rolling, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _swap(
        self, service_id: str, candidate: Deployment, stable: Deployment, kinds: frozenset[Kind]
    ) -> tuple[Deployment, Deployment]:
        new = replace(candidate, role="stable", weight=100)
        old = replace(stable, role="previous", weight=0)
        await self.store.promote(new, old)
        changes = {"kinds": ",".join(sorted(kinds)), "modified_ms": now_ms()}
        await self.store.change(service_id, changes)
        return new, old

    async def _let_go(self, running: Running, deployed: Deployed) -> None:
        """No longer give calls to a deployment; its replicas end after theirs."""
        if deployed.route is not None and deployed.route in running.service.routes:
            running.service.routes.remove(deployed.route)
            running.service.resize()
        pool = deployed.pool
        self._pools.pop(deployed.row.id, None)
        if pool is None:
            return
        if deployed.line is not None:
            line = self._lines[deployed.line]
            line.users.discard(deployed.row.id)
            if line.users:
                return
            del self._lines[deployed.line]
        self._ending.append(pool)
        self._spawn(self._end(pool))

    async def _end(self, pool: Pool) -> None:
        await pool.stop()
        self._ending.remove(pool)

    async def _take_down(self, service_id: str) -> None:
        running = self._running.pop(service_id, None)
        if running is None:
            return
        running.service.reason = "it was stopped"
        self._limit(running.row.suffix, 0.0)
        self._by_suffix.pop(running.row.suffix.casefold(), None)
        for name, known in list(self._by_name.items()):
            if known is running:
                del self._by_name[name]
        self._services.forget()
        if running.retry is not None:
            running.retry.cancel()
        async with running.changing:
            self._end_rolling(running)
            for deployed in (running.candidate, running.stable):
                if deployed is not None:
                    await self._let_go(running, deployed)
            running.candidate = None

    # Small things

    async def _kinds_of(self, planned: Planned) -> frozenset[Kind]:
        """What the engine of a plan can be asked for; it is made and never started.

        Raises:
            Invalid: An option is wrong.
            Conflict: The engine cannot run here.
        """
        folder = self._workdir("services") / "tried"
        try:
            engine = await asyncio.to_thread(self._planner.engine, planned.plan, folder)
        except errors.ConfigurationError as error:
            if error.message.startswith("options"):
                raise errors.Invalid(error.message, param="engineOptions") from None
            raise errors.Conflict(error.message) from None
        kinds = engine.kinds
        return kinds if planned.adapter is None else kinds & {"chat", "vision"}

    def _folder(self, service_id: str, deployment_id: str = "") -> Path:
        return self._workdir("services") / service_id / deployment_id

    async def _event(self, service_id: str, kind: str, message: str) -> None:
        _log.info("service", service=service_id, event_kind=kind, message=message)
        await self.store.add_event(service_id, now_ms(), kind, message)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("work on a service failed", error=repr(task.exception()))


async def _ask(engine: Engine) -> None:
    """Ask an engine the least that shows whether it answers."""
    if "chat" in engine.kinds:
        await engine.chat(ChatRequest((Message("user", "hi"),), Sampling(max_output_tokens=1)))
    elif "embeddings" in engine.kinds:
        await engine.embed(["hi"])
    elif "rerank" in engine.kinds:
        await engine.rerank("hi", ["hi"])
    else:
        await engine.slots()
