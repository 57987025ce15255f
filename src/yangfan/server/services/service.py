"""A served model: where a call waits, which engine takes it, and what happens when that engine dies."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from yangfan.engines.wire.trace import CURRENT, stage, staged
from yangfan.errors import EngineFailed, Overloaded, UpstreamFailed
from yangfan.server.models import InputLimits
from yangfan.server.services.gate import Gate, GatePolicy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from yangfan.engines.base import (
        ChatReply,
        ChatRequest,
        CompletionRequest,
        Delta,
        EmbeddingsReply,
        Engine,
        ImageRequest,
        ImagesReply,
        Kind,
        Message,
        RerankReply,
        Slots,
        TextOrIds,
    )
    from yangfan.protocol.presets import Preset
    from yangfan.server.services.replica import Replica

_ReplyT = TypeVar("_ReplyT")
_RequestT = TypeVar("_RequestT", "ChatRequest", "CompletionRequest")

ATTEMPTS = 4
"""Starts of one call on engines that die under it before anything was sent."""


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """How long a call may wait for a running engine; how many calls may wait for a slot, in all and of one key, and how long."""

    first_byte_timeout_seconds: float
    max_waiting: int
    max_waiting_per_key: int = 128
    max_wait_seconds: float = 60.0


class Service:
    """One model under one name.

    Args:
        name: Name in calls.
        replica: Its engine process.
        policy: Waiting and overload.
        created: When it was published, seconds since the epoch.
        limits: What one call may bring, whichever name it uses.
        remote: One of the models behind the replica's engine, where that asks somebody else's server for many: it counts tokens
            roughly, and the server decides what a call does not say.

    Attributes:
        header: What tells in an answer that this model gave it.
        remote: Whether somebody else's server has the model.

    Calls take turns by `key`, the id of the caller's key; those that are `low` wait for all others: see
    `yangfan.server.services.gate`.
    """

    def __init__(
        self,
        name: str,
        replica: Replica,
        policy: ServicePolicy,
        *,
        created: int,
        limits: InputLimits | None = None,
        remote: Engine | None = None,
    ) -> None:
        self.replica = replica
        self._begin(
            name,
            policy,
            created=created,
            slots=replica.engine.spec.slots,
            limits=limits,
            remote=remote,
        )

    def _begin(
        self,
        name: str,
        policy: ServicePolicy,
        *,
        created: int,
        slots: int,
        limits: InputLimits | None = None,
        remote: Engine | None = None,
    ) -> None:
        """Have what every kind of service has, with a replica or without."""
        self.name = name
        self.header = (b"X-Yangfan-Model", name.encode("ascii", "replace"))
        self._remote = remote
        self.remote = remote is not None
        self.limits = limits or InputLimits()
        self.created = created
        self.policy = policy
        self.gate = Gate(
            name,
            slots,
            GatePolicy(policy.max_waiting, policy.max_waiting_per_key, policy.max_wait_seconds),
        )

    @property
    def engine(self) -> Engine:
        """What answers."""
        return self._remote or self.replica.engine

    @property
    def ready(self) -> bool:
        """Whether an engine can answer now."""
        return self.replica.ready

    @property
    def restarts(self) -> int:
        """How often its engine died."""
        return self.replica.restarts

    @property
    def start_seconds(self) -> float:
        """How long the last start of its engine took."""
        return self.replica.start_seconds

    @property
    def kinds(self) -> frozenset[Kind]:
        """What the model can be asked for."""
        return self.engine.kinds

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together, at most."""
        return (self._remote or self.replica.engine).context_tokens

    @property
    def adapters(self) -> Sequence[str]:
        """Names of the adapters that calls may name behind a colon."""
        return tuple(self.engine.spec.adapters)

    @property
    def in_flight(self) -> int:
        """Answers that are being made, and calls that wait."""
        return self.gate.busy + self.gate.waiting

    @property
    def size(self) -> int:
        """Generations that run side by side."""
        return self.engine.spec.slots

    def chat(
        self, request: ChatRequest, *, key: str = "", low: bool = False
    ) -> Awaitable[ChatReply]:
        """Whole answers of a conversation. An engine that dies is waited for and asked again: nothing was sent yet.

        Raises:
            Overloaded: Too many calls wait, or no engine came up in time.
            EngineFailed: Engines died under the call again and again.
        """
        return self._whole(lambda engine: engine.chat(request), key, request.n, low=low)

    def stream(
        self, request: ChatRequest, *, key: str = "", low: bool = False
    ) -> AsyncGenerator[Delta]:
        """Answers as they come. Before the first delta a dead engine is replaced; after it, EngineFailed ends the stream.

        Raises:
            Overloaded: Too many calls wait, or no engine came up in time.
            EngineFailed: The engine died after the first delta, or again and again before it.
        """
        return self._streamed(lambda engine: engine.chat_stream(request), key, request.n, low=low)

    async def complete(
        self, request: CompletionRequest, *, key: str = "", low: bool = False
    ) -> ChatReply:
        """Whole continuations of a text; waits, tries again and raises as `chat` does."""
        return await self._whole(lambda engine: engine.complete(request), key, request.n, low=low)

    def complete_stream(
        self, request: CompletionRequest, *, key: str = ""
    ) -> AsyncGenerator[Delta]:
        """Continuations as they come; waits, tries again and raises as `stream` does."""
        return self._streamed(lambda engine: engine.complete_stream(request), key, request.n)

    async def embed(
        self,
        texts: Sequence[TextOrIds],
        *,
        max_tokens: int | None = None,
        dimensions: int | None = None,
        key: str = "",
        low: bool = False,
    ) -> EmbeddingsReply:
        """One vector for each text, cut at `max_tokens`; waits, tries again and raises as `chat` does."""
        return await self._whole(
            lambda engine: engine.embed(texts, max_tokens=max_tokens, dimensions=dimensions),
            key,
            low=low,
        )

    async def embed_picture(
        self, text: str, picture: str, *, key: str = "", low: bool = False
    ) -> EmbeddingsReply:
        """One vector for a picture, a data URI, and its text; waits, tries again and raises as `chat` does."""
        return await self._whole(lambda engine: engine.embed_picture(text, picture), key, low=low)

    async def rerank(
        self, query: str, documents: Sequence[str], *, key: str = "", low: bool = False
    ) -> RerankReply:
        """How relevant each document is; waits, tries again and raises as `chat` does."""
        return await self._whole(lambda engine: engine.rerank(query, documents), key, low=low)

    async def generate_images(
        self, request: ImageRequest, *, key: str = "", low: bool = False
    ) -> ImagesReply:
        """So many pictures; waits, tries again and raises as `chat` does."""
        return await self._whole(
            lambda engine: engine.generate_images(request), key, request.n, low=low
        )

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt under the model's own template."""
        engine = await self._engine(self._deadline())
        return await engine.count_tokens(messages)

    async def count_text_tokens(self, text: str) -> int:
        """Tokens of a text as it stands, without a template."""
        engine = await self._engine(self._deadline())
        return await engine.count_text_tokens(text)

    async def decode(self, ids: Sequence[int]) -> str | None:
        """The text that token ids are, None where only a server elsewhere could tell. Raises Invalid for one that the model does not have."""
        engine = await self._engine(self._deadline())
        return await engine.decode(ids)

    async def slots(self) -> Slots:
        """How busy the engine is."""
        return await self.engine.slots()

    async def _whole(
        self,
        ask: Callable[[Engine], Awaitable[_ReplyT]],
        key: str,
        slots: int = 1,
        *,
        low: bool = False,
    ) -> _ReplyT:
        """What `ask` gets from an engine that lives long enough to answer."""
        enter = self.gate.enter
        if CURRENT.get() is not None:
            enter, ask = staged("queue", enter), staged("engine", ask)
        ticket = await enter(key, slots, low=low)
        try:
            deadline = self._deadline()
            for attempt in range(ATTEMPTS):
                engine = self.engine if self.replica.ready else await self._engine(deadline)
                try:
                    return await ask(engine)
                except EngineFailed as error:
                    await self._died(error, attempt, deadline)
        finally:
            self.gate.leave(ticket)
        raise AssertionError("the last attempt raises")

    async def _streamed(
        self,
        ask: Callable[[Engine], AsyncGenerator[Delta]],
        key: str,
        slots: int,
        *,
        low: bool = False,
    ) -> AsyncGenerator[Delta]:
        """The deltas of `ask`, from an engine that lives long enough to begin."""
        with stage("queue"):
            ticket = await self.gate.enter(key, slots, low=low)
        try:
            deadline, started = self._deadline(), False
            for attempt in range(ATTEMPTS):
                engine = await self._engine(deadline)
                try:
                    with stage("engine"):
                        async with aclosing(ask(engine)) as deltas:
                            async for delta in deltas:
                                started = True
                                yield delta
                except EngineFailed as error:
                    await self._died(error, ATTEMPTS if started else attempt, deadline)
                else:
                    return
        finally:
            self.gate.leave(ticket)

    def _deadline(self) -> float:
        # What the event loops' clocks read; asking which loop runs is a system call here.
        return time.monotonic() + self.policy.first_byte_timeout_seconds

    async def _engine(self, deadline: float) -> Engine:
        if not await self.replica.wait_ready(deadline):
            reason = f": {self.replica.last_error}" if self.replica.last_error else ""
            raise Overloaded(
                f"the engine of {self.name} is not running; try again later{reason}",
                retry_after_seconds=5,
            )
        return self.engine

    async def _died(self, error: EngineFailed, attempt: int, deadline: float) -> None:
        """Return when the call may be tried again; raise the error if this was the last chance."""
        if isinstance(error, UpstreamFailed):
            raise error  # its server may have worked, and charged, for it: whether to ask again is the caller's choice
        if attempt + 1 >= ATTEMPTS or time.monotonic() >= deadline:
            raise error
        await self.replica.suspect()


