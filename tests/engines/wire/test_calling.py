"""Calls of models whose template knows no tools: what they are told, and what is read from their answers."""

from __future__ import annotations

from typing import Any

import pytest

from yangfan.engines.base import (
    ChatRequest,
    Delta,
    Finish,
    FunctionCall,
    Message,
    Sampling,
    Tool,
    Usage,
)
from yangfan.engines.wire.calling import CallReader, prepare
from yangfan.errors import Invalid

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("weather", "Weather of a city", CITY), Tool("time", "Time in a city", CITY))
ASKED = (Message("system", "Be brief."), Message("user", "Weather in Paris?"))
PARIS = '{"name": "weather", "arguments": {"city": "Paris"}}'
TIME = '{"name": "time", "arguments": {"city": "北京"}}'


def ask(
    messages: tuple[Message, ...] = ASKED, tools: tuple[Tool, ...] = TOOLS, **fields: Any
) -> ChatRequest:
    return ChatRequest(messages, tools=tools, **fields)


def read(pieces: list[str], *, finish: Finish = Finish.NATURAL, **reader: Any) -> list[Delta]:
    calls = CallReader(TOOLS, **{"forced": False, "several": True, **reader})
    deltas = [Delta(text=piece) for piece in pieces]
    deltas.append(Delta(finish=finish, usage=Usage(5, 7)))
    return [part for delta in deltas for part in calls.read(delta)]


def called(text: str, **reader: Any) -> list[tuple[str, str]]:
    *_, last = read([text[:3], text[3:]], **reader)
    return [(call.name, call.arguments) for call in last.function_calls]


# What is sent


def test_without_tools_nothing_changes() -> None:
    request = ask(tools=())
    assert prepare(request, template_has_tools=False) == (request, None)


def test_a_template_with_tools_offers_them_itself() -> None:
    request = ask(tool_choice="auto")
    assert prepare(request, template_has_tools=True) == (request, None)


@pytest.mark.parametrize("template_has_tools", [False, True])
def test_none_offers_nothing(template_has_tools: bool) -> None:
    prepared, reader = prepare(ask(tool_choice="none"), template_has_tools=template_has_tools)
    assert reader is None
    assert prepared.tools == ()
    assert prepared.messages == ASKED


def test_other_templates_get_the_tools_in_the_system_message() -> None:
    prepared, reader = prepare(ask(), template_has_tools=False)
    assert reader is not None
    assert (prepared.tools, prepared.response_format) == ((), None)
    system = prepared.messages[0].content
    assert isinstance(system, str)
    assert system.startswith("Be brief.\n\nYou can call these functions:\n")
    assert '"description":"Weather of a city"' in system
    bare, _ = prepare(ask(messages=ASKED[1:]), template_has_tools=False)
    assert [message.role for message in bare.messages] == ["system", "user"]


@pytest.mark.parametrize("template_has_tools", [False, True])
def test_a_required_call_is_a_schema_for_the_engine(template_has_tools: bool) -> None:
    request = ask(tool_choice="required", sampling=Sampling(stop=("}",), seed=1))
    prepared, reader = prepare(request, template_has_tools=template_has_tools)
    assert reader is not None
    assert prepared.sampling == Sampling(seed=1), "a stop string must not cut the call"
    assert prepared.response_format is not None
    schema = prepared.response_format["json_schema"]["schema"]
    assert [call["properties"]["name"] for call in schema["anyOf"]] == [
        {"const": "weather"},
        {"const": "time"},
    ]
    assert schema["anyOf"][0]["properties"]["arguments"] == CITY


def test_a_named_call_has_one_choice_and_several_calls_are_a_list() -> None:
    named, _ = prepare(ask(tool_choice="function:time"), template_has_tools=False)
    assert named.response_format is not None
    schema = named.response_format["json_schema"]["schema"]
    assert schema["properties"]["name"] == {"const": "time"}
    several, _ = prepare(
        ask(tool_choice="required", parallel_tool_calls=True), template_has_tools=False
    )
    assert several.response_format is not None
    assert several.response_format["json_schema"]["schema"]["type"] == "array"


def test_a_name_that_is_no_tool_is_refused() -> None:
    with pytest.raises(Invalid, match="tools are: weather, time"):
        prepare(ask(tool_choice="function:f"), template_has_tools=False)


