"""Function calls of models whose chat template knows none, and calls that must happen whatever the template.

The functions are described in the system message; the model calls one by answering with JSON. A call that is required is made
certain by a schema that the engine turns into a grammar; a call that is only offered is recognised when it comes. Pure: a request
goes in before the engine sees it, its deltas go through on the way out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn, cast

import msgspec

from yangfan.engines.base import ChatRequest, Delta, Finish, FunctionCall, Message, Tool
from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

NAMED_FUNCTION = "function:"
"""What stands before the name in a `tool_choice` that names a function."""

MAX_CALLS = 8
"""Most calls in one answer where several are wanted."""

_SHAPE = '{"name": …, "arguments": {…}}'
_BEGINNINGS = ("{", "[", "```", "<tool_call>")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_WRAPPING = re.compile(r"^\s*```(?:json)?|```\s*$|</?tool_call>")


def prepare(
    request: ChatRequest, *, template_has_tools: bool
) -> tuple[ChatRequest, CallReader | None]:
    """What to send instead of `request`, and what reads its deltas; None if the engine reads calls itself.

    Args:
        request: As the caller made it.
        template_has_tools: Whether the model's chat template renders tools and their results.

    Raises:
        Invalid: `tool_choice` names a function that is not among the tools.
    """
    choice = request.tool_choice or "auto"
    forced = choice == "required" or choice.startswith(NAMED_FUNCTION)
    tools = () if choice == "none" else chosen_tools(request)
    if tools and template_has_tools and not forced:
        return request, None
    messages = request.messages if template_has_tools else spell_out(request.messages)
    plain = msgspec.structs.replace(
        request, messages=messages, tools=(), tool_choice=None, parallel_tool_calls=None
    )
    if not tools:
        return plain, None
    if not forced:
        several = request.parallel_tool_calls is not False
        messages = _with_system(messages, _offer(tools))
        reader = CallReader(tools, forced=False, several=several)
        return msgspec.structs.replace(plain, messages=messages), reader
    # A small model that may make several calls makes as many as it may, so that takes an explicit wish.
    several = choice == "required" and request.parallel_tool_calls is True
    prepared = msgspec.structs.replace(
        plain,
        messages=_with_system(messages, _demand(tools, several=several)),
        response_format=_response_format(tools, several=several),
        sampling=msgspec.structs.replace(request.sampling, stop=()),
    )
    return prepared, CallReader(tools, forced=True, several=several)


def chosen_tools(request: ChatRequest) -> tuple[Tool, ...]:
    """The tools that `tool_choice` leaves: all, or the one that it names.

    Raises:
        Invalid: It names none of them.
    """
    choice = request.tool_choice
    if choice is None or not choice.startswith(NAMED_FUNCTION):
        return request.tools
    name = choice.removeprefix(NAMED_FUNCTION)
    chosen = tuple(tool for tool in request.tools if tool.name == name)
    if not chosen:
        known = ", ".join(tool.name for tool in request.tools)
        raise Invalid(
            f"tool_choice names {name!r}, but the tools are: {known}", param="tool_choice"
        )
    return chosen


def spell_out(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation with its calls and their results as text, for templates that would leave them out."""
    names: dict[str, str] = {}
    spelled: list[Message] = []
    for message in messages:
        names.update({call.id: call.name for call in message.function_calls})
        if message.function_calls:
            spelled.append(Message("assistant", _calls_text(message)))
        elif message.role == "tool":
            text = _result_text(message, names)
            if spelled and spelled[-1].role == "user" and spelled[-1].name == "tool":
                text = f"{spelled.pop().content}\n{text}"
            spelled.append(Message("user", text, name="tool"))
        else:
            spelled.append(message)
    return tuple(
        msgspec.structs.replace(message, name=None) if message.name == "tool" else message
        for message in spelled
    )


class CallReader:
    """Finds the calls in the deltas of one request; all other deltas pass unchanged, as soon as they are known to hold none."""

    def __init__(self, tools: Sequence[Tool], *, forced: bool, several: bool) -> None:
        """Expect calls of `tools` only; more than one in an answer if `several`."""
        self._names = frozenset(tool.name for tool in tools)
        self._forced = forced
        self._several = several
        self._held: dict[int, list[Delta]] = {}
        self._plain: set[int] = set()

    def read(self, delta: Delta) -> list[Delta]:
        """What to pass on now."""
        index = delta.index
        if index in self._plain:
            return [delta]
        held = self._held.setdefault(index, [])
        held.append(delta)
        text = "".join(part.text for part in held)
        if delta.finish is not None:
            return self._finished(delta, text)
        if self._forced or _may_be_call(text):
            # Its thoughts and its cost are known now: a caller that leaves before the call is whole has used them.
            held[-1] = msgspec.structs.replace(delta, reasoning="")
            return [msgspec.structs.replace(delta, text="", logprobs=None)]
        self._plain.add(index)
        return self._held.pop(index)

    def _finished(self, delta: Delta, text: str) -> list[Delta]:
        calls = () if delta.finish is Finish.CONTENT_FILTER else self._calls(text)
        if calls:
            called = msgspec.structs.replace(
                delta, text="", logprobs=None, function_calls=calls, finish=Finish.FUNCTION_CALL
            )
            return [called]
        if self._forced:
            # Half a call is of no use to anybody, and no text was asked for.
            return [msgspec.structs.replace(delta, text="", logprobs=None)]
        return self._held.pop(delta.index)

    def _calls(self, text: str) -> tuple[FunctionCall, ...]:
        found = [_call(item) for item in _documents(_WRAPPING.sub("", text.strip()))]
        if not found or any(call is None or call.name not in self._names for call in found):
            return ()
        calls = tuple(call for call in found if call is not None)
        return calls if self._several else calls[:1]


