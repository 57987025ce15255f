import asyncio
import random

import pytest

from yangfan.engines._admission import Admission


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


class Holder:
    """A task that holds a share until told to leave."""

    def __init__(self, admission: Admission, tokens: int, slots: int = 1) -> None:
        self.running = False
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._hold(admission, tokens, slots))

    async def _hold(self, admission: Admission, tokens: int, slots: int) -> None:
        async with admission.hold(tokens=tokens, slots=slots):
            self.running = True
            await self.leave.wait()
        self.running = False


async def start(admission: Admission, *sizes: int) -> list[Holder]:
    holders = [Holder(admission, size) for size in sizes]
    await settle()
    return holders


async def finish(*holders: Holder) -> None:
    for holder in holders:
        holder.leave.set()
    await settle()


async def test_requests_that_fit_run_together() -> None:
    admission = Admission(tokens=10, slots=3)
    holders = await start(admission, 4, 6)
    assert [holder.running for holder in holders] == [True, True]
    assert (admission.free_tokens, admission.free_slots, admission.waiting) == (0, 1, 0)
    await finish(*holders)
    assert (admission.free_tokens, admission.free_slots) == (10, 3)


async def test_a_request_waits_until_there_are_tokens() -> None:
    admission = Admission(tokens=10, slots=3)
    first, second = await start(admission, 6, 6)
    assert not second.running
    await finish(first)
    assert second.running
    await finish(second)


async def test_a_request_waits_until_there_is_a_slot() -> None:
    admission = Admission(tokens=10, slots=1)
    first, second = await start(admission, 1, 1)
    assert not second.running
    await finish(first)
    assert second.running
    await finish(second)


async def test_a_large_request_is_not_overtaken() -> None:
    admission = Admission(tokens=10, slots=9)
    running, large, small = await start(admission, 6, 8, 1)
    assert [large.running, small.running] == [False, False]
    await finish(running)
    assert [large.running, small.running] == [True, True]
    await finish(large, small)


async def test_more_than_there_is_runs_alone() -> None:
    admission = Admission(tokens=10, slots=2)
    holder = Holder(admission, tokens=99, slots=5)
    await settle()
    assert holder.running
    assert (admission.free_tokens, admission.free_slots) == (0, 0)
    await finish(holder)
    assert (admission.free_tokens, admission.free_slots) == (10, 2)


async def test_a_cancelled_waiter_lets_those_behind_it_pass() -> None:
    admission = Admission(tokens=10, slots=9)
    running, large, small = await start(admission, 6, 8, 1)
    large.task.cancel()
    await settle()
    assert small.running
    await finish(running, small)
    assert admission.free_tokens == 10


async def test_a_waiter_cancelled_in_the_turn_it_is_granted_gives_everything_back() -> None:
    admission = Admission(tokens=10, slots=9)
    running, waiter = await start(admission, 6, 6)
    running.leave.set()
    await asyncio.sleep(0)  # running leaves and grants, waiter has not woken yet
    waiter.task.cancel()
    await settle()
    assert waiter.task.cancelled()
    assert (admission.free_tokens, admission.free_slots, admission.waiting) == (10, 9, 0)


async def test_a_grant_skips_a_waiter_cancelled_in_the_same_turn() -> None:
    admission = Admission(tokens=10, slots=9)
    running, waiter, behind = await start(admission, 10, 5, 5)
    waiter.task.cancel()
    running.leave.set()
    await settle()
    assert behind.running
    await finish(behind)
    assert admission.free_tokens == 10


async def test_a_failing_request_gives_its_share_back() -> None:
    admission = Admission(tokens=10, slots=1)
    with pytest.raises(RuntimeError):
        async with admission.hold(tokens=10):
            raise RuntimeError
    assert (admission.free_tokens, admission.free_slots) == (10, 1)


async def test_nothing_leaks_and_nothing_is_oversold_under_random_load() -> None:
    chance = random.Random(5)
    admission = Admission(tokens=20, slots=4)
    held = 0

    async def use(tokens: int, turns: int) -> None:
        nonlocal held
        async with admission.hold(tokens=tokens):
            held += tokens
            assert held <= 20
            try:
                for _ in range(turns):
                    await asyncio.sleep(0)
            finally:
                held -= tokens

    tasks = [
        asyncio.create_task(use(chance.randint(1, 20), chance.randint(0, 5))) for _ in range(500)
    ]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        chance.choice(tasks).cancel()
    assert any(task.cancelled() for task in tasks)
    assert all(task.cancelled() or task.exception() is None for task in tasks)
    assert (admission.free_tokens, admission.free_slots, admission.waiting) == (20, 4, 0)
