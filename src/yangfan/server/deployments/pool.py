"""Engines side by side that all run the same: how many there are, which one takes the next call, how they come and go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import structlog

from yangfan.errors import Overloaded, YangfanError
from yangfan.server.deployments.breaker import Breaker
from yangfan.server.services import Replica

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yangfan.engines.base import Engine

DRAIN_SECONDS = 300.0
"""Longest time that calls on an engine that is to stop may take to end."""

FIRST_RETRY_SECONDS = 5.0
"""After a load that failed nobody tries again for so long; each further failure doubles it."""

MAX_RETRY_SECONDS = 300.0

_log = structlog.get_logger("yangfan.deployments")


class Member:
    """A replica, and the calls on it."""

    __slots__ = ("_empty", "breaker", "busy", "hurried", "key", "replica")

    def __init__(self, key: str, replica: Replica) -> None:
        self.key = key
        self.replica = replica
        self.breaker = Breaker()
        self.busy = 0
        self.hurried = False
        self._empty: asyncio.Event | None = None

    def enter(self) -> None:
        """A call begins."""
        self.busy += 1
        self.breaker.begin()

    def leave(self) -> None:
        """It is over."""
        self.busy -= 1
        if self._empty is not None and not self.busy:
            self._empty.set()

    def hurry(self) -> None:
        """Wait for its calls no longer."""
        self.hurried = True
        if self._empty is not None:
            self._empty.set()

    async def empty(self) -> None:
        """Return when no call is on it, or nobody waits for them; none may begin."""
        if self.busy and not self.hurried:
            self._empty = asyncio.Event()
            await self._empty.wait()


class Pool:
    """The replicas of one deployment.

    Args:
        name: For messages and keys.
        make: Makes the engine of a number, not yet started.
        claim: Takes room for a replica by its key, or raises Overloaded with the reason.
        loaded: Is told that the replica of a key runs.
        release: Is told that it is gone.
        wanted: Replicas to load.
        expected_seconds: How long the last load took; 0 if nobody knows.
        changed: Called whenever there are more or fewer replicas.

    Attributes:
        members: Replicas that take calls.
        error: Why the last load failed; "" if it did not.
        failure: What it failed with.
        last_used: When a call last began or ended, on the event loop's clock.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[int], Awaitable[Engine]],
        *,
        claim: Callable[[str], Awaitable[None]],
        loaded: Callable[[str], None],
        release: Callable[[str], None],
        wanted: int,
        expected_seconds: float = 0.0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._make = make
        self._claim, self._loaded, self._release = claim, loaded, release
        self._changed = changed
        self.wanted = wanted
        self.expected_seconds = expected_seconds
        self.members: list[Member] = []
        self.error = ""
        self.failure: BaseException | None = None
        self.last_used = asyncio.get_running_loop().time()
        self._numbers = itertools.count()
        self._changing = asyncio.Lock()
        self._loading: asyncio.Task[bool] | None = None
        self._since: float | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._news = asyncio.Event()
        self._leaving: dict[asyncio.Task[None], Member] = {}
        self.restarts_of_gone = 0

    @property
    def busy(self) -> int:
        """Calls on all replicas."""
        return sum(member.busy for member in self.members)

    @property
    def ready(self) -> int:
        """Replicas that can answer now."""
        return sum(member.replica.ready for member in self.members)

    @property
    def restarts(self) -> int:
        """How often engines died."""
        return self.restarts_of_gone + sum(member.replica.restarts for member in self.members)

    @property
    def is_loading(self) -> bool:
        """Whether replicas come up now."""
        return self._loading is not None and not self._loading.done()

    @property
    def loading_seconds(self) -> float | None:
        """How long the load that goes on has taken; None if none does."""
        if self._since is None or not self.is_loading:
            return None
        return asyncio.get_running_loop().time() - self._since

    def pick(self) -> Member | None:
        """The least busy replica that can take a call now; None if none can."""
        best: Member | None = None
        for member in self.members:
            if (best is None or member.busy < best.busy) and (
                member.replica.ready and member.breaker.allows()
            ):
                best = member
        return best

    async def acquire(self, deadline: float) -> Member:
        """A replica for a call; where none is ready, load or wait for one.

        Args:
            deadline: On the event loop's clock.

        Raises:
            Overloaded: None came up in time, or none can; the message says why, and `retry_after_seconds` when to come back.
        """
        clock = asyncio.get_running_loop().time
        while (member := self.pick()) is None:
            if not self.members and not self.is_loading:
                if self.error and clock() < self._retry_at:
                    raise Overloaded(
                        f"{self.name} does not run: {self.error}",
                        retry_after_seconds=max(self._retry_at - clock(), 1.0),
                    )
                self.load()
            open_ = [m.breaker.opens_in_seconds for m in self.members if m.replica.ready]
            if open_:
                raise Overloaded(
                    f"the engine of {self.name} failed again and again and is left alone for a moment; try again",
                    retry_after_seconds=max(min(open_), 1.0),
                )
            news = self._news
            try:
                async with asyncio.timeout_at(deadline):
                    await news.wait()
            except TimeoutError:
                raise self._not_in_time() from None
        return member

    def _not_in_time(self) -> Overloaded:
        seconds = self.loading_seconds
        if seconds is None:
            reasons = [m.replica.last_error for m in self.members if m.replica.last_error]
            why = f": {reasons[0]}" if reasons else ""
            return Overloaded(
                f"the engine of {self.name} is not running; try again later{why}",
                retry_after_seconds=5,
            )
        if not self.expected_seconds:
            return Overloaded(
                f"{self.name} is loading, {seconds:.0f} s so far; try again in a moment",
                retry_after_seconds=5,
            )
        left = max(self.expected_seconds - seconds, 1.0)
        share = min(seconds / self.expected_seconds, 0.99)
        return Overloaded(
            f"{self.name} is loading, {share:.0%} of about {self.expected_seconds:.0f} s; try again in {left:.0f} s",
            retry_after_seconds=left,
        )

    def load(self) -> asyncio.Task[bool]:
        """Bring up as many replicas as are wanted, unless that goes on already; whether all are there then.

        Who asked may leave: the load goes on.
        """
        if self._loading is None or self._loading.done():
            self._since = asyncio.get_running_loop().time()
            self._loading = asyncio.create_task(self._load(), name=f"load of {self.name}")
        return self._loading

    async def bring_up(self) -> bool:
        """`load`, and wait for it: whether all replicas are there; False if the pool was stopped meanwhile."""
        loading = self.load()
        await asyncio.wait([loading])
        return not loading.cancelled() and loading.result()

    async def _load(self) -> bool:
        clock = asyncio.get_running_loop().time
        async with self._changing:
            began = clock()
            missing = self.wanted - len(self.members)
            results = await asyncio.gather(
                *(self._add() for _ in range(missing)), return_exceptions=True
            )
            failures = [result for result in results if isinstance(result, BaseException)]
            if failures:
                error = self.failure = failures[0]
                self.error = error.message if isinstance(error, YangfanError) else repr(error)
                pause = min(FIRST_RETRY_SECONDS * 2**self._failures, MAX_RETRY_SECONDS)
                self._failures += 1
                self._retry_at = clock() + pause
                _log.error("deployment does not start", deployment=self.name, error=self.error)
            else:
                self.error, self.failure, self._failures = "", None, 0
                if missing > 0:
                    self.expected_seconds = clock() - began
            self.last_used = clock()
        self._tell()
        return not failures

    async def _add(self) -> None:
        number = next(self._numbers)
        key = f"{self.name}-{number}"
        await self._claim(key)
        try:
            engine = await self._make(number)
            replica = Replica(engine, self._tell)
            await replica.start()
        except BaseException:
            self._release(key)
            raise
        self._loaded(key)
        self.members.append(Member(key, replica))
        self._tell()

    def _tell(self) -> None:
        """Wake whoever waits for a replica."""
        news, self._news = self._news, asyncio.Event()
        news.set()
        self._changed()

    async def scale(self, wanted: int) -> bool:
        """Have so many replicas from now on; those that go end their calls first. Whether all are there.

        One that is not loaded is loaded with so many when it is next wanted.
        """
        self.wanted = wanted
        if self.is_loading:
            await asyncio.wait([self.load()])
        for member in self.members[wanted:]:
            self._retire(member)
        if self.members and len(self.members) < wanted:
            return await self.bring_up()
        return True

    async def renew(self) -> None:
        """Start each replica anew, one after the other, the new one before the old one ends.

        Raises:
            YangfanError: A new one does not start; the old ones go on.
        """
        async with self._changing:
            for member in list(self.members):
                await self._add()
                self._retire(member)

    def _retire(self, member: Member) -> None:
        """No longer give it calls; stop it when those that it has are over."""
        self.members.remove(member)
        task = asyncio.create_task(self._leave(member), name=f"end of {member.key}")
        self._leaving[task] = member
        task.add_done_callback(self._leaving.pop)
        self._tell()

    async def _leave(self, member: Member) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await member.empty()
        finally:
            self.restarts_of_gone += member.replica.restarts
            await member.replica.stop()
            self._release(member.key)

    async def unload(self) -> None:
        """Stop every replica, after its calls; the next call loads them again."""
        for member in list(self.members):
            self._retire(member)
        while self._leaving:
            await asyncio.gather(*self._leaving, return_exceptions=True)

    async def stop(self, *, at_once: bool = False) -> None:
        """Load no more and stop every replica: after its calls, or at once."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        for member in list(self.members):
            self._retire(member)
        for member in self._leaving.values() if at_once else ():
            member.hurry()
        while self._leaving:
            await asyncio.gather(*self._leaving, return_exceptions=True)
