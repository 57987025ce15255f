"""v2 chat (specification C.2, C.3): OpenAI's shape with Qianfan's rules.

Names of the ERNIE family keep Qianfan's ranges and put system first; every other name follows OpenAI, because the programs
that use those names do.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from yangfan.engines import base
from yangfan.engines.base import Finish
from yangfan.errors import Invalid, InvalidMessages
from yangfan.protocol.sse import pieces
from yangfan.protocol.v2.chat import (
    CHAT,
    EARLY_PATH,
    AnswerMessage,
    ChatChunk,
    ChatReply,
    ChatRequest,
    Choice,
    ChunkChoice,
    CompletionTokensDetails,
    ContentPart,
    DeltaMessage,
    FunctionCall,
    Message,
    NamedToolChoice,
    PromptTokensDetails,
    SearchResult,
    ToolCall,
    ToolFunction,
    Usage,
)
from yangfan.protocol.v2.sampling import StreamOptions
from yangfan.server.chat import functions
from yangfan.server.chat.logic import has_parts
from yangfan.server.chat.memories import memories_of
from yangfan.server.chat.pictures import V2_PICTURE_BYTES
from yangfan.server.chat.sampling import v2_sampling
from yangfan.server.chat.schema import Reducer
from yangfan.server.chat.tools import OfferedFunction, read_tools
from yangfan.server.http import Call, Reply, Route, Stream
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by, named

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from yangfan.protocol.v2.chat import ResponseFormat
    from yangfan.server.chat.logic import Chat
    from yangfan.server.http import Meter
    from yangfan.server.services import Target

_ROLES = ("system", "developer", "user", "assistant", "tool")
_FINISH = {
    Finish.NATURAL: "stop",
    Finish.STOP_STRING: "stop",
    Finish.LENGTH: "length",
    Finish.FUNCTION_CALL: "tool_calls",
    Finish.CONTENT_FILTER: "content_filter",
}


def routes(chat: Chat) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[ChatRequest]) -> Reply | Stream:
        wire = call.request
        target = chat.target(named(wire.model))
        request = to_engine(wire, target, lenient=chat.lenient or call.principal.lenient)
        if has_parts(request.messages):
            request = await chat.with_pictures(
                target, request, call.meter, max_bytes=V2_PICTURE_BYTES
            )
        memories = memories_of(wire)
        if memories:
            request = await chat.remembering(request, memories, call.principal.app_id)
        low = bool(
            wire.preemptible
            or wire.preemptable
            or target.preemptible
            or call.principal.kind == "job"
        )
        if wire.stream:
            options = wire.stream_options or StreamOptions()
            chunks = _chunks(chat, target, request, options, call.meter, low=low)
            if functions.are_offered(wire):
                chunks = functions.in_chunks(chunks)
            says_done = call.scope["path"] != EARLY_PATH
            return Stream(chunks, answered_by(target), says_done=says_done)
        reply = await chat.answer(target, request, call.meter, low=low)
        headers = answered_by(target, estimated=reply.usage.estimated)
        told = _reply(target.asked, reply)
        return Reply(functions.in_reply(told) if functions.are_offered(wire) else told, headers)

    return [Route(CHAT, answer)]


# In


def to_engine(wire: ChatRequest, target: Target, *, lenient: bool = False) -> base.ChatRequest:
    """Check v2's rules and translate; `lenient` lets system turns stand anywhere for every model.

    Raises:
        Invalid: A rule is broken; the subclass decides the code.
    """
    ernie = target.preset is not None and target.preset.family == "ernie"
    wire = functions.as_tools(wire)
    if not wire.messages:
        raise InvalidMessages(
            "messages must not be empty; send at least one {role: user, content: …}",
            param="messages",
        )
    _check_messages(wire.messages, system_first=ernie and not lenient)
    if ernie:
        _check_ernie_ranges(wire, target)
    if wire.tools or wire.tool_choice is not None:
        _check_tools(wire)
    if wire.logit_bias:
        _check_logit_bias(wire.logit_bias)
    return base.ChatRequest(
        messages=tuple([_message(message) for message in wire.messages]),
        sampling=v2_sampling(wire, wire.max_completion_tokens or wire.max_tokens),
        n=wire.n or 1,
        tools=read_tools(
            [_offered(tool.function) for tool in wire.tools if tool.function is not None],
            param="tools",
        )
        if wire.tools
        else (),
        tool_choice=_tool_choice(wire),
        parallel_tool_calls=wire.parallel_tool_calls,
        response_format=None
        if wire.response_format is None
        else _response_format(wire.response_format),
        logprobs=bool(wire.logprobs),
        top_logprobs=wire.top_logprobs,
        enable_thinking=wire.enable_thinking,
        thinking_budget=wire.thinking_budget,
        passed=_passed(wire, target) if target.service.remote else {},
    )


def _passed(wire: ChatRequest, target: Target) -> dict[str, Any]:
    """What only somebody else's server acts on."""
    passed: dict[str, Any] = {
        "user": wire.user,
        "metadata": wire.metadata,
        "web_search": wire.web_search,
        "trace_number": wire.trace_number,
    }
    if wire.preemptible or wire.preemptable or target.preemptible:
        passed["preemptible"] = True
    return {name: value for name, value in passed.items() if value}


