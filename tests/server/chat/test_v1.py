"""v1 chat, in (specification B.3, B.5) and out (B.4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.server.conftest import Caller

from yangfan.engines.base import ChatRequest as EngineRequest
from yangfan.engines.base import FunctionCall, Message, Part, Sampling, Tool
from yangfan.errors import Invalid, InvalidMessages, InvalidUserSetting
from yangfan.protocol.v1.chat import ChatRequest
from yangfan.server.chat.v1 import to_engine
from yangfan.server.services import Target

TargetOf = Callable[[str], Target]
HI = {"role": "user", "content": "hi"}


def translate(target: Target, **fields: Any) -> EngineRequest:
    """What the engine is asked for."""
    body = {"messages": [HI], **fields}
    return to_engine(msgspec.convert(body, ChatRequest), target)


@pytest.fixture
def speed(target_of: TargetOf) -> Target:
    return target_of("ernie_speed")


# In


def test_plain_question(speed: Target):
    assert translate(speed) == EngineRequest((Message("user", "hi"),))


def test_every_sampling_field_has_its_place(speed: Target):
    fields = {
        "temperature": 0.5,
        "top_p": 0.6,
        "top_k": 7,
        "penalty_score": 1.1,
        "frequency_penalty": -0.5,
        "presence_penalty": 0.4,
        "max_output_tokens": 20,
        "min_output_tokens": 3,
        "seed": 5,
        "stop": ["a", "b"],
    }
    assert translate(speed, **fields).sampling == Sampling(
        temperature=0.5,
        top_p=0.6,
        top_k=7,
        repetition_penalty=1.1,
        frequency_penalty=-0.5,
        presence_penalty=0.4,
        max_output_tokens=20,
        min_output_tokens=3,
        seed=5,
        stop=("a", "b"),
    )


@pytest.mark.parametrize("field", ["system", "user_setting"])
def test_persona_becomes_the_first_message(speed: Target, field: str):
    messages = translate(speed, **{field: "你是诗人"}).messages
    assert messages == (Message("system", "你是诗人"), Message("user", "hi"))


@pytest.mark.parametrize("fields", [{"user_setting": " "}, {"user_setting": "a", "system": "b"}])
def test_user_setting_alone_and_not_blank(speed: Target, fields: dict[str, str]):
    with pytest.raises(InvalidUserSetting, match="use system instead"):
        translate(speed, **fields)


def test_empty_system_is_as_good_as_none(speed: Target):
    assert translate(speed, system="").messages == (Message("user", "hi"),)


def test_function_call_and_its_result_become_a_tool_call(speed: Target):
    conversation = [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "",
            "function_call": {"name": "f", "arguments": '{"a":1}', "thoughts": "hm"},
        },
        {"role": "function", "name": "f", "content": '{"t":20}'},
    ]
    assert translate(speed, messages=conversation).messages == (
        Message("user", "weather?"),
        Message(
            "assistant",
            None,
            function_calls=(FunctionCall("f", '{"a":1}', "call_1", "hm"),),
        ),
        Message("tool", '{"t":20}', name="f", tool_call_id="call_1"),
    )


def test_function_call_without_arguments_has_an_empty_object(speed: Target):
    conversation = [
        HI,
        {"role": "assistant", "content": None, "function_call": {"name": "f"}},
        {"role": "function", "name": "f", "content": "1"},
    ]
    call = translate(speed, messages=conversation).messages[1].function_calls[0]
    assert call.arguments == "{}"


def test_parts_keep_their_order(target_of: TargetOf):
    content = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
    ]
    target = target_of("ERNIE-Lite-V")
    message = translate(target, messages=[{"role": "user", "content": content}]).messages[0]
    assert message.content == (Part("what?"), Part(None, "https://x/y.png", "low"))


def test_functions_become_tools(speed: Target):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    function: dict[str, Any] = {
        "name": "f",
        "description": "d",
        "parameters": schema,
        "responses": {},
        "examples": [[]],
        "plugin_id": "p",
    }
    closed = {**schema, "additionalProperties": False}
    assert translate(speed, functions=[function]).tools == (Tool("f", "d", closed),)


def test_responses_and_examples_are_told_behind_the_description(speed: Target):
    function: dict[str, Any] = {
        "name": "f",
        "description": "d",
        "parameters": {"type": "object"},
        "responses": {"type": "object"},
        "examples": [[{"role": "user", "content": "天气?"}]],
    }
    (tool,) = translate(speed, functions=[function]).tools
    told = 'd\nReturns: {"type":"object"}\nExample: [{"role":"user","content":"天气?"}]'
    assert tool.description == told


def test_functions_in_the_shape_of_v2_are_functions(speed: Target):
    tool = {"type": "function", "function": {"name": "f"}}
    search = {"type": "baidu_search", "baidu_search": {"top_n": 2}}
    request = translate(speed, tools=[search, tool], tool_choice={"name": "f"})
    assert [tool.name for tool in request.tools] == ["f"]
    assert (request.tool_choice, request.parallel_tool_calls) == ("function:f", False)
    assert (
        translate(speed, tools=[search], tool_choice={"name": "baidu_search"}).tool_choice is None
    )


def test_a_result_may_name_its_call_by_id(speed: Target):
    """As programs of OpenAI's clients do; the official SDK moves it to `name` (specification B.3)."""
    conversation = [
        HI,
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "tool_call_id": "f", "content": "1"},
    ]
    assert translate(speed, messages=conversation).messages[2].name == "f"


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "function": {"name": "f"}, "name": "f"},
        {"type": "function", "function": {"name": "f"}},
        {"name": "f"},
    ],
)
def test_tool_choice_forces_the_function(speed: Target, choice: dict[str, Any]):
    functions = [{"name": "f", "description": "d", "parameters": {"type": "object"}}]
    request = translate(speed, functions=functions, tool_choice=choice)
    assert request.tool_choice == "function:f"


