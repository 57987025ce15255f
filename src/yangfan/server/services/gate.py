"""Who may call the engine now: a bounded queue in front of it, served in turns between keys.

One key that floods costs the others at most one round: its calls wait behind each other, not in front of everybody. What cannot
begin soon is refused at once, because a caller who is told can go elsewhere, and those who were let in keep their latency.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from yangfan.errors import Overloaded, PreemptibleLimited

if TYPE_CHECKING:
    from collections.abc import Callable

Reason = Literal["queue_full", "key_queue_full", "too_long_a_wait", "pushed_out"]

WEIGHT = 0.1
"""Of the newest call in the mean of how long a slot is held: the last twenty calls or so decide."""

WAIT_BUCKETS_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of waiting times."""


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """How much may wait.

    Attributes:
        max_waiting: Calls in the queue, all keys together.
        max_waiting_per_key: Calls of one key in the queue.
        max_wait_seconds: How long a call may wait; one that is expected to wait longer is refused at once.
    """

    max_waiting: int
    max_waiting_per_key: int
    max_wait_seconds: float


class Ticket:
    """A call's place: it waits until `granted` is done, or holds `slots` from the start (`granted` is None)."""

    __slots__ = ("granted", "key", "queued", "seconds", "slots")

    def __init__(self, key: str, slots: int, seconds: float) -> None:
        self.key = key
        self.slots = slots
        self.seconds = seconds
        """When it began to wait, then when it was let in, on the gate's clock."""
        self.granted: asyncio.Future[None] | None = None
        self.queued = False


class _Lane:
    """Waiting calls: first in, first out for each key, one call of each key in turn."""

    __slots__ = ("by_key", "waiting")

    def __init__(self) -> None:
        self.by_key: dict[str, deque[Ticket]] = {}
        """In the order of the turns: the first key is next."""
        self.waiting = 0

    def push(self, ticket: Ticket) -> None:
        self.by_key.setdefault(ticket.key, deque()).append(ticket)
        self.waiting += 1
        ticket.queued = True

    def head(self) -> Ticket:
        return next(iter(self.by_key.values()))[0]

    def pop(self) -> None:
        """Take the head out; its key's next turn is the last one."""
        key = next(iter(self.by_key))
        queue = self.by_key.pop(key)
        queue.popleft().queued = False
        self.waiting -= 1
        if queue:
            self.by_key[key] = queue

    def remove(self, ticket: Ticket) -> None:
        queue = self.by_key[ticket.key]
        queue.remove(ticket)
        self.waiting -= 1
        ticket.queued = False
        if not queue:
            del self.by_key[ticket.key]

    def length(self, key: str) -> int:
        return len(self.by_key.get(key, ()))

    def longest(self) -> str:
        return max(self.by_key, key=self.length)

    def before(self, key: str) -> int:
        """Calls that have their turn before the next one of `key` would."""
        place = self.length(key)
        return place + sum(
            min(len(queue), place + 1) for other, queue in self.by_key.items() if other != key
        )


