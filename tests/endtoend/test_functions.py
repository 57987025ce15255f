"""Functions through our own SDK: one spelling of the options, both dialects, whole and streamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import yangfan

if TYPE_CHECKING:
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CHOICE = {"type": "function", "function": {"name": "get_weather"}}
QUESTION = "What is the weather in Paris?"


@pytest.mark.parametrize("version", [1, 2])
def test_a_forced_call_is_read_whole_and_streamed_and_answered(
    echo_server: Server, version: int
) -> None:
    credentials: dict[str, Any] = {
        "access_key": echo_server.access_key,
        "secret_access_key": echo_server.secret_access_key,
        "version": version,
    }
    with yangfan.Client(echo_server.base_url, **credentials) as client:
        answer = client.chat(QUESTION, model="ernie_speed", tools=[TOOL], tool_choice=CHOICE)
        with client.chat(
            QUESTION, model="ernie_speed", tools=[TOOL], tool_choice=CHOICE, stream=True
        ) as stream:
            events = list(stream)
        turns = [
            {"role": "user", "content": QUESTION},
            answer.message,
            {
                "role": "tool",
                "tool_call_id": answer.function_calls[0].id or answer.function_calls[0].name,
                "content": '{"degrees": 21}',
            },
        ]
        after = client.chat(turns, model="ernie_speed", tools=[TOOL])

    (call,) = answer.function_calls
    assert call.name == "get_weather"
    assert json.loads(call.arguments) == {"echo": QUESTION}
    assert answer.finish_reason == ("function_call" if version == 1 else "tool_calls")
    assert answer.text == ""
    streamed = [call for event in events for call in event.function_calls]
    assert [(call.name, call.arguments) for call in streamed] == [(call.name, call.arguments)]
    assert stream.result().function_calls[0].arguments == call.arguments
    assert after.text


def test_reasoning_is_told_apart_in_v2_and_left_out_in_v1(echo_server: Server) -> None:
    question = "<think>It is one word.</think>Hello"
    with yangfan.Client(echo_server.base_url, bearer=echo_server.bearer) as client:
        answer = client.chat(question, model="echo")
        with client.chat(question, model="echo", stream=True) as stream:
            events = list(stream)
    assert (answer.reasoning, answer.text) == ("It is one word.", "Hello")
    assert "".join(event.reasoning for event in events) == "It is one word."
    assert "".join(event.text for event in events) == "Hello"

    with yangfan.Client(
        echo_server.base_url, api_key=echo_server.api_key, secret_key=echo_server.secret_key
    ) as client:
        assert client.chat(question, model="ernie_speed").text == "Hello"