@pytest.mark.parametrize(
    ("given", "asked"), [("json_object", {"type": "json_object"}), ("text", None), (None, None)]
)
def test_response_format(speed: Target, given: str | None, asked: object):
    assert translate(speed, response_format=given).response_format == asked


def test_what_the_sdks_send_beside_the_question_is_ignored(speed: Target):
    fields: dict[str, Any] = {
        "extra_parameters": {"request_source": "qianfan_py_sdk_v0.4.12.3"},
        "stream": False,
        "endpoint": None,
        "temperature": None,
        "stop": None,
        "functions": None,
        "disable_search": False,
        "enable_citation": True,
        "enable_trace": True,
        "trace_number": 3,
        "user_id": "u",
        "tools": [{"type": "baidu_search", "baidu_search": {}}],
        "safety_level": "x",
        "enable_user_memory": True,
        "system_memory_id": "unused",
    }
    assert translate(speed, **fields) == EngineRequest((Message("user", "hi"),))


@pytest.mark.parametrize(
    ("name", "highest"),
    [("ernie_speed", 2048), ("completions_pro", 2048), ("ernie-speed-128k", 4096)],
)
def test_highest_output_is_the_models_own(target_of: TargetOf, name: str, highest: int):
    target = target_of(name)
    assert target.preset is not None
    assert translate(target, max_output_tokens=highest).sampling.max_output_tokens == highest
    with pytest.raises(Invalid, match=rf"max_output_tokens must be in \[2, {highest}\]"):
        translate(target, max_output_tokens=highest + 1)


def test_served_models_own_name_takes_as_much_as_its_context(target_of: TargetOf):
    target = target_of("still")
    assert translate(target, max_output_tokens=8192).sampling.max_output_tokens == 8192
    with pytest.raises(Invalid, match=r"\[2, 8192\]"):
        translate(target, max_output_tokens=8193)


def test_min_output_may_equal_max(speed: Target):
    sampling = translate(speed, min_output_tokens=10, max_output_tokens=10).sampling
    assert (sampling.min_output_tokens, sampling.max_output_tokens) == (10, 10)


@pytest.mark.parametrize("count", [1, 3, 5, 21])
def test_odd_conversations_pass_and_even_ones_do_not(speed: Target, count: int):
    turns = [
        {"role": "assistant" if at % 2 else "user", "content": str(at)} for at in range(count + 1)
    ]
    assert len(translate(speed, messages=turns[:count]).messages) == count
    with pytest.raises(InvalidMessages, match=r"^the length of messages must be an odd number"):
        translate(speed, messages=turns)


# Out