def test_earlier_calls_and_results_become_text_for_templates_that_drop_them() -> None:
    calls = (FunctionCall("weather", '{"city":"Paris"}', "1"), FunctionCall("time", "{}", "2"))
    messages = (
        *ASKED,
        Message("assistant", "Let me see.", function_calls=calls),
        Message("tool", "21 degrees", tool_call_id="1"),
        Message("tool", "noon", tool_call_id="2"),
    )
    prepared, _ = prepare(ask(messages=messages, tools=()), template_has_tools=False)
    assert prepared.messages[2:] == (
        Message(
            "assistant",
            'Let me see.\n{"name": "weather", "arguments": {"city":"Paris"}}\n{"name": "time", "arguments": {}}',
        ),
        Message("user", "Result of weather: 21 degrees\nResult of time: noon"),
    )
    kept, _ = prepare(ask(messages=messages, tools=()), template_has_tools=True)
    assert kept.messages == messages


# What is read


@pytest.mark.parametrize(
    "text",
    [
        PARIS,
        f"\n {PARIS} ",
        f"[{PARIS}]",
        f"```json\n{PARIS}\n```",
        f"<tool_call>\n{PARIS}\n</tool_call>",
        f"{PARIS}\nThat will tell.",
        '{"name": "weather", "parameters": {"city": "Paris"}}',
        '{"name": "weather", "arguments": "{\\"city\\": \\"Paris\\"}"}',
        '{"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}',
    ],
)
def test_a_call_is_read_in_every_spelling(text: str) -> None:
    assert called(text) == [("weather", '{"city":"Paris"}')]


@pytest.mark.parametrize(
    "text",
    [
        f"[{PARIS}, {TIME}]",
        f"{PARIS}\n{TIME}",
        f"<tool_call>{PARIS}</tool_call>\n<tool_call>{TIME}</tool_call>",
    ],
)
def test_several_calls_are_read_unless_one_is_wanted(text: str) -> None:
    both = [("weather", '{"city":"Paris"}'), ("time", '{"city":"北京"}')]
    assert called(text) == both
    assert called(text, several=False) == both[:1]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "shutdown", "arguments": {}}',
        '{"name": "weather", "arguments": [1]}',
        '{"name": "weather", "arguments": {"a": NaN}}',
        '{"answer": 42}',
        "[1, 2]",
        "{not json",
        '{"name": "weather", "arguments": {"city": "Par',
        "[" * 100_000,
        "",
    ],
)
def test_what_is_no_call_is_text_unchanged(text: str) -> None:
    deltas = read([text[:3], text[3:]])
    assert "".join(delta.text for delta in deltas) == text
    assert all(delta.function_calls == () for delta in deltas)
    assert deltas[-1].finish is Finish.NATURAL


def test_plain_text_passes_as_it_comes() -> None:
    reader = CallReader(TOOLS, forced=False, several=True)
    assert reader.read(Delta(text=" ")) == [Delta(text="")]
    assert [delta.text for delta in reader.read(Delta(text="It"))] == [" ", "It"]
    assert reader.read(Delta(text="{")) == [Delta(text="{")]


def test_a_call_comes_whole_at_the_end_with_what_it_cost() -> None:
    *early, last = read([PARIS[:10], PARIS[10:]])
    assert [delta.text for delta in early] == ["", ""]
    assert last.text == ""
    assert last.finish is Finish.FUNCTION_CALL
    assert last.usage == Usage(5, 7)


def test_thoughts_pass_while_the_call_is_awaited() -> None:
    reader = CallReader(TOOLS, forced=True, several=False)
    assert reader.read(Delta(reasoning="Hm.")) == [Delta(reasoning="Hm.")]


def test_half_a_required_call_is_no_call_and_no_text() -> None:
    *_, last = read([PARIS[:20]], finish=Finish.LENGTH, forced=True)
    assert last == Delta(finish=Finish.LENGTH, usage=Usage(5, 7))


def test_answers_side_by_side_do_not_mix() -> None:
    reader = CallReader(TOOLS, forced=False, several=True)
    deltas = [
        part
        for delta in (
            Delta(text=PARIS, index=0),
            Delta(text="No ", index=1),
            Delta(text="call.", index=1, finish=Finish.NATURAL),
            Delta(index=0, finish=Finish.NATURAL),
        )
        for part in reader.read(delta)
    ]
    assert "".join(delta.text for delta in deltas if delta.index == 1) == "No call."
    assert [delta.index for delta in deltas if delta.function_calls] == [0]


def test_half_a_surrogate_pair_in_the_arguments_stays_escaped() -> None:
    assert called('{"name": "time", "arguments": {"city": "\\ud800"}}') == [
        ("time", '{"city":"\\ud800"}')
    ]