def _check_messages(messages: Sequence[Message], *, system_first: bool) -> None:
    leading = True
    for position, message in enumerate(messages):
        if message.role == "user" and isinstance(message.content, str):
            leading = False
            continue  # nothing of what follows is wrong with most messages
        where = f"messages[{position}]"
        if message.role not in _ROLES:
            raise InvalidMessages(
                f"{where}.role must be one of {', '.join(_ROLES)}; got {message.role[:32]!r}",
                param=where,
            )
        is_system = message.role in {"system", "developer"}
        if is_system and system_first and not leading:
            raise InvalidMessages(
                f"{where}: a system message must come first for this model", param=where
            )
        leading = leading and is_system
        if message.role == "tool" and not message.tool_call_id:
            raise InvalidMessages(f"{where}.tool_call_id is required for role tool", param=where)
        if message.content is None and not message.tool_calls and message.role != "assistant":
            raise InvalidMessages(
                f"{where}.content must not be null for role {message.role}", param=where
            )
        for part in message.content if isinstance(message.content, list) else ():
            _check_part(part, where)
    last = messages[-1]
    if last.role != "tool" and not last.tool_calls and not _has_content(last):
        raise InvalidMessages(
            "the content of the last message must not be blank",
            param=f"messages[{len(messages) - 1}]",
        )


def _check_part(part: ContentPart, where: str) -> None:
    if part.type == "text" and part.text is not None:
        return
    if part.type == "image_url" and part.image_url is not None:
        return
    if part.type == "video_url":
        raise Invalid(
            f"{where}.content: no model here takes video; leave video_url parts out", param=where
        )
    raise InvalidMessages(
        f"{where}.content: a part must be {{type: text, text}} or {{type: image_url, image_url: {{url}}}}",
        param=where,
    )


def _has_content(message: Message) -> bool:
    content = message.content
    if isinstance(content, list):
        return any(part.image_url is not None or (part.text or "").strip() for part in content)
    return bool(content and content.strip())


def _check_ernie_ranges(wire: ChatRequest, target: Target) -> None:
    if wire.temperature is not None and not 0 < wire.temperature <= 1:
        raise Invalid(
            f"temperature must be in (0, 1.0] for {target.asked}, got {wire.temperature:g}",
            param="temperature",
        )
    assert target.preset is not None
    highest = target.preset.max_output_tokens
    for name in ("max_completion_tokens", "max_tokens"):
        value: int | None = getattr(wire, name)
        if value is not None and not 2 <= value <= highest:
            raise Invalid(
                f"{name} must be in [2, {highest}] for {target.asked}, got {value}", param=name
            )


def _check_tools(wire: ChatRequest) -> None:
    names: set[str] = set()
    for position, tool in enumerate(wire.tools or ()):
        if tool.type != "function" or tool.function is None or not tool.function.name:
            raise Invalid(
                f"tools[{position}] must be {{type: function, function: {{name, …}}}}",
                param="tools",
            )
        names.add(tool.function.name)
    choice = wire.tool_choice
    if isinstance(choice, NamedToolChoice) and choice.function.name not in names:
        raise Invalid(
            f"tool_choice names {choice.function.name[:64]!r}, which is not among tools",
            param="tool_choice",
        )
    if choice == "required" and not names:
        raise Invalid("tool_choice required needs at least one tool in tools", param="tool_choice")


def _check_logit_bias(biases: Mapping[str, float]) -> None:
    for token_id, bias in biases.items():
        if not (token_id.isascii() and token_id.isdigit() and -100 <= bias <= 100):
            raise Invalid(
                f"logit_bias must map a token id to a number in [-100, 100], got {token_id[:32]!r}: {bias:g}",
                param="logit_bias",
            )


def _tool_choice(wire: ChatRequest) -> str | None:
    choice = wire.tool_choice
    return f"function:{choice.function.name}" if isinstance(choice, NamedToolChoice) else choice


def _schema_of(json_schema: dict[str, Any] | None) -> dict[str, Any] | None:
    schema = (json_schema or {}).get("schema")
    return schema if isinstance(schema, dict) else None  # pyright: ignore[reportUnknownVariableType] - JSON object


def _response_format(wanted: ResponseFormat) -> dict[str, Any] | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "json_object"}
    schema = _schema_of(wanted.json_schema)
    if not schema:
        raise Invalid(
            "response_format.json_schema.schema must be a JSON Schema object",
            param="response_format",
        )
    reduced = Reducer(exact=True).reduce(schema, "response_format.json_schema.schema")
    return {"type": "json_schema", "json_schema": {**(wanted.json_schema or {}), "schema": reduced}}


def _offered(function: ToolFunction) -> OfferedFunction:
    return OfferedFunction(
        function.name,
        function.description or "",
        function.parameters,
        strict=bool(function.strict),
    )