def test_answer_has_the_documented_fields_and_no_others(echo: Caller):
    reply = echo.v1({"messages": [HI]})
    body = reply.json
    assert set(body) == {
        "id",
        "object",
        "created",
        "result",
        "is_truncated",
        "need_clear_history",
        "finish_reason",
        "usage",
    }
    assert re.fullmatch(r"as-[0-9a-z]{10}", body["id"])
    assert body["object"] == "chat.completion"
    assert isinstance(body["created"], int)
    assert body["result"] == "hi"
    assert body["is_truncated"] is False
    assert body["need_clear_history"] is False
    assert body["finish_reason"] == "normal"
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    assert b"\n" not in reply.body
    assert reply.headers["X-Yangfan-Model"] == "echo"
    for name in ("Limit-Requests", "Limit-Tokens", "Remaining-Requests", "Remaining-Tokens"):
        assert int(reply.headers[f"X-Ratelimit-{name}"]) >= 1_000_000


@pytest.mark.parametrize(
    ("fields", "finish", "truncated"),
    [
        ({}, "normal", False),
        ({"max_output_tokens": 2}, "length", True),
        ({"stop": ["three"]}, "stop", False),
    ],
)
def test_finish_reason_and_truncation_agree(
    echo: Caller, fields: dict[str, Any], finish: str, truncated: bool
):
    call = {"messages": [{"role": "user", "content": "one two three"}], **fields}
    body = echo.v1(call).json
    assert (body["finish_reason"], body["is_truncated"]) == (finish, truncated)
    last = echo.v1({**call, "stream": True}).events[-1]
    assert (last["finish_reason"], last["is_truncated"]) == (finish, truncated)


def test_only_models_that_are_not_baidus_say_that_an_answer_is_safe(echo: Caller):
    for name, safe in (("echo", 1), ("llama_2_7b", 1), ("ernie_speed", None)):
        assert echo.v1({"messages": [HI]}, name).json.get("is_safe") == safe
        events = echo.v1({"messages": [HI], "stream": True}, name).events
        assert {event.get("is_safe") for event in events} == {safe}


def test_function_call_leaves_the_result_empty(echo: Caller):
    call = {
        "messages": [HI],
        "functions": [{"name": "f", "description": "d", "parameters": {"type": "object"}}],
        "tool_choice": {"name": "f"},
    }
    body = echo.v1(call).json
    assert body["result"] == ""
    assert body["finish_reason"] == "function_call"
    assert body["function_call"] == {"name": "f", "arguments": '{"echo":"hi"}', "thoughts": ""}
    events = echo.v1({**call, "stream": True}).events
    assert events[-1]["function_call"]["name"] == "f"
    assert "".join(event["result"] for event in events) == ""
    assert all("function_call" not in event for event in events[:-1])


def test_stream_is_a_sequence_of_numbered_deltas_that_ends_itself(echo: Caller):
    text = "one two 三四 five 🚢"
    reply = echo.v1({"messages": [{"role": "user", "content": text}], "stream": True})
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    events = reply.events
    assert "[DONE]" not in events
    assert "".join(event["result"] for event in events) == text
    assert [event["sentence_id"] for event in events] == list(range(len(events)))
    assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
    assert len({(event["id"], event["created"]) for event in events}) == 1
    for event in events:
        assert {"id", "object", "created", "sentence_id", "is_end", "result"} <= set(event)
        assert event["object"] == "chat.completion"
        assert event["is_truncated"] is False
        assert event["need_clear_history"] is False
        assert set(event["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert all("finish_reason" not in event for event in events[:-1])
    whole = echo.v1({"messages": [{"role": "user", "content": text}]}).json
    assert events[-1]["usage"] == whole["usage"]


def test_the_word_event_is_escaped_in_streams(echo: Caller):
    text = "event: an eventful Event"
    reply = echo.v1({"messages": [{"role": "user", "content": text}], "stream": True})
    assert b"event" not in reply.body
    assert "".join(event["result"] for event in reply.events) == text


def test_long_token_is_cut_into_lines_that_every_client_reads(echo: Caller):
    text = "字" * 5 + "x" * 23_000
    reply = echo.v1({"messages": [{"role": "user", "content": text}], "stream": True})
    assert max(map(len, reply.body.split(b"\n"))) < 64 * 1024
    assert "".join(event["result"] for event in reply.events) == text
    assert [event["sentence_id"] for event in reply.events] == list(range(len(reply.events)))


@pytest.mark.parametrize("name", ["ernie_speed", "ERNIE_SPEED", "completions_pro", "eb-instant"])
def test_endpoint_suffix_in_any_case_is_answered(echo: Caller, name: str):
    assert echo.v1({"messages": [HI]}, name).json["result"] == "hi"
