"""Model versions that no service serves, lent to work on a job: an engine of its own for as long as the work asks it.

A lent engine is chosen, placed, supervised and queued for like that of a service. It is none: nobody lists it, nothing of it is kept in the
database, and only who borrowed it knows the name that reaches it. Whoever stops working on its job has given it back, killed or not. One that
nobody has is kept for a moment for whoever comes next, and goes before another version is lent, so that memory holds one of them at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import structlog

from yangfan import errors
from yangfan.server.deployments.managed import ManagedService
from yangfan.server.deployments.runner import Runner
from yangfan.server.deployments.state import Deployed, Running, need_bytes, now_ms, status_of
from yangfan.server.deployments.types import Deployment, Service
from yangfan.server.http.call import new_id
from yangfan.server.jobs import WORKING
from yangfan.server.services import types_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from yangfan.engines.base import Kind
    from yangfan.server.deployments.placement import Placement
    from yangfan.server.deployments.planning import Planned, Planner
    from yangfan.server.deployments.store import DeploymentStore
    from yangfan.server.jobs import Jobs
    from yangfan.server.services import Service as AnyService
    from yangfan.server.services import ServicePolicy, Services

KEEP_SECONDS = 30.0
"""How long an engine that was given back waits for whoever wants the same version."""

WATCH_SECONDS = 1.0
"""Between two looks whether those who borrowed still work."""

RETRY_SECONDS = 2.0
"""After a load for which there was no room nobody tries again for so long."""

_PREFIX = "loan-"
_log = structlog.get_logger("yangfan.deployments")


class Borrower(NamedTuple):
    """An attempt at a job."""

    job_id: str
    fence: int


class Loan(NamedTuple):
    """How far it is: see `yangfan.protocol.worker.BorrowedModel`."""

    state: Literal["starting", "waiting", "ready"]
    name: str = ""
    message: str = ""


@dataclass(slots=True, eq=False)
class _Lent:
    """A version with certain options, and who has it."""

    reference: str
    options: Mapping[str, Any]
    name: str = field(default_factory=lambda: f"{_PREFIX}{secrets.token_urlsafe(24)}")
    borrowers: set[Borrower] = field(default_factory=set[Borrower])
    running: Running | None = None
    loading: asyncio.Task[None] | None = None
    error: errors.YangfanError | None = None
    retry_at: float = 0.0
    idle_since: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        return self.running is not None and self.running.service.ready

    @property
    def is_loading(self) -> bool:
        """Whether it comes up now."""
        return self.loading is not None and not self.loading.done()


class Lender(Runner):
    """Beside the services that are meant to run, versions that work borrows. Its arguments are those of `Runner`, and:

    Args:
        jobs: Who still works; without it everybody does.
    """

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
        jobs: Jobs | None = None,
    ) -> None:
        super().__init__(store, services, planner, policy, placement, workdir=workdir, limit=limit)
        self._jobs = jobs
        store.lent_to = self.lent_to
        self._lent: dict[bytes, _Lent] = {}
        self._lent_by_name: dict[str, _Lent] = {}
        self._lending = asyncio.Lock()
        self._generations = itertools.count(1)

    # Verbs

    async def lendable(self, reference: str, options: Mapping[str, Any]) -> frozenset[Kind]:
        """What a version can be asked for, if it could be lent here.

        Raises:
            NotFound: There is no such version.
            Invalid: An option is not usable.
            Conflict: It is not ready, failed its parity gate and is not forced, has no engine here, or is larger than this machine.
        """
        return (await self._fit(reference, options))[1]

    async def require(self, borrower: Borrower) -> None:
        """Raise Conflict for a worker that does not work on its job (any more)."""
        if await self._place_of(borrower) != "working":
            raise errors.Conflict(f"job {borrower.job_id} is not this worker's any more; stop")

    async def borrow(self, borrower: Borrower, reference: str, options: Mapping[str, Any]) -> Loan:
        """Have a version run; ask again until it does.

        Raises:
            NotFound: There is no such version.
            Invalid: An option is not usable.
            Conflict: It can never run here.
            EngineFailed: Its engine does not start.
        """
        if not options:
            served = self._served(reference)
            if served:
                return Loan("ready", served)
        key = _key(reference, options)
        lent = self._lent.get(key)
        if lent is None:
            lent = self._lent[key] = _Lent(reference, options)
            self._lent_by_name[lent.name] = lent
        lent.borrowers.add(borrower)
        if lent.running is not None:
            lent.running.row = replace(lent.running.row, warm=True)
        if lent.ready and not lent.is_loading:
            return Loan("ready", lent.name)
        if not lent.is_loading:
            error = lent.error
            if error is None or (
                isinstance(error, errors.Overloaded)
                and asyncio.get_running_loop().time() >= lent.retry_at
            ):
                lent.error = None
                lent.loading = self._spawn(self._lend(lent))
            elif not isinstance(error, errors.Overloaded):
                await self._end_loan(lent)
                raise error
        if lent.error is not None:
            return Loan("waiting", message=lent.error.message)
        return Loan("starting")

    async def give_back(
        self, borrower: Borrower, reference: str, options: Mapping[str, Any], *, keep: bool
    ) -> None:
        """Need a version no longer.

        Args:
            borrower: Who had it.
            reference: The version.
            options: With which it was borrowed.
            keep: Whether it may stay for whoever comes next; otherwise it ends now if nobody else has it.
        """
        lent = self._lent.get(_key(reference, options))
        if lent is not None and borrower in lent.borrowers:
            await self._returned(lent, borrower, keep=keep)

    def lent_to(self, reference: str) -> list[str]:
        """The jobs that have a version now."""
        return [
            borrower.job_id
            for lent in self._lent.values()
            if lent.reference == reference
            for borrower in lent.borrowers
        ]

    # yangfan.server.services.Fleet

    def find(self, name: str) -> AnyService | None:
        """As `Runner`, and what is lent by the name that its borrowers know."""
        lent = self._lent_by_name.get(name)
        if lent is not None and lent.running is not None:
            return lent.running.service
        return super().find(name)

    # Life

    async def start(self) -> None:
        """As `Runner`; and take back what nobody works with."""
        await asyncio.to_thread(self._tidy)
        await super().start()
        self._tasks.append(asyncio.create_task(self._watch_loans(), name="loans"))

    def _tidy(self) -> None:
        for folder in self._workdir("services").glob(f"{_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)

    async def _watch_loans(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for lent in list(self._lent.values()):
                try:
                    for borrower in list(lent.borrowers):
                        place = await self._place_of(borrower)
                        if place != "working":
                            await self._returned(lent, borrower, keep=place == "waiting")
                    if not lent.borrowers and clock() - lent.idle_since >= KEEP_SECONDS:
                        await self._end_loan(lent)
                except Exception:  # noqa: BLE001 - a watch that ends would leave engines behind for good
                    _log.exception("a loan could not be looked after", version=lent.reference)

    async def _place_of(self, borrower: Borrower) -> Literal["working", "waiting", "gone"]:
        """Whether an attempt goes on; waiting: the job may be worked on again soon."""
        if self._jobs is None:
            return "working"
        try:
            job = await self._jobs.get(borrower.job_id)
        except errors.NotFound:
            return "gone"
        if job.state in WORKING:
            return "working" if job.fence == borrower.fence else "waiting"
        return "waiting" if job.state == "queued" and job.desired == "run" else "gone"

    async def _returned(self, lent: _Lent, borrower: Borrower, *, keep: bool) -> None:
        lent.borrowers.discard(borrower)
        if lent.borrowers:
            return
        lent.idle_since = asyncio.get_running_loop().time()
        if not keep or not lent.ready:
            await self._end_loan(lent)
        elif lent.running is not None:
            lent.running.row = replace(lent.running.row, warm=False)

    async def _end_loan(self, lent: _Lent) -> None:
        """Forget it, and stop its engine after its calls."""
        if self._lent_by_name.pop(lent.name, None) is None:
            return
        self._lent.pop(_key(lent.reference, lent.options), None)
        if lent.loading is not None and lent.loading is not asyncio.current_task():
            lent.loading.cancel()
            await asyncio.gather(lent.loading, return_exceptions=True)
        await self._stop_lent(lent)
        self._services.forget()

    async def _stop_lent(self, lent: _Lent) -> None:
        running, lent.running = lent.running, None
        if running is None:
            return
        pool = running.stable.pool
        await self._let_go(running, running.stable)

        async def tidy() -> None:
            if pool is not None and pool in self._ending:
                await pool.stop()
            folder = self._folder(running.row.id)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

        self._spawn(tidy())

    async def _end_idle(self) -> None:
        """Stop what is kept for nobody in particular, and wait until it is gone."""
        idle = [lent for lent in self._lent.values() if not lent.borrowers]
        pools = [lent.running.stable.pool for lent in idle if lent.running is not None]
        for lent in idle:
            if not lent.borrowers:  # while another one ended, somebody may have come for it
                await self._end_loan(lent)
        for pool in pools:
            if pool is not None and pool in self._ending:
                await pool.stop()

    # Loading

    async def _lend(self, lent: _Lent) -> None:
        """Bring a version up; what goes wrong is kept for its borrowers."""
        try:
            async with self._lending:
                await self._end_idle()
                await self._load_lent(lent)
        except errors.YangfanError as error:
            lent.error = error
        except Exception as error:  # noqa: BLE001 - whoever waits for it must hear of it
            _log.exception("a lent model does not start", version=lent.reference)
            lent.error = errors.InternalError(f"{lent.reference} does not start: {error!r}")
        else:
            lent.error = None
            _log.info("lent", version=lent.reference, jobs=[each.job_id for each in lent.borrowers])
            return
        lent.retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS
        await self._stop_lent(lent)

    async def _load_lent(self, lent: _Lent) -> None:
        await self._stop_lent(lent)
        planned, kinds = await self._fit(lent.reference, lent.options)
        lent.running = running = self._hidden(lent, planned, kinds)
        self._services.forget()
        await self._prepare(running, running.stable)
        pool = running.stable.pool
        assert pool is not None
        if not await pool.bring_up():
            failure = pool.failure
            if isinstance(failure, errors.YangfanError):
                raise failure
            raise errors.EngineFailed(f"{lent.reference} does not start: {pool.error}")

    async def _fit(
        self, reference: str, options: Mapping[str, Any]
    ) -> tuple[Planned, frozenset[Kind]]:
        planned = await self._planner.plan(reference, options)
        kinds = await self._kinds_of(planned)
        reason = self._placement.impossible(need_bytes(None, planned))
        if reason is not None:
            raise errors.Conflict(
                f"{planned.plan.name} can never run here: {reason}; choose a smaller model, or quantize this one (engineOptions.quantize)"
            )
        return planned, kinds

    def _hidden(self, lent: _Lent, planned: Planned, kinds: frozenset[Kind]) -> Running:
        """A service that nobody lists."""
        now = now_ms()
        row = Service(
            number=0,
            id=new_id(_PREFIX, 12),
            name=planned.plan.name,
            suffix=lent.reference,
            description="",
            type=types_of(kinds)[0],
            kinds=kinds,
            desired="running",
            warm=True,
            idle_seconds=None,
            priority=0,
            fallback="",
            protocol_version=1,
            resource_type="",
            qps=0.0,
            context_tokens=0,
            creator="",
            created_ms=now,
            modified_ms=now,
        )
        deployment = Deployment(
            id=new_id("dep-", 12),
            service_id=row.id,
            role="stable",
            reference=planned.reference,
            set_id=planned.set_id,
            weight=100,
            replicas=1,
            options=dict(lent.options),
            memory_bytes=None,
            bake_seconds=0.0,
            generation=next(self._generations),
            created_ms=now,
        )
        service = ManagedService(
            lent.reference,
            kinds,
            self._policy,
            created=now // 1000,
            context_tokens=0,
            find=self._stand_in,
            failed=lambda _key: None,
            wanted=lambda: None,
        )
        return Running(row, service, Deployed(deployment, planned), begun=True)

    def _served(self, reference: str) -> str:
        """The name of a service in front of that version that answers; "" if there is none."""
        for running in self._running.values():
            if running.stable.row.reference == reference and status_of(running) == "Serving":
                return running.service.name
        return ""

    def _is_current(self, running: Running, deployed: Deployed) -> bool:
        lent = any(each.running is running for each in self._lent.values())
        return lent or super()._is_current(running, deployed)

    async def _event(self, service_id: str, kind: str, message: str) -> None:
        if service_id.startswith(_PREFIX):
            _log.info("lent", loan=service_id, event_kind=kind, message=message)
        else:
            await super()._event(service_id, kind, message)


def _key(reference: str, options: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode((reference, dict(options)), order="deterministic")
