"""Options and turns as v2 spells them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from yangfan.client.options import ChatOptions
from yangfan.client.v2 import V2
from yangfan.errors import ConfigurationError
from yangfan.protocol.v2.chat import ChatRequest

FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": {"name": "g"}}


def body(messages: Any = "问", *, stream: bool = False, **options: Any) -> dict[str, Any]:
    return cast(
        "dict[str, Any]", V2().body("m", messages, cast("ChatOptions", options), stream=stream)
    )


def test_one_path_serves_every_model():
    assert V2().path("ernie_speed") == "/v2/chat/completions"


def test_every_field_of_the_protocol_is_offered_as_an_option():
    offered = set(ChatOptions.__annotations__) | {"model", "messages", "stream"}
    spelt_twice = {"max_tokens", "preemptable", "function_call"}
    assert set(ChatRequest.__struct_fields__) - spelt_twice <= offered


def test_options_are_sent_under_their_names():
    options: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.7,
        "top_k": 5,
        "penalty_score": 1.5,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.1,
        "repetition_penalty": 1.1,
        "stop": ["。"],
        "max_completion_tokens": 100,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
        "seed": 1,
        "n": 2,
        "logprobs": True,
        "top_logprobs": 2,
        "logit_bias": {"5": 1.0},
        "tools": [TOOL],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "web_search": {"enable": True},
        "enable_thinking": True,
        "thinking_budget": 100,
        "user": "u",
        "metadata": {"a": "b"},
        "preemptible": True,
        "stream_options": {"include_usage": True},
        "trace_number": 3,
        "extra_parameters": {},
    }
    assert body(**options) == {
        "model": "m",
        "messages": [{"role": "user", "content": "问"}],
        **options,
    }


def test_names_of_v1_are_translated():
    sent = body(
        max_output_tokens=5,
        user_id="u",
        response_format="json_object",
        functions=[FUNCTION],
        tools=[TOOL],
    )
    assert sent["max_completion_tokens"] == 5
    assert sent["user"] == "u"
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["tools"] == [TOOL, {"type": "function", "function": FUNCTION}]


def test_system_becomes_the_first_turn():
    assert body(system="你是诗人")["messages"][0] == {"role": "system", "content": "你是诗人"}


def test_function_turns_become_tool_turns():
    turns = [
        {
            "role": "assistant",
            "content": "",
            "function_call": {"name": "f", "arguments": "{}", "thoughts": "t"},
        },
        {"role": "function", "name": "f", "content": "[]"},
    ]
    call = {"id": "f", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert body(turns)["messages"] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "f", "content": "[]"},
    ]
    assert "tool_calls" not in turns[0]


@pytest.mark.parametrize(
    "option",
    [
        "min_output_tokens",
        "disable_search",
        "enable_citation",
        "enable_trace",
        "user_setting",
    ],
)
def test_what_v2_does_not_have_is_refused(option: str):
    options: dict[str, Any] = {option: 1}
    with pytest.raises(
        ConfigurationError, match=f"{option} is a field of v1 and this client speaks v2"
    ):
        body(**options)


def test_a_stream_asks_for_usage():
    sent = body(stream=True, extra_body={"new": 1})
    assert (sent["stream"], sent["stream_options"], sent["new"]) == (
        True,
        {"include_usage": True},
        1,
    )
