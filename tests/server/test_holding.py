"""One server for each PostgreSQL database: a second is refused or stands by, and takes over from one that was killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import serving, wait_until
from tests.postgresql import PostgreSQL
from tests.server.deployments.conftest import Console

from yangfan.errors import ConfigurationError
from yangfan.server.holding import holding

TAKEOVER_SECONDS = 60.0


def never() -> None:
    raise AssertionError("nobody took over")


async def test_a_second_holder_is_refused_by_the_first_ones_name(postgresql: PostgreSQL):
    url, other = postgresql.new(), postgresql.new()
    async with holding(url, standby=False, lost=never):
        with pytest.raises(ConfigurationError, match=f"process {os.getpid()}.*--standby"):
            async with holding(url, standby=False, lost=never):
                pass
        async with holding(other, standby=False, lost=never):
            pass  # another database is another matter
    async with holding(url, standby=False, lost=never):
        pass


END_HOLDER = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
HOLDERS = END_HOLDER.replace("pg_terminate_backend(pid)", "count(*)")


async def test_a_holder_whose_session_breaks_takes_it_anew(postgresql: PostgreSQL):
    url = postgresql.new()
    async with holding(url, standby=False, lost=never, poll_seconds=0.05):
        await asyncio.to_thread(postgresql.run, END_HOLDER, url)
        await asyncio.to_thread(
            wait_until, lambda: postgresql.run(HOLDERS, url).strip() == "1", "the lock again"
        )


async def test_a_holder_whose_session_breaks_gives_way_to_one_that_was_faster(
    postgresql: PostgreSQL,
):
    url, lost, taken = postgresql.new(), asyncio.Event(), asyncio.Event()

    async def stand_by() -> None:
        async with holding(url, standby=True, lost=never, poll_seconds=0.01):
            taken.set()
            await lost.wait()

    async with asyncio.timeout(30):
        async with holding(url, standby=False, lost=lost.set, poll_seconds=1.0):
            standby = asyncio.create_task(stand_by())
            await asyncio.to_thread(postgresql.run, END_HOLDER, url)
            await taken.wait()
            await lost.wait()
        await standby


def test_standby_takes_over_the_services_of_a_killed_server(postgresql: PostgreSQL, tmp_path: Path):
    environ = {"YANGFAN_DATABASE": postgresql.new()}
    first, second = tmp_path / "first", tmp_path / "second"
    with serving(first, environ=environ) as server:
        console = Console(server)
        console.create("kept", engineOptions={"prefix": "kept: "})

        command = [sys.executable, "-m", "yangfan", "serve", "--home", str(second), "--port", "0"]
        command += ["--model", "echo"]
        refused = subprocess.run(
            command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
        )
        assert refused.returncode == 1
        assert f"process {server.pid}) serves from this database" in refused.stderr

        shutil.copy(first / "secret.key", second / "secret.key")
        ready = second / "ready.json"
        with subprocess.Popen(
            [*command, "--standby", "--ready-file", str(ready)],
            env={**os.environ, **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as standby:
            try:
                log = second / "logs" / "server.log"
                wait_until(
                    lambda: log.exists() and "standing by" in log.read_text(),
                    "the second server to stand by",
                    TAKEOVER_SECONDS,
                )
                assert not ready.exists()
                os.kill(server.pid, signal.SIGKILL)
                began = time.monotonic()
                wait_until(ready.exists, "the takeover", TAKEOVER_SECONDS)
            finally:
                standby.terminate()
                standby.wait(TAKEOVER_SECONDS)
        print(f"a server that stood by was ready {time.monotonic() - began:.1f} s after the kill")

    with serving(second, environ=environ) as server:
        console = Console(server)
        assert console.says("kept") == "kept: hi"
    shutil.rmtree(second)
    refused = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1
    assert "secret.key does not belong to this database" in refused.stderr