def _message(message: Message) -> base.Message:
    content = message.content
    return base.Message(
        role="system" if message.role == "developer" else message.role,
        content=tuple(_part(part) for part in content) if isinstance(content, list) else content,
        name=message.name,
        function_calls=tuple(
            [
                base.FunctionCall(call.function.name, call.function.arguments, call.id)
                for call in message.tool_calls
            ]
        )
        if message.tool_calls
        else (),
        tool_call_id=message.tool_call_id,
    )


def _part(part: ContentPart) -> base.Part:
    if part.image_url is None:
        return base.Part(text=part.text)
    return base.Part(image_url=part.image_url.url, detail=part.image_url.detail)


# Out


def _reply(model: str, reply: base.ChatReply) -> ChatReply:
    return ChatReply(
        id=new_id(),
        created=int(time.time()),
        model=model,
        choices=[_choice(answer) for answer in reply.answers],
        usage=_usage(reply.usage),
        search_results=_pages(reply.pages),
    )


def _choice(answer: base.Answer) -> Choice:
    verdict = answer.verdict
    return Choice(
        index=answer.index,
        message=AnswerMessage(
            content=answer.text if answer.text or not answer.function_calls else None,
            reasoning_content=answer.reasoning or UNSET,
            tool_calls=_tool_calls(answer.function_calls, indexed=False),
        ),
        finish_reason=_FINISH[answer.finish],
        flag=UNSET if verdict is None else verdict.flag,
        ban_round=_ban_round(verdict),
        need_clear_history=UNSET if verdict is None else verdict.need_clear_history,
        logprobs=_plain(answer.logprobs),
    )


async def _chunks(
    chat: Chat,
    target: Target,
    request: base.ChatRequest,
    options: StreamOptions,
    meter: Meter,
    *,
    low: bool,
) -> AsyncGenerator[ChatChunk]:
    answer_id, created, model = new_id(), int(time.time()), target.asked
    used: base.Usage | None = None
    begun: set[int] = set()

    def usage() -> Usage | UnsetType:
        return UNSET if used is None else _usage(used)

    def chunk(choice: ChunkChoice) -> ChatChunk:
        return ChatChunk(
            id=answer_id,
            created=created,
            model=model,
            choices=[choice],
            usage=usage() if options.chunk_include_usage else UNSET,
        )

    def role(index: int) -> str | UnsetType:
        if index in begun:
            return UNSET
        begun.add(index)
        return "assistant"

    async with aclosing(chat.stream(target, request, meter, low=low)) as deltas:
        async for delta in deltas:
            index = delta.index
            if delta.usage is not None:
                used = delta.usage
            for thought in pieces(delta.reasoning) if delta.reasoning else ():
                told = DeltaMessage(role=role(index), reasoning_content=thought)
                yield chunk(ChunkChoice(index=index, delta=told))
            logprobs = _plain(delta.logprobs)
            for text in pieces(delta.text) if delta.text else ():
                told = DeltaMessage(role=role(index), content=text)
                yield chunk(ChunkChoice(index=index, delta=told, logprobs=logprobs))
                logprobs = UNSET  # they are those of the whole text
            if delta.function_calls:
                calls = _tool_calls(delta.function_calls, indexed=True)
                yield chunk(
                    ChunkChoice(index=index, delta=DeltaMessage(role=role(index), tool_calls=calls))
                )
            if delta.finish is not None or delta.verdict is not None:
                finish, verdict = delta.finish, delta.verdict
                end = chunk(
                    ChunkChoice(
                        index=index,
                        delta=DeltaMessage(),
                        finish_reason=None if finish is None else _FINISH[finish],
                        flag=UNSET if verdict is None else verdict.flag,
                        ban_round=_ban_round(verdict),
                        need_clear_history=UNSET if verdict is None else verdict.need_clear_history,
                    )
                )
                end.search_results = _pages(delta.pages)
                yield end
    if options.include_usage:
        yield ChatChunk(id=answer_id, created=created, model=model, choices=[], usage=usage())


def _tool_calls(calls: Sequence[base.FunctionCall], *, indexed: bool) -> list[ToolCall] | UnsetType:
    if not calls:
        return UNSET
    return [
        ToolCall(
            index=position if indexed else UNSET,
            id=call.id or new_id("call_", 16),
            function=FunctionCall(name=call.name, arguments=call.arguments),
        )
        for position, call in enumerate(calls)
    ]


def _ban_round(verdict: base.Verdict | None) -> int | UnsetType:
    return UNSET if verdict is None or verdict.ban_round is None else verdict.ban_round


def _plain(logprobs: Any) -> dict[str, Any] | UnsetType:
    return UNSET if logprobs is None else dict(logprobs)


def _usage(usage: base.Usage) -> Usage:
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        PromptTokensDetails(usage.cached_tokens) if usage.cached_tokens else UNSET,
        usage.estimated or UNSET,
        CompletionTokensDetails(usage.reasoning_tokens) if usage.reasoning_tokens else UNSET,
    )


def _pages(pages: Sequence[base.Page]) -> list[SearchResult] | UnsetType:
    return [SearchResult(page.index, page.url, page.title) for page in pages] if pages else UNSET
