"""What is llama.cpp's own among the engines."""

import asyncio
import json
import random
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from yangfan.engines import llama_cpp
from yangfan.engines.base import (
    ChatRequest,
    CompletionRequest,
    Engine,
    EngineSpec,
    Finish,
    Message,
    Part,
    Sampling,
    Tool,
)
from yangfan.engines.wire.pool import Pool
from yangfan.errors import ConfigurationError, EngineFailed, Invalid, ModelNotFound
from yangfan.weights import gguf

pytestmark = pytest.mark.skipif(llama_cpp.missing() is not None, reason=str(llama_cpp.missing()))

WaitUntil = Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]


def make_engine(path: Path, workdir: Path, *, slots: int = 2, **fields: Any) -> Engine:
    spec = EngineSpec(model="tested", path=str(path), slots=slots, threads=1, **fields)
    return llama_cpp.create(spec, workdir)


@pytest.fixture(params=["wheel", "native"])
def program(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options that choose one of the two programs; the build is skipped by name where there is none."""
    if request.param == "wheel":
        return {"program": "wheel"}
    return {"program": "native", "builds": request.getfixturevalue("native_builds")}


@pytest.fixture
async def start(
    smollm2_path: Path, tmp_path: Path, program: dict[str, Any]
) -> AsyncGenerator[Callable[..., Awaitable[Engine]]]:
    """Starts an engine on the real model; it is stopped after the test."""
    engines: list[Engine] = []

    async def start(**fields: Any) -> Engine:
        options = {**program, **fields.pop("options", {})}
        engine = make_engine(smollm2_path, tmp_path, options=options, **fields)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.stop()


def ask(text: str, **sampling: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), Sampling(**sampling))


def go_on(text: str, **sampling: Any) -> CompletionRequest:
    return CompletionRequest(text, Sampling(**sampling))


# Files that are no model --------------------------------------------------------------------------


async def test_a_file_that_is_no_gguf_fails_at_once_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04 this is a zip file")
    engine = make_engine(path, tmp_path)
    with pytest.raises(EngineFailed, match="not a GGUF model file"):
        await engine.start()
    assert not engine.running


async def test_a_truncated_file_fails_and_says_so(tmp_path: Path, smollm2_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with smollm2_path.open("rb") as whole:
        path.write_bytes(whole.read(4_000_000))
    with pytest.raises(EngineFailed, match="corrupted or incomplete") as failed:
        await make_engine(path, tmp_path).start()
    assert "get it again" in failed.value.message


async def test_a_file_that_ends_in_its_header_fails_and_says_so(
    tmp_path: Path, smollm2_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    with smollm2_path.open("rb") as whole:
        path.write_bytes(whole.read(40))
    with pytest.raises(EngineFailed, match="incomplete or damaged"):
        await make_engine(path, tmp_path).start()


async def test_a_missing_file_fails_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="No such file"):
        await make_engine(tmp_path / "absent.gguf", tmp_path).start()


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"enum": [f"word {number}" for number in range(2000)]}, "2,000 ways to go on"),
        ({"type": "string", "pattern": "(a{1,30000}b){1,30000}"}, "a pattern multiply"),
    ],
)
async def test_a_grammar_that_would_hold_up_all_answers_is_refused_before_the_child_sees_it(
    schema: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    engine = make_engine(tmp_path / "not-started.gguf", tmp_path)
    asked = ChatRequest((Message("user", "Hi"),))
    format_ = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    tool = Tool("find", "", {"type": "object", "properties": {"word": schema}})
    for request, param in (
        (msgspec.structs.replace(asked, response_format=format_), "response_format"),
        (msgspec.structs.replace(asked, tools=(tool,)), "tools"),
    ):
        with pytest.raises(Invalid, match=reason) as refused:
            await engine.chat(request)
        assert refused.value.param == param
        assert "simplify its schema" in refused.value.message
    with pytest.raises(EngineFailed, match="not running"):
        await engine.chat(msgspec.structs.replace(asked, tools=(tool,), tool_choice="none"))


def test_an_engine_without_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="path"):
        llama_cpp.create(EngineSpec(model="tested"), tmp_path)


# Memory -------------------------------------------------------------------------------------------


async def test_a_pool_smaller_than_the_requests_never_fails_one(
    start: Callable[..., Awaitable[Engine]],
) -> None:
    engine = await start(slots=4, context_tokens=512, options={"kv_tokens": 512})
    text = "Tell me about the sea, the wind and the stars. " * 6
    async with asyncio.timeout(120):
        replies = await asyncio.gather(
            *(engine.chat(ask(f"{number}. {text}", max_output_tokens=80)) for number in range(3)),
            *(engine.complete(go_on(f"{n}. {text}", max_output_tokens=80)) for n in range(3)),
        )
    assert all(reply.usage.completion_tokens > 0 for reply in replies)


async def test_a_request_without_a_limit_gets_the_default_one(
    start: Callable[..., Awaitable[Engine]],
) -> None:
    engine = await start(context_tokens=512, options={"default_output_tokens": 7})
    told = await engine.chat(ask("Tell me a long story about the sea."))
    gone_on = await engine.complete(go_on("Once upon a time there was a", temperature=0.0))
    for reply in (told, gone_on):
        assert reply.usage.completion_tokens == 7
        assert reply.answers[0].finish is Finish.LENGTH


async def test_the_context_is_the_models_own_when_none_is_asked_for(
    start: Callable[..., Awaitable[Engine]],
) -> None:
    assert (await start(slots=1)).context_tokens == 8192


# Callers that leave, requests that are wrong -------------------------------------------------------


@pytest.mark.parametrize("completing", [False, True])
async def test_a_caller_that_leaves_while_a_long_prompt_is_read_frees_its_slot(
    start: Callable[..., Awaitable[Engine]], wait_until: WaitUntil, completing: bool
) -> None:
    engine = await start(slots=1)
    text = "word sea " * 3500
    reply = (
        engine.complete(go_on(text, max_output_tokens=5))
        if completing
        else engine.chat(ask(text, max_output_tokens=5))
    )
    call = asyncio.ensure_future(reply)

    async def busy() -> bool:
        return (await engine.slots()).busy == 1

    async def idle() -> bool:
        return (await engine.slots()).busy == 0

    await wait_until(busy, "the prompt")
    call.cancel()
    await wait_until(idle, "a free slot, long before the prompt could be read")


async def test_images_are_refused_by_a_model_that_has_no_eyes(
    start: Callable[..., Awaitable[Engine]],
) -> None:
    engine = await start(context_tokens=512)
    image = Part(image_url="data:image/png;base64,iVBORw0KGgo=")
    request = ChatRequest((Message("user", (Part(text="What is this?"), image)),))
    with pytest.raises(Invalid, match="images"):
        await engine.chat(request)
    with pytest.raises(Invalid, match="images"):
        async with aclosing(engine.chat_stream(request)) as stream:
            await anext(stream)
    wrong_schema = {"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}
    with pytest.raises(Invalid, match="nonsense"):
        await engine.chat(ChatRequest((Message("user", "Hi"),), response_format=wrong_schema))


# Function calls of a model whose template knows no tools --------------------------------------------

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = (Tool("weather", "Weather of a city", CITY), Tool("time", "Time in a city", CITY))


async def test_a_call_that_is_required_comes_and_fits_its_schema(
    start: Callable[..., Awaitable[Engine]],
) -> None:
    engine = await start(context_tokens=1024)
    asked = ask("What time is it in Paris?", max_output_tokens=120, seed=3)
    for choice, names in (("required", {"weather", "time"}), ("function:time", {"time"})):
        request = msgspec.structs.replace(asked, tools=TOOLS, tool_choice=choice, n=2)
        for answer in (await engine.chat(request)).answers:
            (call,) = answer.function_calls
            assert call.name in names
            assert json.loads(call.arguments).keys() == {"city"}
            assert answer.text == ""
            assert answer.finish is Finish.FUNCTION_CALL


async def test_a_required_call_that_the_limit_cuts_is_no_call(
    start: Callable[..., Awaitable[Engine]],
) -> None:
    engine = await start(context_tokens=1024)
    request = msgspec.structs.replace(
        ask("What time is it in Paris?", max_output_tokens=5), tools=TOOLS, tool_choice="required"
    )
    (answer,) = (await engine.chat(request)).answers
    assert (answer.text, answer.function_calls) == ("", ())
    assert answer.finish is Finish.LENGTH


# Adapters -----------------------------------------------------------------------------------------

WIDTH, LAYERS, LORA_RANK = 576, 30, 4
"""SmolLM2-135M's hidden size and number of layers, and the adapters' rank."""


def write_adapter(path: Path, seed: int) -> str:
    """A LoRA adapter of SmolLM2's query projections, with random numbers."""
    numbers, count = random.Random(seed), WIDTH * LORA_RANK

    def noise() -> bytes:
        return struct.pack(f"<{count}f", *(numbers.gauss(0, 0.4) for _ in range(count)))

    tensors = [
        gguf.Tensor(f"blk.{layer}.attn_q.weight.lora_{part}", shape, "F32", noise)
        for layer in range(LAYERS)
        for part, shape in (("a", (LORA_RANK, WIDTH)), ("b", (WIDTH, LORA_RANK)))
    ]
    facts: dict[str, gguf.Value] = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    gguf.write(path, facts, tensors)
    return str(path)


PROMPT = "The old captain looked at the sea and said that the " * 4


async def told(engine: Engine, adapter: str | None) -> tuple[str, list[float]]:
    """Text and log-probabilities of a greedy continuation."""
    sampling = Sampling(max_output_tokens=8, temperature=0.0)
    request = CompletionRequest(PROMPT, sampling, logprobs=1, adapter=adapter)
    (answer,) = (await engine.complete(request)).answers
    assert answer.logprobs is not None
    return answer.text, [token["logprob"] for token in answer.logprobs["content"]]


async def test_adapters_answer_side_by_side_and_never_from_each_others_cache(
    start: Callable[..., Awaitable[Engine]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    send = Pool.stream

    def noting(pool: Pool, path: str, body: bytes) -> AsyncGenerator[bytes]:
        sent.append(json.loads(body)["lora"])
        return send(pool, path, body)

    monkeypatch.setattr(Pool, "stream", noting)
    adapters = {"a:poet,": write_adapter(tmp_path / "a:poet,.gguf", seed=1)}
    engine = await start(slots=2, context_tokens=512, adapters=adapters)
    names = (None, "a:poet,")
    fresh: dict[str | None, float] = {}
    for name in names:
        await engine.stop()
        await engine.start()
        fresh[name] = (await told(engine, name))[1][0]
    assert abs(fresh[None] - fresh["a:poet,"]) > 1

    def check(name: str | None, answer: tuple[str, list[float]]) -> None:
        # Read in another batch, the last bits differ: 0.03 at most here, and more with random weights in between.
        assert answer[1][0] == pytest.approx(fresh[name], abs=0.08 if name is None else 0.5)

    # The same prompt again in every order: whatever the slots hold, nobody is answered from another's.
    for name in (None, "a:poet,", "a:poet,", None, None, "a:poet,", None):
        check(name, await told(engine, name))
    together = await asyncio.gather(*(told(engine, name) for name in names * 2))
    for name, answer in zip(names * 2, together, strict=True):
        check(name, answer)
    # One that said nothing of adapters would often, and not always, meet none: so every request must say it.
    assert sorted(str(lora) for lora in sent[-4:]) == [
        "[{'id': 0, 'scale': 0.0}]",
        "[{'id': 0, 'scale': 0.0}]",
        "[{'id': 0, 'scale': 1.0}]",
        "[{'id': 0, 'scale': 1.0}]",
    ]


async def test_the_bare_model_is_what_it_is_without_adapters(
    start: Callable[..., Awaitable[Engine]], tmp_path: Path
) -> None:
    bare = await start(context_tokens=512)
    expected = await told(bare, None)
    await bare.stop()
    adapters = {"poet": write_adapter(tmp_path / "poet.gguf", 1)}
    adapted = await start(context_tokens=512, adapters=adapters)
    assert (await told(adapted, None))[1] == pytest.approx(expected[1], abs=1e-4)
    with pytest.raises(ModelNotFound, match="there are: poet"):
        await told(adapted, "painter")


def test_a_file_that_is_no_adapter_is_refused_before_the_engine_starts(
    tmp_path: Path, smollm2_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="not a LoRA adapter"):
        make_engine(smollm2_path, tmp_path, adapters={"poet": str(smollm2_path)})
    with pytest.raises(ConfigurationError, match="No such file"):
        make_engine(smollm2_path, tmp_path, adapters={"poet": "nowhere.gguf"})


async def test_a_chat_template_of_the_options_takes_the_place_of_the_models_own(
    tmp_path: Path, tiny_chat_gguf: Path
) -> None:
    template = "{%- for m in messages -%}<{{ m.role }}>{{ m.content }}{%- endfor -%}"
    spec = EngineSpec(
        "tested", str(tiny_chat_gguf), slots=1, threads=2, options={"chat_template": template}
    )
    engine = llama_cpp.create(spec, tmp_path)
    await engine.start()
    try:
        counted = await engine.count_tokens([Message("user", "hello there")])
        assert counted == await engine.count_text_tokens("<user>hello there")
    finally:
        await engine.stop()
