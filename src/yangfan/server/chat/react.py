"""The prompt that the official Python SDK's `Function` writes for ERNIE-Functions, and the two lines that it wants back.

That class offers functions in words (a list inside the first user turn) and looks for `Action: …` and `Action Input: …` in the
answer (specification B.5; qianfan/resources/llm/function.py). Here the words become tools again, so the call is as certain as any,
and the call becomes words.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from yangfan.engines.base import Answer, Delta, Finish, FunctionCall, Message
from yangfan.server.chat.tools import OfferedFunction, read_tools

if TYPE_CHECKING:
    from yangfan.engines.base import ChatRequest

SUFFIX = "ernie-func-8k"
"""The v1 path of the model that the class calls."""

AnsweredT = TypeVar("AnsweredT", Answer, Delta)

_PROMPT = re.compile(
    r"接下来的所有对话中，你可以使用外部的工具来回答问题。.*?下面是工具列表:\n(?P<tools>.*)\n\n"
    r"如果你需要使用外部工具.*?\nAction: .*?\nAction Input: .*?你的问题：(?P<question>.*)",
    re.DOTALL,
)
_TOOL = re.compile(r"名称：(.+?)\n描述：(.*?)\n参数：([^\n]+)", re.DOTALL)
# The SDK's template for earlier calls is a raw string: its line feed arrives as a backslash and an n.
_CALL = re.compile(r"Action: (\w+)(?:\\n|\n)Action Input: (.+)", re.DOTALL)


def with_tools(request: ChatRequest) -> ChatRequest:
    """The request with the tools of such a prompt as tools; any other request as it is.

    A question that functions come with is answered by a call, a call's result by whatever the model finds right.

    Raises:
        Invalid: A tool in the prompt has a name or parameters that are none.
    """
    system = [message for message in request.messages if message.role == "system"]
    first, *rest = request.messages[len(system) :]
    found = _PROMPT.fullmatch(first.content) if isinstance(first.content, str) else None
    if found is None:
        return request
    offered = [
        OfferedFunction(name.strip(), description, _json(parameters))
        for name, description, parameters in _TOOL.findall(found["tools"])
    ]
    if not offered:
        return request
    turns = [Message("user", found["question"]), *_with_calls(rest)]
    return msgspec.structs.replace(
        request,
        messages=(*system, *turns),
        tools=read_tools(offered, param="messages"),
        tool_choice="auto" if turns[-1].role == "tool" else "required",
        parallel_tool_calls=False,
    )


def in_words(answered: AnsweredT) -> AnsweredT:
    """The answer, or the end of it, with its call as the two lines."""
    if not answered.function_calls:
        return answered
    call = answered.function_calls[0]
    lines = f"Action: {call.name}\nAction Input: {call.arguments}"
    return msgspec.structs.replace(answered, text=lines, function_calls=(), finish=Finish.NATURAL)


def _with_calls(messages: list[Message]) -> list[Message]:
    """Earlier calls in words as calls, and the user turns behind them as their results."""
    turns: list[Message] = []
    call_id = ""
    for position, message in enumerate(messages):
        found = None
        if message.role == "assistant" and isinstance(message.content, str):
            found = _CALL.fullmatch(message.content)
        if found is not None:
            call_id = f"call_{position}"
            call = FunctionCall(found[1], found[2], call_id)
            turns.append(Message("assistant", function_calls=(call,)))
        elif call_id:
            turns.append(Message("tool", message.content, tool_call_id=call_id))
            call_id = ""
        else:
            turns.append(message)
    return turns


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
