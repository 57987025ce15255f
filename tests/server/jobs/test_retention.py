"""Jobs that ended long ago are forgotten, nothing else is; and how all of them are counted."""

from __future__ import annotations

import sqlalchemy as sa

from yangfan.server.db import Database, now_ms
from yangfan.server.jobs import JobError, Jobs, Leases, Retention
from yangfan.server.jobs.tables import JOB_LOGS, JOBS

DAY_MS = 86_400_000


async def ended(jobs: Jobs, leases: Leases, database: Database, days_ago: float) -> str:
    job = await jobs.submit("count", {})
    (job,) = await leases.claim("here", 1)
    await leases.start(job.id, job.fence)
    await leases.beat(job.id, job.fence, None, [(0, 0, "a line")])
    await leases.finish(job.id, job.fence, {})
    async with database.write() as connection:
        finished = now_ms() - int(days_ago * DAY_MS)
        await connection.execute(
            sa.update(JOBS).where(JOBS.c.id == job.id).values(finished_ms=finished)
        )
    return job.id


async def test_only_what_ended_long_ago_is_forgotten_with_its_log(
    jobs: Jobs, leases: Leases, database: Database
):
    old = [await ended(jobs, leases, database, 30.1) for _ in range(3)]
    young = await ended(jobs, leases, database, 29.9)
    waiting = await jobs.submit("count", {})
    async with database.write() as connection:
        await connection.execute(sa.update(JOBS).values(created_ms=0))
    assert await Retention(jobs, 30).tidy() == len(old)
    assert {job.id for job in await jobs.list()} == {young, waiting.id}
    async with database.read() as connection:
        kept = await connection.execute(sa.select(JOB_LOGS.c.job_id))
        assert [row.job_id for row in kept] == [young]
    assert await Retention(jobs, 30).tidy() == 0


async def test_many_are_forgotten_in_several_transactions(
    jobs: Jobs, leases: Leases, database: Database
):
    for _ in range(3):
        await ended(jobs, leases, database, 2)
    assert await jobs.forget(1, 2) == 2
    assert await jobs.forget(1, 2) == 1


async def test_a_census_counts_each_end_once(jobs: Jobs, leases: Leases, database: Database):
    await ended(jobs, leases, database, 1)
    first = await jobs.census(None)
    assert first.jobs == {("count", "succeeded"): 1}
    assert (first.ended, first.queue_age_seconds) == ([], 0.0)
    id = await ended(jobs, leases, database, 0)
    failing = await jobs.submit("count", {}, max_attempts=1)
    (failing,) = await leases.claim("here", 1)
    await leases.fail(failing.id, failing.fence, JobError("X", "x"), retryable=False)
    await jobs.submit("other", {})
    async with database.write() as connection:
        for one, took in ((id, 5000), (failing.id, 0)):
            at = first.upto_ms + 1
            times = {"started_ms": at - took, "finished_ms": at}
            await connection.execute(sa.update(JOBS).where(JOBS.c.id == one).values(times))
        queued = sa.update(JOBS).where(JOBS.c.kind == "other")
        await connection.execute(queued.values(run_after_ms=now_ms() - 10_000))
    second = await jobs.census(first.upto_ms)
    assert sorted(second.ended) == [("count", "failed", 0.0), ("count", "succeeded", 5.0)]
    assert second.jobs[("other", "queued")] == 1
    assert 10 <= second.queue_age_seconds < 60
    assert (await jobs.census(second.upto_ms)).ended == []
