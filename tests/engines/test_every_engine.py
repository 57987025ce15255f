"""What every file in `yangfan.engines` must do, asked of each over its real child process."""

import asyncio
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from yangfan import extensions
from yangfan.engines import echo
from yangfan.engines.base import (
    ChatReply,
    ChatRequest,
    CompletionRequest,
    Delta,
    Engine,
    EngineSpec,
    Finish,
    Message,
    Sampling,
    Tool,
    Usage,
)
from yangfan.engines.wire.engine import ChildEngine
from yangfan.errors import ConfigurationError, ContextTooLong, EngineFailed, Invalid

pytestmark = pytest.mark.asyncio(loop_scope="module")

PACKAGE = "yangfan.engines"
SLOTS = 2
CONTEXT_TOKENS = 512
OPTIONS: dict[str, dict[str, Any]] = {
    "echo": {"delay_seconds": 0.005},
    "transformers": {"dtype": "float32"},
}
"""Options under which a long answer takes long enough to be interrupted, and a seed repeats it."""
CHOSEN_TOKEN_ONLY = frozenset({"openvino"})
"""Engines that refuse to tell what else a token could have been."""

SCORE_PROMPTS = frozenset({"echo", "transformers"})
"""Engines that tell log-probabilities of a prompt."""

MODELS = {
    "llama_cpp": "tiny_chat_gguf",
    "openvino": "tiny_chat_gguf",
    "transformers": "tiny_chat_folder",
}
"""The fixture with the model of each engine that needs one."""

SLOW_MODELS = {"llama_cpp": "smollm2_path"}
"""For engines that write a whole answer with the other model before anybody could interrupt it."""

ELSEWHERE = frozenset({"diffusers", "remote", "vllm"})
"""Engines that other files ask: two draw or need a program of their own, and one's model is somebody else's."""

NO_MODEL = frozenset({"echo"})
"""Engines that open no files and keep to no schema."""

WaitUntil = Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]

NATIVE = "llama_cpp native"
"""The same engine over llama.cpp built for this CPU."""

VARIANTS = [*(name for name in extensions.names(PACKAGE) if name not in ELSEWHERE), NATIVE]
needs_model = pytest.mark.parametrize(
    "variant",
    [variant for variant in VARIANTS if variant not in NO_MODEL],
    indirect=True,
    scope="module",
)

STORY = (Message("user", "Tell me a long story about the sea. " * 10),)
MIXED = (Message("user", "请重复：你好，世界！😀🚀👩‍💻 naïve café 扬帆起航🌊"),)


@pytest.fixture(params=VARIANTS, scope="module")
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def name(variant: str) -> str:
    name = variant.partition(" ")[0]
    lacking = extensions.load(PACKAGE, name).missing()
    if lacking:
        pytest.skip(f"{name}: {lacking}")
    return name


