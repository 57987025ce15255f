"""Jobs as their owners see them: submitted once, listed in pages, stopped and resumed, told of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.server.db import Database
from yangfan.server.jobs import Hooks, Job, JobError, Jobs, Leases, Progress


class Recorder(Hooks):
    """Writes what it is told into a table, within the transaction."""

    def __init__(self) -> None:
        self.refuse: Exception | None = None

    async def _note(self, connection: AsyncConnection, what: str) -> None:
        await connection.execute(sa.text("INSERT INTO told VALUES (:what)"), {"what": what})
        if self.refuse is not None:
            raise self.refuse

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """Note it."""
        await self._note(connection, f"succeeded {job.id} {result}")

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """Note it."""
        await self._note(connection, f"failed {job.id} {error.code}")

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Note it."""
        await self._note(connection, f"cancelled {job.id}")

    async def saved(self, connection: AsyncConnection, job: Job, state: dict[str, Any]) -> None:
        """Note it."""
        await self._note(connection, f"saved {job.id} {state}")


@pytest.fixture
async def recorder(database: Database, jobs: Jobs) -> Recorder:
    """Hooks of the kind `count`, with a table to write into."""
    async with database.write() as connection:
        await connection.execute(sa.text("CREATE TABLE told (what TEXT)"))
    recorder = Recorder()
    jobs.register("count", recorder)
    return recorder


async def told(database: Database) -> list[str]:
    async with database.read() as connection:
        return [row.what for row in await connection.execute(sa.text("SELECT what FROM told"))]


async def started(jobs: Jobs, leases: Leases, **options: Any) -> Job:
    """A job on which a worker works."""
    job = await jobs.submit("count", {"steps": 1}, **options)
    (claimed,) = await leases.claim("here", 1)
    assert claimed.id == job.id
    return await leases.start(claimed.id, claimed.fence)


async def test_a_job_goes_from_the_queue_to_its_result(jobs: Jobs, leases: Leases):
    job = await jobs.submit("count", {"steps": 3}, subject="s", account="a")
    assert (job.state, job.desired, job.fence, job.attempts) == ("queued", "run", 0, 0)
    assert job.id.startswith("jb-")
    (claimed,) = await leases.claim("here", 5)
    assert (claimed.state, claimed.fence, claimed.attempts) == ("starting", 1, 1)
    assert claimed.started_ms is not None
    assert claimed.started_ms >= job.created_ms
    running = await leases.start(claimed.id, claimed.fence)
    assert (running.state, running.spec) == ("running", {"steps": 3})
    beaten = await leases.beat(job.id, 1, Progress(1, 3, "steps", "on"), [(0, 5, "first")])
    assert beaten.progress == Progress(1, 3, "steps", "on")
    done = await leases.finish(job.id, 1, {"sum": 6})
    assert (done.state, done.result, done.error) == ("succeeded", {"sum": 6}, None)
    assert done.finished_ms is not None
    assert await jobs.get(job.id) == done
    assert [line.text for line in await jobs.log(job.id)] == ["first"]


async def test_an_idempotency_key_stands_for_one_job(jobs: Jobs):
    first = await jobs.submit("count", {"steps": 1}, account="a", idempotency_key="k")
    again = await jobs.submit("count", {"steps": 1}, account="a", idempotency_key="k")
    other = await jobs.submit("count", {"steps": 1}, account="b", idempotency_key="k")
    free = [await jobs.submit("count", {"steps": 1}, account="a") for _ in range(2)]
    assert first.id == again.id
    assert len({first.id, other.id, *(job.id for job in free)}) == 4
    with pytest.raises(Conflict, match="use a new key"):
        await jobs.submit("count", {"steps": 2}, account="a", idempotency_key="k")


