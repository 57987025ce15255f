"""The vllm engine over vLLM's server: an imitation of it, and with `--vllm-python` the real one, asked the same."""

import asyncio
import json
import os
import shutil
import signal
import sys
import venv
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from yangfan.engines import vllm
from yangfan.engines._vllm_guard import Guard
from yangfan.engines.base import (
    ChatRequest,
    CompletionRequest,
    Delta,
    EngineSpec,
    Finish,
    Kind,
    Message,
    Sampling,
    Tool,
)
from yangfan.engines.wire.pool import Pool
from yangfan.errors import ConfigurationError, ContextTooLong, EngineFailed, Invalid

shared = pytest.mark.asyncio(loop_scope="module")

IMITATION = Path(__file__).with_name("imitations") / "vllm_server.py"
OPTION = "--vllm-python"
CONTEXT_TOKENS = 512
SLOTS = 2
STORY = (Message("user", "Tell me a long story about the sea."),)
START_SECONDS = 400.0

WaitUntil = Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]


@pytest.fixture(scope="module")
def imitation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment whose `vllm` is the imitation."""
    folder = tmp_path_factory.mktemp("vllm-environment")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    packages = next(folder.glob("lib/python3*/site-packages"))
    module = packages / "vllm/entrypoints/openai"
    module.mkdir(parents=True)
    shutil.copyfile(IMITATION, module / "api_server.py")
    return folder / "bin/python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of which the imitation has the words."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text('{"text_config": {"vocab_size": 11}}')
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask the real vLLM the same where there is one; where there is none, it is not even skipped."""
    if "spec" in metafunc.fixturenames:
        served: list[Any] = ["imitation"]
        if metafunc.config.getoption(OPTION) is not None:
            served.append(pytest.param("real", marks=[pytest.mark.slow, pytest.mark.timeout(600)]))
        metafunc.parametrize("spec", served, indirect=True, scope="module")


