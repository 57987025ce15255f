"""Defaults and limits that both dialects share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import pytest

from yangfan.egress import Egress
from yangfan.engines.base import (
    Answer,
    ChatReply,
    ChatRequest,
    Delta,
    EngineSpec,
    Finish,
    Message,
    Part,
    Sampling,
    Usage,
)
from yangfan.errors import ContextTooLong, InvalidSystem, TooManyCharacters
from yangfan.protocol import presets
from yangfan.server.chat import Chat
from yangfan.server.chat.logic import DEFAULT_OUTPUT_TOKENS
from yangfan.server.chat.pictures import Pictures
from yangfan.server.http import Unmetered
from yangfan.server.memory import Memory
from yangfan.server.services import Service, Services
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy


class Listening:
    """An engine in this process that remembers what it was asked; one token per word."""

    running = True
    pid = None
    kinds = frozenset({"chat"})

    def __init__(self, context_tokens: int = 8192) -> None:
        self.spec = EngineSpec("listening")
        self.context_tokens = context_tokens
        self.asked: list[ChatRequest] = []
        self.counted = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def wait_died(self) -> None:
        await asyncio.Event().wait()

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        return ChatReply((Answer("", Finish.NATURAL),), Usage())

    async def chat_stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        self.asked.append(request)
        yield Delta(finish=Finish.NATURAL, usage=Usage())

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        self.counted += 1
        return sum(len(str(message.content).split()) for message in messages)


@pytest.fixture
def engine() -> Listening:
    return Listening()


@pytest.fixture
async def chat(engine: Listening) -> AsyncGenerator[Chat]:
    replica = Replica(engine)  # pyright: ignore[reportArgumentType] - a double of the interface
    service = Service("listening", replica, ServicePolicy(1.0, 8), created=0)
    services = Services([service], presets.load(), {})
    await services.start()
    pictures = Pictures(Egress(), max_total_bytes=1024)
    yield Chat(services, cast("Memory", None), pictures)
    await services.stop()


async def sampling(chat: Chat, engine: Listening, name: str, **given: Any) -> Sampling:
    """What the engine is told to sample with."""
    request = ChatRequest((Message("user", "hi"),), Sampling(**given))
    await chat.answer(chat.target(name), request, Unmetered())
    return engine.asked[-1].sampling


@pytest.mark.parametrize(
    ("name", "temperature", "top_p", "frequency_penalty", "output_tokens"),
    [
        ("ERNIE-Speed-8K", 0.95, 0.7, 0.1, 1024),
        ("ERNIE-4.0-8K", 0.8, 0.8, None, 1024),
        ("ERNIE-Speed-128K", 0.95, 0.7, 0.1, 4096),
        ("listening", None, None, None, DEFAULT_OUTPUT_TOKENS),
    ],
)
async def test_defaults_are_the_models_documented_ones(
    chat: Chat,
    engine: Listening,
    name: str,
    temperature: float | None,
    top_p: float | None,
    frequency_penalty: float | None,
    output_tokens: int,
):
    found = await sampling(chat, engine, name)
    assert (found.temperature, found.top_p) == (temperature, top_p)
    assert found.frequency_penalty == frequency_penalty
    assert found.max_output_tokens == output_tokens


async def test_what_the_caller_says_wins_over_defaults(chat: Chat, engine: Listening):
    found = await sampling(
        chat, engine, "ERNIE-Speed-8K", temperature=0.1, top_p=0.0, max_output_tokens=5
    )
    assert (found.temperature, found.top_p, found.max_output_tokens) == (0.1, 0.0, 5)


async def test_output_never_asks_for_more_than_the_context(chat: Chat, engine: Listening):
    engine.context_tokens = 512
    assert (await sampling(chat, engine, "ERNIE-Speed-8K")).max_output_tokens == 512
    assert (
        await sampling(chat, engine, "listening", max_output_tokens=9999)
    ).max_output_tokens == 512


async def test_stream_has_the_same_defaults(chat: Chat, engine: Listening):
    request = ChatRequest((Message("user", "hi"),))
    async for _ in chat.stream(chat.target("ERNIE-Speed-8K"), request, Unmetered()):
        pass
    assert engine.asked[-1].sampling.temperature == 0.95


def request_of(*messages: Message) -> ChatRequest:
    return ChatRequest(messages)


async def test_characters_are_counted_over_all_messages(chat: Chat, engine: Listening):
    target = chat.target("ERNIE-4.0-8K")
    turns = [Message("user", "a" * 10_000), Message("assistant", "b" * 9_999), Message("user", "c")]
    await chat.answer(target, request_of(*turns), Unmetered())
    with pytest.raises(TooManyCharacters, match=r"^the max input characters is 20000"):
        await chat.answer(target, request_of(*turns, Message("user", "d")), Unmetered())


async def test_parts_count_by_their_text(chat: Chat):
    content = (Part("a" * 20_001), Part(image_url="data:," + "x" * 50_000))
    with pytest.raises(TooManyCharacters, match="have 20001"):
        await chat.answer(
            chat.target("ERNIE-4.0-8K"), request_of(Message("user", content)), Unmetered()
        )


async def test_system_that_is_too_long_alone_is_blamed(chat: Chat):
    messages = (Message("system", "s" * 20_001), Message("user", "hi"))
    with pytest.raises(InvalidSystem, match=r"^Invalid Argument, system is longer than 20000"):
        await chat.answer(chat.target("ERNIE-4.0-8K"), request_of(*messages), Unmetered())


async def test_served_models_own_name_has_no_limit_of_characters(chat: Chat, engine: Listening):
    await chat.answer(
        chat.target("listening"), request_of(Message("user", "a" * 30_000)), Unmetered()
    )
    assert len(engine.asked) == 1


async def test_tokens_are_counted_only_when_they_might_not_fit(chat: Chat, engine: Listening):
    target = chat.target("listening")
    await chat.answer(target, request_of(Message("user", "word " * 1000)), Unmetered())
    assert engine.counted == 0
    await chat.answer(target, request_of(Message("user", "word " * 2000)), Unmetered())
    assert engine.counted == 1


@pytest.mark.parametrize(("words", "fits"), [(8191, True), (8192, False)])
async def test_prompt_must_leave_room_for_an_answer(
    chat: Chat, engine: Listening, words: int, fits: bool
):
    request = request_of(Message("user", "a " * words))
    if fits:
        await chat.answer(chat.target("listening"), request, Unmetered())
        return
    with pytest.raises(
        ContextTooLong, match=r"^Prompt tokens too long: 8192 tokens, listening takes 8191"
    ):
        await chat.answer(chat.target("listening"), request, Unmetered())
    assert engine.asked == []


async def test_presets_limit_of_tokens_holds_below_the_context(chat: Chat):
    target = chat.target("ERNIE-3.5-8K")
    assert target.preset is not None
    limit = target.preset.max_input_tokens
    assert limit is not None
    assert limit < target.service.context_tokens
    await chat.answer(target, request_of(Message("user", "a " * limit)), Unmetered())
    with pytest.raises(ContextTooLong, match=f"ERNIE-3.5-8K takes {limit}"):
        await chat.answer(target, request_of(Message("user", "a " * (limit + 1))), Unmetered())
