"""The exact behaviour that the engine's docstring promises; other tests build on it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from yangfan.engines import echo
from yangfan.engines.base import (
    ChatRequest,
    CompletionRequest,
    Engine,
    EngineSpec,
    Finish,
    FunctionCall,
    Message,
    Part,
    Sampling,
    Slots,
    Tool,
    Usage,
)
from yangfan.errors import EngineFailed

WaitUntil = Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Engine]:
    engine = echo.create(EngineSpec(model="echo"), tmp_path_factory.mktemp("echo"))
    await engine.start()
    yield engine
    await engine.stop()


shared = pytest.mark.asyncio(loop_scope="module")


def ask(text: str, *, n: int = 1, **sampling: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), Sampling(**sampling), n=n)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("hello world", ["hello", " world"]),
        ("你好，世界", ["你", "好", "，", "世", "界"]),
        ("a你b", ["a", "你", "b"]),
        ("hi 😀🚀", ["hi", " ", "😀", "🚀"]),
        ("  two\n\nlines\t", [" ", " two", "\n", "\nlines", "\t"]),
    ],
)
def test_a_token_is_a_word_or_a_wide_character(text: str, tokens: list[str]) -> None:
    assert echo.tokenize(text) == tokens


@given(st.text())
def test_joined_tokens_are_the_text(text: str) -> None:
    assert "".join(echo.tokenize(text)) == text


@shared
async def test_the_answer_is_the_last_user_message(engine: Engine) -> None:
    messages = (
        Message("system", "You are a parrot."),
        Message("user", "first"),
        Message("assistant", "first"),
        Message("user", (Part(text="second "), Part(image_url="data:image/png;base64,cGl4ZWxz"))),
        Message("assistant", "what?"),
    )
    reply = await engine.chat(ChatRequest(messages))
    assert reply.answers[0].text == "second [image/png, 6 bytes, 6ec9c2b0]"
    assert reply.answers[0].finish is Finish.NATURAL
    assert reply.usage.prompt_tokens == await engine.count_tokens(messages)


@shared
async def test_the_prompt_is_role_and_text_on_a_line_each(engine: Engine) -> None:
    tokens = echo.tokenize("system: Be brief.\nuser: 你好\n")
    messages = (Message("system", "Be brief."), Message("user", "你好"))
    assert await engine.count_tokens(messages) == len(tokens) == 8


@shared
async def test_each_delta_is_one_token(engine: Engine) -> None:
    async with aclosing(engine.chat_stream(ask("hello 世界 😀"))) as stream:
        deltas = [delta async for delta in stream]
    assert [delta.text for delta in deltas] == ["hello", " ", "世", "界", " ", "😀", ""]
    assert deltas[-1].usage == Usage(8, 6)


@shared
async def test_stop_strings_cut_at_the_first(engine: Engine) -> None:
    answer = (await engine.chat(ask("one two three", stop=("three", " two")))).answers[0]
    assert (answer.text, answer.finish) == ("one", Finish.STOP_STRING)


@shared
async def test_json_is_wrapped(engine: Engine) -> None:
    request = ChatRequest((Message("user", '说 "hi"'),), response_format={"type": "json_object"})
    assert json.loads((await engine.chat(request)).answers[0].text) == {"echo": '说 "hi"'}


@shared
@pytest.mark.parametrize(("choice", "name"), [("required", "f"), ("function:g", "g")])
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_required_tool_is_called(
    engine: Engine, choice: str, name: str, streaming: bool
) -> None:
    request = ChatRequest(
        (Message("user", "北京"),), tools=(Tool("f"), Tool("g")), tool_choice=choice
    )
    if streaming:
        async with aclosing(engine.chat_stream(request)) as stream:
            answer = [delta async for delta in stream][-1]
    else:
        answer = (await engine.chat(request)).answers[0]
    assert answer.finish is Finish.FUNCTION_CALL
    assert answer.text == ""
    assert answer.function_calls == (FunctionCall(name, '{"echo":"北京"}', "call_0"),)


@shared
async def test_tools_that_may_be_called_are_not(engine: Engine) -> None:
    request = ChatRequest((Message("user", "hi"),), tools=(Tool("f"),), tool_choice="auto")
    assert (await engine.chat(request)).answers[0].text == "hi"


async def test_waiting_requests_are_answered_in_order_and_leave_no_trace(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    spec = EngineSpec(model="echo", slots=1, options={"delay_seconds": 0.02})
    engine = echo.create(spec, tmp_path)
    await engine.start()
    try:
        finished: list[int] = []

        async def call(number: int) -> None:
            await engine.chat(ask("one two three"))
            finished.append(number)

        async def busy() -> bool:
            return (await engine.slots()).busy == 1

        calls = [asyncio.create_task(call(0))]
        await wait_until(busy, "the first call")
        for number in range(1, 4):
            calls.append(asyncio.create_task(call(number)))
            await engine.slots()  # by its answer, the call sent before has arrived
        calls[2].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert finished == [0, 1, 3]
        assert await engine.slots() == Slots(busy=0, total=1)
    finally:
        await engine.stop()


@shared
async def test_a_completion_repeats_its_prompt_token_for_token(engine: Engine) -> None:
    request = CompletionRequest("one 二\n three", n=2)
    reply = await engine.complete(request)
    assert [answer.text for answer in reply.answers] == ["one 二\n three"] * 2
    assert {answer.finish for answer in reply.answers} == {Finish.NATURAL}
    assert reply.usage == Usage(prompt_tokens=5, completion_tokens=10)
    assert await engine.count_text_tokens("one 二\n three") == 5


async def test_options_make_it_slow_to_start_and_fail_calls(tmp_path: Path) -> None:
    options = {"prefix": "> ", "start_seconds": 0.3, "fail_every": 2}
    engine = echo.create(EngineSpec("echo", options=options), tmp_path)
    began = asyncio.get_running_loop().time()
    await engine.start()
    try:
        assert asyncio.get_running_loop().time() - began >= 0.3
        assert (await engine.chat(ask("hi"))).answers[0].text == "> hi"
        with pytest.raises(EngineFailed, match="told to fail by the option fail_every"):
            await engine.chat(ask("hi"))
        assert (await engine.chat(ask("hi"))).answers[0].text == "> hi"
    finally:
        await engine.stop()


async def test_an_option_keeps_it_from_starting(tmp_path: Path) -> None:
    engine = echo.create(EngineSpec("echo", options={"start_fails": True}), tmp_path)
    with pytest.raises(EngineFailed, match="told to fail by the option start_fails"):
        await engine.start()
