"""What is particular to OpenVINO: traps that must not spring, refusals, and the choice between it and llama.cpp."""

import asyncio
import json
import re
import struct
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from yangfan.engines import openvino
from yangfan.engines._gguf import NotGGUFError, check_tensors
from yangfan.engines.base import (
    ChatRequest,
    CompletionRequest,
    Engine,
    EngineSpec,
    Finish,
    Message,
    ModelFacts,
    Part,
    Sampling,
    Tool,
)
from yangfan.engines.choice import choose
from yangfan.errors import ConfigurationError, EngineFailed, Invalid

asyncio_module = pytest.mark.asyncio(loop_scope="module")
needs_openvino = pytest.mark.skipif(
    openvino.missing() is not None, reason=f"openvino: {openvino.missing()}"
)
STORY = (Message("user", "Tell me a long story about the sea. " * 10),)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    tiny_chat_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Engine]:
    spec = EngineSpec("tested", str(tiny_chat_gguf), context_tokens=512, slots=4, threads=1)
    engine = openvino.create(spec, tmp_path_factory.mktemp("openvino"))
    await engine.start()
    yield engine
    await engine.stop()


def ask(schema: object, max_output_tokens: int = 8) -> ChatRequest:
    return ChatRequest(
        (Message("user", "Answer in JSON."),),
        Sampling(max_output_tokens=max_output_tokens, temperature=0.0),
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
    )


WRONG: list[object] = [
    "not a schema",
    7,
    {"type": "wrong"},
    {"type": 7},
    {"type": "array", "minItems": 5, "maxItems": 2},
    {"type": "string", "pattern": "(["},
    {"type": "string", "pattern": "(?<=a)b"},
    {"type": "string", "minLength": 9, "maxLength": 2},
    {"type": "integer", "minimum": 9, "maximum": 2},
    {"$ref": "#/nowhere"},
    {"$ref": "http://127.0.0.1/schema"},
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}},
    {"type": "object", "properties": 7},
    {"type": "object", "required": "a"},
    {"anyOf": []},
    {"anyOf": 7},
    {"enum": []},
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"not": {}},
    False,
]
HUGE: list[object] = [
    {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3000}}},
    {"type": "string", "pattern": "(a{1,30000}b{1,30000}){1,30000}"},
]
"""Schemas that are right, and whose grammar takes seconds with a small vocabulary and minutes with a large one."""

HOSTILE = (WRONG * 3)[:50] + HUGE


@needs_openvino
@asyncio_module
async def test_hostile_schemas_do_not_poison_the_engine(engine: Engine) -> None:
    """Answers beside them go on, and the child is the same from the first to the last."""
    pid = engine.pid
    story = ChatRequest(STORY, Sampling(max_output_tokens=160, temperature=0.0))
    stopped = asyncio.Event()

    async def neighbour() -> list[str]:
        told: list[str] = []
        while not stopped.is_set() or len(told) < 4:
            told.append((await engine.chat(story)).answers[0].text)
        return told

    stories = asyncio.create_task(neighbour())
    outcomes: list[str] = []
    for start in range(0, len(HOSTILE), 3):
        requests = [ask(schema) for schema in HOSTILE[start : start + 3]]
        async with asyncio.timeout(60):
            outcomes += await asyncio.gather(*(outcome_of(engine, request) for request in requests))
    assert len(outcomes) == len(HOSTILE)
    assert sum("simplify its schema" in text for text in outcomes) >= len(HOSTILE) * 3 // 4
    assert any("Regex parsing error at position 3" in text for text in outcomes)
    assert "takes too long or too much memory" in outcomes[-1]
    assert not any("/" in text for text in outcomes if "Regex" in text)
    stopped.set()
    assert len(set(await stories)) == 1
    good = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    answer = (await engine.chat(ask(good, 40))).answers[0]
    assert answer.finish is Finish.LENGTH or "a" in json.loads(answer.text)
    assert (await engine.slots()).busy == 0
    assert engine.running
    assert engine.pid == pid


async def outcome_of(engine: Engine, request: ChatRequest) -> str:
    try:
        return (await engine.chat(request)).answers[0].finish.value
    except (Invalid, EngineFailed) as error:
        return error.message


@needs_openvino
@asyncio_module
async def test_a_required_call_is_made(engine: Engine) -> None:
    tool = Tool(
        "weather",
        "Tells the weather",
        {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
            "required": ["city"],
        },
    )
    request = ChatRequest(
        (Message("user", "How is the weather in Paris?"),),
        Sampling(max_output_tokens=120, temperature=0.0),
        tools=(tool,),
        tool_choice="required",
    )
    answer = (await engine.chat(request)).answers[0]
    assert answer.finish is Finish.FUNCTION_CALL
    (call,) = answer.function_calls
    assert call.name == "weather"
    assert json.loads(call.arguments)["city"] in {"Paris", "Rome"}


