"""Limits of each name, over services whose engine is scripted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.server.services.conftest import Scripted

from yangfan.egress import Egress
from yangfan.engines.base import TextOrIds
from yangfan.errors import Invalid, ModelNotFound, Overloaded, TokenRateLimited
from yangfan.protocol import presets
from yangfan.server.chat import Pictures
from yangfan.server.embeddings import Embeddings
from yangfan.server.http.metering import Metered, Unmetered
from yangfan.server.models import InputLimits
from yangfan.server.services import Service, Services
from yangfan.server.services.replica import Replica
from yangfan.server.services.service import ServicePolicy

PRESETS = presets.load()


class SmallMeter(Unmetered):
    """A meter with room for so many tokens; keeps what was reserved and settled."""

    def __init__(self, room_tokens: int) -> None:
        super().__init__()
        self.room_tokens = room_tokens
        self.asked: list[int] = []
        self.settled: list[int] = []

    def reserve(self, target: Metered, tokens: int) -> None:
        self.asked.append(tokens)
        if tokens > self.room_tokens:
            raise TokenRateLimited

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        self.settled.append(prompt_tokens + completion_tokens)


async def embeddings_of(*kinds: str, limits: InputLimits | None = None) -> Embeddings:
    """A running service `only` whose tokens are characters."""
    replica = Replica(Scripted(kinds=frozenset(kinds or ("embeddings",))))  # pyright: ignore[reportArgumentType] - a double
    service = Service("only", replica, ServicePolicy(1.0, 0), created=0, limits=limits)
    services = Services([service], PRESETS, {})
    await services.start()
    return Embeddings(services, Pictures(Egress(), max_total_bytes=1 << 20))


async def embed(name: str, texts: str | Sequence[TextOrIds], meter: Unmetered | None = None) -> int:
    embeddings = await embeddings_of()
    reply = await embeddings.answer(embeddings.target(name), texts, meter or Unmetered())
    return len(reply.vectors)


@pytest.mark.parametrize("name", ["only", "embedding-v1"])
async def test_settings_of_the_served_model_win_over_the_name(name: str):
    limits = InputLimits(max_inputs=20, max_input_chars=30, max_input_tokens=8)
    embeddings = await embeddings_of(limits=limits)
    target = embeddings.target(name)
    assert len((await embeddings.answer(target, ["a"] * 20, Unmetered())).vectors) == 20
    for texts, text in (
        (["a"] * 21, "max batch size is 20"),
        (["a" * 31], "max length per batch size is 30"),
        (["a" * 9], "max tokens per batch size is 8"),
    ):
        with pytest.raises(Invalid, match=text):
            await embeddings.answer(target, texts, Unmetered())


async def test_the_engine_is_told_how_long_a_vector_is_wanted():
    embeddings = await embeddings_of()
    target = embeddings.target("only")
    for wanted in (2, None):
        await embeddings.answer(target, ["a"], Unmetered(), dimensions=wanted)
        engine = target.service.engine
        assert isinstance(engine, Scripted)
        assert engine.dimensions == wanted


async def test_a_string_is_one_text():
    assert await embed("embedding-v1", "one two three") == 1


@pytest.mark.parametrize(
    ("name", "texts", "chars", "tokens"),
    [
        ("embedding-v1", 16, 1000, 384),
        ("bge_large_zh", 16, 2000, 512),
        ("bge-large-en", 16, 2000, 512),
        ("tao_8k", 1, 28000, 8192),
        ("qwen3-embedding-8b", 16, None, 8192),
        ("only", 16, None, None),
    ],
)
async def test_every_name_has_its_documented_limits(
    name: str, texts: int, chars: int | None, tokens: int | None
):
    assert await embed(name, ["a"] * texts) == texts
    with pytest.raises(Invalid, match=f"^embeddings max batch size is {texts}; {texts + 1} texts"):
        await embed(name, ["a"] * (texts + 1))
    if chars is not None:
        with pytest.raises(Invalid, match=f"^embeddings max length per batch size is {chars};"):
            await embed(name, ["a" * (chars + 1)])
    if tokens is not None:
        assert await embed(name, ["a" * tokens]) == 1
        with pytest.raises(
            Invalid,
            match=rf"^embeddings max tokens per batch size is {tokens}; input\[0\] has {tokens + 1}",
        ):
            await embed(name, ["a" * (tokens + 1)])


async def test_tokens_are_reserved_by_their_bound_and_settled_by_their_count():
    meter = SmallMeter(1000)
    await embed("only", ["abcd", "ef"], meter)
    assert (meter.asked, meter.settled) == ([10], [6])


async def test_engine_reads_token_ids_only_for_a_call_that_may_come():
    meter = SmallMeter(0)
    with pytest.raises(TokenRateLimited):
        await embed("only", [(1, 2)], meter)
    assert meter.asked == [1]


async def test_tokens_are_counted_where_their_bound_does_not_fit():
    meter = SmallMeter(6)
    await embed("only", ["abcd", "ef"], meter)
    assert (meter.asked, meter.settled) == ([10, 6], [6])
    with pytest.raises(TokenRateLimited):
        await embed("only", ["abcdefg"], SmallMeter(6))


async def test_a_model_that_only_chats_is_not_asked():
    embeddings = await embeddings_of("chat")
    with pytest.raises(ModelNotFound, match="'only' is a model for chat, not for embeddings"):
        embeddings.target("only")


async def test_an_engine_that_is_down_is_overload():
    embeddings = await embeddings_of()
    target = embeddings.target("only")
    await target.service.replica.stop()
    with pytest.raises(Overloaded):
        await embeddings.answer(target, "a", Unmetered())
