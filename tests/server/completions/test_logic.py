"""Defaults, limits and several prompts in one call, over an engine that remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import pytest

from yangfan.engines.base import (
    Answer,
    ChatReply,
    CompletionRequest,
    Delta,
    EngineSpec,
    Finish,
    Sampling,
    Usage,
)
from yangfan.errors import ContextTooLong, Invalid, TokenRateLimited, TooManyCharacters
from yangfan.protocol import presets
from yangfan.server.completions import Completions
from yangfan.server.completions.logic import DEFAULT_OUTPUT_TOKENS
from yangfan.server.http import Unmetered
from yangfan.server.services import Service, Services
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy

if TYPE_CHECKING:
    from yangfan.server.http import Metered

SLOTS = 2


class Listening:
    """An engine in this process that remembers what it was asked; one token per word."""

    running = True
    pid = None
    kinds = frozenset({"chat"})

    def __init__(self) -> None:
        self.spec = EngineSpec("listening", slots=SLOTS)
        self.context_tokens = 100
        self.asked: list[CompletionRequest] = []
        self.busy = self.most_busy = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def wait_died(self) -> None:
        await asyncio.Event().wait()

    async def complete(self, request: CompletionRequest) -> ChatReply:
        self.asked.append(request)
        self.busy += request.n
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if request.prompt == "refuse":
                raise Invalid("refused")
            # Long enough for all others to begin, if nothing holds them back; for ever if something must.
            for _ in range(20):
                await asyncio.sleep(0)
            if request.prompt == "hang":
                await asyncio.Event().wait()
        finally:
            self.busy -= request.n
        texts = tuple(Answer(request.prompt, Finish.NATURAL, index) for index in range(request.n))
        return ChatReply(texts, Usage(len(request.prompt.split()), 2 * request.n, 1))

    async def complete_stream(self, request: CompletionRequest) -> AsyncGenerator[Delta]:
        self.asked.append(request)
        prompt_tokens = len(request.prompt.split())
        for index in range(request.n):
            yield Delta("a", index, usage=Usage(prompt_tokens, index + 1))
        for index in range(request.n):
            usage = Usage(prompt_tokens, request.n)
            yield Delta("", index, finish=Finish.NATURAL, usage=usage)

    async def count_text_tokens(self, text: str) -> int:
        return len(text.split())


class Counting(Unmetered):
    """A meter that remembers; more than `room` tokens do not fit."""

    def __init__(self, room: int = 1_000_000) -> None:
        super().__init__()
        self.room = room
        self.taken: list[int] = []
        self.settled: list[tuple[int, int]] = []

    def reserve(self, target: Metered, tokens: int) -> None:
        if tokens > self.room:
            raise TokenRateLimited("too much")
        self.taken.append(tokens)

    def answer_tokens(self, target: Metered, prompt_tokens: int) -> int | None:
        return max(self.room - prompt_tokens, 0)

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        self.settled.append((prompt_tokens, completion_tokens))


@pytest.fixture
def engine() -> Listening:
    return Listening()


@pytest.fixture
async def completions(engine: Listening) -> AsyncGenerator[Completions]:
    replica = Replica(engine)  # pyright: ignore[reportArgumentType] - a double of the interface
    service = Service("listening", replica, ServicePolicy(1.0, 8), created=0)
    services = Services([service], presets.load(), {})
    await services.start()
    yield Completions(services)
    await services.stop()


def ask(*prompts: str, n: int = 1, **sampling: Any) -> list[CompletionRequest]:
    return [CompletionRequest(prompt, Sampling(**sampling), n=n) for prompt in prompts]


async def answer(
    completions: Completions,
    requests: list[CompletionRequest],
    meter: Unmetered | None = None,
    name: str = "listening",
) -> ChatReply:
    return await completions.answer(completions.target(name), requests, meter or Counting())


@pytest.mark.parametrize(
    ("name", "output_tokens"),
    [("sqlcoder_7b", 1024), ("ernie-speed-8k", 1024), ("listening", DEFAULT_OUTPUT_TOKENS)],
)
async def test_length_is_the_documented_default_within_the_context(
    completions: Completions, engine: Listening, name: str, output_tokens: int
):
    engine.context_tokens = 8192
    await answer(completions, ask("a"), name=name)
    assert engine.asked[-1].sampling.max_output_tokens == output_tokens
    engine.context_tokens = 50
    await answer(completions, ask("a"), name=name)
    assert engine.asked[-1].sampling.max_output_tokens == 50


async def test_prompts_run_side_by_side_but_no_more_than_there_are_slots(
    completions: Completions, engine: Listening
):
    prompts = [f"p {number}" for number in range(7)]
    reply = await answer(completions, ask(*prompts))
    assert [item.text for item in reply.answers] == prompts
    assert [item.index for item in reply.answers] == list(range(7))
    assert reply.usage == Usage(14, 14, 7)
    assert engine.most_busy == SLOTS


async def test_texts_of_one_prompt_take_their_slots_together(
    completions: Completions, engine: Listening
):
    reply = await answer(completions, ask("a", "b", n=2))
    assert [(item.index, item.text) for item in reply.answers] == [
        (0, "a"),
        (1, "a"),
        (2, "b"),
        (3, "b"),
    ]
    assert engine.most_busy == 2


async def test_refusal_of_one_prompt_is_the_calls_and_stops_the_others(
    completions: Completions, engine: Listening
):
    async with asyncio.timeout(5):
        with pytest.raises(Invalid, match="refused"):
            await answer(completions, ask("hang", "refuse", "hang"))
    assert engine.busy == 0


async def test_every_prompt_is_checked_before_any_is_asked(
    completions: Completions, engine: Listening
):
    with pytest.raises(ContextTooLong, match="100 tokens, listening takes 99; shorten the prompt"):
        await answer(completions, ask("a", "word " * 100))
    with pytest.raises(TooManyCharacters, match="is 4800; the prompt has 4801, shorten it"):
        await answer(completions, ask("a" * 4801), name="sqlcoder_7b")
    assert engine.asked == []


async def test_engine_reads_token_ids_only_for_a_call_that_may_come(completions: Completions):
    # The engine here reads none at all.
    with pytest.raises(TokenRateLimited):
        await answer(
            completions, [CompletionRequest("", Sampling(), prompt_ids=(1, 2))], Counting(0)
        )


@pytest.mark.parametrize("streaming", [False, True])
async def test_all_prompts_are_reserved_at_once_and_booked_at_the_end(
    completions: Completions, streaming: bool
):
    meter, requests = Counting(), ask("a b", "c", n=2, max_output_tokens=5)
    if streaming:
        ends = [
            (delta.index, list(meter.settled))
            async for delta in completions.stream(completions.target("listening"), requests, meter)
            if delta.finish is not None
        ]
        assert [index for index, _ in ends] == [0, 1, 2, 3]
        assert [settled for _, settled in ends] == [[], [], [], [(3, 4)]]
    else:
        await answer(completions, requests, meter)
    (taken,) = meter.taken
    assert taken >= 3 + 4 * 5
    assert meter.settled[-1] == (3, 4 if streaming else 8)


async def test_texts_are_made_shorter_where_a_limit_leaves_less(
    completions: Completions, engine: Listening
):
    meter = Counting(room=33)
    await answer(completions, ask("a b", "c"), meter)
    assert meter.taken == [3 + 2 * 15]
    assert {request.sampling.max_output_tokens for request in engine.asked} == {15}


async def test_stream_tells_the_usage_of_all_prompts_so_far(completions: Completions):
    target = completions.target("listening")
    deltas = [delta async for delta in completions.stream(target, ask("a b", "c"), Counting())]
    usages = [delta.usage for delta in deltas if delta.usage]
    assert usages == [Usage(2, 1)] * 2 + [Usage(3, 2)] * 2


async def test_caller_that_leaves_a_stream_pays_for_what_came(completions: Completions):
    meter = Counting()
    stream = completions.stream(completions.target("listening"), ask("a b", n=2), meter)
    await anext(stream)
    await stream.aclose()
    assert meter.settled[-1] == (2, 1)
