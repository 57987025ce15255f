"""v2 chat, in (specification C.2) and out (C.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.server.conftest import Caller

from yangfan.engines.base import ChatRequest as EngineRequest
from yangfan.engines.base import FunctionCall, Message, Part, Sampling, Tool
from yangfan.errors import Invalid, InvalidMessages
from yangfan.protocol.v2.chat import ChatRequest
from yangfan.server.chat.v2 import to_engine
from yangfan.server.services import Target

TargetOf = Callable[[str], Target]
HI = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"a": 1}}}


def translate(target: Target, **fields: Any) -> EngineRequest:
    """What the engine is asked for."""
    body = {"model": target.asked, "messages": [HI], **fields}
    return to_engine(msgspec.convert(body, ChatRequest), target)


@pytest.fixture
def ernie(target_of: TargetOf) -> Target:
    return target_of("ernie-speed-8k")


@pytest.fixture
def own(target_of: TargetOf) -> Target:
    return target_of("still")


# In


def test_plain_question(ernie: Target, own: Target):
    for target in (ernie, own):
        assert translate(target) == EngineRequest((Message("user", "hi"),))


def test_every_sampling_field_has_its_place(own: Target):
    fields: dict[str, Any] = {
        "temperature": 1.5,
        "top_p": 0.6,
        "top_k": 7,
        "repetition_penalty": 1.1,
        "frequency_penalty": -0.5,
        "presence_penalty": 0.4,
        "max_completion_tokens": 20,
        "seed": 5,
        "stop": ["a", "b"],
        "logit_bias": {"15": -100, "16": 2.5},
    }
    assert translate(own, **fields).sampling == Sampling(
        temperature=1.5,
        top_p=0.6,
        top_k=7,
        repetition_penalty=1.1,
        frequency_penalty=-0.5,
        presence_penalty=0.4,
        max_output_tokens=20,
        seed=5,
        stop=("a", "b"),
        logit_bias={"15": -100, "16": 2.5},
    )


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"stop": "end"}, "stop", ("end",)),
        ({"stop": []}, "stop", ()),
        ({"max_tokens": 9}, "max_output_tokens", 9),
        ({"max_tokens": 9, "max_completion_tokens": 5}, "max_output_tokens", 5),
        ({"penalty_score": 1.2}, "repetition_penalty", 1.2),
        ({"penalty_score": 1.2, "repetition_penalty": 1.5}, "repetition_penalty", 1.5),
        ({"temperature": 0}, "temperature", 0),
        ({"max_tokens": 1}, "max_output_tokens", 1),
    ],
)
def test_other_spellings_mean_the_same(
    own: Target, fields: dict[str, Any], name: str, value: object
):
    assert getattr(translate(own, **fields).sampling, name) == value


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"temperature": 0}, r"temperature must be in \(0, 1\.0\] for ernie-speed-8k, got 0"),
        ({"temperature": 1.2}, r"temperature must be in \(0, 1\.0\]"),
        ({"max_tokens": 1}, r"max_tokens must be in \[2, 2048\]"),
        ({"max_completion_tokens": 2049}, r"max_completion_tokens must be in \[2, 2048\]"),
    ],
)
def test_ernie_names_keep_qianfans_ranges(ernie: Target, own: Target, fields: Any, text: str):
    with pytest.raises(Invalid, match=text):
        translate(ernie, **fields)
    translate(own, **fields)


def test_open_models_of_qianfan_take_the_wide_range(target_of: TargetOf):
    target = target_of("llama_2_7b")
    assert target.preset is not None
    assert target.preset.family == "open"
    assert translate(target, temperature=1.7).sampling.temperature == 1.7


def test_system_must_come_first_for_ernie_only(ernie: Target, own: Target):
    late = [HI, {"role": "system", "content": "s"}, HI]
    with pytest.raises(InvalidMessages, match=r"messages\[1\]: a system message must come first"):
        translate(ernie, messages=late)
    assert len(translate(own, messages=late).messages) == 3
    two = [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}, HI]
    assert len(translate(ernie, messages=two).messages) == 3


def test_developer_is_another_word_for_system(own: Target):
    messages = translate(own, messages=[{"role": "developer", "content": "s"}, HI]).messages
    assert messages[0] == Message("system", "s")


def test_turns_need_not_alternate(own: Target):
    assert len(translate(own, messages=[HI, HI]).messages) == 2


def test_tool_call_and_its_result(own: Target):
    call = {"id": "call_9", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    conversation = [
        HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_9", "content": "20"},
    ]
    assert translate(own, messages=conversation).messages == (
        Message("user", "hi"),
        Message("assistant", None, function_calls=(FunctionCall("f", "{}", "call_9"),)),
        Message("tool", "20", tool_call_id="call_9"),
    )


def test_parts_keep_their_order(own: Target):
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "text", "text": "what?"},
    ]
    message = translate(own, messages=[{"role": "user", "content": content}]).messages[0]
    assert message.content == (Part(None, "data:image/png;base64,AA=="), Part("what?"))


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "f"}}, "function:f"),
        (None, None),
    ],
)
def test_tools_and_tool_choice(own: Target, choice: object, asked: str | None):
    request = translate(own, tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
    assert request.tools == (Tool("f", "d", {"type": "object"}),)
    assert request.tool_choice == asked
    assert request.parallel_tool_calls is False


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        ),
    ],
)
def test_response_format(own: Target, given: object, asked: object):
    assert translate(own, response_format=given).response_format == asked


def test_number_of_answers_and_log_probabilities(own: Target):
    request = translate(own, n=3, logprobs=True, top_logprobs=2)
    assert (request.n, request.logprobs, request.top_logprobs) == (3, True, 2)


@pytest.mark.parametrize(
    "bias", [{"a": 1}, {"": 1}, {"-1": 1}, {"1": 101}, {"1": -100.5}, {"٣": 1}]
)
def test_logit_bias_maps_token_ids_to_a_range(own: Target, bias: dict[str, float]):
    with pytest.raises(
        Invalid, match=r"logit_bias must map a token id to a number in \[-100, 100\]"
    ):
        translate(own, logit_bias=bias)


def test_what_other_clients_send_beside_the_question_is_ignored(own: Target):
    fields: dict[str, Any] = {
        "extra_parameters": {"request_source": "qianfan_py_sdk_v0.4.12.3"},
        "stream": False,
        "endpoint": None,
        "user": "u",
        "metadata": {"a": "b"},
        "web_search": {"enable": False},
        "preemptable": False,
        "store": False,
        "service_tier": "auto",
    }
    assert translate(own, **fields) == EngineRequest((Message("user", "hi"),))


# Out


def call(**fields: Any) -> dict[str, Any]:
    return {"model": "ERNIE-Speed-8K", "messages": [HI], **fields}


def test_answer_has_the_documented_fields_and_no_others(echo: Caller):
    reply = echo.v2(call())
    body = reply.json
    assert set(body) == {"id", "object", "created", "model", "choices", "usage"}
    assert re.fullmatch(r"as-[0-9a-z]{10}", body["id"])
    assert body["object"] == "chat.completion"
    assert isinstance(body["created"], int)
    assert body["model"] == "ERNIE-Speed-8K", "as it was asked for"
    assert body["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ]
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    assert reply.headers["X-Yangfan-Model"] == "echo"
    assert int(reply.headers["X-Ratelimit-Limit-Requests"]) >= 1_000_000


@pytest.mark.parametrize(
    ("fields", "finish"),
    [({}, "stop"), ({"max_completion_tokens": 2}, "length"), ({"stop": "three"}, "stop")],
)
def test_finish_reason(echo: Caller, fields: dict[str, Any], finish: str):
    body = call(messages=[{"role": "user", "content": "one two three"}], **fields)
    assert echo.v2(body).json["choices"][0]["finish_reason"] == finish


def test_tool_call_is_whole(echo: Caller):
    for stream in (False, True):
        reply = echo.v2(call(tools=[TOOL], tool_choice="required", stream=stream))
        if stream:
            chunks = [event for event in reply.events if event != "[DONE]"]
            (chunk,) = [c for c in chunks if "tool_calls" in c["choices"][0]["delta"]]
            (tool_call,) = chunk["choices"][0]["delta"]["tool_calls"]
            assert tool_call.pop("index") == 0
            finish = chunks[-1]["choices"][0]["finish_reason"]
        else:
            (choice,) = reply.json["choices"]
            assert choice["message"]["content"] is None
            (tool_call,) = choice["message"]["tool_calls"]
            finish = choice["finish_reason"]
        assert finish == "tool_calls"
        assert set(tool_call) == {"id", "type", "function"}
        assert tool_call["type"] == "function"
        assert tool_call["id"]
        assert tool_call["function"] == {"name": "f", "arguments": '{"echo":"hi"}'}


def test_several_answers_are_numbered(echo: Caller):
    choices = echo.v2(call(n=3)).json["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    chunks = [event for event in echo.v2(call(n=2, stream=True)).events if event != "[DONE]"]
    for index in (0, 1):
        mine = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in mine) == "hi"
        assert [choice["finish_reason"] for choice in mine if choice["finish_reason"]] == ["stop"]
        assert [choice["delta"].get("role") for choice in mine].count("assistant") == 1


def chunks_of(caller: Caller, **fields: Any) -> list[dict[str, Any]]:
    """All chunks of a stream, which must end with [DONE]."""
    content = "one two 三四 🚢"
    body = call(messages=[{"role": "user", "content": content}], stream=True, **fields)
    *chunks, done = caller.v2(body).events
    assert done == "[DONE]"
    texts = [c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]]
    assert "".join(texts) == content
    return chunks


def test_stream_follows_the_rules_that_typed_clients_force(echo: Caller):
    chunks = chunks_of(echo)
    for chunk in chunks:
        assert set(chunk) == {"id", "object", "created", "model", "choices"}, "no usage unasked"
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["model"] == "ERNIE-Speed-8K"
        assert len(chunk["choices"]) == 1
        assert chunk["choices"][0]["delta"].get("content") != ""
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert finishes == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"


def test_include_usage_adds_one_last_chunk_without_choices(echo: Caller):
    *chunks, last = chunks_of(echo, stream_options={"include_usage": True})
    assert all("usage" not in chunk for chunk in chunks)
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert last["choices"] == []
    whole = echo.v2(call(messages=[{"role": "user", "content": "one two 三四 🚢"}])).json["usage"]
    assert last["usage"] == whole


def test_chunk_include_usage_counts_in_every_chunk(echo: Caller):
    chunks = chunks_of(echo, stream_options={"chunk_include_usage": True})
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == sorted(counts)
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    whole = echo.v2(call(messages=[{"role": "user", "content": "one two 三四 🚢"}])).json["usage"]
    assert chunks[-1]["usage"] == whole


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": None}])
def test_usage_that_was_not_asked_for_is_absent_never_null(echo: Caller, options: object):
    for chunk in chunks_of(echo, stream_options=options):
        assert "usage" not in chunk


def test_long_token_is_cut_into_lines_that_every_client_reads(echo: Caller):
    text = "x" * 23_000
    body = call(messages=[{"role": "user", "content": text}], stream=True)
    reply = echo.v2(body)
    assert max(map(len, reply.body.split(b"\n"))) < 64 * 1024
    chunks = [event["choices"][0]["delta"] for event in reply.events if event != "[DONE]"]
    assert "".join(delta.get("content", "") for delta in chunks) == text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v2/v1/chat/completions", "/v2/chat"])
def test_paths_that_openai_tools_make_are_answered_too(echo: Caller, path: str):
    reply = echo.ask("POST", path, call(), echo.bearer())
    assert reply.json["choices"][0]["message"]["content"] == "hi"


def test_early_path_ends_its_stream_without_done(echo: Caller):
    """qianfan 0.4.0 to 0.4.5 reads every line behind data: as JSON."""
    reply = echo.ask("POST", "/v2/chat", {**call(), "stream": True}, echo.bearer())
    assert reply.body.endswith(b"}\n\n")
    assert reply.events[-1]["choices"][0]["finish_reason"] == "stop"


# Functions, as OpenAI had them before tools

FUNCTIONS: list[dict[str, Any]] = [
    {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
    {"name": "g"},
]


def test_functions_are_read_as_tools(own: Target):
    request = translate(own, functions=FUNCTIONS, function_call={"name": "g"})
    assert [tool.name for tool in request.tools] == ["f", "g"]
    assert (request.tool_choice, request.parallel_tool_calls) == ("function:g", False)
    assert translate(own, functions=FUNCTIONS, function_call="none").tool_choice == "none"
    assert translate(own, functions=FUNCTIONS).tool_choice is None


def test_turns_of_functions_are_read_as_those_of_tools(own: Target):
    turns: list[dict[str, Any]] = [
        HI,
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "f", "arguments": "{}"},
            "tool_calls": None,
        },
        {"role": "function", "name": "f", "content": "21"},
    ]
    assert translate(own, messages=turns).messages[1:] == (
        Message("assistant", None, function_calls=(FunctionCall("f", "{}", "call_1"),)),
        Message("tool", "21", name="f", tool_call_id="call_1"),
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"functions": FUNCTIONS, "tools": [TOOL]}, "send tools or functions, not both"),
        (
            {"functions": FUNCTIONS, "function_call": {"name": "h"}},
            "function_call names 'h', which is not among functions",
        ),
        (
            {"messages": [HI, {"role": "function", "name": "f", "content": "21"}]},
            r"messages\[1\] is the result of 'f', which no earlier message calls; name the function",
        ),
        ({"functions": [{"name": ""}]}, "function: {name"),
    ],
)
def test_functions_that_make_no_sense_are_told(own: Target, fields: dict[str, Any], says: str):
    with pytest.raises(Invalid, match=says):
        translate(own, **fields)


@pytest.mark.parametrize("stream", [False, True])
def test_call_of_a_function_comes_back_as_older_clients_read_it(echo: Caller, *, stream: bool):
    """The bytes of openai 0.28 and of langchain's first agents."""
    body = {**call(), "functions": FUNCTIONS, "function_call": {"name": "f"}, "stream": stream}
    reply = echo.v2(body)
    choices = (
        [event["choices"][0] for event in reply.events if event != "[DONE]"]
        if stream
        else reply.json["choices"]
    )
    told = [choice["delta" if stream else "message"] for choice in choices]
    calls = [message["function_call"] for message in told if "function_call" in message]
    assert [(one["name"], set(one)) for one in calls] == [("f", {"name", "arguments"})]
    assert not any("tool_calls" in message for message in told)
    assert choices[-1]["finish_reason"] == "function_call"
