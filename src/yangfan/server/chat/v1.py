"""v1 chat (specification B.3 to B.5): its rules on the way in, its shapes on the way out."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from yangfan.engines import base
from yangfan.engines.base import Finish
from yangfan.errors import Invalid, InvalidMessages, InvalidUserSetting
from yangfan.protocol.sse import pieces
from yangfan.protocol.v1.chat import (
    CHAT,
    ChatEvent,
    ChatReply,
    ChatRequest,
    ContentPart,
    Function,
    FunctionCall,
    Message,
    SearchInfo,
    SearchResult,
    ToolsInfo,
    Usage,
)
from yangfan.server.chat import react
from yangfan.server.chat.lenient import put_right
from yangfan.server.chat.logic import has_parts
from yangfan.server.chat.memories import memories_of
from yangfan.server.chat.pictures import V1_PICTURE_BYTES
from yangfan.server.chat.sampling import v1_sampling
from yangfan.server.chat.tools import OfferedFunction, read_tools
from yangfan.server.http import Call, Reply, Route, Stream
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from yangfan.server.chat.logic import Chat
    from yangfan.server.http import Meter
    from yangfan.server.services import Target

_ASKING = ("user", "function")
_SEARCH = "baidu_search"
_FINISH = {
    Finish.NATURAL: "normal",
    Finish.STOP_STRING: "stop",
    Finish.LENGTH: "length",
    Finish.FUNCTION_CALL: "function_call",
    Finish.CONTENT_FILTER: "content_filter",
}


def routes(chat: Chat) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[ChatRequest]) -> Reply | Stream:
        target = chat.target(call.params["endpoint"])
        wire = call.request
        if chat.lenient or call.principal.lenient:
            wire = put_right(wire)
        request = to_engine(wire, target)
        if has_parts(request.messages):
            request = await chat.with_pictures(
                target, request, call.meter, max_bytes=V1_PICTURE_BYTES
            )
        in_words = bool(request.tools) and not _functions(wire)
        searched = _search(wire) is not None
        memories = memories_of(wire)
        if memories:
            request = await chat.remembering(request, memories, call.principal.app_id)
        if wire.stream:
            events = _events(
                chat, target, request, call.meter, in_words=in_words, searched=searched
            )
            return Stream(events, answered_by(target))
        reply = await chat.answer(target, request, call.meter, low=target.preemptible)
        headers = answered_by(target, estimated=reply.usage.estimated)
        return Reply(_reply(target, reply, in_words=in_words, searched=searched), headers)

    return [Route(CHAT, answer)]


# In


def to_engine(wire: ChatRequest, target: Target) -> base.ChatRequest:
    """Check v1's rules, in the documented order, and translate.

    Raises:
        Invalid: A rule is broken; the subclass decides the code.
    """
    messages = wire.messages
    if not messages:
        raise Invalid(
            "messages can not be empty; send at least one {role: user, content: …}",
            param="messages",
        )
    check_messages(messages)
    _check_pictures(messages, target)
    functions = _functions(wire)
    _check_fields(wire, target, functions)
    system = wire.system or wire.user_setting
    translated = [base.Message("system", system)] if system else []
    for position, message in enumerate(messages):
        translated.append(_message(message, position))
    request = base.ChatRequest(
        messages=tuple(translated),
        sampling=msgspec.structs.replace(
            v1_sampling(wire),
            frequency_penalty=wire.frequency_penalty,
            presence_penalty=wire.presence_penalty,
            min_output_tokens=wire.min_output_tokens,
        ),
        tools=read_tools([_offered(function) for function in functions], param="functions"),
        tool_choice=_tool_choice(wire),
        parallel_tool_calls=False if functions else None,
        response_format={"type": "json_object"} if wire.response_format == "json_object" else None,
        passed=_passed(wire, target),
    )
    prompted = target.preset is not None and target.preset.suffix == react.SUFFIX
    return react.with_tools(request) if prompted and not functions else request


def _functions(wire: ChatRequest) -> list[Function]:
    """The functions on offer, in v1's field and in v2's shape."""
    others = [tool.function for tool in wire.tools or () if tool.function is not None]
    return [*(wire.functions or ()), *others]


def _search(wire: ChatRequest) -> Mapping[str, Any] | None:
    """What the built-in search is told; None where nobody asks for it."""
    for tool in wire.tools or ():
        if tool.type == _SEARCH:
            return tool.baidu_search or {}
        if tool.tool is not None and tool.tool.name == _SEARCH:
            return tool.tool.baidu_search or {}
    return None


def _passed(wire: ChatRequest, target: Target) -> dict[str, Any]:
    """What only somebody else's server acts on, by its names in v2."""
    passed: dict[str, Any] = {}
    if not target.service.remote:
        return passed
    if wire.user_id:
        passed["user"] = wire.user_id
    wanted = {
        "enable": None if wire.disable_search is None else not wire.disable_search,
        "enable_citation": wire.enable_citation,
        "enable_trace": wire.enable_trace,
    }
    search = {name: value for name, value in wanted.items() if value is not None}
    tool = _search(wire)
    if tool is not None:
        search = {"enable_trace": True, **search}  # what it finds is to be told
    if search:
        passed["web_search"] = {"enable": True, **search}
    most: object = wire.trace_number if tool is None else wire.trace_number or tool.get("top_n")
    if isinstance(most, int):
        passed["trace_number"] = most
    if target.preemptible:
        passed["preemptible"] = True
    return passed


