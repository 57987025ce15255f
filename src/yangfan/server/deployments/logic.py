"""Make, change and remove services while the server runs: the verbs; what runs is the `Runner`'s."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from yangfan import errors
from yangfan.server.deployments.lending import Lender
from yangfan.server.deployments.state import (
    Deployed,
    Running,
    need_bytes,
    need_bytes_of,
    now_ms,
    status_of,
    view_of,
)
from yangfan.server.deployments.types import (
    Deployment,
    DeploymentState,
    Event,
    Filter,
    Service,
    View,
)
from yangfan.server.http.call import new_id
from yangfan.server.services import types_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from yangfan.engines.base import Kind

MAX_REPLICAS = 64
MAX_RUNNING = 1000
"""Services that run at a time; any number may be kept."""

BAKE_SECONDS = 10.0
"""How long a new version that has all of the calls is watched before the old one ends."""

LOG_BYTES = 64 * 1024

_SUFFIX = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")


@dataclass(slots=True)
class New:
    """What a caller asks for; see `Service` and `Deployment`."""

    reference: str
    set_id: str = ""
    name: str = ""
    suffix: str = ""
    description: str = ""
    replicas: int = 1
    warm: bool = True
    idle_seconds: float | None = None
    priority: int = 0
    fallback: str = ""
    protocol_version: int = 1
    resource_type: str = ""
    qps: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    memory_bytes: int | None = None
    creator: str = ""


class Deployments(Lender):
    """Every service that callers made: what runs (`Runner`), what is lent (`Lender`), and the verbs that change it."""

    # Verbs

    async def create(self, new: New) -> View:
        """Make a service and begin to load it.

        Raises:
            NotFound: There is no such model version.
            Invalid: A name, number or option is not usable.
            Conflict: The suffix is taken, or what it needs can never be had here.
            Overloaded: There is no room for it now.
        """
        suffix = new.suffix or new_id("svc-", 10)
        if not _SUFFIX.fullmatch(suffix):
            raise errors.Invalid(
                f"urlSuffix is 1 to 64 letters, digits, dots, dashes and underscores, with a letter or digit at both ends, such as"
                f" my-model; got {suffix[:80]!r}",
                param="urlSuffix",
            )
        _check_replicas(new.replicas)
        planned = await self._planner.plan(new.reference, new.options)
        kinds = await self._kinds_of(planned)
        need = need_bytes(new.memory_bytes, planned) * new.replicas
        self._check_room(need, now=new.warm)
        async with self._creating:
            await self._check_free(suffix)
            if len(self._running) >= MAX_RUNNING:
                raise errors.Conflict(
                    f"{MAX_RUNNING} services run already, which is the most; stop one first"
                )
            created_ms = now_ms()
            service_id = new_id("svco-", 12)
            row = Service(
                number=0,
                id=service_id,
                name=new.name or suffix,
                suffix=suffix,
                description=new.description,
                type=types_of(kinds)[0],
                kinds=kinds,
                desired="running",
                warm=new.warm,
                idle_seconds=new.idle_seconds,
                priority=new.priority,
                fallback=self._checked_fallback(new.fallback, kinds),
                protocol_version=new.protocol_version,
                resource_type=new.resource_type,
                qps=new.qps,
                context_tokens=0,
                creator=new.creator,
                created_ms=created_ms,
                modified_ms=created_ms,
            )
            deployment = Deployment(
                id=new_id("dep-", 12),
                service_id=service_id,
                role="stable",
                reference=planned.reference,
                set_id=planned.set_id or new.set_id,
                weight=100,
                replicas=new.replicas,
                options=dict(new.options),
                memory_bytes=new.memory_bytes,
                bake_seconds=BAKE_SECONDS,
                generation=1,
                created_ms=created_ms,
            )
            row = await self.store.add(row, deployment)
            running = self._run(row, [deployment])
            running.stable.planned = planned
        await self._event(row.id, "created", f"{planned.reference}, {new.replicas} replicas")
        return view_of(running)

    async def get(self, key: str) -> View:
        """The one of that id, number, suffix or name.

        Raises:
            NotFound: There is none.
        """
        running = self._running.get(key) or self._by_suffix.get(key.casefold())
        if running is None:
            found = await self._found(key)
            running = self._running.get(found[0].id)
            if running is None:
                return self._stored(found)
        return view_of(running)

    async def page(
        self, wanted: Filter, first_id: str | None, count: int, *, newest_first: bool = False
    ) -> tuple[list[View], str | None]:
        """Up to `count` services in order of creation, and the id of the one that follows.

        Raises:
            NotFound: There is none of the id to begin with.
        """
        if first_id is not None:
            await self._found(first_id)
        ids: set[str] | None = None
        stopped = True
        if wanted.statuses is not None:
            stopped = "Stopped" in wanted.statuses
            ids = {
                key
                for key, running in self._running.items()
                if status_of(running) in wanted.statuses
            }
        found = await self.store.page(
            wanted, first_id, count + 1, newest_first=newest_first, ids=ids, stopped=stopped
        )
        views = [
            view_of(running) if (running := self._running.get(row.id)) else self._stored(pair)
            for pair in found
            for row in (pair[0],)
        ]
        return views[:count], views[count].service.id if len(views) > count else None

    async def update(self, key: str, changes: Mapping[str, Any]) -> View:
        """Change what a service is called and how it is kept: name, description, priority, warm, idle_seconds, fallback, qps.

        Raises:
            NotFound: There is no such service.
            Invalid: The fallback is not usable.
        """
        async with self._alone(key) as (row, _):
            if changes.get("fallback"):
                fallback = self._checked_fallback(changes["fallback"], row.kinds, row.suffix)
                changes = {**changes, "fallback": fallback}
            row = replace(row, **changes, modified_ms=now_ms())
            values = {**changes, "modified_ms": row.modified_ms}
            if "warm" in values:
                values["warm"] = int(values["warm"])
            await self.store.change(row.id, values)
            running = self._running.get(row.id)
            if running is not None:
                running.row = replace(running.row, **changes, modified_ms=row.modified_ms)
                running.service.fallback = running.row.fallback
                self._limit(row.suffix, running.row.qps)
                self._name(running)
                self._services.forget()
                pool = running.stable.pool
                if running.row.warm and pool is not None and not pool.members:
                    running.begun = False
                    self._starts.put_nowait((-row.priority, row.number, row.id))
            await self._event(row.id, "changed", ", ".join(sorted(changes)))
            return await self.get(row.id)

    async def scale(self, key: str, replicas: int) -> View:
        """Have so many replicas; those that go end their calls first.

        Raises:
            NotFound: There is no such service.
            Invalid: The number is out of range.
            Overloaded: There is no room for so many.
        """
        _check_replicas(replicas)
        async with self._alone(key) as (row, deployments):
            stable = _of_role(deployments, "stable")
            assert stable is not None
            running = self._running.get(row.id)
            more = replicas - stable.replicas
            if running is not None and more > 0 and running.stable.planned is not None:
                self._check_room(
                    need_bytes_of(stable, running.stable.planned) * more, now=running.row.warm
                )
            await self.store.change_deployment(stable.id, {"replicas": replicas})
            await self._event(row.id, "scaled", f"from {stable.replicas} to {replicas} replicas")
            if running is not None:
                running.stable.row = replace(running.stable.row, replicas=replicas)
                pool = running.stable.pool
                if pool is not None:
                    if running.stable.line is not None:
                        replicas = max(replicas, self._most_replicas(running.stable.line))
                    self._spawn(pool.scale(replicas))
            return await self.get(row.id)

    async def stop_service(self, key: str) -> View:
        """No longer answer; calls under way end first.

        Raises:
            NotFound: There is no such service.
        """
        async with self._alone(key) as (row, _):
            await self.store.change(row.id, {"desired": "stopped", "modified_ms": now_ms()})
            await self._take_down(row.id)
            self._offline[row.suffix.casefold()] = row.id
            self._services.forget()
            await self._event(row.id, "stopped", "by a caller")
            return self._stored(await self._found(row.id))

    async def start_service(self, key: str) -> View:
        """Run a stopped service again; one that runs stays as it is.

        Raises:
            NotFound: There is no such service.
            Conflict: As many run as may.
            Overloaded: There is no room for it now.
        """
        async with self._alone(key) as (row, deployments):
            if row.id in self._running:
                return view_of(self._running[row.id])
            if len(self._running) >= MAX_RUNNING:
                raise errors.Conflict(
                    f"{MAX_RUNNING} services run already, which is the most; stop one first"
                )
            stable = _of_role(deployments, "stable")
            assert stable is not None
            planned = await self._planner.plan(stable.reference, stable.options)
            self._check_room(need_bytes_of(stable, planned) * stable.replicas, now=row.warm)
            await self.store.change(row.id, {"desired": "running", "modified_ms": now_ms()})
            running = self._run(replace(row, desired="running"), deployments)
            running.stable.planned = planned
            await self._event(row.id, "started", "by a caller")
            return view_of(running)

    async def remove(self, key: str) -> None:
        """Stop a service, after its calls, and forget it.

        Raises:
            NotFound: There is no such service.
        """
        async with self._alone(key) as (row, _):
            await self.store.remove(row.id)
            await self._take_down(row.id)
            self._offline.pop(row.suffix.casefold(), None)
            self._services.forget()
            folder = self._folder(row.id)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def rollout(
        self,
        key: str,
        reference: str,
        *,
        set_id: str = "",
        weight: int = 100,
        replicas: int | None = None,
        options: Mapping[str, Any] | None = None,
        memory_bytes: int | None = None,
        bake_seconds: float = BAKE_SECONDS,
    ) -> View:
        """Give a share of the calls to another model version once that runs well; all of them make it the stable one.

        A version that does not start, or fails its calls, is taken back, and the stable one goes on as if nothing had been.

        Raises:
            NotFound: There is no such service or model version.
            Conflict: Another rollout goes on, or the version is of another kind.
            Overloaded: There is no room for both versions at a time.
        """
        async with self._alone(key) as (row, deployments):
            candidate = New(
                reference,
                set_id,
                replicas=replicas or 0,
                options=options or {},
                memory_bytes=memory_bytes,
            )
            return await self._begin(row, deployments, candidate, weight, bake_seconds)

    async def _begin(
        self,
        row: Service,
        deployments: Sequence[Deployment],
        new: New,
        weight: int,
        bake_seconds: float,
    ) -> View:
        """Begin a rollout; 0 replicas mean as many as now."""
        stable = _of_role(deployments, "stable")
        assert stable is not None
        if _of_role(deployments, "candidate") is not None:
            raise errors.Conflict(
                f"a rollout of {row.suffix} goes on; promote it or roll it back first"
            )
        count = new.replicas or stable.replicas
        _check_replicas(count)
        planned = await self._planner.plan(new.reference, new.options)
        kinds = await self._kinds_of(planned)
        if row.type not in types_of(kinds):
            raise errors.Conflict(
                f"{new.reference} is a model for {types_of(kinds)[0]} and {row.suffix} is for {row.type}; make another service for it"
            )
        running = self._running.get(row.id)
        if running is not None:
            self._check_room(need_bytes(new.memory_bytes, planned) * count, now=True)
        candidate = Deployment(
            id=new_id("dep-", 12),
            service_id=row.id,
            role="candidate",
            reference=planned.reference,
            set_id=planned.set_id or new.set_id,
            weight=weight,
            replicas=count,
            options=dict(new.options),
            memory_bytes=new.memory_bytes,
            bake_seconds=bake_seconds,
            generation=max(deployment.generation for deployment in deployments) + 1,
            created_ms=now_ms(),
        )
        await self.store.put(candidate)
        await self._event(
            row.id, "rollout", f"{planned.reference} is to take {weight} % of the calls"
        )
        if running is None:
            await self._swap(row.id, candidate, stable, kinds)
            return self._stored(await self._found(row.id))
        running.candidate = Deployed(candidate, planned)
        running.rolling = self._spawn(self._roll(running, running.candidate))
        return view_of(running)

    async def promote(self, key: str) -> View:
        """Give all calls to the candidate and make it the stable deployment.

        Raises:
            NotFound: There is no such service.
            Conflict: There is no candidate, or it does not run yet.
        """
        async with self._alone(key) as (row, _):
            running = self._running.get(row.id)
            candidate = None if running is None else running.candidate
            if running is None or candidate is None:
                raise errors.Conflict(f"no rollout of {row.suffix} goes on")
            return await self._promoted(running, candidate)

    async def _promoted(self, running: Running, candidate: Deployed) -> View:
        if candidate.route is None or candidate.pool is None or not candidate.pool.ready:
            raise errors.Conflict(
                f"the candidate of {running.row.suffix} does not run yet; wait for it, or roll it back"
            )
        await self._promote(running, candidate)
        return view_of(running)

    async def rollback(self, key: str) -> View:
        """Take a candidate back; where there is none, go back to the version before the stable one.

        Raises:
            NotFound: There is no such service.
            Conflict: There is nothing to go back to.
        """
        async with self._alone(key) as (row, deployments):
            running = self._running.get(row.id)
            if running is not None and running.candidate is not None:
                await self._abandon(running, running.candidate, "taken back by a caller")
                return view_of(running)
            candidate = _of_role(deployments, "candidate")
            if candidate is not None:
                await self.store.drop(candidate.id)
                return await self.get(row.id)
            previous = _of_role(deployments, "previous")
            if previous is None:
                raise errors.Conflict(f"{row.suffix} has no earlier version to go back to")
            earlier = New(
                previous.reference,
                previous.set_id,
                replicas=previous.replicas,
                options=previous.options,
                memory_bytes=previous.memory_bytes,
            )
            return await self._begin(row, deployments, earlier, 100, previous.bake_seconds)

    async def events(self, key: str, after: int, count: int) -> list[Event]:
        """Up to `count` events after that number, the oldest first. Raises NotFound."""
        row, _ = await self._found(key)
        return await self.store.events(row.id, after, count)

    async def logs(self, key: str, tail_bytes: int = LOG_BYTES) -> list[tuple[str, str]]:
        """The end of what each engine of a service printed, the newest deployment last.

        Raises:
            NotFound: There is no such service.
        """
        row, deployments = await self._found(key)
        order = {deployment.id: deployment.generation for deployment in deployments}

        def read() -> list[tuple[str, str]]:
            found: list[tuple[int, str, str]] = []
            for file in self._folder(row.id).glob("*/*/engine.log"):
                name = f"{file.parent.parent.name}/{file.parent.name}"
                with contextlib.suppress(OSError), file.open("rb") as log:
                    log.seek(max(file.stat().st_size - tail_bytes, 0))
                    text = log.read(tail_bytes).decode("utf-8", "replace")
                    found.append((order.get(file.parent.parent.name, 0), name, text))
            return [(name, text) for _, name, text in sorted(found)]

        return await asyncio.to_thread(read)

    # Small things

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncGenerator[tuple[Service, list[Deployment]]]:
        """The service of a key, for one verb at a time."""
        row, _ = await self._found(key)
        lock = self._verbs.get(row.id)
        if lock is None:
            lock = self._verbs[row.id] = asyncio.Lock()
        async with lock:
            yield await self._found(row.id)

    async def _found(self, key: str) -> tuple[Service, list[Deployment]]:
        found = await self.store.get(key)
        if found is None:
            raise errors.NotFound(
                f"no service {key[:64]!r}; `yangfan services list` shows all of them"
            )
        return found

    async def _check_free(self, suffix: str) -> None:
        served = {service.name.casefold() for service in self._services.all}
        if suffix.casefold() in served or await self.store.taken(suffix):
            raise errors.Conflict(
                f"the urlSuffix {suffix!r} is taken by another service; choose another",
                param="urlSuffix",
            )

    def _checked_fallback(self, name: str, kinds: frozenset[Kind], own: str = "") -> str:
        if not name:
            return ""
        try:
            found = self._services.find(name).service
        except errors.RefusedError as error:
            raise errors.Invalid(f"fallback: {error.message}", param="fallback") from None
        if found.name == own or not found.kinds & kinds or ":" in found.name:
            raise errors.Invalid(
                f"fallback must be another service or model that answers the same calls, not {name[:64]}",
                param="fallback",
            )
        return name

    def _check_room(self, need_bytes: int, *, now: bool) -> None:
        reason = self._placement.impossible(need_bytes)
        if reason is not None:
            raise errors.Conflict(
                f"it can never run here: {reason}; choose a smaller model or fewer replicas"
            )
        if not now:
            return
        reason = self._placement.refusal(need_bytes - self._reclaimable_bytes())
        if reason is not None:
            raise errors.Overloaded(
                f"no room: {self._placement.refusal(need_bytes)}; stop another service, or choose a smaller model or fewer"
                " replicas",
                retry_after_seconds=30,
            )

    def _reclaimable_bytes(self) -> int:
        """What services that nobody uses would give back."""
        pools = {id(pool): pool for pool, _ in self._pools.values() if self._evictable(pool)}
        return sum(
            self._placement.claim_of(member.key)
            for pool in pools.values()
            for member in pool.members
        )

    def _most_replicas(self, line: bytes) -> int:
        rows = [
            deployed.row
            for running in self._running.values()
            for deployed in (running.stable, running.candidate)
            if deployed is not None and deployed.line == line
        ]
        return max((row.replicas for row in rows), default=1)

    def _stored(self, found: tuple[Service, Sequence[Deployment]]) -> View:
        row, deployments = found
        return View(row, "Stopped", "", tuple(map(DeploymentState, deployments)))


def _of_role(deployments: Sequence[Deployment], role: str) -> Deployment | None:
    return next((deployment for deployment in deployments if deployment.role == role), None)


def _check_replicas(replicas: int) -> None:
    if not 1 <= replicas <= MAX_REPLICAS:
        raise errors.Invalid(
            f"replicasCount must be from 1 to {MAX_REPLICAS}, got {replicas}", param="replicasCount"
        )
