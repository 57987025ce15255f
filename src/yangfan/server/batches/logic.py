"""Making batches, following the jobs that work on them, and keeping their results as files.

The worker appends answers to a file of the batch's own folder and saves how long it is with every chunk; a worker that was killed cuts
off what came after. So each line has one result, whoever is killed when. When the job has ended, the files are adopted by `Files` in the
transaction that ends the batch.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from yangfan.errors import Conflict, Invalid, NotFound, TooManyTasks
from yangfan.protocol.v2.batches import ENDPOINTS
from yangfan.server.batches import store
from yangfan.server.batches.types import FINAL, Batch, Order, Outcome, Refused
from yangfan.server.http.call import new_id
from yangfan.server.jobs import Hooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.batches.types import Form, State
    from yangfan.server.db import Database
    from yangfan.server.files import Files
    from yangfan.server.jobs import Job, JobError, Jobs

    Named = Callable[
        [str, Mapping[str, Any], dict[str, dict[str, Any]]], Awaitable[tuple[str, object]]
    ]

KIND = "batch_inference"
MOST_ACTIVE = 20
"""Batches of one application that wait or are worked on (specification C.7)."""

ACTIVE: tuple[State, ...] = ("validating", "in_progress", "finalizing")
DEFAULT_WINDOW = "24h"
LOOK_SECONDS = 5.0
"""How often what another process left to finish is looked for."""

_UNITS = {"h": 3600, "d": 86_400}
_log = structlog.get_logger("yangfan.batches")


class Batches:
    """All batches.

    Args:
        database: Where they are kept.
        jobs: Who works on them.
        files: Where requests come from and results go.
        folder: Where results grow.
        secrets: Folder of the file with which workers reach other people's stores.
        at_once: Requests of one batch that are asked side by side.
        named: From a reference to a model version, or a name, to the name by which it is called; a version that no service serves is
            added to the last argument, with what its engine is told. Raises RefusedError.
    """

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        files: Files,
        folder: Path,
        *,
        secrets: Path,
        at_once: int,
        named: Named,
    ) -> None:
        """Have the jobs' ends told here."""
        self._database = database
        self._jobs = jobs
        self._files = files
        self._folder = folder
        self._secrets = secrets
        self._at_once = at_once
        self._named = named
        self._wake = asyncio.Event()
        self._finisher: asyncio.Task[None] | None = None
        jobs.register(KIND, _BatchHooks(self._wake))

    async def start(self) -> None:
        """Finish what an earlier server did not, and go on doing so."""
        self._finisher = asyncio.create_task(self._finish_all(), name="batch finisher")

    async def stop(self) -> None:
        """Leave the rest to the next server."""
        if self._finisher is not None:
            self._finisher.cancel()
            await asyncio.gather(self._finisher, return_exceptions=True)

    async def create(self, app_id: str, form: Form, order: Order) -> Batch:
        """Have a file worked on.

        Raises:
            Invalid: The order is not right.
            NotFound: There is no such file.
            ModelNotFound: There is no such model.
            Conflict: It is a version that no service serves, and it cannot run here.
            TooManyTasks: Too many are active.
        """
        now = time.time_ns() // 1_000_000
        borrowed: dict[str, dict[str, Any]] = {}
        order = await self._checked(form, order, borrowed)
        id = new_id("batch_", 24) if form == "openai" else new_id("infer-", 16)
        folder = self._folder / id
        spec: dict[str, Any] = {
            "form": form,
            "folder": str(folder),
            "endpoint": order.endpoint,
            "at_once": self._at_once,
            "expires_ms": now + 1000 * seconds_of(order.window) if order.window else 0,
        }
        if form == "qianfan":
            spec |= {
                "model": order.model,
                "parameters": order.parameters,
                "borrowed": borrowed.get(order.model),
            }
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
        try:
            if order.input_file_id:
                content = await self._content(form, order.input_file_id, app_id)
                await asyncio.to_thread(_link, content, folder / "input.jsonl")
            else:
                spec |= {
                    "input_uri": order.input_uri,
                    "output_uri": f"{order.output_uri.rstrip('/')}/{id}",
                    "store": str(self._secrets),
                }
            async with self._database.write() as connection:
                await _check_room(connection, app_id)
                job = await self._jobs.submit(
                    KIND, spec, account=app_id, subject=id, max_attempts=5, connection=connection
                )
                return await store.add(
                    connection,
                    Batch(
                        number=0,
                        id=id,
                        app_id=app_id,
                        job_id=job.id,
                        form=form,
                        state="validating",
                        created_ms=now,
                        expires_ms=spec["expires_ms"],
                        order=order,
                        outcome=Outcome(at={"validating": now}),
                    ),
                )
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise

    async def get(self, id: str, app_id: str) -> tuple[Batch, Job | None]:
        """A batch of an application's, and its job.

        Raises:
            NotFound: It has none of that id.
        """
        async with self._database.read() as connection:
            batch = await store.get(connection, id, app_id)
        if batch is None:
            raise NotFound(f"no batch {id[:64]!r}; `yangfan batches list` shows those there are")
        return batch, await self._job(batch)

    async def page(
        self, app_id: str, form: Form | None, after: str | None, count: int, *, newest_first: bool
    ) -> tuple[list[tuple[Batch, Job | None]], bool]:
        """Up to `count` of an application's behind the one of that id, and whether more follow.

        Raises:
            NotFound: It has none of that id.
        """
        number = None if after is None else (await self.get(after, app_id))[0].number
        async with self._database.read() as connection:
            found = await store.page(
                connection, app_id, form, number, count + 1, newest_first=newest_first
            )
        return [(batch, await self._job(batch)) for batch in found[:count]], len(found) > count

    async def cancel(self, id: str, app_id: str) -> tuple[Batch, Job | None]:
        """End it; what has been answered is kept. A second call changes nothing.

        Raises:
            NotFound: The application has none of that id.
            Conflict: It has ended otherwise.
        """
        batch, _ = await self.get(id, app_id)
        if batch.state in FINAL and batch.state != "cancelled":
            raise Conflict(
                f"batch {id} has {_ENDED[batch.state]} already, so it cannot be cancelled"
            )
        if batch.state in {"validating", "in_progress"}:
            await self._jobs.cancel(batch.job_id)
            self._wake.set()
        return await self.get(id, app_id)

    async def pause(self, id: str, app_id: str) -> None:
        """Stop it; `resume` lets it go on.

        Raises:
            NotFound: The application has none of that id.
            Conflict: It has ended.
        """
        batch, _ = await self.get(id, app_id)
        await self._jobs.pause(batch.job_id)

    async def resume(self, id: str, app_id: str) -> None:
        """Let it go on where it stopped. Raises as `pause` does."""
        batch, _ = await self.get(id, app_id)
        await self._jobs.resume(batch.job_id)

    async def _content(self, form: Form, file_id: str, app_id: str) -> Path:
        file = await self._files.get(file_id, app_id)
        if form == "openai" and file.purpose != "batch":
            raise Invalid(
                f"file {file.id} was sent for {file.purpose}; send it with purpose batch",
                param="input_file_id",
            )
        return self._files.content(file.sha256)

    async def _job(self, batch: Batch) -> Job | None:
        if batch.state in FINAL:
            return None
        try:
            return await self._jobs.get(batch.job_id)
        except NotFound:
            return None

    async def _checked(
        self, form: Form, order: Order, borrowed: dict[str, dict[str, Any]]
    ) -> Order:
        if order.endpoint.startswith("/v1/"):
            order = msgspec.structs.replace(order, endpoint=f"/v2/{order.endpoint[4:]}")
        if order.endpoint not in ENDPOINTS:
            raise Invalid(
                f"endpoint must be one of {', '.join(ENDPOINTS)}, got {order.endpoint!r}",
                param="endpoint",
            )
        if form == "qianfan":
            model, _ = await self._named(order.model, order.options, borrowed)
            order = msgspec.structs.replace(order, model=model)
        return order

    async def _finish_all(self) -> None:
        """Keep the results of every batch whose job has ended."""
        while True:
            self._wake.clear()
            try:
                async with self._database.read() as connection:
                    ended = await store.in_states(connection, ("finalizing",))
                for batch in ended:
                    await self._finish(batch)
                await self._files.sweep()
            except Exception as error:  # noqa: BLE001 - tried again; the results are safe
                _log.error("a batch waits to be finished", error=str(error))
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _finish(self, batch: Batch) -> None:
        folder = self._folder / batch.id
        if not await asyncio.to_thread(folder.exists):
            return  # another server's, which shares the database and not the disk
        expires = batch.order.output_expires_seconds
        async with self._files.adopting() as adopt:
            found: dict[str, Any] = {}
            for kind in ("output", "error"):
                part = folder / f"{kind}.jsonl"
                saved: int = getattr(batch.outcome, f"{kind}_bytes")
                if await asyncio.to_thread(_cut, part, saved):
                    found[kind] = await adopt(part, f"{batch.id}_{kind}.jsonl", "batch_output")
            async with self._database.write() as connection:
                now = await store.get(connection, batch.id)
                if now is None or now.state != "finalizing":
                    return
                ids = {
                    f"{kind}_file_id": await self._files.keep(
                        connection, batch.app_id, adopted, expires_seconds=expires
                    )
                    for kind, adopted in found.items()
                }
                outcome = msgspec.structs.replace(now.outcome, **ids)
                await store.save(connection, moved(replace(now, outcome=outcome), outcome.end))
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