def check_messages(messages: Sequence[Message]) -> None:
    """Count, roles, contents (B.3).

    Raises:
        InvalidMessages: With the official text, and what to change.
        Invalid: A function call or result without its name.
    """
    last = messages[-1].role
    if len(messages) % 2 == 0 or last not in _ASKING:
        raise InvalidMessages(
            "the length of messages must be an odd number, and the last role user or function;"
            f" here {len(messages)} messages end with {last[:32]!r} (a system prompt goes into the `system` field)",
            param="messages",
        )
    for position, message in enumerate(messages):
        where = f"messages[{position}]"
        if position % 2 == 0 and message.role not in _ASKING:
            raise InvalidMessages(
                "the role of message with even index in the messages must be user or function;"
                f" {where} has {message.role[:32]!r} (a system prompt goes into the `system` field)",
                param=where,
            )
        if position % 2 == 1 and message.role != "assistant":
            raise InvalidMessages(
                "the role of message with odd index in the messages must be assistant;"
                f" {where} has {message.role[:32]!r}",
                param=where,
            )
        _check_message(message, where)


def _check_pictures(messages: Sequence[Message], target: Target) -> None:
    """Of Qianfan's names, v1 lets those of models for pictures take them (B.3)."""
    preset = target.preset
    if preset is None or preset.vision:
        return
    for position, message in enumerate(messages):
        for part in message.content if isinstance(message.content, list) else ():
            if part.image_url is not None:
                raise Invalid(
                    f"{target.asked} takes no pictures in v1; ask ERNIE-Lite-V or a served model by its own name, or use v2",
                    param=f"messages[{position}]",
                )


def _check_message(message: Message, where: str) -> None:
    call = message.function_call
    if call is not None and not call.name:
        raise Invalid(
            f"function_call's name can't be blank; {where}.function_call.name is", param=where
        )
    if not message.content and call is None:
        raise InvalidMessages(f"message content can not be empty; {where}.content is", param=where)
    if message.role == "function" and not (message.name or message.tool_call_id):
        raise Invalid(
            f"{where}.name can't be blank for role function; give the function's name", param=where
        )
    for part in message.content if isinstance(message.content, list) else ():
        known = (part.type == "text" and part.text is not None) or (
            part.type == "image_url" and part.image_url is not None
        )
        if not known:
            raise InvalidMessages(
                f"{where}.content: a part must be {{type: text, text}} or {{type: image_url, image_url: {{url}}}}",
                param=where,
            )


