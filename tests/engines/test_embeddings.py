"""What every engine that gives embeddings must do, asked of each over its real child process."""

import asyncio
import math
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from yangfan.engines import echo, llama_cpp
from yangfan.engines.base import Engine, EngineSpec
from yangfan.engines.wire.engine import ChildEngine
from yangfan.errors import ContextTooLong, Invalid
from yangfan.hub import convert_bert

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAT, KITTEN, ENGINE = "A cat sits on the mat.", "The cats sit on mats.", "Diesel motors burn oil."
CHINESE = "今天天气很好 😀 naïve"


@pytest.fixture(scope="module")
def minilm_path(minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model in the form that llama.cpp reads."""
    path = tmp_path_factory.mktemp("minilm") / "minilm.gguf"
    convert_bert.convert(minilm_folder, path)
    return path


@pytest.fixture(scope="module", params=["echo", pytest.param("llama_cpp", marks=pytest.mark.model)])
def spec(request: pytest.FixtureRequest) -> EngineSpec:
    """What to start; without a path it is echo."""
    spec = EngineSpec("tested", slots=4, threads=1, context_tokens=256)
    if request.param == "echo":
        return spec
    if llama_cpp.missing():
        pytest.skip(str(llama_cpp.missing()))
    return msgspec.structs.replace(spec, path=str(request.getfixturevalue("minilm_path")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    spec: EngineSpec, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Engine]:
    """A started engine, shared by the tests of this file."""
    create = echo.create if spec.path is None else llama_cpp.create
    engine = create(spec, tmp_path_factory.mktemp("engine"))
    await engine.start()
    yield engine
    await engine.stop()


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def vector(engine: Engine, text: str) -> list[float]:
    return (await engine.embed([text])).vectors[0]


async def test_it_says_before_it_starts_that_it_gives_embeddings(engine: Engine) -> None:
    assert "embeddings" in engine.kinds


async def test_vectors_have_length_one_and_one_size(engine: Engine) -> None:
    reply = await engine.embed([CAT, CHINESE, "x"])
    assert [len(vector) for vector in reply.vectors] == [384] * 3
    assert [math.hypot(*vector) for vector in reply.vectors] == pytest.approx([1.0] * 3, abs=1e-5)


async def test_like_texts_have_like_vectors(engine: Engine) -> None:
    cat, kitten, motor = (await engine.embed([CAT, KITTEN, ENGINE])).vectors
    assert cosine(cat, kitten) > cosine(cat, motor) + 0.2
    assert cosine(cat, kitten) > cosine(kitten, motor) + 0.2


async def test_vectors_come_in_the_order_of_the_texts_however_many(engine: Engine) -> None:
    texts = [CAT, CHINESE, ENGINE, KITTEN] * 5
    reply = await engine.embed(texts)
    alone = [await vector(engine, text) for text in texts[:4]]
    assert len(reply.vectors) == len(texts)
    for position, together in enumerate(reply.vectors):
        assert cosine(together, alone[position % 4]) > 0.9999


async def test_usage_counts_the_tokens_of_all_texts(engine: Engine) -> None:
    counts = [await engine.count_text_tokens(text) for text in (CAT, CHINESE)]
    reply = await engine.embed([CAT, CHINESE])
    assert reply.usage.prompt_tokens == reply.usage.total_tokens == sum(counts)


async def test_a_text_that_is_too_long_is_refused_and_the_engine_lives(engine: Engine) -> None:
    with pytest.raises(ContextTooLong, match="256"):
        await engine.embed([CAT, "sea " * 300])
    assert await vector(engine, CAT)


async def test_what_is_too_long_is_left_out_when_asked_for(engine: Engine) -> None:
    long = "sea wind star moon " * 100
    reply = await engine.embed([long, CAT], max_tokens=64)
    cat_tokens = await engine.count_text_tokens(CAT)
    assert reply.usage.prompt_tokens == 64 + cat_tokens
    other_end = await engine.embed([long + "and something else in the end"], max_tokens=64)
    assert cosine(reply.vectors[0], other_end.vectors[0]) > 0.9
    assert cosine(reply.vectors[1], await vector(engine, CAT)) > 0.9999


async def test_token_ids_give_the_vector_of_their_text(engine: Engine) -> None:
    if isinstance(engine, echo.EchoEngine):
        ids = tuple(map(ord, CAT))
    else:
        assert isinstance(engine, ChildEngine)
        ids = tuple(await engine.text_tokens(CAT))
    assert "cat" in (await engine.decode(ids) or "")
    reply = await engine.embed([ids, ids[:3]])
    assert cosine(reply.vectors[0], await vector(engine, CAT)) > 0.9999
    assert reply.usage.prompt_tokens == len(ids) + 3
    with pytest.raises(Invalid, match="has no token 2000000, its ids are 0 to"):
        await engine.decode([*ids, 2_000_000])
    with pytest.raises(ContextTooLong, match="256"):
        await engine.embed([ids * 100])


async def test_many_callers_at_once_all_get_their_own(engine: Engine) -> None:
    texts = [CAT, ENGINE, CHINESE, KITTEN] * 6
    async with asyncio.timeout(30):
        replies = await asyncio.gather(*(engine.embed([text, KITTEN]) for text in texts))
    alone = {text: await vector(engine, text) for text in set(texts)}
    for text, reply in zip(texts, replies, strict=True):
        assert cosine(reply.vectors[0], alone[text]) > 0.9999


async def test_echo_reranks_by_likeness(tmp_path: Path) -> None:
    engine = echo.create(EngineSpec("echo"), tmp_path)
    await engine.start()
    reply = await engine.rerank(CAT, [ENGINE, KITTEN, CAT])
    await engine.stop()
    motor, kitten, cat = reply.scores
    assert cat == pytest.approx(1.0)
    assert cat > kitten > motor
    assert reply.usage.prompt_tokens > 4
