"""Versions that work borrows, without a server: who has them, who can reach them, when they go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.server.deployments.platform import WAIT_SECONDS, Base, Platform, until, without_a_server

from yangfan.errors import Conflict, EngineFailed, ModelNotFound, NotFound
from yangfan.server.deployments import lending
from yangfan.server.deployments.lending import Borrower, Loan

ONE, TWO = Borrower("jb-1", 1), Borrower("jb-2", 1)


class Jobs:
    """Knows where jobs stand, as far as a lender asks."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        for borrower in (ONE, TWO):
            self.put(borrower)

    def put(self, borrower: Borrower, state: str = "running", desired: str = "run") -> None:
        job = SimpleNamespace(state=state, fence=borrower.fence, desired=desired)
        self.known[borrower.job_id] = job

    async def get(self, id: str) -> Any:
        if id not in self.known:
            raise NotFound(id)
        return self.known[id]


@pytest.fixture(name="jobs")
def jobs_fixture() -> Jobs:
    return Jobs()


@pytest.fixture(name="platform")
async def platform_fixture(
    tmp_path: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Platform]:
    monkeypatch.setattr(lending, "WATCH_SECONDS", 0.01)
    # Room for one engine that is thought to need 50 MB, and not for two.
    async with without_a_server(tmp_path, limit_bytes=70_000_000, jobs=jobs) as platform:
        yield platform


async def loan_of(
    platform: Platform, reference: str, borrower: Borrower = ONE, **options: Any
) -> Loan:
    """Borrow until it runs, or has to wait."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            loan = await platform.deployments.borrow(borrower, reference, options)
            if loan.state != "starting":
                return loan
            await asyncio.sleep(0.01)


async def lent(platform: Platform, reference: str, borrower: Borrower = ONE) -> str:
    """The name of what runs."""
    loan = await loan_of(platform, reference, borrower)
    assert loan.state == "ready", loan
    return loan.name


async def test_a_lent_version_is_reached_by_its_secret_name_alone(platform: Platform):
    name = await lent(platform, "base")
    assert await platform.says(name) == "None of "
    assert platform.deployments.services == []
    assert platform.deployments.states == []
    assert await platform.deployments.store.user_of("base") == "the job jb-1 asks it"
    assert await lent(platform, "base", TWO) == name
    with pytest.raises(ModelNotFound) as stranger:
        platform.services.resolve("base")
    assert name not in stranger.value.message
    await platform.deployments.give_back(ONE, "base", {}, keep=False)
    assert await platform.says(name) == "None of "
    await platform.deployments.give_back(TWO, "base", {}, keep=False)
    await until(lambda: not platform.planner.running)
    with pytest.raises(ModelNotFound):
        platform.services.resolve(name)


async def test_another_version_takes_the_place_of_one_that_is_kept(platform: Platform):
    first = await lent(platform, "base")
    await platform.deployments.give_back(ONE, "base", {}, keep=True)
    (kept,) = platform.planner.running
    assert await lent(platform, "base") == first
    assert platform.planner.running == [kept]
    await platform.deployments.give_back(ONE, "base", {}, keep=True)
    await lent(platform, "base:poet")
    assert len(platform.planner.running) == 1


async def test_no_room_is_told_and_a_service_takes_what_is_kept(platform: Platform):
    await lent(platform, "base")
    waits = await loan_of(platform, "base", TWO, heat=1)
    assert waits.state == "waiting"
    assert "no room for base" in waits.message
    await platform.deployments.give_back(TWO, "base", {"heat": 1}, keep=False)
    await platform.deployments.give_back(ONE, "base", {}, keep=True)
    await platform.publish("base", "live")
    assert len(platform.planner.running) == 1
    assert await lent(platform, "base") == "live"


async def test_an_adapter_is_lent_on_its_base(platform: Platform, monkeypatch: pytest.MonkeyPatch):
    name = await lent(platform, "base:poet")
    assert await platform.says(name) == "poet of poet"
    await platform.deployments.give_back(ONE, "base:poet", {}, keep=False)
    await until(lambda: not platform.planner.running)
    # Beside a service on the same base it has to be learnt, for which there is no room.
    await platform.publish("base:cook", "cook")
    for _ in range(2):
        assert (await loan_of(platform, "base:poet")).state == "waiting"
        await platform.deployments.give_back(ONE, "base:poet", {}, keep=False)
    assert await platform.says("cook") == "cook of cook"


@pytest.mark.parametrize(
    ("state", "desired", "kept"),
    [
        ("running", "run", True),
        ("queued", "run", True),
        ("queued", "cancel", False),
        ("paused", "run", False),
    ],
)
async def test_what_a_worker_leaves_behind_is_taken_back(
    platform: Platform, jobs: Jobs, state: str, desired: str, kept: bool
):
    await lent(platform, "base")
    jobs.put(Borrower("jb-1", 2), state, desired)
    await until(lambda: not platform.deployments.lent_to("base"))
    if kept:
        assert len(platform.planner.running) == 1
        await lent(platform, "base", Borrower("jb-1", 2))
        assert len(platform.planner.engines) == 2, "one was made to see what it can do"
    else:
        await until(lambda: not platform.planner.running)


async def test_what_nobody_wants_again_ends(platform: Platform, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lending, "KEEP_SECONDS", 0.05)
    await lent(platform, "base")
    await platform.deployments.give_back(ONE, "base", {}, keep=True)
    await until(lambda: not platform.planner.running)


async def test_what_cannot_run_says_why(
    platform: Platform, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(NotFound, match="no such model"):
        await lent(platform, "other")

    async def broken(self: Base) -> None:
        del self
        raise EngineFailed("the file is cut off")

    with monkeypatch.context() as patch:
        patch.setattr(Base, "start", broken)
        with pytest.raises(EngineFailed, match="cut off"):
            await lent(platform, "base")
    await lent(platform, "base")
    jobs.put(Borrower("jb-2", 5))
    with pytest.raises(Conflict, match="not this worker's any more"):
        await platform.deployments.require(TWO)
