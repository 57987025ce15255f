"""ERNIE-Functions: the official SDK's prompt in, its two lines out (specification B.5)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from qianfan.resources.llm.function import (  # pyright: ignore[reportMissingTypeStubs] - the package has none
    BaseFunction,
)

from yangfan.engines.base import Answer, ChatRequest, Delta, Finish, FunctionCall, Message
from yangfan.server.chat import react

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTIONS: list[dict[str, Any]] = [
    {"name": "get_weather", "description": "某城市的天气", "parameters": CITY},
    {
        "name": "now",
        "description": "时间\n24 小时制",
        "parameters": {"type": "object", "properties": {}},
    },
]


def written(*messages: dict[str, Any]) -> ChatRequest:
    """The conversation as the official SDK's class rewrites it."""
    query: dict[str, Any] = {}
    BaseFunction()._render_query(query, list(messages), FUNCTIONS)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType] - the very text that it sends
    return ChatRequest(tuple(Message(turn["role"], turn["content"]) for turn in query["messages"]))


def test_the_prompt_becomes_tools_and_the_question() -> None:
    request = react.with_tools(written({"role": "user", "content": "北京天气？"}))
    assert request.messages == (Message("user", "北京天气？"),)
    assert [(tool.name, tool.description) for tool in request.tools] == [
        ("get_weather", "某城市的天气"),
        ("now", "时间\n24 小时制"),
    ]
    assert request.tools[0].parameters["properties"] == {"city": {"type": "string"}}
    assert request.tool_choice == "required"


def test_earlier_calls_and_results_become_calls_and_results() -> None:
    call = {"name": "get_weather", "arguments": '{"city": "北京"}'}
    request = react.with_tools(
        written(
            {"role": "user", "content": "北京天气？"},
            {"role": "assistant", "content": "", "function_call": call},
            {"role": "function", "name": "get_weather", "content": "晴"},
        )
    )
    asked, called, result = request.messages
    assert asked == Message("user", "北京天气？")
    assert called.function_calls == (FunctionCall("get_weather", '{"city": "北京"}', "call_0"),)
    assert result == Message("tool", "晴", tool_call_id="call_0")
    assert request.tool_choice == "auto"


def test_a_system_prompt_stays_first() -> None:
    request = written({"role": "user", "content": "?"})
    system = Message("system", "s")
    asked = ChatRequest((system, *request.messages))
    assert react.with_tools(asked).messages == (system, Message("user", "?"))


@pytest.mark.parametrize("text", ["hi", "下面是工具列表:\n", "你的问题：x"])
def test_any_other_question_stays_as_it_is(text: str) -> None:
    request = ChatRequest((Message("user", text),))
    assert react.with_tools(request) is request


def test_a_call_becomes_the_lines_that_the_sdk_looks_for() -> None:
    call = FunctionCall("get_weather", '{"city":"北京"}')
    answer = react.in_words(Answer("", Finish.FUNCTION_CALL, function_calls=(call,)))
    action = re.search(r"Action: (\w+)", answer.text)
    action_input = re.search(r"Action Input: (.+)", answer.text)
    assert action is not None
    assert action_input is not None
    assert (action[1], action_input[1]) == ("get_weather", '{"city":"北京"}')
    assert answer.finish is Finish.NATURAL
    assert answer.function_calls == ()
    plain = Delta(text="晴")
    assert react.in_words(plain) is plain