def _check_fields(wire: ChatRequest, target: Target, functions: Sequence[Function]) -> None:
    preset = target.preset
    highest = preset.max_output_tokens if preset is not None else target.service.context_tokens
    if wire.max_output_tokens is not None and wire.max_output_tokens > highest:
        raise Invalid(
            f"max_output_tokens must be in [2, {highest}], got {wire.max_output_tokens}",
            param="max_output_tokens",
        )
    if wire.min_output_tokens is not None and wire.min_output_tokens > (
        wire.max_output_tokens or highest
    ):
        raise Invalid(
            "min_output_tokens must not be above max_output_tokens", param="min_output_tokens"
        )
    if wire.user_setting is not None and (not wire.user_setting.strip() or wire.system):
        raise InvalidUserSetting(
            "Invalid Argument, user_setting must not be blank nor stand beside system; use system instead"
        )
    for position, function in enumerate(wire.functions or ()):
        if not function.name:
            raise Invalid(
                f"functions name can't be blank; functions[{position}].name is", param="functions"
            )
        if not function.description:
            raise Invalid(
                f"functions description can't be blank; functions[{position}].description is",
                param="functions",
            )
        if function.parameters is None:
            raise Invalid(
                f"functions parameters can't be blank; functions[{position}].parameters is: for a function without arguments"
                ' give {"type": "object", "properties": {}}',
                param="functions",
            )
    for position, tool in enumerate(wire.tools or ()):
        known = tool.function is not None and tool.function.name
        builtin = tool.tool.name if tool.tool is not None else tool.type
        if not known and builtin != _SEARCH:
            raise Invalid(
                f"tools[{position}] must be {{type: function, function: {{name, …}}}} or {{type: {_SEARCH}}}",
                param="tools",
            )
    name = _forced_function(wire)
    if name is not None and name not in {function.name for function in functions}:
        raise Invalid(
            f"tool_choice names {name[:64]!r}, which is not among functions", param="tool_choice"
        )


def _message(message: Message, position: int) -> base.Message:
    calls: tuple[base.FunctionCall, ...] = ()
    if message.function_call is not None:
        call = message.function_call
        calls = (
            base.FunctionCall(
                call.name or "", call.arguments or "{}", f"call_{position}", call.thoughts or ""
            ),
        )
    is_result = message.role == "function"
    content = message.content
    return base.Message(
        role="tool" if is_result else message.role,
        content=tuple(_part(part) for part in content)
        if isinstance(content, list)
        else content or None,
        name=message.name or (message.tool_call_id if is_result else None),
        function_calls=calls,
        tool_call_id=f"call_{position - 1}" if is_result else None,
    )


def _part(part: ContentPart) -> base.Part:
    if part.image_url is None:
        return base.Part(text=part.text)
    return base.Part(image_url=part.image_url.url, detail=part.image_url.detail)


def _offered(function: Function) -> OfferedFunction:
    told = [function.description or ""]
    if function.responses:
        told.append(f"Returns: {_json(function.responses)}")
    told += [f"Example: {_json(example)}" for example in function.examples or () if example]
    return OfferedFunction(function.name or "", "\n".join(told), function.parameters)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _forced_function(wire: ChatRequest) -> str | None:
    choice = wire.tool_choice
    if choice is None:
        return None
    name = choice.function.name if choice.function is not None else choice.name
    return None if name == _SEARCH and _search(wire) is not None else name


def _tool_choice(wire: ChatRequest) -> str | None:
    name = _forced_function(wire)
    return f"function:{name}" if name is not None else None


# Out

_SAFE = base.Verdict()


