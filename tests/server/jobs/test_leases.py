"""Fences and leases: one worker at a time, whoever dies when."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from yangfan.errors import Conflict
from yangfan.server.db import Database, now_ms
from yangfan.server.jobs import Job, JobError, Jobs, Leases
from yangfan.server.jobs.tables import JOBS
from yangfan.server.jobs.types import BEFORE_ALL

LOST = JobError("WorkerLost", "killed")


async def claimed(jobs: Jobs, leases: Leases, max_attempts: int = 3) -> Job:
    await jobs.submit("count", {"steps": 1}, max_attempts=max_attempts)
    (job,) = await leases.claim("here", 1)
    return job


async def expire(database: Database, id: str) -> None:
    async with database.write() as connection:
        await connection.execute(
            sa.update(JOBS).where(JOBS.c.id == id).values(lease_until_ms=now_ms() - 1)
        )


async def test_of_many_who_claim_a_job_one_gets_it(jobs: Jobs, leases: Leases):
    ids = [(await jobs.submit("count", {})).id for _ in range(3)]
    got = await asyncio.gather(*(leases.claim(f"owner {n}", 3) for n in range(6)))
    assert sorted(job.id for each in got for job in each) == sorted(ids)


async def test_the_longest_waiting_job_is_claimed_first(jobs: Jobs, leases: Leases):
    first = await jobs.submit("count", {})
    async with asyncio.timeout(5):
        while (await jobs.submit("count", {})).created_ms == first.created_ms:
            pass
    (job,) = await leases.claim("here", 1)
    assert job.created_ms == first.created_ms


async def test_a_worker_with_an_old_fence_is_refused(
    jobs: Jobs, leases: Leases, database: Database
):
    old = await claimed(jobs, leases)
    await leases.lose(old.id, old.fence, LOST)
    (new,) = await leases.claim("here", 1)
    assert new.fence == old.fence + 1
    for step in (
        leases.start(old.id, old.fence),
        leases.beat(old.id, old.fence, None, [(0, 0, "from the past")]),
        leases.save(old.id, old.fence, 1, {}),
        leases.finish(old.id, old.fence, {}),
        leases.fail(old.id, old.fence, LOST, retryable=True),
        leases.stop(old.id, old.fence),
    ):
        with pytest.raises(Conflict, match="not this worker's any more"):
            await step
    await leases.lose(old.id, old.fence, LOST)
    assert (await jobs.get(new.id)).state == "starting"
    assert await jobs.log(new.id) == ()


async def test_a_lost_worker_costs_an_attempt_and_the_last_error_is_kept(
    jobs: Jobs, leases: Leases
):
    job = await claimed(jobs, leases, max_attempts=2)
    await leases.lose(job.id, job.fence, LOST)
    waiting = await jobs.get(job.id)
    assert (waiting.state, waiting.error, waiting.attempts) == ("queued", LOST, 1)
    (job,) = await leases.claim("here", 1)
    await leases.lose(job.id, job.fence, JobError("WorkerLost", "again"))
    failed = await jobs.get(job.id)
    assert (failed.state, failed.error) == ("failed", JobError("WorkerLost", "again"))
    assert failed.finished_ms is not None


async def test_attempts_are_counted_from_the_last_save(jobs: Jobs, leases: Leases):
    job = await claimed(jobs, leases, max_attempts=2)
    for number in range(1, 6):
        await leases.save(job.id, job.fence, number, {"done": number})
        await leases.lose(job.id, job.fence, LOST)
        (job,) = await leases.claim("here", 1)
    assert (job.attempts, job.checkpoint, job.fence) == (2, {"done": 5}, 6)


async def test_the_next_attempt_waits_longer_each_time(database: Database):
    jobs = Jobs(database, backoff_seconds=100.0)
    leases = Leases(database, jobs)
    waits: list[int] = []
    job = await claimed(jobs, leases, max_attempts=5)
    for _ in range(3):
        await leases.lose(job.id, job.fence, LOST)
        assert await leases.claim("here", 1) == []
        async with database.write() as connection:
            now = (await connection.execute(sa.select(now_ms()))).scalar_one()
            waits.append(round(((await jobs.get(job.id)).run_after_ms - now) / 1000))
            await connection.execute(sa.update(JOBS).values(run_after_ms=0))
        (job,) = await leases.claim("here", 1)
    assert waits == [100, 200, 300], "doubled, up to five minutes"


async def test_an_error_that_no_attempt_would_help_fails_at_once(jobs: Jobs, leases: Leases):
    job = await claimed(jobs, leases)
    error = JobError("Invalid", "steps must be a whole number")
    failed = await leases.fail(job.id, job.fence, error, retryable=False)
    assert (failed.state, failed.error) == ("failed", error)
    again = await leases.fail(job.id, job.fence, error, retryable=False)
    assert again == failed


async def test_a_silent_worker_loses_its_job_and_one_that_beats_keeps_it(
    jobs: Jobs, leases: Leases, database: Database
):
    silent = await claimed(jobs, leases)
    beating = await claimed(jobs, leases)
    await expire(database, silent.id)
    await expire(database, beating.id)
    await leases.beat(beating.id, beating.fence, None, [])
    assert await leases.reap() == 1
    assert await leases.reap() == 0
    lost = await jobs.get(silent.id)
    assert lost.state == "queued"
    assert lost.error is not None
    assert "silent for more than 30 s" in lost.error.message
    assert (await jobs.get(beating.id)).state == "starting"


@pytest.mark.parametrize(("wish", "state"), [("cancel", "cancelled"), ("pause", "paused")])
async def test_what_was_wanted_of_a_lost_worker_happens(
    jobs: Jobs, leases: Leases, database: Database, wish: str, state: str
):
    for end in ("reap", "lose", "release"):
        job = await claimed(jobs, leases)
        await getattr(jobs, wish)(job.id)
        if end == "reap":
            await expire(database, job.id)
            await leases.reap()
        elif end == "lose":
            await leases.lose(job.id, job.fence, LOST)
        else:
            await leases.release("here")
        assert (await jobs.get(job.id)).state == state, end


async def test_jobs_of_a_server_that_ended_go_on_without_losing_an_attempt(
    jobs: Jobs, leases: Leases
):
    job = await claimed(jobs, leases, max_attempts=1)
    assert await leases.release("elsewhere") == 0
    assert await leases.release("here") == 1
    (again,) = await leases.claim("here", 1)
    assert (again.id, again.fence, again.attempts) == (job.id, 2, 1)


async def test_saves_are_counted_so_that_none_is_lost_or_doubled(jobs: Jobs, leases: Leases):
    job = await claimed(jobs, leases)
    await leases.save(job.id, job.fence, 1, {"n": 1})
    await leases.save(job.id, job.fence, 1, {"n": 1})
    with pytest.raises(Conflict):
        await leases.save(job.id, job.fence, 3, {"n": 3})
    assert (await jobs.get(job.id)).checkpoint == {"n": 1}


async def test_a_log_keeps_order_over_attempts_and_takes_each_line_once(jobs: Jobs, leases: Leases):
    job = await claimed(jobs, leases)
    for _ in range(2):
        await leases.beat(job.id, job.fence, None, [(0, 1, "a"), (1, 2, "b")])
    await leases.beat(job.id, job.fence, None, [(20_000, 3, "too much")])
    await leases.lose(job.id, job.fence, LOST)
    (job,) = await leases.claim("here", 1)
    await leases.beat(job.id, job.fence, None, [(0, 1, "c")])
    lines = await jobs.log(job.id)
    assert [line.text for line in lines] == ["a", "b", "c"]
    assert [line.text for line in await jobs.log(job.id, after=lines[0].place, limit=1)] == ["b"]
    assert await jobs.log(job.id, after=BEFORE_ALL, limit=3) == lines
