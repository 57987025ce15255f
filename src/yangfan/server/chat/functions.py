"""OpenAI's `functions` of 2023 in v2: read as tools, answered as older clients expect.

A call comes back as `message.function_call` with `finish_reason` function_call; one at a time, as it was then.
Source: https://platform.openai.com/docs/api-reference/chat/create (deprecated fields).
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from yangfan.errors import Invalid, InvalidMessages
from yangfan.protocol.v2.chat import (
    ChatRequest,
    Message,
    NamedFunction,
    NamedToolChoice,
    Tool,
    ToolCall,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from yangfan.protocol.v2.chat import (
        AnswerMessage,
        ChatChunk,
        ChatReply,
        Choice,
        ChunkChoice,
        DeltaMessage,
    )


def are_offered(wire: ChatRequest) -> bool:
    """Whether the request is of that make, and so the answer has to be."""
    return bool(wire.functions)


def as_tools(wire: ChatRequest) -> ChatRequest:
    """The same request with tools.

    Raises:
        Invalid: It offers both, or names a function that is not offered.
        InvalidMessages: A function's result follows no call of it.
    """
    messages = wire.messages
    if messages and any(map(_is_older, messages)):
        wire = structs.replace(wire, messages=_with_tool_calls(messages))
    if not wire.functions:
        return wire
    if wire.tools:
        raise Invalid(
            "send tools or functions, not both; tools is the newer one", param="functions"
        )
    choice = wire.function_call
    if isinstance(choice, NamedFunction):
        if choice.name not in {function.name for function in wire.functions}:
            raise Invalid(
                f"function_call names {choice.name[:64]!r}, which is not among functions",
                param="function_call",
            )
        choice = NamedToolChoice("function", choice)
    return structs.replace(
        wire,
        tools=[Tool("function", function) for function in wire.functions],
        tool_choice=choice,
        parallel_tool_calls=False,
    )


def _is_older(message: Message) -> bool:
    return message.role == "function" or (
        message.function_call is not None and not message.tool_calls
    )


def _with_tool_calls(messages: Sequence[Message]) -> list[Message]:
    given: list[Message] = []
    called: dict[str, str] = {}
    for position, message in enumerate(messages):
        call = message.function_call
        if call is not None and not message.tool_calls:
            called[call.name] = f"call_{position}"
            calls = [ToolCall(id=called[call.name], function=call)]
            given.append(structs.replace(message, tool_calls=calls, function_call=None))
        elif message.role == "function":
            call_id = called.get(message.name or "")
            if call_id is None:
                raise InvalidMessages(
                    f"messages[{position}] is the result of {message.name!r}, which no earlier message calls; name the function",
                    param=f"messages[{position}]",
                )
            content = message.content or ""
            given.append(
                structs.replace(message, role="tool", tool_call_id=call_id, content=content)
            )
        else:
            given.append(message)
    return given


def in_reply(reply: ChatReply) -> ChatReply:
    """The answer as older clients read it."""
    for choice in reply.choices:
        _turn(choice, choice.message)
    return reply


async def in_chunks(chunks: AsyncGenerator[ChatChunk]) -> AsyncGenerator[ChatChunk]:
    """The stream as older clients read it; it ends with its reader's, so that nothing is generated for nobody."""
    async with aclosing(chunks):
        async for chunk in chunks:
            for choice in chunk.choices:
                _turn(choice, choice.delta)
            yield chunk


def _turn(choice: Choice | ChunkChoice, message: AnswerMessage | DeltaMessage) -> None:
    if message.tool_calls:
        message.function_call = message.tool_calls[0].function
        message.tool_calls = UNSET
    if choice.finish_reason == "tool_calls":
        choice.finish_reason = "function_call"
