"""Deployments that are adapters of one base model share its engines; the engines note what they are asked."""

from __future__ import annotations

import asyncio

import pytest
from tests.server.deployments.platform import Base, Platform, until
from tests.server.services.conftest import Scripted

from yangfan.server.deployments.logic import New


async def test_adapters_of_one_base_share_its_engine(platform: Platform):
    await platform.publish("base:poet", "poet")
    await platform.publish("base:cook", "cook")
    assert await platform.says("poet") == "poet of cook,poet"
    assert await platform.says("cook") == "cook of cook,poet"
    assert len(platform.planner.running) == 1
    await platform.deployments.remove("poet")
    assert await platform.says("cook") == "cook of cook,poet"
    await platform.deployments.remove("cook")
    await until(lambda: not platform.planner.running)


async def test_a_new_adapter_is_learnt_without_a_failed_call(platform: Platform):
    await platform.publish("base:a", "a")
    ending = asyncio.Event()
    answers: list[str] = []

    async def call() -> None:
        while not ending.is_set():
            answers.append(await platform.says("a"))
            await asyncio.sleep(0)

    calls = [asyncio.create_task(call()) for _ in range(3)]
    for name in "bcd":
        await platform.publish(f"base:{name}", name)
    ending.set()
    await asyncio.gather(*calls)
    assert answers[-1] == "a of a,b,c,d"
    assert {answer[0] for answer in answers} == {"a"}
    await until(lambda: len(platform.planner.running) == 1)


async def test_the_model_itself_and_other_options_have_engines_of_their_own(platform: Platform):
    await platform.publish("base", "plain")
    await platform.publish("base:poet", "poet")
    await platform.publish("base:poet", "hot", options={"heat": 1})
    assert len(platform.planner.running) == 3
    assert await platform.says("plain") == "None of "


async def test_calls_go_to_the_least_busy_replica(platform: Platform):
    await platform.publish("base", "wide", replicas=3)
    pool = platform.services.resolve("wide").service
    await until(lambda: pool.size == 6)
    assert len(platform.planner.running) == 3
    await platform.deployments.scale("wide", 1)
    await until(lambda: pool.size == 2 and len(platform.planner.running) == 1)


async def test_ends_cleanly_while_something_loads(platform: Platform):
    gate = asyncio.Event()

    async def never(self: Scripted) -> None:
        del self
        await gate.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Base, "start", never)
        await platform.deployments.create(New("base", suffix="stuck"))
        await until(lambda: platform.planner.engines)
        await platform.deployments.stop()
