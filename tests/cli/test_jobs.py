"""`yangfan jobs` against a real server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.cli.conftest import Command

from yangfan.server.db import Database
from yangfan.server.jobs import Jobs


def submit(yangfan: Command, **spec: Any) -> str:
    """A job in the server's queue."""

    async def put() -> str:
        database = Database(yangfan.home / "yangfan.db")
        try:
            return (await Jobs(database).submit("count", spec)).id
        finally:
            await database.close()

    return asyncio.run(put())


def test_a_job_is_followed_and_read(yangfan: Command):
    id = submit(yangfan, steps=3)
    watched = yangfan("jobs", "watch", id, "--logs")
    assert (watched.status, watched.out) == (0, "step 1\nstep 2\nstep 3\n")
    assert "3/3 (100 %) steps" in watched.err
    listed = yangfan("jobs", "list")
    assert f"{id}\tcount\tsucceeded\t3/3 (100 %) steps" in listed.out
    shown = json.loads(yangfan("jobs", "show", id, "--json").out)
    assert shown["result"] == {"steps": 3, "sum": 6}
    assert "state\tsucceeded" in yangfan("jobs", "show", id).out
    assert yangfan("jobs", "logs", id).out == "step 1\nstep 2\nstep 3\n"
    assert yangfan("jobs", "logs", id, "--follow").out == "step 1\nstep 2\nstep 3\n"
    events = yangfan("jobs", "watch", id, "--json").out.splitlines()
    assert json.loads(events[-1])["job"]["state"] == "succeeded"
    assert json.loads(yangfan("jobs", "list", "--json", "--kind", "count").out)[0]["id"] == id


def test_a_job_is_stopped_and_goes_on(yangfan: Command):
    id = submit(yangfan, steps=1000, pause_seconds=0.1)
    paused = yangfan("jobs", "pause", id)
    assert (paused.status, "pause" in paused.out) == (0, True)
    assert yangfan("jobs", "resume", id).status == 0
    kept = yangfan("jobs", "rm", id)
    assert (kept.status, "cancel it before you delete it" in kept.err) == (1, True)
    assert yangfan("jobs", "cancel", id).status == 0
    ended = yangfan("jobs", "watch", id)
    assert (ended.status, "cancelled" in ended.err) == (1, True)
    assert yangfan("jobs", "rm", id).status == 0
    gone = yangfan("jobs", "show", id)
    assert (gone.status, "there is no job" in gone.err) == (1, True)
    assert yangfan("jobs", "list", "--state", "over").status == 2
