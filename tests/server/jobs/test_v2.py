"""The Actions on jobs, through the SDK and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest
from tests.conftest import wait_until
from tests.server.conftest import Caller, Reply
from tests.server.jobs.conftest import WAIT_SECONDS, Desk

from yangfan import AsyncClient, Client
from yangfan.errors import Conflict, Invalid, NotFound
from yangfan.protocol.worker import PATH


@pytest.fixture
def client(desk: Desk) -> Generator[Client]:
    """The SDK, signed."""
    server = desk.server
    with Client(server.base_url, **desk.pair, timeout_seconds=WAIT_SECONDS) as client:
        yield client


def test_a_job_is_followed_to_its_end_with_its_log(desk: Desk, client: Client):
    id = desk.submit(4, pause_seconds=0.1)
    events = list(client.jobs.watch(id, logs=True))
    assert events[-1].job.state == "succeeded"
    assert events[-1].job.result == {"steps": 4, "sum": 10}
    assert [line.text for event in events for line in event.lines] == [
        f"step {number}" for number in range(1, 5)
    ]
    ended = client.jobs.get(id)
    assert ended == events[-1].job
    assert (ended.kind, ended.desired, ended.error) == ("count", "run", None)
    assert (ended.progress.done, ended.progress.total, ended.progress.unit) == (4, 4, "steps")
    assert ended.started is not None
    assert ended.finished is not None
    assert ended.created <= ended.started <= ended.finished
    lines = client.jobs.logs(id)
    assert [line.text for line in lines] == [f"step {number}" for number in range(1, 5)]
    assert client.jobs.logs(id, after=lines[1].marker) == lines[2:]
    assert client.jobs.wait(id) == ended


async def test_the_asynchronous_client_follows_too(desk: Desk):
    server = desk.server
    id = await asyncio.to_thread(desk.submit, 1)
    async with AsyncClient(server.base_url, **desk.pair) as client:
        assert (await client.jobs.wait(id)).state == "succeeded"


def test_jobs_are_listed_in_pages_and_filtered(desk: Desk, client: Client):
    ids = [desk.ask("submit", "count", {"steps": 0}, subject="paged").id for _ in range(3)]
    for id in ids:
        client.jobs.wait(id)
    assert {job.id for job in client.jobs.list(subject="paged")} == set(ids)
    first = client.jobs.list(subject="paged", limit=2)
    assert len(first) == 2
    assert client.jobs.list(subject="paged", kind="import_model") == ()
    assert len(client.jobs.list(subject="paged", state="succeeded")) == 3


def test_a_job_is_paused_resumed_cancelled_and_deleted(desk: Desk, client: Client):
    id = desk.submit(1000, pause_seconds=0.1)
    assert client.jobs.pause(id).desired == "pause"
    wait_until(lambda: client.jobs.get(id).state == "paused", "the pause", WAIT_SECONDS)
    assert client.jobs.resume(id).state == "queued"
    with pytest.raises(Conflict, match="cancel it before you delete it"):
        client.jobs.delete(id)
    client.jobs.cancel(id)
    assert client.jobs.wait(id).state == "cancelled"
    client.jobs.delete(id)
    with pytest.raises(NotFound, match="there is no job jb-"):
        client.jobs.get(id)
    for call in (client.jobs.wait, client.jobs.logs, client.jobs.cancel):
        with pytest.raises(NotFound):
            call(id)


def test_a_wrong_state_and_a_wrong_marker_are_refused(client: Client):
    with pytest.raises(Invalid, match="state"):
        client.jobs.list(state="over")  # pyright: ignore[reportArgumentType] - on purpose
    with pytest.raises(Invalid, match="marker"):
        client.jobs.logs("jb-0", after="behind")


@pytest.mark.parametrize(
    "authorization",
    [None, "Job ", "Job job.jb-0000000000000000.1.9999999999." + "0" * 64, "Bearer x"],
)
def test_nobody_but_a_worker_is_heard_at_the_workers_door(desk: Desk, authorization: str | None):
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = ask_as_worker(desk, headers)
    assert (reply.status, reply.json["code"]) == (403, "AccessDenied")
    assert "worker's token" in reply.json["message"]


def ask_as_worker(desk: Desk, headers: dict[str, str]) -> Reply:
    return Caller(desk.server).ask("POST", f"{PATH}?Action=StartJob", {}, headers)