_ENDED: Mapping[str, str] = {"completed": "completed", "failed": "failed", "expired": "expired"}


class _BatchHooks(Hooks):
    """What becomes of a batch when its job changes, in the same transaction."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake

    async def saved(self, connection: AsyncConnection, job: Job, state: dict[str, Any]) -> None:
        """A chunk is there."""
        batch = await store.of_job(connection, job.id)
        if batch is not None and batch.state in {"validating", "in_progress"}:
            batch = replace(batch, outcome=_counted(batch.outcome, state))
            await store.save(connection, moved(batch, "in_progress"))

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """All is done, or the file was none to work on."""
        batch = await store.of_job(connection, job.id)
        if batch is None:
            return
        refused = msgspec.convert(result.get("refused", []), tuple[Refused, ...])
        outcome = _counted(batch.outcome, result)
        end: State = "failed" if refused else "expired" if result.get("expired") else "completed"
        outcome = msgspec.structs.replace(outcome, refused=refused, end=end)
        await store.save(connection, moved(replace(batch, outcome=outcome), "finalizing"))
        self._wake.set()

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """No attempt is left; what has been answered is kept."""
        await self._end(connection, job, "failed", (Refused(error.code, error.message),))

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Somebody cancelled it; what has been answered is kept."""
        await self._end(connection, job, "cancelled", ())

    async def _end(
        self, connection: AsyncConnection, job: Job, end: State, refused: tuple[Refused, ...]
    ) -> None:
        batch = await store.of_job(connection, job.id)
        if batch is not None:
            outcome = msgspec.structs.replace(batch.outcome, refused=refused, end=end)
            await store.save(connection, moved(replace(batch, outcome=outcome), "finalizing"))
            self._wake.set()