@needs_openvino
@asyncio_module
async def test_the_child_answers_while_it_generates(engine: Engine) -> None:
    request = ChatRequest(STORY, Sampling(max_output_tokens=200))
    async with aclosing(engine.chat_stream(request)) as deltas:
        await anext(deltas)
        async with asyncio.timeout(5):
            assert (await engine.slots()).busy == 1
            assert await engine.count_text_tokens("hello hello") == 3


@pytest.fixture
def thinking_gguf(tiny_chat_gguf: Path, tmp_path: Path) -> Path:
    """The very small model with a chat template that opens a thought."""
    opening = b"{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    thought = b"<|im_start|>assistant\n<think>{##}"
    whole = tiny_chat_gguf.read_bytes()
    assert whole.count(opening) == 1
    thought = thought.replace(b"{##}", b"{#%b#}" % (b"-" * (len(opening) - len(thought))))
    path = tmp_path / "thinking.gguf"
    path.write_bytes(whole.replace(opening, thought))
    return path


@needs_openvino
async def test_a_thought_ends_when_it_has_had_all_its_tokens(
    thinking_gguf: Path, tmp_path: Path
) -> None:
    spec = EngineSpec("thinking", str(thinking_gguf), context_tokens=512, slots=8, threads=1)
    engine = openvino.create(spec, tmp_path)
    await engine.start()
    try:
        asked = ChatRequest(STORY, Sampling(max_output_tokens=40, temperature=0.0))
        wanted = [
            msgspec.structs.replace(asked, thinking_budget=budget)
            for budget in (None, 0, 1, 12, 500)
        ]
        replies = await asyncio.gather(*map(engine.chat, wanted))
        endless, none, one, twelve, more = [reply.answers[0] for reply in replies]
        assert endless.text == more.text == none.reasoning == ""
        assert endless.reasoning == more.reasoning
        assert 0 < len(one.reasoning) < len(twelve.reasoning) < len(endless.reasoning)
        assert endless.reasoning.startswith(twelve.reasoning)
        assert all(answer.text for answer in (none, one, twelve))
        assert 12 <= replies[3].usage.reasoning_tokens <= 12 + len("\n</think>\n\n")
        assert all(reply.usage.completion_tokens == 40 for reply in replies)
        few = msgspec.structs.replace(asked, sampling=Sampling(max_output_tokens=2))
        cut = await engine.chat(msgspec.structs.replace(few, thinking_budget=0))
        assert (cut.answers[0].finish, cut.usage.completion_tokens) == (Finish.LENGTH, 2)
        assert (await engine.slots()).busy == 0
    finally:
        await engine.stop()


@needs_openvino
@asyncio_module
async def test_an_answer_has_at_least_as_many_tokens_as_are_wanted(engine: Engine) -> None:
    short = (Message("user", "Say only: yes"),)
    assert (
        await engine.chat(ChatRequest(short, Sampling(temperature=0.0)))
    ).usage.completion_tokens == 2
    sampling = Sampling(temperature=0.0, min_output_tokens=9, max_output_tokens=20)
    reply = await engine.chat(ChatRequest(short, sampling))
    assert reply.usage.completion_tokens >= 9
    assert reply.answers[0].text.startswith("yes")
    both = Sampling(temperature=0.0, min_output_tokens=9, max_output_tokens=5)
    assert (await engine.chat(ChatRequest(short, both))).usage.completion_tokens == 5
    written = await engine.complete(
        CompletionRequest("Say only", msgspec.structs.replace(sampling, max_output_tokens=9))
    )
    assert written.usage.completion_tokens == 9


@needs_openvino
@asyncio_module
@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (ChatRequest(STORY, Sampling(logit_bias={"5": 1.0})), "no logit_bias"),
        (ChatRequest(STORY, logprobs=True, top_logprobs=2), "chosen token only"),
        (
            ChatRequest((Message("user", (Part(image_url="data:image/png;base64,AA=="),)),)),
            "does not take images",
        ),
        (ChatRequest(STORY, n=5), "n must be between 1 and 4"),
    ],
)
async def test_what_it_cannot_do_is_refused(
    engine: Engine, request_: ChatRequest, text: str
) -> None:
    with pytest.raises(Invalid, match=text):
        await engine.chat(request_)