@pytest.fixture(scope="module")
def spec(name: str, variant: str, request: pytest.FixtureRequest) -> EngineSpec:
    options = dict(OPTIONS.get(name, {}))
    if variant == NATIVE:
        options |= {"program": "native", "builds": request.getfixturevalue("native_builds")}
    model = None if name in NO_MODEL else MODELS[name]
    return EngineSpec(
        model="tested",
        path=None if model is None else str(request.getfixturevalue(model)),
        context_tokens=CONTEXT_TOKENS,
        slots=SLOTS,
        threads=1,  # two that wait for each other crawl on a busy machine
        options=options,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    name: str, spec: EngineSpec, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Engine]:
    """A started engine, shared by the tests of this file."""
    engine: Engine = extensions.load(PACKAGE, name).create(spec, tmp_path_factory.mktemp(name))
    await engine.start()
    yield engine
    await engine.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slow_engine(
    name: str,
    spec: EngineSpec,
    engine: Engine,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[Engine]:
    """A started engine whose answers take long enough to be interrupted."""
    if name not in SLOW_MODELS:
        yield engine
        return
    spec = msgspec.structs.replace(spec, path=str(request.getfixturevalue(SLOW_MODELS[name])))
    slow: Engine = extensions.load(PACKAGE, name).create(spec, tmp_path_factory.mktemp(name))
    await slow.start()
    yield slow
    await slow.stop()


def ask(messages: tuple[Message, ...] = STORY, *, n: int = 1, **sampling: Any) -> ChatRequest:
    sampling.setdefault("max_output_tokens", 12)
    return ChatRequest(messages, Sampling(**sampling), n=n)


async def collect(engine: Engine, request: ChatRequest) -> list[Delta]:
    async with aclosing(engine.chat_stream(request)) as stream:
        return [delta async for delta in stream]


def text_of(deltas: list[Delta], index: int = 0) -> str:
    return "".join(delta.text for delta in deltas if delta.index == index)


async def assert_works(engine: Engine) -> None:
    assert (await engine.chat(ask())).answers[0].text


# Life ---------------------------------------------------------------------------------------------


async def test_an_engine_runs_between_start_and_stop(
    name: str, spec: EngineSpec, tmp_path: Path, is_running: Callable[[int], bool]
) -> None:
    engine: Engine = extensions.load(PACKAGE, name).create(spec, tmp_path)
    assert not engine.running
    assert engine.pid is None
    await engine.start()
    pid = engine.pid
    assert engine.running
    assert pid is not None
    assert is_running(pid)
    assert engine.context_tokens == CONTEXT_TOKENS
    assert (await engine.slots()).total == SLOTS
    await engine.stop()
    await engine.stop()
    assert not engine.running
    assert engine.pid is None
    assert not is_running(pid)
    with pytest.raises(EngineFailed):
        await engine.chat(ask())
    with pytest.raises(EngineFailed):
        await collect(engine, ask())
    await engine.start()
    await assert_works(engine)
    await engine.stop()


async def test_killing_the_child_fails_what_runs_and_what_waits_at_once(
    slow_engine: Engine, wait_until: WaitUntil
) -> None:
    engine = slow_engine
    request = ask(STORY, max_output_tokens=400)
    calls = [
        asyncio.ensure_future(collect(engine, request) if number % 2 else engine.chat(request))
        for number in range(2 * SLOTS + 4)
    ]

    async def busy() -> bool:
        return (await engine.slots()).busy == SLOTS

    await wait_until(busy, "busy slots")
    died = asyncio.create_task(engine.wait_died())
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        await died
    assert [type(outcome) for outcome in outcomes] == [EngineFailed] * len(calls)
    assert not engine.running
    await engine.start()
    await assert_works(engine)


async def test_no_child_outlives_a_parent_that_is_killed(
    name: str,
    spec: EngineSpec,
    tmp_path: Path,
    is_running: Callable[[int], bool],
    wait_until: WaitUntil,
) -> None:
    program = (
        "import asyncio, sys, pathlib, msgspec\n"
        "from yangfan import extensions\n"
        "from yangfan.engines.base import EngineSpec\n"
        "async def main():\n"
        "    spec = msgspec.json.decode(sys.argv[2], type=EngineSpec)\n"
        "    engine = extensions.load('yangfan.engines', sys.argv[1]).create(spec, pathlib.Path(sys.argv[3]))\n"
        "    await engine.start()\n"
        "    print(engine.pid, flush=True)\n"
        "    await engine.wait_died()\n"
        "asyncio.run(main())\n"
    )
    argv = [sys.executable, "-c", program, name, msgspec.json.encode(spec).decode(), str(tmp_path)]
    parent = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child_pid = int(await parent.stdout.readline())
    assert is_running(child_pid)
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return not is_running(child_pid)

    await wait_until(gone, "the child's end")


# Answers ------------------------------------------------------------------------------------------


async def test_a_reply_adds_up(engine: Engine) -> None:
    reply = await engine.chat(ask(max_output_tokens=8))
    (answer,) = reply.answers
    assert answer.text
    assert answer.index == 0
    assert answer.finish is Finish.LENGTH
    assert reply.usage.completion_tokens == 8
    assert reply.usage.prompt_tokens == await engine.count_tokens(STORY)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 8


async def test_a_stream_adds_up(engine: Engine) -> None:
    deltas = await collect(engine, ask(max_output_tokens=8))
    assert len(deltas) >= 8
    assert text_of(deltas)
    assert [delta.finish for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    last = deltas[-1]
    assert last.finish is Finish.LENGTH
    assert last.usage is not None
    assert last.usage.completion_tokens == 8
    assert last.usage.prompt_tokens == await engine.count_tokens(STORY)


async def test_usage_grows_while_a_stream_runs(engine: Engine) -> None:
    deltas = await collect(engine, ask(max_output_tokens=8))
    counts = [delta.usage.completion_tokens for delta in deltas if delta.usage is not None]
    assert len(counts) == len(deltas)
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 8


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_an_answer_has_no_more_tokens_than_allowed(engine: Engine, limit: int) -> None:
    reply = await engine.chat(ask(max_output_tokens=limit))
    assert reply.usage.completion_tokens == limit
    assert reply.answers[0].finish is Finish.LENGTH


async def test_a_short_answer_ends_by_itself(engine: Engine) -> None:
    request = ask((Message("user", "Say only: yes"),), max_output_tokens=200, temperature=0.0)
    reply = await engine.chat(request)
    assert reply.answers[0].finish is Finish.NATURAL
    assert (await collect(engine, request))[-1].finish is Finish.NATURAL


async def test_a_stop_string_ends_the_answer_before_it(engine: Engine) -> None:
    whole = (await engine.chat(ask(max_output_tokens=20, seed=7))).answers[0].text
    stop = whole[10:13]
    request = ask(max_output_tokens=20, seed=7, stop=(stop, "never said 从不"))
    answer = (await engine.chat(request)).answers[0]
    assert answer.finish is Finish.STOP_STRING
    assert answer.text == whole[: whole.index(stop)]
    deltas = await collect(engine, request)
    assert deltas[-1].finish is Finish.STOP_STRING
    assert text_of(deltas) == answer.text


async def test_stop_strings_that_never_come_change_nothing(engine: Engine) -> None:
    request = ask(max_output_tokens=4, stop=("never said 从不",))
    assert (await engine.chat(request)).answers[0].finish is Finish.LENGTH
    assert (await collect(engine, request))[-1].finish is Finish.LENGTH


async def test_two_answers_are_told_apart_and_both_counted(engine: Engine) -> None:
    request = ask(n=2, max_output_tokens=6)
    reply = await engine.chat(request)
    assert [answer.index for answer in reply.answers] == [0, 1]
    assert all(answer.text and answer.finish is Finish.LENGTH for answer in reply.answers)
    assert reply.usage == Usage(await engine.count_tokens(STORY), 12, reply.usage.cached_tokens)
    deltas = await collect(engine, request)
    assert all(text_of(deltas, index) for index in (0, 1))
    assert sorted(delta.index for delta in deltas if delta.finish) == [0, 1]
    assert deltas[-1].finish is Finish.LENGTH
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.completion_tokens == 12


async def test_more_answers_than_slots_are_refused(engine: Engine) -> None:
    with pytest.raises(Invalid):
        await engine.chat(ask(n=SLOTS + 1))
    await assert_works(engine)


async def test_a_seed_repeats_an_answer_on_an_idle_engine(engine: Engine) -> None:
    request = ask(max_output_tokens=16, seed=42, temperature=1.5)
    first = (await engine.chat(request)).answers[0].text
    await engine.chat(ask((Message("user", "Something else"),)))
    assert (await engine.chat(request)).answers[0].text == first
    assert text_of(await collect(engine, request)) == first


async def test_chinese_and_emoji_stream_unbroken(engine: Engine) -> None:
    for seed in range(2):
        request = ask(MIXED, max_output_tokens=24, seed=seed, temperature=1.2)
        whole = (await engine.chat(request)).answers[0].text
        deltas = await collect(engine, request)
        for delta in deltas:
            delta.text.encode("utf-8")
            assert "\ufffd" not in delta.text or "\ufffd" in whole
        assert text_of(deltas) == whole


async def test_log_probabilities_come_when_asked_for(engine: Engine, name: str) -> None:
    alternatives = None if name in CHOSEN_TOKEN_ONLY else 1
    request = ChatRequest(
        STORY, Sampling(max_output_tokens=3), logprobs=True, top_logprobs=alternatives
    )
    answer = (await engine.chat(request)).answers[0]
    assert answer.logprobs is not None
    assert [set(token) >= {"token", "logprob"} for token in answer.logprobs["content"]] == [
        True
    ] * 3
    deltas = await collect(engine, request)
    streamed = [token for delta in deltas for token in (delta.logprobs or {}).get("content", [])]
    assert len(streamed) == 3


async def test_json_is_json_when_asked_for(engine: Engine) -> None:
    request = ChatRequest(
        (Message("user", "Say hello"),),
        Sampling(max_output_tokens=120, temperature=0.0),
        response_format={"type": "json_object"},
    )
    answer = (await engine.chat(request)).answers[0]
    assert answer.finish is Finish.LENGTH or isinstance(json.loads(answer.text), dict)
    assert answer.text.lstrip().startswith("{")


SCHEMA = {
    "type": "object",
    "properties": {"sky": {"enum": ["sunny", "grey"]}, "windy": {"type": "boolean"}},
    "required": ["sky", "windy"],
    "additionalProperties": False,
}


def in_schema(schema: object) -> ChatRequest:
    return ChatRequest(
        (Message("user", "What is the weather in Paris, in degrees Celsius?"),),
        Sampling(max_output_tokens=120, temperature=0.0),
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
    )


@needs_model
async def test_a_schema_is_kept_to_in_every_answer(engine: Engine) -> None:
    request = msgspec.structs.replace(in_schema(SCHEMA), n=2)
    for answer in (await engine.chat(request)).answers:
        assert answer.finish is Finish.NATURAL
        found = json.loads(answer.text)
        assert found.keys() == {"sky", "windy"}
        assert found["sky"] in {"sunny", "grey"}
        assert isinstance(found["windy"], bool)
    assert json.loads(text_of(await collect(engine, in_schema(SCHEMA)))).keys() == {"sky", "windy"}


@needs_model
async def test_a_schema_that_cannot_be_is_refused_and_harms_nobody(engine: Engine) -> None:
    neighbour = asyncio.create_task(engine.chat(ask(max_output_tokens=60, temperature=0.0)))
    for schema in ({"type": "wrong"}, {"$ref": "#/nowhere"}):
        with pytest.raises(Invalid):
            await engine.chat(in_schema(schema))
    assert (await neighbour).answers[0].text
    pid = engine.pid
    await assert_works(engine)
    assert engine.pid == pid


PLACE = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool("get_weather", "Tells the weather", PLACE)
TIME = Tool("get_time", "Tells the time", PLACE)


@needs_model
@pytest.mark.parametrize("choice", ["required", "function:get_weather"])
async def test_a_call_that_must_be_made_is_made_and_fits_its_schema(
    engine: Engine, choice: str
) -> None:
    request = ChatRequest(
        (Message("user", "What is the weather in Paris, in degrees Celsius?"),),
        Sampling(max_output_tokens=200, temperature=0.0),
        tools=(WEATHER, TIME),
        tool_choice=choice,
        parallel_tool_calls=False,
    )
    (answer,) = (await engine.chat(request)).answers
    deltas = await collect(engine, request)
    streamed = [call for delta in deltas for call in delta.function_calls]
    assert answer.finish is deltas[-1].finish is Finish.FUNCTION_CALL
    for (call,) in (answer.function_calls, streamed):
        assert call.name in {"get_weather", "get_time"}
        assert call.name == "get_weather" or choice == "required"
        assert json.loads(call.arguments)["city"] == "Paris"


async def test_tools_that_must_not_be_called_are_not(engine: Engine) -> None:
    request = msgspec.structs.replace(ask(), tools=(WEATHER,), tool_choice="none")
    answer = (await engine.chat(request)).answers[0]
    assert not answer.function_calls
    assert answer.text


# Completions --------------------------------------------------------------------------------------

PROMPT = "Once upon a time there was a lighthouse by the sea, and in it"


def go_on(prompt: str = PROMPT, *, n: int = 1, **sampling: Any) -> CompletionRequest:
    sampling.setdefault("max_output_tokens", 8)
    sampling.setdefault("temperature", 0.0)  # a model may end a text of its own at any time
    return CompletionRequest(prompt, Sampling(**sampling), n=n)


async def collect_completion(engine: Engine, request: CompletionRequest) -> list[Delta]:
    async with aclosing(engine.complete_stream(request)) as stream:
        return [delta async for delta in stream]


async def test_a_completion_adds_up(engine: Engine) -> None:
    reply = await engine.complete(go_on())
    (answer,) = reply.answers
    assert answer.text
    assert (answer.index, answer.finish) == (0, Finish.LENGTH)
    assert reply.usage.completion_tokens == 8
    assert reply.usage.prompt_tokens == await engine.count_text_tokens(PROMPT)


async def test_a_streamed_completion_adds_up(engine: Engine) -> None:
    deltas = await collect_completion(engine, go_on(seed=3))
    assert len(deltas) >= 8
    assert text_of(deltas) == (await engine.complete(go_on(seed=3))).answers[0].text
    counts = [delta.usage.completion_tokens for delta in deltas if delta.usage is not None]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 8
    assert deltas[-1].finish is Finish.LENGTH
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.prompt_tokens == await engine.count_text_tokens(PROMPT)


async def test_a_stop_string_ends_a_completion_before_it(engine: Engine) -> None:
    whole = (await engine.complete(go_on(max_output_tokens=20, seed=7))).answers[0].text
    stop = whole[10:13]
    request = go_on(max_output_tokens=20, seed=7, stop=(stop,))
    answer = (await engine.complete(request)).answers[0]
    assert answer.finish is Finish.STOP_STRING
    assert answer.text == whole[: whole.index(stop)]


async def test_two_completions_are_told_apart_and_both_counted(engine: Engine) -> None:
    reply = await engine.complete(go_on(n=2, max_output_tokens=6))
    assert [answer.index for answer in reply.answers] == [0, 1]
    assert all(answer.text and answer.finish is Finish.LENGTH for answer in reply.answers)
    assert reply.usage.completion_tokens == 12
    assert reply.usage.prompt_tokens == await engine.count_text_tokens(PROMPT)


@pytest.mark.parametrize("n", [1, 2])
async def test_a_completion_repeats_its_prompt_when_asked_to(engine: Engine, n: int) -> None:
    plain = go_on(n=n, temperature=0.0, seed=1)
    request = msgspec.structs.replace(plain, echo=True)
    reply = await engine.complete(request)
    assert all(answer.text.startswith(PROMPT) for answer in reply.answers)
    assert all(len(answer.text) > len(PROMPT) for answer in reply.answers)
    assert reply.usage == (await engine.complete(plain)).usage
    deltas = await collect_completion(engine, request)
    for index in range(n):
        assert text_of(deltas, index).startswith(PROMPT)
        assert text_of(deltas, index).count(PROMPT) == 1


@pytest.mark.parametrize("alternatives", [0, 2])
async def test_a_completion_tells_log_probabilities(
    engine: Engine, name: str, alternatives: int
) -> None:
    request = CompletionRequest(PROMPT, Sampling(max_output_tokens=3), logprobs=alternatives)
    if alternatives and name in CHOSEN_TOKEN_ONLY:
        with pytest.raises(Invalid, match="chosen token only"):
            await engine.complete(request)
        return
    answer = (await engine.complete(request)).answers[0]
    assert answer.logprobs is not None
    tokens = answer.logprobs["content"]
    assert "".join(token["token"] for token in tokens) == answer.text
    assert all(token["logprob"] <= 0 for token in tokens)
    assert all(len(token["top_logprobs"]) <= alternatives for token in tokens)


async def test_log_probabilities_of_a_prompt_are_told_or_refused(engine: Engine, name: str) -> None:
    sampling = Sampling(max_output_tokens=1, temperature=0.0)
    request = CompletionRequest(PROMPT, sampling, logprobs=1, echo=True)
    if name not in SCORE_PROMPTS:
        with pytest.raises(
            Invalid, match=r"chosen token only|tells no log-probabilities of a prompt"
        ):
            await engine.complete(request)
        return
    answer = (await engine.complete(request)).answers[0]
    assert answer.logprobs is not None
    first, *tokens = answer.logprobs["content"]
    assert (first["logprob"], first["top_logprobs"]) == (None, [])
    assert "".join(token["token"] for token in (first, *tokens)) == answer.text
    assert len(tokens) == await engine.count_text_tokens(PROMPT)
    assert all(token["logprob"] <= 0 for token in tokens)
    assert all(len(token["top_logprobs"]) == 1 for token in tokens[:-1])


async def ids_of(engine: Engine, text: str) -> tuple[int, ...]:
    """A text in token ids; those of echo are code points."""
    if isinstance(engine, echo.EchoEngine):
        return tuple(map(ord, text))
    assert isinstance(engine, ChildEngine)
    return tuple(await engine.text_tokens(text))


async def test_a_prompt_in_token_ids_goes_on_as_its_text_does(engine: Engine, name: str) -> None:
    ids = await ids_of(engine, PROMPT)
    text = await engine.decode(ids)
    assert text is not None
    assert text.endswith(PROMPT)
    request = msgspec.structs.replace(go_on(text, seed=1), prompt_ids=ids, echo=True)
    reply = await engine.complete(request)
    plain = await engine.complete(go_on(seed=1))
    assert reply.answers[0].text == text + plain.answers[0].text
    assert reply.usage.prompt_tokens == len(ids)
    deltas = await collect_completion(engine, request)
    assert text_of(deltas) == reply.answers[0].text
    # What is read are the ids, whatever the text beside them says.
    other = await engine.complete(msgspec.structs.replace(request, prompt="", echo=False))
    assert other.answers[0].text == plain.answers[0].text
    if name in SCORE_PROMPTS:
        told = (await engine.complete(msgspec.structs.replace(request, logprobs=1))).answers[0]
        assert told.logprobs is not None
        tokens = [token["token"] for token in told.logprobs["content"]]
        assert "".join(tokens) == told.text
        assert len(tokens) == len(ids) + 8


async def test_a_token_id_that_the_model_does_not_have_never_reaches_it(engine: Engine) -> None:
    pid = engine.pid
    with pytest.raises(Invalid, match=r"^tested has no token -1, its ids are 0 to \d+$") as refused:
        await engine.decode([1, -1])
    last = int(refused.value.message.rpartition(" ")[2])
    for wrong in (last + 1, 2**31 - 1):
        with pytest.raises(
            Invalid, match=f"^tested has no token {wrong}, its ids are 0 to {last}$"
        ):
            await engine.decode([1, wrong])
    assert await engine.decode([last]) is not None
    request = CompletionRequest("", Sampling(max_output_tokens=2), prompt_ids=(last,))
    assert (await engine.complete(request)).usage.prompt_tokens == 1
    await assert_works(engine)
    assert engine.pid == pid


async def test_an_empty_prompt_is_refused(engine: Engine) -> None:
    with pytest.raises(Invalid, match="prompt must not be empty"):
        await engine.complete(go_on(""))
    with pytest.raises(Invalid, match="prompt must not be empty"):
        await collect_completion(engine, go_on(""))


async def test_a_prompt_longer_than_the_context_is_refused_for_its_length(engine: Engine) -> None:
    prompt = "word " * (2 * CONTEXT_TOKENS)
    with pytest.raises(ContextTooLong) as refused:
        await engine.complete(go_on(prompt))
    assert str(await engine.count_text_tokens(prompt)) in refused.value.message
    ids = (await ids_of(engine, "a"))[-1:] * (2 * CONTEXT_TOKENS)
    with pytest.raises(ContextTooLong, match=str(len(ids))):
        await engine.complete(msgspec.structs.replace(go_on(""), prompt_ids=ids))


async def test_a_caller_that_leaves_a_completion_frees_its_slot(
    slow_engine: Engine, wait_until: WaitUntil
) -> None:
    engine = slow_engine

    async def busy() -> bool:
        return (await engine.slots()).busy == SLOTS

    async def idle() -> bool:
        return (await engine.slots()).busy == 0

    prompt = "Tell me a long story about the sea. " * 10
    calls = [
        asyncio.create_task(engine.complete(go_on(prompt, max_output_tokens=200)))
        for _ in range(SLOTS + 2)
    ]
    await wait_until(busy, "busy slots")
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await wait_until(idle, "slots freed by cancelled completions")
    assert (await engine.complete(go_on())).answers[0].text


async def test_texts_are_counted_without_a_template(engine: Engine) -> None:
    hello, twice = [await engine.count_text_tokens(text) for text in ("hello", "hello hello")]
    assert 0 < hello < twice < await engine.count_tokens((Message("user", "hello hello"),))
    assert await engine.count_text_tokens("你好，世界！😀") > 0


# Many at once -------------------------------------------------------------------------------------


async def test_more_calls_than_slots_all_get_answers(engine: Engine) -> None:
    async with asyncio.timeout(60):
        replies: list[ChatReply] = await asyncio.gather(
            *(engine.chat(ask(max_output_tokens=5)) for _ in range(4 * SLOTS))
        )
        streams = await asyncio.gather(
            *(collect(engine, ask(max_output_tokens=5)) for _ in range(4 * SLOTS))
        )
    assert all(reply.usage.completion_tokens == 5 for reply in replies)
    assert all(deltas[-1].finish is Finish.LENGTH for deltas in streams)


async def test_busy_slots_are_counted_and_freed_when_callers_leave(
    slow_engine: Engine, wait_until: WaitUntil
) -> None:
    engine = slow_engine
    request = ask(STORY, max_output_tokens=400)

    async def leave_after_first_delta() -> None:
        async with aclosing(engine.chat_stream(request)) as stream:
            await anext(stream)
            assert (await engine.slots()).busy >= 1

    async def busy() -> bool:
        return (await engine.slots()).busy == SLOTS

    async def idle() -> bool:
        return (await engine.slots()).busy == 0

    await leave_after_first_delta()
    await wait_until(idle, "a slot freed by closing the stream")
    calls = [asyncio.create_task(engine.chat(request)) for _ in range(SLOTS + 2)]
    await wait_until(busy, "busy slots")
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await wait_until(idle, "slots freed by cancelled calls")
    await assert_works(engine)


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(
    engine: Engine, streaming: bool
) -> None:
    messages = (Message("user", "word " * (2 * CONTEXT_TOKENS)),)
    prompt_tokens = await engine.count_tokens(messages)
    request = ask(messages)
    with pytest.raises(ContextTooLong) as refused:
        await (collect(engine, request) if streaming else engine.chat(request))
    assert str(prompt_tokens) in refused.value.message
    assert str(CONTEXT_TOKENS) in refused.value.message
    await assert_works(engine)


async def test_an_answer_ends_where_the_context_does(engine: Engine) -> None:
    messages = (Message("user", "word " * (CONTEXT_TOKENS - 80)),)
    request = ask(messages, max_output_tokens=4 * CONTEXT_TOKENS, temperature=0.0)
    reply = await engine.chat(request)
    assert reply.usage.total_tokens <= CONTEXT_TOKENS


@needs_model
@pytest.mark.parametrize("adapter", ["absent", "no adapter"])
async def test_an_adapter_is_looked_at_or_refused_before_the_start(
    name: str, spec: EngineSpec, tmp_path: Path, adapter: str
) -> None:
    """An adapter that has no effect, without a word, would be the worst of answers."""
    path = tmp_path / "adapter.gguf"
    if adapter != "absent":
        path.write_bytes(b"GGUF and so on")
    wrong = msgspec.structs.replace(spec, adapters={"sea": str(path)})
    with pytest.raises(ConfigurationError, match="adapter"):
        extensions.load(PACKAGE, name).create(wrong, tmp_path)


@needs_model
@pytest.mark.parametrize("damage", ["half", "nothing", "a pickle", "noise"])
async def test_files_that_are_no_model_are_refused_with_a_reason_and_no_process_dies(
    name: str, spec: EngineSpec, tmp_path: Path, damage: str
) -> None:
    assert spec.path is not None
    wrong = msgspec.structs.replace(spec, path=str(damaged(Path(spec.path), tmp_path, damage)))
    with pytest.raises((ConfigurationError, EngineFailed)) as refused:
        await extensions.load(PACKAGE, name).create(wrong, tmp_path).start()
    assert "killed by" not in refused.value.message
    assert "was not ready" not in refused.value.message
    assert len(refused.value.message) > 40


def damaged(model: Path, folder: Path, damage: str) -> Path:
    """A copy of the model whose weights are not what they say."""
    copy = folder / "damaged" / model.name
    if model.is_dir():
        shutil.copytree(model, copy)
    else:
        copy.parent.mkdir()
        shutil.copyfile(model, copy)
    weights = copy / "model.safetensors" if model.is_dir() else copy
    whole = weights.read_bytes()
    content = {
        "half": whole[: len(whole) // 2],
        "nothing": b"",
        "a pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
        "noise": random.Random(7).randbytes(4096) + whole[4096:],
    }
    weights.unlink()
    weights.write_bytes(content[damage])
    return copy


async def test_options_that_do_not_exist_are_refused(
    name: str, spec: EngineSpec, tmp_path: Path
) -> None:
    wrong = msgspec.structs.replace(spec, options={"speeed": 1})
    with pytest.raises(ConfigurationError, match="speeed"):
        extensions.load(PACKAGE, name).create(wrong, tmp_path)