class AdaptedService(Service):
    """A service answering through one of its model's adapters, under the name ``base:adapter``.

    It shares everything with its base: the process, the slots, the queue.
    """

    def __init__(self, base: Service, adapter: str) -> None:
        super().__init__(
            f"{base.name}:{adapter}",
            base.replica,
            base.policy,
            created=base.created,
            limits=base.limits,
        )
        self.gate = base.gate
        self.base = base
        self._adapter = adapter

    @property
    def kinds(self) -> frozenset[Kind]:
        """What generates text: adapters change nothing else."""
        return self.base.kinds & {"chat", "vision"}

    def _adapted(self, request: _RequestT) -> _RequestT:
        return msgspec.structs.replace(request, adapter=self._adapter)

    async def chat(self, request: ChatRequest, *, key: str = "", low: bool = False) -> ChatReply:
        """As the base does, through the adapter."""
        return await self.base.chat(self._adapted(request), key=key, low=low)

    def stream(
        self, request: ChatRequest, *, key: str = "", low: bool = False
    ) -> AsyncGenerator[Delta]:
        """As the base does, through the adapter."""
        return self.base.stream(self._adapted(request), key=key, low=low)

    async def complete(
        self, request: CompletionRequest, *, key: str = "", low: bool = False
    ) -> ChatReply:
        """As the base does, through the adapter."""
        return await self.base.complete(self._adapted(request), key=key, low=low)

    def complete_stream(
        self, request: CompletionRequest, *, key: str = ""
    ) -> AsyncGenerator[Delta]:
        """As the base does, through the adapter."""
        return self.base.complete_stream(self._adapted(request), key=key)


