"""A service in front of weighted deployments: which one a call goes to, and what happens when that cannot answer."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from yangfan.engines.base import Slots
from yangfan.errors import EngineFailed, Overloaded, UpstreamFailed
from yangfan.server.services import ATTEMPTS, Service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from yangfan.engines.base import (
        ChatReply,
        ChatRequest,
        CompletionRequest,
        Delta,
        Engine,
        Kind,
        Message,
    )
    from yangfan.server.deployments.pool import Member, Pool
    from yangfan.server.services import ServicePolicy

_ReplyT = TypeVar("_ReplyT")

UNKNOWN_CONTEXT_TOKENS = 1 << 20
"""Of a model that never ran here: its engine refuses what is too long."""

MIN_FAILURES = 3
FAILURE_SHARE = 0.2
"""A candidate with so many failures, and such a share of its calls, is taken back."""


class Route:
    """A deployment that may take calls.

    Args:
        deployment_id: Which one.
        pool: Its replicas.
        adapter: The adapter that answers; None for the model itself.
        slots: Generations side by side on one replica.

    Attributes:
        weight: Its share of the calls.
        calls: How many it took; `failures` how many of them it failed.
        tripped: Set when it failed too many.
    """

    __slots__ = (
        "adapter",
        "calls",
        "deployment_id",
        "failures",
        "pool",
        "slots",
        "tripped",
        "weight",
    )

    def __init__(self, deployment_id: str, pool: Pool, adapter: str | None, slots: int) -> None:
        self.deployment_id = deployment_id
        self.pool = pool
        self.adapter = adapter
        self.slots = slots
        self.weight = 0
        self.calls = self.failures = 0
        self.tripped = asyncio.Event()

    def engine(self, member: Member) -> Engine:
        """What answers a call on that replica."""
        engine = member.replica.engine
        return engine if self.adapter is None else cast("Engine", _Adapted(engine, self.adapter))

    def failed(self) -> None:
        """A call failed on it."""
        self.failures += 1
        if self.failures >= MIN_FAILURES and self.failures >= FAILURE_SHARE * self.calls:
            self.tripped.set()


class _Adapted:
    """An engine that answers through one of its adapters."""

    def __init__(self, engine: Engine, adapter: str) -> None:
        self._engine = engine
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def chat(self, request: ChatRequest) -> ChatReply:
        return await self._engine.chat(msgspec.structs.replace(request, adapter=self._adapter))

    def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        return self._engine.chat_stream(msgspec.structs.replace(request, adapter=self._adapter))

    async def complete(self, request: CompletionRequest) -> ChatReply:
        return await self._engine.complete(msgspec.structs.replace(request, adapter=self._adapter))

    def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        return self._engine.complete_stream(msgspec.structs.replace(request, adapter=self._adapter))


class ManagedService(Service):
    """A service that callers made, as the rest of the server calls it.

    Args:
        name: Its suffix.
        kinds: What it can be asked for.
        policy: Waiting and overload.
        created: Seconds since the epoch.
        context_tokens: As its engine last said; 0 if none ever ran.
        find: The service of a name, for the fallback.
        failed: Is told of the key of each call that failed.
        wanted: Is told that a call waits for a deployment that nobody has looked at yet.

    Attributes:
        routes: Deployments that may take calls; the first one is the stable one.
        fallback: Name of what answers when none of them can.
        reason: Why there are no routes; "" while they are still to come.
    """

    def __init__(  # pyright: ignore[reportMissingSuperCall] - it has routes instead of a replica
        self,
        name: str,
        kinds: frozenset[Kind],
        policy: ServicePolicy,
        *,
        created: int,
        context_tokens: int,
        find: Callable[[str], Service],
        failed: Callable[[str], None],
        wanted: Callable[[], None],
    ) -> None:
        self._begin(name, policy, created=created, slots=1)
        self._kinds = kinds
        self.routes: list[Route] = []
        self.fallback = ""
        self.known_context_tokens = context_tokens
        self._find = find
        self._failed = failed
        self._wanted = wanted
        self._news = asyncio.Event()
        self.reason = ""

    # What the rest of the server asks

    @property
    def engine(self) -> Engine:
        """Any that runs. Raises Overloaded if none does."""
        for route in self.routes:
            for member in route.pool.members:
                return route.engine(member)
        raise Overloaded(f"{self.name} is not loaded; a call loads it", retry_after_seconds=5)

    @property
    def ready(self) -> bool:
        """Whether an engine can answer now."""
        return any(route.pool.ready for route in self.routes)

    @property
    def restarts(self) -> int:
        """How often its engines died."""
        return sum(route.pool.restarts for route in self.routes)

    @property
    def start_seconds(self) -> float:
        """How long the last load of its stable deployment took."""
        return self.routes[0].pool.expected_seconds if self.routes else 0.0

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it can be asked for."""
        return self._kinds

    @kinds.setter
    def kinds(self, kinds: frozenset[Kind]) -> None:
        self._kinds = kinds

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together, at most."""
        for route in self.routes:
            for member in route.pool.members:
                return member.replica.engine.context_tokens
        return self.known_context_tokens or UNKNOWN_CONTEXT_TOKENS

    @property
    def adapters(self) -> Sequence[str]:
        """None: an adapter is a service of its own here."""
        return ()

    @property
    def size(self) -> int:
        """Generations that run side by side."""
        return self.gate.slots

    async def slots(self) -> Slots:
        """How busy its engines are."""
        busy = sum(route.pool.busy for route in self.routes)
        return Slots(busy, self.gate.slots)

    def resize(self) -> None:
        """Let as many calls in as the replicas have slots, those of one at least."""
        slots = sum(len(route.pool.members) * route.slots for route in self.routes if route.weight)
        least = self.routes[0].slots if self.routes else 1
        if self.gate.slots != (wanted := max(slots, least)):
            self.gate.resize(wanted)

    @property
    def idle_since(self) -> float | None:
        """When it was last used, on the event loop's clock; None while it is."""
        if self.in_flight or any(route.pool.busy for route in self.routes):
            return None
        return max((route.pool.last_used for route in self.routes), default=None)

    # Calls

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt under the model's own template."""
        return await self._uncounted(lambda engine: engine.count_tokens(messages))

    async def count_text_tokens(self, text: str) -> int:
        """Tokens of a text as it stands, without a template."""
        return await self._uncounted(lambda engine: engine.count_text_tokens(text))

    async def decode(self, ids: Sequence[int]) -> str | None:
        """The text that token ids are; Invalid for one that the model does not have."""
        return await self._uncounted(lambda engine: engine.decode(ids))

    async def _uncounted(self, ask: Callable[[Engine], Awaitable[_ReplyT]]) -> _ReplyT:
        deadline = self._deadline()
        if not self.routes:
            await self._routed(deadline)
        member = await self._pick(None).pool.acquire(deadline)
        member.busy += 1
        try:
            return await ask(member.replica.engine)
        finally:
            member.leave()

    async def _whole(
        self,
        ask: Callable[[Engine], Awaitable[_ReplyT]],
        key: str,
        slots: int = 1,
        *,
        low: bool = False,
        last_resort: bool = False,
    ) -> _ReplyT:
        """What `ask` gets from an engine of one deployment, else of another, else from the fallback."""
        try:
            ticket = await self.gate.enter(key, slots, low=low)
            try:
                return await self._tried(ask)
            finally:
                self.gate.leave(ticket)
        except (EngineFailed, Overloaded) as error:
            stand_in = None if last_resort else self._stand_in(error)
            if stand_in is None:
                self._failed(key)
                raise
        if isinstance(stand_in, ManagedService):
            return await stand_in._whole(ask, key, slots, low=low, last_resort=True)  # noqa: SLF001 - its own kind
        return await stand_in._whole(ask, key, slots, low=low)  # noqa: SLF001 - a service's own

    async def _tried(self, ask: Callable[[Engine], Awaitable[_ReplyT]]) -> _ReplyT:
        deadline = self._deadline()
        avoid: Route | None = None
        for attempt in range(ATTEMPTS):
            route, member = await self._acquire(avoid, deadline)
            try:
                reply = await ask(route.engine(member))
            except EngineFailed as error:
                avoid = self._blame(route, member, error)
                if attempt + 1 >= ATTEMPTS or asyncio.get_running_loop().time() >= deadline:
                    raise
                await member.replica.suspect()
            except BaseException:
                member.breaker.abandon()
                raise
            else:
                member.breaker.succeed()
                return reply
            finally:
                member.leave()
        raise AssertionError("the last attempt raises")

    async def _streamed(
        self,
        ask: Callable[[Engine], AsyncGenerator[Delta]],
        key: str,
        slots: int,
        *,
        low: bool = False,
        last_resort: bool = False,
    ) -> AsyncGenerator[Delta]:
        """The deltas of `ask`; until the first one, everything that `_whole` tries."""
        started = False
        try:
            ticket = await self.gate.enter(key, slots, low=low)
            try:
                async with aclosing(self._tried_stream(ask)) as deltas:
                    async for delta in deltas:
                        started = True
                        yield delta
            finally:
                self.gate.leave(ticket)
        except (EngineFailed, Overloaded) as error:
            stand_in = None if started or last_resort else self._stand_in(error)
            if stand_in is None:
                self._failed(key)
                raise
        else:
            return
        if isinstance(stand_in, ManagedService):
            stream = stand_in._streamed(ask, key, slots, low=low, last_resort=True)  # noqa: SLF001 - its own kind
        else:
            stream = stand_in._streamed(ask, key, slots, low=low)  # noqa: SLF001 - a service's own
        async with aclosing(stream) as deltas:
            async for delta in deltas:
                yield delta

    async def _tried_stream(
        self, ask: Callable[[Engine], AsyncGenerator[Delta]]
    ) -> AsyncGenerator[Delta]:
        deadline, started = self._deadline(), False
        avoid: Route | None = None
        for attempt in range(ATTEMPTS):
            route, member = await self._acquire(avoid, deadline)
            try:
                async with aclosing(ask(route.engine(member))) as deltas:
                    async for delta in deltas:
                        started = True
                        yield delta
            except EngineFailed as error:
                avoid = self._blame(route, member, error)
                late = asyncio.get_running_loop().time() >= deadline
                if started or attempt + 1 >= ATTEMPTS or late:
                    raise
                await member.replica.suspect()
            except BaseException:
                member.breaker.abandon()
                raise
            else:
                member.breaker.succeed()
                return
            finally:
                member.leave()

    async def _acquire(self, avoid: Route | None, deadline: float) -> tuple[Route, Member]:
        """A deployment and a replica of it, entered; another deployment where the chosen one cannot."""
        if not self.routes:
            await self._routed(deadline)
        route = self._pick(avoid)
        member = route.pool.pick()
        if member is None:
            route, member = await self._wait(route, deadline)
        route.calls += 1
        route.pool.last_used = asyncio.get_running_loop().time()
        member.enter()
        return route, member

    def tell(self) -> None:
        """Wake whoever waits for a deployment: there is one, or a reason why not."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _routed(self, deadline: float) -> None:
        """Wait for a deployment to send calls to.

        Raises:
            Overloaded: None came in time, or none can.
        """
        self._wanted()
        while not self.routes:
            if self.reason:
                raise Overloaded(f"{self.name} does not run: {self.reason}", retry_after_seconds=5)
            news = self._news
            try:
                async with asyncio.timeout_at(deadline):
                    await news.wait()
            except TimeoutError:
                raise Overloaded(
                    f"{self.name} is being set up; try again in a moment", retry_after_seconds=2
                ) from None

    async def _wait(self, route: Route, deadline: float) -> tuple[Route, Member]:
        others = [other for other in self.routes if other is not route]
        for other in others:
            member = other.pool.pick()
            if member is not None:
                return other, member
        return route, await route.pool.acquire(deadline)

    def _pick(self, avoid: Route | None) -> Route:
        routes = self.routes
        if len(routes) == 1:
            return routes[0]
        if avoid is not None:
            return next((route for route in routes if route is not avoid), routes[0])
        point = random.random() * sum(route.weight for route in routes)  # noqa: S311 - shares of calls
        for route in routes:
            point -= route.weight
            if point < 0:
                return route
        return routes[0]

    def _blame(self, route: Route, member: Member, error: EngineFailed) -> Route:
        """Note who failed a call; raise the error if nobody else may be asked."""
        if isinstance(error, UpstreamFailed):
            member.breaker.abandon()
            raise error
        member.breaker.fail()
        route.failed()
        return route

    def _stand_in(self, error: EngineFailed | Overloaded) -> Service | None:
        """What answers instead; None where nothing does."""
        if not self.fallback or isinstance(error, UpstreamFailed):
            return None
        try:
            found = self._find(self.fallback)
        except Exception:  # noqa: BLE001 - a fallback that is gone must not hide why it was needed
            return None
        return found if found is not self and found.kinds & self._kinds else None
