"""What the tests of jobs share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, wait_until

from yangfan.server.db import Database
from yangfan.server.jobs import Job, Jobs, Leases

WAIT_SECONDS = 60.0


class Desk:
    """Submits jobs to a server's database and looks at them, as a slice within the server would."""

    def __init__(self, server: Server, url: str | None = None) -> None:
        self.server = server
        self._target = url or server.home / "yangfan.db"
        self.pair: dict[str, Any] = {
            "access_key": server.access_key,
            "secret_access_key": server.secret_access_key,
        }

    def ask(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a method of `Jobs` on the server's database."""

        async def call() -> Any:
            database = Database(self._target)
            try:
                return await getattr(Jobs(database), method)(*args, **options)
            finally:
                await database.close()

        return asyncio.run(call())

    def submit(self, steps: int, **spec: Any) -> str:
        """A job that counts."""
        return self.ask("submit", "count", {"steps": steps, **spec}).id

    def until(self, id: str, condition: Callable[[Job], bool], what: str) -> Job:
        """The job once it is so."""
        job: list[Job] = []

        def is_so() -> bool:
            job[:] = [self.ask("get", id)]
            return condition(job[0])

        wait_until(is_so, f"{what}; it is {job}", WAIT_SECONDS)
        return job[0]

    def worker(self, id: str) -> int:
        """Process id of the worker of a job."""
        found: list[int] = []

        def runs() -> bool:
            found[:] = workers(id)
            return bool(found)

        wait_until(runs, f"a worker of {id}", WAIT_SECONDS)
        return found[0]


def workers(id: str) -> list[int]:
    """Process ids of the workers of a job."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if id.encode() in words and b"worker" in words:
                found.append(int(entry.name))
    return found


@pytest.fixture
async def database(database_target: Path | str) -> AsyncGenerator[Database]:
    """A database of this release."""
    database = Database(database_target)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
def jobs(database: Database) -> Jobs:
    """Jobs that are tried again at once."""
    return Jobs(database, backoff_seconds=0.0)


@pytest.fixture
def leases(database: Database, jobs: Jobs) -> Leases:
    """The workers' side."""
    return Leases(database, jobs)


@pytest.fixture(scope="session")
def desk(
    tmp_path_factory: pytest.TempPathFactory,
    start_server: Callable[..., AbstractContextManager[Server]],
) -> Generator[Desk]:
    """A server that works on jobs."""
    with start_server(tmp_path_factory.mktemp("jobs-home")) as server:
        yield Desk(server)