async def _check_room(connection: AsyncConnection, app_id: str) -> None:
    active = await store.count(connection, app_id, ACTIVE)
    if active >= MOST_ACTIVE:
        raise TooManyTasks(
            f"{active} batches wait or are worked on, {MOST_ACTIVE} may; wait for one to end or stop one"
        )


def _counted(outcome: Outcome, state: Mapping[str, Any]) -> Outcome:
    names = (
        "total",
        "completed",
        "failed",
        "prompt_tokens",
        "completion_tokens",
        "output_bytes",
        "error_bytes",
    )
    return msgspec.structs.replace(
        outcome, **{name: int(state[name]) for name in names if name in state}
    )


def moved(batch: Batch, state: State) -> Batch:
    """The batch in another state, since now."""
    if batch.state == state:
        return batch
    at = {**batch.outcome.at, state: time.time_ns() // 1_000_000}
    return replace(batch, state=state, outcome=msgspec.structs.replace(batch.outcome, at=at))


def seconds_of(window: str) -> int:
    """How long a window such as ``24h`` or ``7d`` is."""
    return int(window[:-1]) * _UNITS[window[-1]]


def _cut(path: Path, size_bytes: int) -> bool:
    """Leave what was saved of it; whether that is anything."""
    if not size_bytes or not path.exists():
        return False
    if path.stat().st_size > size_bytes:
        os.truncate(path, size_bytes)
    return True


def _link(source: Path, target: Path) -> None:
    """Have the content there for as long as the batch needs it, even if the file is deleted meanwhile."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise NotFound("the file was deleted just now; send it again") from None
    except OSError:
        shutil.copyfile(source, target)