@needs_openvino
@asyncio_module
@pytest.mark.model
@pytest.mark.slow
async def test_a_folder_in_openvinos_own_format_runs(smollm2_path: Path, tmp_path: Path) -> None:
    """The folder is what OpenVINO itself writes of the GGUF file."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.gguf").symlink_to(smollm2_path)
    program = (
        "import sys, openvino_genai\n"
        "openvino_genai.LLMPipeline(sys.argv[1], 'CPU', enable_save_ov_model=True)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        str(model / "model.gguf"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    spec = EngineSpec("ir", str(model), context_tokens=256, slots=2, threads=1)
    workdir = tmp_path / "work"
    workdir.mkdir()
    engine = openvino.create(spec, workdir)
    await engine.start()
    reply = await engine.chat(ChatRequest(STORY, Sampling(max_output_tokens=8, temperature=0.0)))
    assert reply.usage.completion_tokens == 8
    assert reply.answers[0].text
    await engine.stop()


# Files ------------------------------------------------------------------------------------------------


async def start(path: Path, workdir: Path) -> str:
    """The reason why it does not start."""
    engine = openvino.create(EngineSpec("tested", str(path)), workdir)
    with pytest.raises(EngineFailed) as failed:
        await engine.start()
    assert "exit status 1" in failed.value.message
    return failed.value.message


@pytest.mark.model
async def test_a_file_that_ends_early_is_refused_before_the_library_sees_it(
    smollm2_path: Path, tmp_path: Path
) -> None:
    whole = await asyncio.to_thread(smollm2_path.read_bytes)
    check_tensors(smollm2_path)
    path = tmp_path / "cut.gguf"
    for length in (len(whole) - 1, len(whole) // 2, 100_000, 100):
        await asyncio.to_thread(path.write_bytes, whole[:length])
        with pytest.raises(NotGGUFError, match="get the file again"):
            check_tensors(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert "is incomplete" in await start(path, tmp_path)


def gguf(architecture: bytes, tensors: Sequence[tuple[bytes, Sequence[int], int, int]]) -> bytes:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1)
    head += text(b"general.architecture") + struct.pack("<I", 8) + text(architecture)
    for name, shape, kind, offset in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, offset)
    return head + bytes(256)


@pytest.mark.parametrize(
    "tensor",
    [
        (b"t", [1 << 40], 0, 0),
        (b"t", [4], 0, 1 << 60),
        (b"t", [4], 99, 0),
        (b"t", [1] * 40, 0, 0),
        (b"t", [1 << 63, 1 << 63], 0, 0),
    ],
)
def test_tensors_that_cannot_be_there_are_refused(
    tmp_path: Path, tensor: tuple[bytes, Sequence[int], int, int]
) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(gguf(b"llama", [tensor]))
    with pytest.raises(NotGGUFError):
        check_tensors(path)
    path.write_bytes(gguf(b"llama", [(b"t", [4], 0, 0)]))
    check_tensors(path)


async def test_other_architectures_are_refused_with_the_engine_that_reads_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(b"gemma3", []))
    assert "use llama_cpp" in await start(path, tmp_path)


async def test_a_folder_that_lacks_files_is_refused_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.xml").touch()
    reason = await start(tmp_path, tmp_path)
    assert "it lacks openvino_model.bin" in reason
    assert "optimum-cli export openvino" in reason


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"path": None}, "needs the path"),
        ({"adapters": {"a": "/a.gguf"}}, "takes no adapters"),
        ({"options": {"kv_tokens": 0}}, "kv_tokens"),
        ({"options": {"device": "CPU; rm"}}, "device"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    fields: dict[str, Any] = {"path": "model.gguf", **changes}
    with pytest.raises(ConfigurationError, match=re.escape(text)):
        openvino.create(EngineSpec("tested", **fields), tmp_path)


# Choice -----------------------------------------------------------------------------------------------


def test_gguf_goes_to_llama_cpp_unless_the_settings_say_otherwise() -> None:
    facts = ModelFacts("gguf", architecture="llama")
    choice = choose(facts)
    assert choice.engine == "llama_cpp"
    assert any("faster from several streams on" in line for line in choice.others)
    assert openvino.fit(ModelFacts("gguf", architecture="gemma3")).rank is None
    assert openvino.fit(ModelFacts("gguf", "embeddings", "llama")).rank is None


@needs_openvino
def test_the_settings_can_name_it_and_its_own_format_is_its_own() -> None:
    assert choose(ModelFacts("gguf", architecture="qwen3"), "openvino").engine == "openvino"
    assert choose(ModelFacts("openvino", architecture="LlamaForCausalLM")).engine == "openvino"
