"""A storm of kill -9 over workers and the server, and an account of what is left: every step once, none lost.

    python -m tests.kill_storm --kills 500      half of them on SQLite, half on PostgreSQL

Jobs count up, each step one save. A trigger of the database, not our code, writes a row for each save and for each success in the
very transaction; the rows are what is counted in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from tests.conftest import Server, serving
from tests.postgresql import running

from yangfan.server.db import Database
from yangfan.server.jobs import FINAL, Job, Jobs

T = TypeVar("T")
MAX_ATTEMPTS = 1_000_000
AT_ONCE = 4
END_SECONDS = 600.0
IDLE_SECONDS = 5.0
"""After so long without a worker there are more jobs."""

_SQLITE = (
    "CREATE TABLE effects (job TEXT NOT NULL, step INTEGER NOT NULL) STRICT",
    "CREATE TRIGGER saved AFTER UPDATE OF saves ON jobs WHEN new.saves <> old.saves"
    " BEGIN INSERT INTO effects VALUES (new.id, new.saves); END",
    "CREATE TRIGGER succeeded AFTER UPDATE OF state ON jobs WHEN new.state = 'succeeded'"
    " BEGIN INSERT INTO effects VALUES (new.id, 0); END",
)
_POSTGRESQL = (
    "CREATE TABLE effects (job TEXT NOT NULL, step BIGINT NOT NULL)",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF new.saves <> old.saves THEN INSERT INTO effects VALUES (new.id, new.saves); END IF;"
    " IF new.state = 'succeeded' THEN INSERT INTO effects VALUES (new.id, 0); END IF;"
    " RETURN NULL; END $$",
    "CREATE TRIGGER noted AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note()",
)


@dataclass
class Account:
    """What happened and what is left."""

    database: str
    jobs: int = 0
    steps_each: int = 0
    workers_killed: int = 0
    servers_killed: int = 0
    attempts: int = 0
    states: Counter[str] = field(default_factory=Counter[str])
    wrong_results: int = 0
    lost: int = 0
    doubled: int = 0
    effects: int = 0
    seconds: float = 0.0

    @property
    def wanted(self) -> int:
        """Effects that there must be: each step, and each success."""
        return self.jobs * (self.steps_each + 1)

    @property
    def right(self) -> bool:
        """Whether every effect happened exactly once, and every job ended well."""
        return (
            self.states == Counter({"succeeded": self.jobs})
            and (self.wrong_results, self.lost, self.doubled) == (0, 0, 0)
            and self.effects == self.wanted
        )

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.database}: {self.workers_killed + self.servers_killed} kills"
            f" ({self.workers_killed} workers, {self.servers_killed} servers) in {self.seconds:.0f} s;"
            f" {self.jobs} jobs of {self.steps_each} steps took {self.attempts} attempts: {dict(self.states)};"
            f" effects wanted {self.wanted}, got {self.effects}, lost {self.lost}, doubled {self.doubled},"
            f" wrong results {self.wrong_results}"
        )


class Storm:
    """One storm over one database.

    Args:
        home: Home folder of the server.
        url: PostgreSQL to use; None for the file in the home folder.
        seed: Of what is killed when.
    """

    def __init__(self, home: Path, url: str | None, seed: int) -> None:
        self._home = home
        self._url = url
        self._random = random.Random(seed)
        self._server: Server | None = None
        self._stack = ExitStack()
        self._spec: dict[str, float] = {}
        self.account = Account("SQLite" if url is None else "PostgreSQL")

    def rage(self, kills: int, *, jobs: int, steps: int, pause_seconds: float) -> Account:
        """Kill so often while jobs run, then let them end and count."""
        began = time.monotonic()
        self.account.steps_each = steps
        self._spec = {"steps": steps, "pause_seconds": pause_seconds}
        with self._stack:
            self._start()
            self._ask(self._prepare)
            self._submit(jobs)
            for number in range(kills):
                time.sleep(self._random.uniform(0.0, 0.6))
                # One in five is the server; the first ones too, so that short storms have some.
                self._kill_server() if number % 5 == 2 else self._kill_worker()
            self._await_end(began + END_SECONDS + 10 * kills)
            self.account.seconds = time.monotonic() - began
            self._ask(self._count)
        return self.account

    def _submit(self, count: int) -> None:
        async def submit(_database: Database, jobs: Jobs) -> None:
            for _ in range(count):
                await jobs.submit("count", self._spec, max_attempts=MAX_ATTEMPTS)

        self._ask(submit)
        self.account.jobs += count

    def _start(self) -> None:
        environ = {"YANGFAN_JOBS_AT_ONCE": str(AT_ONCE), "YANGFAN_LOG_LEVEL": "error"}
        if self._url is not None:
            environ["YANGFAN_DATABASE"] = self._url
        self._server = self._stack.enter_context(serving(self._home, environ=environ))

    def _kill_server(self) -> None:
        assert self._server is not None
        self._server.process.send_signal(signal.SIGKILL)
        self._server.process.wait(60)
        self.account.servers_killed += 1
        self._start()

    def _kill_worker(self) -> None:
        assert self._server is not None
        idle_since = time.monotonic()
        while not (pids := workers_of(self._server.pid)):
            if time.monotonic() - idle_since > IDLE_SECONDS:
                self._submit(AT_ONCE)
                idle_since = time.monotonic()
            time.sleep(0.01)
        try:
            os.kill(self._random.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return self._kill_worker()
        self.account.workers_killed += 1
        return None

    def _await_end(self, deadline: float) -> None:
        while any(job.state not in FINAL for job in self._ask(_all)):
            assert time.monotonic() < deadline, f"the jobs did not end: {self.account}"
            time.sleep(0.5)

    def _ask(self, question: Callable[[Database, Jobs], Awaitable[T]]) -> T:
        async def ask() -> T:
            database = Database(self._url or self._home / "yangfan.db")
            try:
                return await question(database, Jobs(database))
            finally:
                await database.close()

        return asyncio.run(ask())

    async def _prepare(self, database: Database, _jobs: Jobs) -> None:
        async with database.write() as connection:
            for statement in _SQLITE if self._url is None else _POSTGRESQL:
                await connection.execute(sa.text(statement))

    async def _count(self, database: Database, jobs: Jobs) -> None:
        account = self.account
        async with database.read() as connection:
            rows = await connection.execute(sa.text("SELECT job, step FROM effects"))
            effects = Counter((row.job, row.step) for row in rows)
        steps = account.steps_each
        for job in await _all(database, jobs):
            account.states[job.state] += 1
            account.attempts += job.fence
            account.wrong_results += job.result != {"steps": steps, "sum": steps * (steps + 1) // 2}
            account.lost += sum((job.id, step) not in effects for step in range(steps + 1))
        account.effects = effects.total()
        account.doubled = sum(count - 1 for count in effects.values())


async def _all(_database: Database, jobs: Jobs) -> Sequence[Job]:
    return await jobs.list(limit=100_000)


def workers_of(pid: int) -> list[int]:
    """Process ids of the workers that a server has started."""
    found: list[int] = []
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    for child in children:
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"worker" in words:
            found.append(int(child))
    return found


def main() -> None:
    """Storm over both databases, and print the accounts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="in all, on both databases")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    given = parser.parse_args()
    kills = (given.kills + 1) // 2
    # A kill costs a worker about a second of work; the jobs are to last as long as the storm.
    jobs, steps, pause_seconds = max(4, kills // 2), 60, 0.05
    print(f"seed {given.seed}, {kills} kills on each database", flush=True)
    accounts: list[Account] = []
    with tempfile.TemporaryDirectory(prefix="yangfan-storm-") as folder:
        accounts.append(
            Storm(Path(folder) / "sqlite", None, given.seed).rage(
                kills, jobs=jobs, steps=steps, pause_seconds=pause_seconds
            )
        )
        print(accounts[-1], flush=True)
        with running(Path(folder) / "pg") as server:
            storm = Storm(Path(folder) / "postgresql", server.new(), given.seed)
            accounts.append(storm.rage(kills, jobs=jobs, steps=steps, pause_seconds=pause_seconds))
            print(accounts[-1], flush=True)
    raise SystemExit(0 if all(account.right for account in accounts) else 1)


if __name__ == "__main__":
    main()