async def read_calls(deltas: AsyncGenerator[Delta], reader: CallReader) -> AsyncGenerator[Delta]:
    """`deltas` with the calls that `reader` finds; closing it closes `deltas`."""
    try:
        async for delta in deltas:
            for part in reader.read(delta):
                yield part
    finally:
        await deltas.aclose()


async def first_call(deltas: AsyncGenerator[Delta]) -> AsyncGenerator[Delta]:
    """`deltas` with one call in each answer at most, for children that let a model go on; closing it closes `deltas`."""
    try:
        async for delta in deltas:
            if len(delta.function_calls) > 1:
                yield msgspec.structs.replace(delta, function_calls=delta.function_calls[:1])
            else:
                yield delta
    finally:
        await deltas.aclose()


# What the model is told


def _offer(tools: Sequence[Tool]) -> str:
    return (
        f"{_described(tools)}\nTo call one, answer with {_SHAPE} and nothing else; to call several, with a list of those. "
        "If no function helps, answer in plain words."
    )


def _demand(tools: Sequence[Tool], *, several: bool) -> str:
    shape = f"a list of calls, each {_SHAPE}" if several else _SHAPE
    return (
        f"{_described(tools)}\nAnswer with the call that helps the user: {shape} and nothing else."
    )


def _described(tools: Sequence[Tool]) -> str:
    lines = [
        _compact(
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        )
        for tool in tools
    ]
    return "\n".join(["You can call these functions:", *lines])


def _with_system(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    first = messages[0]
    if first.role == "system" and isinstance(first.content, str):
        return (Message("system", f"{first.content}\n\n{text}"), *messages[1:])
    return (Message("system", text), *messages)


def _calls_text(message: Message) -> str:
    lines = [message.content] if isinstance(message.content, str) and message.content else []
    lines += [
        f'{{"name": {_compact(call.name)}, "arguments": {call.arguments or "{}"}}}'
        for call in message.function_calls
    ]
    return "\n".join(lines)


def _result_text(message: Message, names: dict[str, str]) -> str:
    name = message.name or names.get(message.tool_call_id or "", "the function")
    content = message.content
    text = (
        content if isinstance(content, str) else "".join(part.text or "" for part in content or ())
    )
    return f"Result of {name}: {text}"


# What it must answer


def _response_format(tools: Sequence[Tool], *, several: bool) -> dict[str, Any]:
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool.name},
                "arguments": {"type": "object", **tool.parameters},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    schema: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
    if several:
        schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": MAX_CALLS}
    return {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}


# What it answered


def _may_be_call(text: str) -> bool:
    start = text.lstrip()
    return any(start.startswith(sign) or sign.startswith(start) for sign in _BEGINNINGS)


def _documents(text: str) -> list[object]:
    """The JSON documents at the beginning of `text`, one after the other; the items of one that is a list."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    found: list[object] = []
    rest = text.lstrip()
    while rest.startswith(("{", "[")):
        try:
            document, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            break
        found.append(document)
        rest = rest[end:].lstrip(" \t\r\n,;")
    if len(found) == 1 and isinstance(found[0], list):
        return cast("list[object]", found[0])
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _call(document: object) -> FunctionCall | None:
    """A call in any of the spellings that models are trained on."""
    if not isinstance(document, dict):
        return None
    fields = cast("dict[str, object]", document)
    if isinstance(fields.get("function"), dict):
        fields = cast("dict[str, object]", fields["function"])
    name = fields.get("name")
    arguments = fields.get("arguments", fields.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = next(iter(_documents(arguments)), None)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return FunctionCall(name, _compact(cast("object", arguments)))


def _compact(value: object) -> str:
    """JSON on one line, in the letters themselves unless one is half a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict)
    return text if _HALF_PAIR.search(text) is None else json.dumps(value, separators=(",", ":"))
