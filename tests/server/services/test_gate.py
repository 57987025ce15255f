"""Turns in front of an engine: fair between keys, bounded, and no slot is ever lost. The clock is the test's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yangfan.errors import Overloaded, PreemptibleLimited
from yangfan.server.services.gate import Gate, GatePolicy, Ticket


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def gate(
    slots: int = 1,
    *,
    max_waiting: int = 2000,
    max_waiting_per_key: int = 2000,
    max_wait_seconds: float = 1e6,
    clock: Callable[[], float] = time.monotonic,
) -> Gate:
    policy = GatePolicy(max_waiting, max_waiting_per_key, max_wait_seconds)
    return Gate("echo", slots, policy, clock=clock)


class Callers:
    """Calls that enter a gate, in the order in which they were let in."""

    def __init__(self, entered: Gate) -> None:
        self.gate = entered
        self.order: list[str] = []
        self.holding: list[Ticket] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def call(self, key: str, slots: int = 1, *, low: bool = False) -> asyncio.Task[None]:
        async def enter() -> None:
            ticket = await self.gate.enter(key, slots, low=low)
            self.order.append(key)
            self.holding.append(ticket)

        task = asyncio.create_task(enter())
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task

    async def finish_one(self) -> None:
        self.gate.leave(self.holding.pop(0))
        await asyncio.sleep(0)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        while self.holding:
            await self.finish_one()
        assert (self.gate.busy, self.gate.waiting) == (0, 0)


async def test_key_with_a_thousand_waiting_delays_another_by_one_round_at_most():
    callers = Callers(gate())
    for _ in range(1001):
        await callers.call("flood")
    await callers.call("polite")
    await callers.finish_one()
    await callers.finish_one()
    assert callers.order == ["flood", "flood", "polite"]
    await callers.end()


async def test_keys_take_turns_and_each_key_is_first_in_first_out():
    callers = Callers(gate())
    await callers.call("x")
    for key in ("a1", "a2", "a3", "b1", "b2", "c1"):
        # The name in the order tells the calls of a key apart; the key is its first letter.
        async def enter(name: str) -> None:
            callers.holding.append(await callers.gate.enter(name[0]))
            callers.order.append(name)

        callers.tasks.append(asyncio.create_task(enter(key)))
        await asyncio.sleep(0)
    while callers.holding:
        await callers.finish_one()
    assert callers.order == ["x", "a1", "b1", "c1", "a2", "b2", "a3"]
    await callers.end()


async def test_call_of_several_answers_takes_as_many_slots_and_is_not_overtaken():
    callers = Callers(gate(3))
    await callers.call("a")
    await callers.call("big", 9)
    await callers.call("b")
    assert (callers.order, callers.gate.busy, callers.gate.waiting) == (["a"], 1, 2)
    await callers.finish_one()
    assert (callers.order, callers.gate.busy) == (["a", "big"], 3)
    await callers.finish_one()
    assert callers.order == ["a", "big", "b"]
    await callers.end()


async def test_low_lane_is_served_when_nothing_else_waits():
    callers = Callers(gate())
    await callers.call("a")
    await callers.call("later", low=True)
    await callers.call("b")
    await callers.finish_one()
    await callers.finish_one()
    assert callers.order == ["a", "b", "later"]
    await callers.end()


async def test_low_calls_that_cannot_have_their_turn_are_refused_as_such():
    callers = Callers(gate(max_waiting=3, max_waiting_per_key=2))
    await callers.call("a")
    for _ in range(2):
        await callers.call("a", low=True)
    with pytest.raises(PreemptibleLimited, match="this key already has 2 calls waiting") as full:
        await callers.gate.enter("a", low=True)
    assert full.value.retry_after_seconds is not None
    await callers.call("b", low=True)
    await callers.call("c", low=True)  # in place of a's second
    with pytest.raises(PreemptibleLimited, match="without preemptible"):
        await callers.gate.enter("d", low=True)
    await callers.call("e")  # in place of another low one
    await callers.finish_one()
    assert callers.order == ["a", "e"]
    refused = [task.exception() for task in callers.tasks if task.done() and task.exception()]
    assert [type(error) for error in refused] == [PreemptibleLimited] * 2
    await callers.end()


async def test_key_with_a_full_queue_is_refused_and_others_are_not():
    callers = Callers(gate(max_waiting_per_key=2))
    for _ in range(3):
        await callers.call("a")
    with pytest.raises(Overloaded, match="this key already has 2 calls waiting for echo"):
        await callers.gate.enter("a")
    await callers.call("b")
    assert callers.gate.waiting == 3
    assert callers.gate.refused["key_queue_full"] == 1
    await callers.end()


async def test_full_queue_makes_the_most_crowded_key_give_way():
    callers = Callers(gate(max_waiting=3))
    flood = [await callers.call("flood") for _ in range(4)]
    polite = await callers.call("polite")
    with pytest.raises(Overloaded, match="echo already has"):
        await flood[-1]
    assert not polite.done()
    for key in ("polite", "flood"):  # as crowded as each other now
        with pytest.raises(Overloaded, match="4 calls running or waiting; try again in a moment"):
            await callers.gate.enter(key)
    assert (callers.gate.refused["pushed_out"], callers.gate.refused["queue_full"]) == (1, 2)
    await callers.end()


async def test_call_that_cannot_begin_in_time_is_refused_at_once_and_told_when():
    clock = Clock()
    callers = Callers(gate(2, max_wait_seconds=20, clock=clock))
    for _ in range(2):
        await callers.call("a")
    clock.seconds += 8
    await callers.finish_one()
    await callers.call("a")
    for _ in range(4):
        await callers.call("a")
    assert callers.gate.expected_wait_seconds("a") == pytest.approx(5 * 8 / 2)
    await callers.call("a")
    with pytest.raises(Overloaded, match="would wait longer than 20 s") as raised:
        await callers.gate.enter("a")
    assert raised.value.retry_after_seconds == pytest.approx(6 * 8 / 2)
    assert callers.gate.expected_wait_seconds("b") == pytest.approx(2 * 8 / 2)
    await callers.call("b")
    await callers.end()


async def test_call_that_waited_too_long_after_all_is_refused():
    callers = Callers(gate(max_wait_seconds=0.02))
    await callers.call("a")
    with pytest.raises(Overloaded, match="would wait longer than"):
        await callers.gate.enter("b")
    assert callers.gate.waiting == 0
    await callers.end()


async def test_caller_that_leaves_frees_the_one_behind_it():
    callers = Callers(gate(2))
    await callers.call("a")
    big = await callers.call("big", 2)
    await callers.call("b")
    big.cancel()
    await asyncio.wait([big])
    await asyncio.sleep(0)
    assert callers.order == ["a", "b"]
    await callers.end()


async def test_caller_cancelled_in_the_turn_in_which_it_is_let_in_loses_no_slot():
    callers = Callers(gate())
    await callers.call("a")
    waiting = await callers.call("b")
    callers.gate.leave(callers.holding.pop(0))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert callers.gate.busy == 0
    await callers.end()


async def test_waits_are_counted():
    clock = Clock()
    callers = Callers(gate(clock=clock))
    await callers.call("a")
    await callers.call("b")
    clock.seconds += 0.7
    await callers.finish_one()
    assert (callers.gate.entered, sum(callers.gate.waits)) == (2, 1)
    assert callers.gate.waits[5] == 1
    assert callers.gate.waited_seconds == pytest.approx(0.7)
    await callers.end()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sampled_from("abc"), st.integers(1, 5), st.booleans()),
        st.tuples(st.just("finish")),
        st.tuples(st.just("cancel"), st.integers(0, 200)),
        st.tuples(st.just("finish, cancel"), st.integers(0, 200)),
    ),
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, slots=st.integers(1, 4))
def test_whatever_happens_the_bounds_hold_and_no_slot_is_lost(
    steps: list[tuple[object, ...]], slots: int
):
    async def run() -> None:
        callers = Callers(gate(slots, max_waiting=6, max_waiting_per_key=4))
        for step in steps:
            await act(callers, step)
            waiting = callers.gate.waiting
            assert 0 <= callers.gate.busy <= slots
            assert waiting <= 6
        await callers.end()

    asyncio.run(run())


async def act(callers: Callers, step: tuple[object, ...]) -> None:
    name, *values = step
    if name == "call":
        key, n, low = values
        assert isinstance(key, str)
        assert isinstance(n, int)
        await callers.call(key, n, low=bool(low))
    elif name == "finish" and callers.holding:
        await callers.finish_one()
    elif callers.tasks and values:
        if name == "finish, cancel" and callers.holding:
            callers.gate.leave(callers.holding.pop(0))
        assert isinstance(values[0], int)
        callers.tasks[values[0] % len(callers.tasks)].cancel()
    await asyncio.sleep(0)
    for task in callers.tasks:
        if task.done() and not task.cancelled():
            task.exception()


async def test_more_slots_let_waiting_calls_in_and_fewer_hold_them_back():
    callers = Callers(gate(1))
    for key in "abcd":
        await callers.call(key)
    callers.gate.resize(2)
    await asyncio.sleep(0)
    assert callers.order == ["a", "b"]
    callers.gate.resize(1)
    await callers.finish_one()
    assert callers.order == ["a", "b"]
    await callers.finish_one()
    assert callers.order == ["a", "b", "c"]
    await callers.end()


async def test_call_that_waits_for_more_slots_than_are_left_takes_all_of_them():
    callers = Callers(gate(4))
    await callers.call("a", 4)
    await callers.call("b", 4)
    callers.gate.resize(2)
    await callers.finish_one()
    assert callers.order == ["a", "b"]
    assert callers.gate.busy == 2
    await callers.end()
