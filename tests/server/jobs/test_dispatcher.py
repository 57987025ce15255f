"""Who gets a worker when, and what becomes of workers that are not wanted any more; with an executor that only pretends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from yangfan.executors.base import Assignment
from yangfan.server.db import Database
from yangfan.server.jobs import Dispatcher, Job, Jobs, Leases
from yangfan.server.jobs.tokens import JobMint


class Pretender:
    """An executor whose workers run until they are told how they ended."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[str]] = {}
        self.forgotten: list[str] = []
        self.changed = asyncio.Event()

    async def run(self, assignment: Assignment) -> str:
        """Pretend."""
        ended = self.running[assignment.job_id] = asyncio.get_running_loop().create_future()
        self.changed.set()
        try:
            return await ended
        finally:
            del self.running[assignment.job_id]
            self.changed.set()

    async def reap(self) -> int:
        """Nothing is left."""
        return 0

    def folder(self, job_id: str) -> Path:
        """Nowhere."""
        return Path("/nowhere") / job_id

    def kept(self) -> list[str]:
        """Of a job that nobody knows."""
        return ["jb-gone"]

    def forget(self, job_id: str) -> None:
        """Note it."""
        self.forgotten.append(job_id)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def executor() -> Pretender:
    return Pretender()


@pytest.fixture
async def dispatcher(jobs: Jobs, leases: Leases, executor: Pretender) -> AsyncGenerator[Dispatcher]:
    dispatcher = Dispatcher(
        jobs,
        leases,
        executor,
        JobMint(b"k"),
        base_url="http://127.0.0.1:1",
        owner="here",
        at_once=2,
        stop_grace_seconds=0.0,
    )
    yield dispatcher
    await dispatcher.stop()


async def until(jobs: Jobs, id: str, state: str) -> Job:
    """The job once it is in a state."""
    async with asyncio.timeout(20):
        async for job in jobs.watch(id, quiet_seconds=0.0):
            if job.state == state:
                return job
    raise AssertionError("it ended otherwise")


async def test_so_many_run_at_once_and_the_next_follows(
    dispatcher: Dispatcher, executor: Pretender, jobs: Jobs, leases: Leases
):
    ids = [(await jobs.submit("count", {})).id for _ in range(3)]
    await dispatcher.start()
    assert executor.forgotten == ["jb-gone"]
    await executor.until(lambda: len(executor.running) == 2)
    first = next(iter(executor.running))
    job = await jobs.get(first)
    await leases.finish(first, job.fence, {})
    executor.running[first].set_result("it ended")
    await executor.until(lambda: executor.running.keys() == {*ids} - {first})
    await until(jobs, first, "succeeded")


async def test_a_worker_that_ends_without_a_word_costs_an_attempt(
    dispatcher: Dispatcher, executor: Pretender, jobs: Jobs
):
    id = (await jobs.submit("count", {}, max_attempts=1)).id
    await dispatcher.start()
    await executor.until(lambda: id in executor.running)
    executor.running[id].set_result("out of memory")
    failed = await until(jobs, id, "failed")
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("WorkerLost", "out of memory")


async def test_a_worker_that_does_not_stop_is_ended(
    dispatcher: Dispatcher, executor: Pretender, jobs: Jobs
):
    id = (await jobs.submit("count", {})).id
    await dispatcher.start()
    await executor.until(lambda: id in executor.running)
    await jobs.cancel(id)
    await until(jobs, id, "cancelled")
    await executor.until(lambda: not executor.running)


async def test_a_worker_that_has_lost_its_job_makes_room(
    database: Database, jobs: Jobs, dispatcher: Dispatcher, executor: Pretender
):
    id = (await jobs.submit("count", {}, max_attempts=1)).id
    await dispatcher.start()
    await executor.until(lambda: id in executor.running)
    # Frozen, as by SIGSTOP: the lease runs out, and nobody beats.
    await Leases(database, jobs, lease_seconds=-1.0).beat(id, 1, None, [])
    failed = await until(jobs, id, "failed")
    assert failed.error is not None
    assert "was silent" in failed.error.message
    await executor.until(lambda: not executor.running)


async def test_jobs_of_a_server_that_stops_wait_for_the_next(
    dispatcher: Dispatcher, executor: Pretender, jobs: Jobs
):
    id = (await jobs.submit("count", {}, max_attempts=1)).id
    await dispatcher.start()
    await executor.until(lambda: id in executor.running)
    await dispatcher.stop()
    assert executor.running == {}
    job = await jobs.get(id)
    assert (job.state, job.attempts) == ("queued", 0)