@dataclass(frozen=True, slots=True)
class Target:
    """What a name in a call means here: the service that answers, and the preset whose rules apply, if it names one."""

    asked: str
    service: Service
    preset: Preset | None

    @property
    def model(self) -> str:
        """Name of the served model."""
        return self.service.name

    @property
    def preemptible(self) -> bool:
        """Whether the name is one of those whose calls wait for all others."""
        return self.preset is not None and self.preset.name.endswith("-preemptible")

    @property
    def max_inputs(self) -> int | None:
        """Texts of one call: what the settings say of the served model, else what Qianfan says of the name; None if neither does."""
        own = self.service.limits.max_inputs
        return own or (self.preset.max_inputs if self.preset is not None else None)

    @property
    def max_input_chars(self) -> int | None:
        """The same for characters."""
        own = self.service.limits.max_input_chars
        return own or (self.preset.max_input_chars if self.preset is not None else None)

    @property
    def max_input_tokens(self) -> int | None:
        """The same for tokens; the model's own limit stands beside it."""
        own = self.service.limits.max_input_tokens
        return own or (self.preset.max_input_tokens if self.preset is not None else None)

    @property
    def spellings(self) -> frozenset[str]:
        """Every name for it, case folded: the one in the call, the served model's, the preset's, and of an adapter its model's."""
        known = () if self.preset is None else self.preset.spellings
        base = (self.service.base.name,) if isinstance(self.service, AdaptedService) else ()
        return frozenset(map(str.casefold, (self.asked, self.service.name, *base, *known)))
