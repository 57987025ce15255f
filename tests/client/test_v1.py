"""Options and turns as v1 spells them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from yangfan.client.options import ChatOptions
from yangfan.client.v1 import V1
from yangfan.errors import ConfigurationError
from yangfan.protocol.v1.chat import ChatRequest

FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}
SEARCH: dict[str, Any] = {"type": "baidu_search", "baidu_search": {}}


def body(messages: Any = "问", *, stream: bool = False, **options: Any) -> dict[str, Any]:
    return cast(
        "dict[str, Any]", V1().body("m", messages, cast("ChatOptions", options), stream=stream)
    )


@pytest.mark.parametrize(
    ("model", "suffix"),
    [
        ("ERNIE-4.0-8K", "completions_pro"),
        ("ernie speed", "ernie_speed"),
        ("eb-instant", "eb-instant"),
        ("Embedding-V1", "Embedding-V1"),
        ("my_service", "my_service"),
    ],
)
def test_a_model_is_found_by_any_of_its_names(model: str, suffix: str):
    assert V1().path(model) == f"/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/{suffix}"


def test_every_field_of_the_protocol_is_offered_as_an_option():
    offered = set(ChatOptions.__annotations__) | {"messages", "stream"}
    assert set(ChatRequest.__struct_fields__) <= offered


def test_options_are_sent_under_their_names():
    options: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.7,
        "top_k": 5,
        "penalty_score": 1.5,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.1,
        "system": "你是诗人",
        "stop": ["。"],
        "max_output_tokens": 100,
        "min_output_tokens": 2,
        "response_format": "json_object",
        "seed": 1,
        "disable_search": True,
        "enable_citation": True,
        "enable_trace": True,
        "trace_number": 3,
        "enable_system_memory": True,
        "system_memory_id": "sm-1",
        "enable_user_memory": True,
        "user_setting": "x",
        "user_id": "u",
        "extra_parameters": {"use_keyword": True},
    }
    assert body(**options) == {"messages": [{"role": "user", "content": "问"}], **options}


def test_names_of_v2_are_translated():
    sent = body(
        max_completion_tokens=5,
        user="u",
        stop="。",
        response_format={"type": "text"},
        tool_choice="auto",
    )
    del sent["messages"]
    assert sent == {
        "max_output_tokens": 5,
        "user_id": "u",
        "stop": ["。"],
        "response_format": "text",
    }


def test_none_means_left_out():
    assert body(temperature=None, system=None, tools=None) == body()


def test_system_turns_become_the_system_field():
    turns = [
        {"role": "system", "content": "甲"},
        {"role": "system", "content": [{"type": "text", "text": "乙"}]},
        {"role": "system", "content": None},
        {"role": "user", "content": "问"},
    ]
    assert body(turns)["system"] == "甲\n乙"
    assert body(turns, system="先")["system"] == "先\n甲\n乙"
    assert [turn["role"] for turn in body(turns)["messages"]] == ["user"]


def test_tool_turns_become_function_turns():
    call = {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": "问"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call-1", "content": "[]"},
    ]
    assert body(turns)["messages"][1:] == [
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "[]"},
    ]
    assert "function_call" not in turns[1]


def test_the_turns_of_the_caller_are_not_changed():
    call = {"id": "call-1", "function": {"name": "f", "arguments": "{}"}}
    turn: dict[str, Any] = {"role": "assistant", "tool_calls": [call]}
    body([turn])
    assert turn == {"role": "assistant", "tool_calls": [call]}


def test_two_calls_in_one_turn_are_refused():
    calls = [{"id": "1", "function": {"name": "f"}}, {"id": "2", "function": {"name": "g"}}]
    with pytest.raises(ConfigurationError, match="one function call"):
        body([{"role": "assistant", "tool_calls": calls}])


def test_tools_become_functions_and_built_in_tools_stay():
    sent = body(
        functions=[FUNCTION],
        tools=[{"type": "function", "function": {**FUNCTION, "name": "g"}}, SEARCH],
    )
    assert [function["name"] for function in sent["functions"]] == ["f", "g"]
    assert sent["tools"] == [SEARCH]


def test_a_tool_without_parameters_gets_those_that_v1_wants():
    sent = body(tools=[{"type": "function", "function": {"name": "now", "description": "time"}}])
    (function,) = sent["functions"]
    assert function["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n": 2}, "n is a field of v2 and this client speaks v1"),
        ({"web_search": {"enable": True}}, "web_search is a field of v2"),
        ({"max_output_tokens": 5, "max_completion_tokens": 5}, "are one field"),
        ({"tool_choice": "required"}, "name a function"),
        ({"response_format": {"type": "json_schema"}}, "v1 has text and json_object"),
    ],
)
def test_what_v1_does_not_have_is_refused(options: dict[str, Any], text: str):
    with pytest.raises(ConfigurationError, match=text):
        body(**options)


def test_fields_that_the_client_does_not_know_can_be_sent():
    assert body(extra_body={"mode": "x"}, stream=True) == {
        "messages": [{"role": "user", "content": "问"}],
        "stream": True,
        "mode": "x",
    }