async def test_submit_belongs_to_the_callers_transaction(database: Database, jobs: Jobs):
    async def fail() -> None:
        async with database.write() as connection:
            await jobs.submit("count", {}, connection=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await jobs.list() == ()


async def test_the_list_is_filtered_and_comes_in_pages(jobs: Jobs, leases: Leases):
    ids = [(await jobs.submit("count", {}, subject=f"s{n % 2}")).id for n in range(5)]
    await leases.claim("here", 1)
    found = [job.id for job in await jobs.list(limit=2)]
    while len(found) < 5:
        found += [job.id for job in await jobs.list(after=found[-1], limit=2)]
    assert sorted(found) == sorted(ids)
    assert await jobs.list(after=found[-1]) == ()
    assert len(await jobs.list(subject="s0")) == 3
    assert len(await jobs.list(state="starting")) == 1
    assert await jobs.list(kind="other") == ()
    with pytest.raises(NotFound, match="there is no job jb-0"):
        await jobs.list(after="jb-0")


@pytest.mark.parametrize("method", ["get", "cancel", "pause", "resume", "delete"])
async def test_an_unknown_job_is_not_found(jobs: Jobs, method: str):
    with pytest.raises(NotFound, match="yangfan jobs list"):
        await getattr(jobs, method)("jb-0000000000000000")


async def test_a_waiting_job_is_cancelled_at_once_and_told_once(
    jobs: Jobs, database: Database, recorder: Recorder
):
    job = await jobs.submit("count", {})
    assert (await jobs.cancel(job.id)).state == "cancelled"
    assert (await jobs.cancel(job.id)).state == "cancelled"
    assert await told(database) == [f"cancelled {job.id}"]
    for refused in (jobs.pause, jobs.resume):
        with pytest.raises(Conflict, match="is cancelled"):
            await refused(job.id)


async def test_a_running_job_is_cancelled_by_its_worker(
    jobs: Jobs, leases: Leases, database: Database, recorder: Recorder
):
    job = await started(jobs, leases)
    asked = await jobs.cancel(job.id)
    assert (asked.state, asked.desired) == ("running", "cancel")
    assert (await leases.beat(job.id, job.fence, None, [])).desired == "cancel"
    assert await told(database) == []
    assert (await leases.stop(job.id, job.fence)).state == "cancelled"
    assert (await leases.stop(job.id, job.fence)).state == "cancelled", "an answer may be lost"
    assert await told(database) == [f"cancelled {job.id}"]


async def test_a_running_job_is_paused_and_goes_on_from_its_checkpoint(jobs: Jobs, leases: Leases):
    job = await started(jobs, leases)
    await leases.save(job.id, job.fence, 1, {"done": 1})
    assert (await jobs.pause(job.id)).desired == "pause"
    paused = await leases.stop(job.id, job.fence)
    assert (paused.state, paused.desired, paused.attempts) == ("paused", "pause", 0)
    assert await leases.claim("here", 1) == []
    assert (await jobs.pause(job.id)).state == "paused"
    resumed = await jobs.resume(job.id)
    assert (resumed.state, resumed.desired) == ("queued", "run")
    (again,) = await leases.claim("here", 1)
    assert (again.fence, again.attempts, again.checkpoint) == (2, 1, {"done": 1})


async def test_a_wish_to_pause_can_be_taken_back(jobs: Jobs, leases: Leases):
    job = await started(jobs, leases)
    await jobs.pause(job.id)
    assert (await jobs.resume(job.id)).desired == "run"
    assert (await leases.stop(job.id, job.fence)).state == "queued", "it had stopped already"


async def test_a_queued_job_is_paused_without_a_worker(jobs: Jobs, leases: Leases):
    job = await jobs.submit("count", {})
    assert (await jobs.pause(job.id)).state == "paused"
    assert await leases.claim("here", 1) == []
    assert (await jobs.cancel(job.id)).state == "cancelled"


async def test_only_an_ended_job_is_deleted_and_its_log_with_it(jobs: Jobs, leases: Leases):
    job = await started(jobs, leases)
    await leases.beat(job.id, job.fence, None, [(0, 1, "line")])
    with pytest.raises(Conflict, match="cancel it before you delete it"):
        await jobs.delete(job.id)
    await leases.finish(job.id, job.fence, {})
    await jobs.delete(job.id)
    assert await jobs.log(job.id) == ()
    with pytest.raises(NotFound):
        await jobs.get(job.id)


async def test_a_finished_job_cannot_be_cancelled(jobs: Jobs, leases: Leases):
    job = await started(jobs, leases)
    await leases.finish(job.id, job.fence, {})
    with pytest.raises(Conflict, match="has succeeded already"):
        await jobs.cancel(job.id)


async def test_hooks_are_told_once_although_answers_are_lost(
    jobs: Jobs, leases: Leases, database: Database, recorder: Recorder
):
    job = await started(jobs, leases)
    for _ in range(2):
        assert (await leases.save(job.id, job.fence, 1, {"a": 1})).saves == 1
    for _ in range(2):
        assert (await leases.finish(job.id, job.fence, {"r": 1})).state == "succeeded"
    assert await told(database) == [f"saved {job.id} {{'a': 1}}", f"succeeded {job.id} {{'r': 1}}"]


async def test_a_hook_that_raises_leaves_the_job_as_it_was(
    jobs: Jobs, leases: Leases, database: Database, recorder: Recorder
):
    job = await started(jobs, leases)
    recorder.refuse = RuntimeError("no")
    with pytest.raises(RuntimeError):
        await leases.finish(job.id, job.fence, {})
    assert (await jobs.get(job.id)).state == "running"
    assert await told(database) == []


async def test_a_hook_that_refuses_the_result_fails_the_job(
    jobs: Jobs, leases: Leases, recorder: Recorder
):
    job = await started(jobs, leases)

    async def refuse(connection: AsyncConnection, job: Job, result: dict[str, Any]) -> None:
        raise Invalid("there is such a model already")

    recorder.succeeded = refuse
    failed = await leases.finish(job.id, job.fence, {})
    assert failed.state == "failed"
    assert failed.error == JobError("Invalid", "there is such a model already")


def test_a_kind_has_one_owner(jobs: Jobs):
    jobs.register("count", Hooks())
    with pytest.raises(ValueError, match="hooks already"):
        jobs.register("count", Hooks())


async def test_a_watcher_sees_every_state_and_the_end(jobs: Jobs, leases: Leases):
    job = await jobs.submit("count", {})
    seen: list[str] = []
    events = {"queued": asyncio.Event(), "starting": asyncio.Event()}

    async def watch() -> None:
        async for now in jobs.watch(job.id):
            seen.append(now.state)
            if now.state in events:
                events[now.state].set()

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(20):
        await events["queued"].wait()
        (claimed,) = await leases.claim("here", 1)
        await events["starting"].wait()
        await leases.start(job.id, claimed.fence)
        await leases.finish(job.id, claimed.fence, {})
        await watching
    assert seen[0] == "queued"
    assert seen[-1] == "succeeded"


async def test_a_quiet_job_is_shown_again_from_time_to_time(jobs: Jobs):
    job = await jobs.submit("count", {})
    watching = jobs.watch(job.id, quiet_seconds=0.0)
    async with asyncio.timeout(5):
        assert [(await anext(watching)).state for _ in range(2)] == ["queued", "queued"]
    await watching.aclose()
