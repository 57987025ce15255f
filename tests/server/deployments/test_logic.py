"""What services do when engines die, and when several callers want different things at a time."""

from __future__ import annotations

import asyncio

import pytest
from tests.server.deployments.platform import Base, Platform, until

from yangfan.errors import Conflict, EngineFailed, Overloaded
from yangfan.server.deployments import runner


async def test_candidate_whose_engines_die_for_good_is_taken_back(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "UNHEALTHY_SECONDS", 0.2)
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.05)
    await platform.publish("base", "bot")
    await platform.deployments.rollout("bot", "base", weight=50)
    await until(lambda: len(platform.planner.running) == 2)
    view = await platform.deployments.get("bot")
    assert [state.deployment.role for state in view.deployments] == ["stable", "candidate"]

    async def broken(self: Base) -> None:
        raise EngineFailed("no memory left")

    monkeypatch.setattr(Base, "start", broken)
    platform.planner.running[-1].die()
    await until(lambda: len(platform.planner.running) == 1)
    calls = [await platform.says("bot") for _ in range(20)]
    assert set(calls) == {"None of "}

    async with asyncio.timeout(20):
        while (await platform.deployments.get("bot")).deployments[1:]:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.02)
    view = await platform.deployments.get("bot")
    last = (await platform.deployments.events("bot", 0, 100))[-1]
    assert last.message.endswith("its engines died and do not come back")
    assert [state.deployment.role for state in view.deployments] == ["stable"]


async def test_one_of_two_rollouts_at_a_time_is_refused(platform: Platform):
    await platform.publish("base", "bot")
    results = await asyncio.gather(
        *(platform.deployments.rollout("bot", "base", weight=10) for _ in range(2)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Conflict) for result in results) == 1
    await until(lambda: len(platform.planner.running) == 2)


async def test_starts_at_a_time_start_one(platform: Platform):
    await platform.publish("base", "bot")
    await platform.deployments.stop_service("bot")
    await until(lambda: not platform.planner.running)
    await asyncio.gather(*(platform.deployments.start_service("bot") for _ in range(3)))
    await until(lambda: platform.planner.running)
    await asyncio.sleep(0.1)
    assert len(platform.planner.running) == 1


async def test_verbs_in_any_order_leave_one_service_that_answers(platform: Platform):
    await platform.publish("base", "bot")
    deployments = platform.deployments
    verbs = [
        deployments.stop_service("bot"),
        deployments.start_service("bot"),
        deployments.scale("bot", 3),
        deployments.rollout("bot", "base", weight=20),
        deployments.rollback("bot"),
        deployments.scale("bot", 2),
        deployments.stop_service("bot"),
        deployments.start_service("bot"),
    ]
    results = await asyncio.gather(*verbs, return_exceptions=True)
    unexpected = [
        result
        for result in results
        if isinstance(result, BaseException) and not isinstance(result, Conflict)
    ]
    assert unexpected == []
    # Whoever came last, what is wanted now is what there is.
    await deployments.start_service("bot")
    if any(s.deployment.role == "candidate" for s in (await deployments.get("bot")).deployments):
        await deployments.rollback("bot")
    await deployments.scale("bot", 2)
    assert await platform.says("bot") == "None of "
    await until(lambda: len(platform.planner.running) == 2)
    await deployments.remove("bot")
    await until(lambda: not platform.planner.running)


async def test_call_to_a_service_that_is_just_stopped_is_told_at_once(platform: Platform):
    await platform.publish("base", "bot")
    service = platform.services.resolve("bot").service
    await platform.deployments.stop_service("bot")
    with pytest.raises(Overloaded, match="bot does not run: it was stopped"):
        await service.count_text_tokens("hi")