class Gate:
    """The slots of one engine, and the queue in front of them.

    Every `enter` that returns is followed by one `leave`, whatever happens in between.

    Args:
        name: Of the model, for messages.
        slots: Generations side by side.
        policy: How much may wait.
        clock: Seconds of a clock that does not go back.

    Attributes:
        busy: Slots that calls hold.
        entered: Calls that were let in so far.
        refused: Calls that were not, by reason.
        waits: How many calls waited up to each of `WAIT_BUCKETS_SECONDS`, and longer; those that did not wait are not in it.
        waited_seconds: What they waited together.
    """

    def __init__(
        self,
        name: str,
        slots: int,
        policy: GatePolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Everything is free."""
        self._name = name
        self.slots = slots
        self._policy = policy
        self._clock = clock
        self.busy = 0
        self.entered = 0
        self.refused: dict[Reason, int] = dict.fromkeys(
            ("queue_full", "key_queue_full", "too_long_a_wait", "pushed_out"), 0
        )
        self.waits = [0] * (len(WAIT_BUCKETS_SECONDS) + 1)
        self.waited_seconds = 0.0
        self._held_seconds = 0.0
        self._calls, self._low = _Lane(), _Lane()

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return self._calls.waiting + self._low.waiting

    def expected_wait_seconds(self, key: str = "", *, low: bool = False) -> float:
        """How long one more call of `key` would wait, from how long slots were held lately; 0 while nothing is known."""
        before = self._calls.before(key) if not low else self.waiting
        return (before + 1) * self._held_seconds / self.slots

    async def enter(self, key: str = "", slots: int = 1, *, low: bool = False) -> Ticket:
        """Wait for `slots` of the engine, and hold them until `leave`.

        Args:
            key: Whose turn it is.
            slots: How many answers; more than there are slots means all of them.
            low: Only when nothing else waits.

        Raises:
            Overloaded: The queue is full, or the wait would be too long; `retry_after_seconds` says when to come back.
            PreemptibleLimited: The same of a call that is `low`.
        """
        ticket = Ticket(key, min(slots, self.slots), self._clock())
        if not self._calls.waiting and not self._low.waiting and self._fits(ticket):
            self.busy += ticket.slots
            self.entered += 1
            return ticket
        lane = self._low if low else self._calls
        self._make_room(lane, key, low=low)
        granted = ticket.granted = asyncio.get_running_loop().create_future()
        lane.push(ticket)
        self._admit()
        try:
            async with asyncio.timeout(self._policy.max_wait_seconds):
                await granted
        except BaseException as error:
            if ticket.queued:
                lane.remove(ticket)
                self._admit()  # the one who left may have been the one in the way
            elif not granted.cancelled() and granted.exception() is None:
                self.busy -= ticket.slots  # let in and cancelled in the same turn of the loop
                self._admit()
            if isinstance(error, TimeoutError):
                raise self._refusal("too_long_a_wait", key, low=low) from None
            raise
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The call is over, however it ended."""
        held = self._clock() - ticket.seconds
        self._held_seconds += (held - self._held_seconds) * (WEIGHT if self._held_seconds else 1)
        self.busy -= ticket.slots
        if self._calls.waiting or self._low.waiting:
            self._admit()

    def resize(self, slots: int) -> None:
        """Have so many slots from now on; calls that hold more keep them until they leave."""
        self.slots = slots
        self._admit()

    def _fits(self, ticket: Ticket) -> bool:
        if ticket.slots > self.slots:
            ticket.slots = self.slots  # it was asked for when there were more
        return self.busy + ticket.slots <= self.slots

    def _admit(self) -> None:
        """Let in whoever's turn it is. A call that needs many slots is never overtaken, so it is never starved."""
        while self.waiting:
            lane = self._calls if self._calls.waiting else self._low
            ticket = lane.head()
            if not self._fits(ticket):
                return
            lane.pop()
            granted = ticket.granted
            assert granted is not None
            if granted.cancelled():
                continue
            now = self._clock()
            waited, ticket.seconds = now - ticket.seconds, now
            self.busy += ticket.slots
            self.entered += 1
            self.waits[bisect_left(WAIT_BUCKETS_SECONDS, waited)] += 1
            self.waited_seconds += waited
            granted.set_result(None)

    def _make_room(self, lane: _Lane, key: str, *, low: bool) -> None:
        """Refuse the call if it cannot wait; where the queue is full, the key with the most calls in it gives way."""
        policy, own = self._policy, lane.length(key)
        if own >= policy.max_waiting_per_key:
            raise self._refusal("key_queue_full", key, low=low)
        if self.expected_wait_seconds(key, low=low) > policy.max_wait_seconds:
            raise self._refusal("too_long_a_wait", key, low=low)
        if self.waiting < policy.max_waiting:
            return
        crowded = self._low if self._low.waiting and not low else lane
        if crowded.waiting:
            longest = crowded.longest()
            if crowded is not lane or crowded.length(longest) > own + 1:
                last = crowded.by_key[longest][-1]
                crowded.remove(last)
                assert last.granted is not None
                if not last.granted.cancelled():
                    refusal = self._refusal("pushed_out", longest, low=crowded is self._low)
                    last.granted.set_exception(refusal)
                return
        raise self._refusal("queue_full", key, low=low)

    def _refusal(self, reason: Reason, key: str, *, low: bool) -> Overloaded | PreemptibleLimited:
        self.refused[reason] += 1
        if reason == "key_queue_full":
            waiting = (self._low if low else self._calls).length(key)
            what = f"this key already has {waiting} calls waiting for {self._name}"
        elif reason == "too_long_a_wait":
            what = (
                f"a call to {self._name} would wait longer than {self._policy.max_wait_seconds:g} s"
            )
        else:
            what = f"{self._name} already has {self.busy + self.waiting} calls running or waiting"
        wait_seconds = max(self.expected_wait_seconds(key, low=low), 1.0)
        if low:
            return PreemptibleLimited(
                f"{what}, and a preemptible call has its turn when no other call waits; try again later, or without preemptible",
                retry_after_seconds=wait_seconds,
            )
        return Overloaded(f"{what}; try again in a moment", retry_after_seconds=wait_seconds)