@pytest.fixture(scope="module")
def spec(request: pytest.FixtureRequest) -> EngineSpec:
    options: dict[str, Any] = {}
    if request.param == "real":
        python = request.config.getoption(OPTION)
        options = {"gpu_memory_utilization": 0.3, "enforce_eager": True}
        path = request.getfixturevalue("smollm2_folder")
    else:
        python, path = request.getfixturevalue("imitation"), request.getfixturevalue("folder")
    options |= {"python": str(python), "start_seconds": START_SECONDS}
    return EngineSpec(
        "tested", str(path), context_tokens=CONTEXT_TOKENS, slots=SLOTS, options=options
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    spec: EngineSpec, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[vllm.VLLMEngine]:
    engine = make(spec, tmp_path_factory.mktemp("vllm"))
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
def imitated(imitation: Path, folder: Path) -> EngineSpec:
    return EngineSpec(
        "tested", str(folder), context_tokens=CONTEXT_TOKENS, options={"python": str(imitation)}
    )


def make(spec: EngineSpec, workdir: Path) -> vllm.VLLMEngine:
    engine = vllm.create(spec, workdir)
    assert isinstance(engine, vllm.VLLMEngine)
    return engine


def ask(*, n: int = 1, **sampling: Any) -> ChatRequest:
    chosen: dict[str, Any] = {"max_output_tokens": 8, "seed": 5, **sampling}
    return ChatRequest(STORY, Sampling(**chosen), n=n)


def go_on(*, n: int = 1, logprobs: int | None = None, **sampling: Any) -> CompletionRequest:
    chosen: dict[str, Any] = {"max_output_tokens": 8, "seed": 5, **sampling}
    return CompletionRequest("The sea is", Sampling(**chosen), n=n, logprobs=logprobs)


async def collect(engine: vllm.VLLMEngine, request: ChatRequest) -> list[Delta]:
    async with aclosing(engine.chat_stream(request)) as stream:
        return [delta async for delta in stream]


def processes(group_of: int | None) -> dict[int, list[str]]:
    """The child's process and all that it started, with their arguments."""
    found: dict[int, list[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            group = (folder / "stat").read_text().rpartition(")")[2].split()[2]
            command = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if int(group) == group_of:
            found[int(folder.name)] = command
    return found


def told(workdir: Path, name: str) -> dict[str, Any]:
    return json.loads((workdir / name).read_text())


# The same of both ----------------------------------------------------------------------------------


@shared
async def test_a_chat_adds_up(engine: vllm.VLLMEngine) -> None:
    assert engine.context_tokens == CONTEXT_TOKENS
    reply = await engine.chat(ask())
    (answer,) = reply.answers
    assert (answer.index, answer.finish) == (0, Finish.LENGTH)
    assert answer.text
    assert reply.usage.completion_tokens == 8
    assert reply.usage.prompt_tokens == await engine.count_tokens(STORY) > 8


@shared
async def test_usage_grows_while_a_stream_runs(engine: vllm.VLLMEngine) -> None:
    deltas = await collect(engine, ask())
    counts = [delta.usage.completion_tokens for delta in deltas if delta.usage is not None]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 8
    assert "".join(delta.text for delta in deltas) == (await engine.chat(ask())).answers[0].text
    assert deltas[-1].finish is Finish.LENGTH


@shared
async def test_two_answers_are_told_apart_and_both_counted(engine: vllm.VLLMEngine) -> None:
    reply = await engine.chat(ask(n=2))
    assert [answer.index for answer in reply.answers] == [0, 1]
    assert reply.usage.completion_tokens == 16
    reply = await engine.complete(go_on(n=2))
    assert [answer.finish for answer in reply.answers] == [Finish.LENGTH] * 2
    assert reply.usage.completion_tokens == 16


@shared
async def test_a_stop_string_ends_the_answer_before_it(engine: vllm.VLLMEngine) -> None:
    whole = (await engine.complete(go_on(max_output_tokens=20))).answers[0].text
    stop = whole[10:13]
    answer = (await engine.complete(go_on(max_output_tokens=20, stop=(stop,)))).answers[0]
    assert answer.finish is Finish.STOP_STRING
    assert stop not in answer.text


@shared
@pytest.mark.parametrize("alternatives", [0, 2])
async def test_log_probabilities_have_one_shape(engine: vllm.VLLMEngine, alternatives: int) -> None:
    written = (await engine.complete(go_on(logprobs=alternatives))).answers[0]
    chat = msgspec.structs.replace(ask(), logprobs=True, top_logprobs=alternatives)
    for answer in (written, (await engine.chat(chat)).answers[0]):
        assert answer.logprobs is not None
        tokens = answer.logprobs["content"]
        assert len(tokens) == 8
        assert "".join(token["token"] for token in tokens) == answer.text
        assert all(token["logprob"] <= 0 for token in tokens)
        assert all(len(token["top_logprobs"]) <= alternatives for token in tokens)


@shared
async def test_a_completion_repeats_its_prompt_when_asked_to(engine: vllm.VLLMEngine) -> None:
    plain = await engine.complete(go_on())
    echoed = await engine.complete(msgspec.structs.replace(go_on(), echo=True))
    assert echoed.answers[0].text == "The sea is" + plain.answers[0].text
    assert echoed.usage == plain.usage
    assert plain.usage.prompt_tokens == await engine.count_text_tokens("The sea is")


@shared
async def test_log_probabilities_of_a_prompt_are_vllms(engine: vllm.VLLMEngine) -> None:
    request = msgspec.structs.replace(go_on(logprobs=1, max_output_tokens=1), echo=True)
    answer = (await engine.complete(request)).answers[0]
    assert answer.logprobs is not None
    first, *tokens = answer.logprobs["content"]
    assert answer.text.startswith("The sea is")
    assert answer.text.count("The sea is") == 1
    assert (first["logprob"], first["top_logprobs"]) == (None, [])
    assert len(tokens) == await engine.count_text_tokens("The sea is")
    assert all(token["logprob"] < 0 and token["top_logprobs"] for token in tokens)
    none = msgspec.structs.replace(go_on(logprobs=1, max_output_tokens=0), echo=True)
    reply = await engine.complete(none)
    assert reply.answers[0].text == "The sea is"
    assert reply.answers[0].logprobs is not None
    assert len(reply.answers[0].logprobs["content"]) == len(tokens)


@shared
async def test_every_field_of_sampling_is_taken(engine: vllm.VLLMEngine) -> None:
    request = ask(
        temperature=0.5,
        top_p=0.0,
        top_k=3,
        repetition_penalty=1.1,
        frequency_penalty=0.1,
        presence_penalty=0.1,
        min_output_tokens=4,
        logit_bias={"5": 1.0},
    )
    assert (await engine.chat(request)).usage.completion_tokens >= 4


@shared
async def test_an_answer_ends_where_the_context_does(engine: vllm.VLLMEngine) -> None:
    request = go_on(max_output_tokens=CONTEXT_TOKENS * 4, min_output_tokens=CONTEXT_TOKENS - 40)
    reply = await engine.complete(request)
    assert reply.usage.total_tokens <= CONTEXT_TOKENS


@shared
async def test_a_prompt_longer_than_the_context_is_refused_with_its_length(
    engine: vllm.VLLMEngine,
) -> None:
    long = (Message("user", "word " * (2 * CONTEXT_TOKENS)),)
    with pytest.raises(ContextTooLong, match=rf"{CONTEXT_TOKENS} tokens.*reduce the length"):
        await engine.chat(ChatRequest(long))
    with pytest.raises(ContextTooLong):
        await engine.complete(CompletionRequest(str(long[0].content)))


@shared
async def test_an_empty_prompt_is_refused(engine: vllm.VLLMEngine) -> None:
    with pytest.raises(Invalid, match="prompt must not be empty"):
        await engine.complete(CompletionRequest(""))


@shared
async def test_a_required_call_is_made(engine: vllm.VLLMEngine) -> None:
    tool = Tool("f", "Tell the time.", {"type": "object", "properties": {}})
    request = msgspec.structs.replace(
        ask(max_output_tokens=60), tools=(tool,), tool_choice="required"
    )
    answer = (await engine.chat(request)).answers[0]
    assert answer.finish is Finish.FUNCTION_CALL
    assert [call.name for call in answer.function_calls] == ["f"]


@shared
async def test_busy_slots_are_counted_and_freed_when_callers_leave(
    engine: vllm.VLLMEngine, wait_until: WaitUntil
) -> None:
    async def busy() -> bool:
        return (await engine.slots()).busy == SLOTS

    async def idle() -> bool:
        return (await engine.slots()).busy == 0

    calls = [
        asyncio.create_task(engine.complete(go_on(max_output_tokens=450, min_output_tokens=450)))
        for _ in range(SLOTS)
    ]
    await wait_until(busy, "busy slots")
    assert (await engine.slots()).total == SLOTS
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await wait_until(idle, "slots freed by callers that left")


@shared
async def test_no_path_but_health_answers_without_the_key(engine: vllm.VLLMEngine) -> None:
    """The imitation checks keys as vLLM does, so of it this proves less; the guard has a test of its own."""
    commands = [command for command in processes(engine.pid).values() if "--port" in command]
    port = int(commands[0][commands[0].index("--port") + 1])
    pool = Pool("127.0.0.1", port, "wrong")
    try:
        assert (await pool.get("/health"))[0] == 200
        assert (await pool.get("/v1/models"))[0] == 401
        if "gpu_memory_utilization" in engine.spec.options:
            assert (await pool.get("/metrics"))[0] == 401
            assert (await pool.post("/tokenize", b'{"model":"tested","prompt":"x"}'))[0] == 401
    finally:
        pool.close()


@shared
async def test_the_server_ends_with_the_engine(
    engine: vllm.VLLMEngine, is_running: Callable[[int], bool], wait_until: WaitUntil
) -> None:
    """It kills the shared child, and starts it again for the tests that follow in whatever order."""
    assert engine.pid is not None
    pids = list(processes(engine.pid))
    assert len(pids) >= 2
    os.kill(engine.pid, signal.SIGKILL)
    await asyncio.wait_for(engine.wait_died(), 10)
    with pytest.raises(EngineFailed):
        await engine.chat(ask())
    await engine.stop()

    async def gone() -> bool:
        return not any(map(is_running, pids))

    await wait_until(gone, "the end of vLLM's processes")
    await engine.start()


# Of the imitation ----------------------------------------------------------------------------------


async def test_it_is_started_offline_with_the_key_in_its_environment_only(
    imitated: EngineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"r": 24}')
    options = {
        **imitated.options,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "gpu_memory_utilization": 0.5,
        "dtype": "float16",
        "quantization": "fp8",
        "max_num_seqs": 7,
        "enforce_eager": True,
        "tool_call_parser": "hermes",
        "reasoning_parser": "qwen3",
    }
    spec = msgspec.structs.replace(imitated, options=options, adapters={"sea": str(adapter)})
    engine = make(spec, tmp_path)
    await engine.start()
    try:
        started = told(tmp_path, "started.json")
        argv, environment = started["argv"], started["environment"]
        assert [text.partition("=")[0] for text in argv if "trust" in text] == []
        for expected in (
            f"--model={imitated.path}",
            "--served-model-name=tested",
            "--max-model-len=512",
            "--max-num-seqs=7",
            "--tensor-parallel-size=2",
            "--pipeline-parallel-size=1",
            "--gpu-memory-utilization=0.5",
            "--dtype=float16",
            "--quantization=fp8",
            "--enforce-eager",
            "--tool-call-parser=hermes",
            "--enable-auto-tool-choice",
            "--reasoning-parser=qwen3",
            "--runner=generate",
            "--enable-lora",
            "--max-lora-rank=32",
            "--max-loras=1",
        ):
            assert expected in argv
        assert environment["VLLM_API_KEY"] not in json.dumps(argv)
        assert len(environment["VLLM_API_KEY"]) > 30
        assert {environment[name] for name in ("HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS")} == {"1"}
        assert "PYTHONPATH" not in environment
        assert (await engine.slots()).total == 7

        answer = (
            await engine.chat(msgspec.structs.replace(ask(), adapter="sea", enable_thinking=True))
        ).answers[0]
        assert answer.reasoning == "hm"
        asked = told(tmp_path, "asked.json")
        assert asked["model"] == "adapter:sea"
        assert asked["chat_template_kwargs"] == {"enable_thinking": True}
        await engine.chat(msgspec.structs.replace(ask(), thinking_budget=9))
        assert told(tmp_path, "asked.json")["thinking_token_budget"] == 9
        tools = (Tool("f"),)
        await engine.chat(msgspec.structs.replace(ask(), tools=tools, tool_choice="auto"))
        assert told(tmp_path, "asked.json")["tools"][0]["function"]["name"] == "f"
    finally:
        await engine.stop()


async def test_what_is_left_open_and_what_is_given_reach_vllm(
    imitated: EngineSpec, tmp_path: Path
) -> None:
    engine = make(imitated, tmp_path)
    await engine.start()
    try:
        await engine.complete(
            CompletionRequest("hi", Sampling(top_k=3, repetition_penalty=1.5, min_output_tokens=2))
        )
        asked = told(tmp_path, "asked.json")
        assert asked["max_tokens"] == CONTEXT_TOKENS - 1  # of 1024, what the context leaves
        assert (asked["top_k"], asked["repetition_penalty"], asked["min_tokens"]) == (3, 1.5, 2)
        assert "temperature" not in asked
        await engine.complete(go_on(top_p=0.0, temperature=0.9))
        asked = told(tmp_path, "asked.json")
        assert asked["temperature"] == 0.0
        assert "top_p" not in asked
        with pytest.raises(Invalid, match="reasoning_parser"):
            await engine.chat(msgspec.structs.replace(ask(), thinking_budget=9))
    finally:
        await engine.stop()


@shared
async def test_a_prompt_in_token_ids_goes_on_as_its_text_does(engine: vllm.VLLMEngine) -> None:
    ids = tuple(await engine.text_tokens("The sea is"))
    text = await engine.decode(ids)
    assert text
    request = msgspec.structs.replace(
        go_on(max_output_tokens=3), prompt=text, prompt_ids=ids, echo=True
    )
    plain = await engine.complete(msgspec.structs.replace(request, echo=False))
    reply = await engine.complete(request)
    assert reply.answers[0].text == text + plain.answers[0].text
    assert reply.usage.prompt_tokens == len(ids)
    scored = (await engine.complete(msgspec.structs.replace(request, logprobs=1))).answers[0]
    assert scored.text == reply.answers[0].text
    assert scored.logprobs is not None
    assert len(scored.logprobs["content"]) == len(ids) + 3
    with pytest.raises(Invalid, match=r"^tested has no token 99999999, its ids are 0 to"):
        await engine.decode((*ids, 99_999_999))


@pytest.mark.parametrize("kind", ["embeddings", "rerank"])
async def test_encoders_embed_and_rerank(imitated: EngineSpec, tmp_path: Path, kind: Kind) -> None:
    engine = make(msgspec.structs.replace(imitated, kind=kind), tmp_path)
    assert engine.kinds == {kind}
    await engine.start()
    try:
        assert "--runner=pooling" in told(tmp_path, "started.json")["argv"]
        if kind == "rerank":
            reply = await engine.rerank("sea", ["land", "the sea"])
            assert reply.scores == (0.0, 1.0)
            return
        vectors = (await engine.embed(["one", "two words"])).vectors
        assert vectors == ([1.0, 1.0], [1.0, 2.0])
        vectors = (await engine.embed(["one", "many words " * 20], max_tokens=8)).vectors
        assert vectors == ([1.0, 1.0], [1.0, 8.0])
        vectors = (await engine.embed([(4, 5, 6), "two words"])).vectors
        assert vectors == ([1.0, 3.0], [1.0, 2.0])
    finally:
        await engine.stop()


async def test_vllms_workers_end_with_a_platform_that_is_killed(
    imitated: EngineSpec,
    tmp_path: Path,
    is_running: Callable[[int], bool],
    wait_until: WaitUntil,
) -> None:
    program = (
        "import asyncio, sys, pathlib, msgspec\n"
        "from yangfan.engines import vllm\n"
        "from yangfan.engines.base import EngineSpec\n"
        "async def main():\n"
        "    engine = vllm.create(msgspec.json.decode(sys.argv[1], type=EngineSpec), pathlib.Path(sys.argv[2]))\n"
        "    await engine.start()\n"
        "    print(engine.pid, flush=True)\n"
        "    await engine.wait_died()\n"
        "asyncio.run(main())\n"
    )
    argv = [sys.executable, "-c", program, msgspec.json.encode(imitated).decode(), str(tmp_path)]
    platform = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert platform.stdout is not None
    group = int(await platform.stdout.readline())
    pids = processes(group)
    assert len(pids) == 3  # ours, vLLM's server, and its worker
    assert all(map(is_running, pids))
    platform.kill()
    await platform.wait()

    async def gone() -> bool:
        return not any(map(is_running, pids))

    await wait_until(gone, "the end of vLLM's processes")


async def test_an_environment_without_vllm_is_told(folder: Path, tmp_path: Path) -> None:
    spec = EngineSpec("tested", str(folder), options={"python": sys.executable})
    with pytest.raises(EngineFailed, match=r"(?s)No module named .*vllm.*name the Python of an"):
        await make(spec, tmp_path).start()


# Without a server ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "does not know where vLLM is; name the Python"),
        ({"python": "python"}, "no absolute path"),
        ({"python": "/absent/python"}, "no absolute path of a program"),
        ({"python": sys.executable, "speed": 9}, "speed"),
        ({"python": sys.executable, "trust_remote_code": True}, "trust_remote_code"),
        ({"python": sys.executable, "gpu_memory_utilization": 1.5}, "gpu_memory_utilization"),
        ({"python": sys.executable, "tensor_parallel_size": 0}, "tensor_parallel_size"),
        ({"python": sys.executable, "quantization": "a --trust-remote-code"}, "quantization"),
        ({"python": sys.executable, "dtype": "int2"}, "dtype"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    folder: Path, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        vllm.create(EngineSpec("tested", str(folder), options=options), tmp_path)


def test_other_models_and_adapters_are_refused(
    folder: Path, tmp_path: Path, imitated: EngineSpec
) -> None:
    with pytest.raises(ConfigurationError, match=r"folder with config\.json"):
        vllm.create(EngineSpec("tested", str(tmp_path / "m.gguf")), tmp_path)
    with pytest.raises(ConfigurationError, match="draws no pictures"):
        vllm.create(msgspec.structs.replace(imitated, kind="images"), tmp_path)
    bad = msgspec.structs.replace(imitated, adapters={"sea": str(tmp_path)})
    with pytest.raises(ConfigurationError, match=r"adapter 'sea'.*must have r of 1 to 512"):
        vllm.create(bad, tmp_path)


@pytest.mark.parametrize(
    ("kind", "path", "key", "passed"),
    [
        ("http", "/health", None, True),
        ("http", "/tokenize", "Bearer right", True),
        ("lifespan", "", None, True),
        ("http", "/tokenize", None, False),
        ("http", "/metrics", "Bearer wrong", False),
        ("websocket", "/v1/realtime", None, False),
    ],
)
async def test_the_guard_asks_for_the_key_everywhere(
    monkeypatch: pytest.MonkeyPatch, kind: str, path: str, key: str | None, passed: bool
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "right")
    seen: list[str] = []
    sent: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [] if key is None else [(b"authorization", key.encode())]
    await Guard(app)({"type": kind, "path": path, "headers": headers}, None, send)
    assert (seen == [kind]) is passed
    if not passed:
        assert sent[0].get("status", sent[0].get("code")) in {401, 1008}