def _is_safe(target: Target, verdict: base.Verdict | None) -> int | msgspec.UnsetType:
    """Open-weight and imported models say that an answer is safe (B.4), unless somebody else's moderation says that it is not."""
    if target.preset is not None and target.preset.family == "ernie":
        return UNSET
    return int(verdict is None)


def _reply(target: Target, reply: base.ChatReply, *, in_words: bool, searched: bool) -> ChatReply:
    answer = react.in_words(reply.answers[0]) if in_words else reply.answers[0]
    thoughts = answer.reasoning or answer.text
    verdict = answer.verdict or _SAFE
    return ChatReply(
        id=new_id(),
        created=int(time.time()),
        result="" if answer.function_calls else answer.text,
        is_truncated=answer.finish is Finish.LENGTH,
        need_clear_history=verdict.need_clear_history,
        finish_reason=_FINISH[answer.finish],
        ban_round=UNSET if verdict.ban_round is None else verdict.ban_round,
        flag=verdict.flag or UNSET,
        is_safe=_is_safe(target, answer.verdict),
        function_call=_function_call(answer.function_calls, thoughts),
        search_info=_search_info(reply.pages),
        tools_info=_tools_info(reply.pages) if searched else UNSET,
        usage=_usage(reply.usage),
    )


async def _events(
    chat: Chat,
    target: Target,
    request: base.ChatRequest,
    meter: Meter,
    *,
    in_words: bool,
    searched: bool,
) -> AsyncGenerator[ChatEvent]:
    answer_id, created, sentence_id, usage = new_id(), int(time.time()), 0, Usage()
    thoughts, is_safe = "", _is_safe(target, None)
    async with aclosing(chat.stream(target, request, meter, low=target.preemptible)) as deltas:
        async for delta in deltas:
            if delta.usage is not None:
                usage = _usage(delta.usage)
            thoughts += delta.reasoning
            if in_words:
                delta = react.in_words(delta)
            if not delta.text and delta.finish is None and delta.verdict is None:
                continue  # v1 has no word for reasoning, nor for a call that is not whole
            *early, last = pieces(delta.text)
            for text in early:
                yield ChatEvent(
                    id=answer_id,
                    created=created,
                    sentence_id=sentence_id,
                    is_end=False,
                    result=text,
                    is_safe=is_safe,
                    usage=usage,
                )
                sentence_id += 1
            finish, verdict = delta.finish, delta.verdict or _SAFE
            yield ChatEvent(
                id=answer_id,
                created=created,
                sentence_id=sentence_id,
                is_end=finish is not None,
                is_truncated=finish is Finish.LENGTH,
                result=last,
                need_clear_history=verdict.need_clear_history,
                finish_reason=_FINISH[finish] if finish is not None else UNSET,
                ban_round=UNSET if verdict.ban_round is None else verdict.ban_round,
                flag=verdict.flag or UNSET,
                is_safe=_is_safe(target, delta.verdict),
                function_call=_function_call(delta.function_calls, thoughts),
                search_info=_search_info(delta.pages),
                tools_info=_tools_info(delta.pages) if searched else UNSET,
                usage=usage,
            )
            sentence_id += 1


def _function_call(
    calls: Sequence[base.FunctionCall], thoughts: str
) -> FunctionCall | msgspec.UnsetType:
    if not calls:
        return UNSET
    call = calls[0]
    return FunctionCall(
        name=call.name, arguments=call.arguments, thoughts=call.thoughts or thoughts
    )


def _search_info(pages: Sequence[base.Page]) -> SearchInfo | UnsetType:
    if not pages:
        return UNSET
    return SearchInfo([SearchResult(page.index, page.url, page.title) for page in pages])


def _tools_info(pages: Sequence[base.Page]) -> ToolsInfo | UnsetType:
    if not pages:
        return UNSET
    return ToolsInfo([SearchResult(page.index, page.url, page.title) for page in pages])


def _usage(usage: base.Usage) -> Usage:
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.estimated or UNSET,
    )
