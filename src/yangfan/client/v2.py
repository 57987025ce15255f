"""Chats and completions in v2: options to body, reply and chunks to our types (specification C.1 to C.3).

Reading is liberal: unknown fields are ignored and every field may be absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from yangfan import errors
from yangfan.client.dialect import SearchItem, UsageItem, fields_of, search_results_of, turns_of
from yangfan.client.options import CompletionOptions
from yangfan.client.pictures import image_part
from yangfan.client.types import JSON, ChatEvent, ChatResult, Choice, FunctionCall, ReplyInfo
from yangfan.protocol.v2.chat import CHAT, ChatRequest
from yangfan.protocol.v2.completions import COMPLETIONS, CompletionRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client.options import ChatOptions, Messages, Prompt
    from yangfan.client.pictures import Image

_KNOWN = frozenset(ChatRequest.__struct_fields__) - {"model", "messages", "stream"}
_KNOWN_TO_COMPLETIONS = frozenset(CompletionRequest.__struct_fields__) - {
    "model",
    "prompt",
    "stream",
}
_RENAMED = {"max_output_tokens": "max_completion_tokens", "user_id": "user"}


class V2:
    """The dialect."""

    def path(self, model: str) -> str:  # noqa: ARG002 - the body names the model
        """One path for all models."""
        return CHAT.path

    def body(self, model: str, messages: Messages, options: ChatOptions, *, stream: bool) -> JSON:
        """Body of the call; `system` becomes the first turn."""
        rest: JSON = dict(options)
        extra = cast("JSON", rest.pop("extra_body", None) or {})
        turns = [_turn(turn) for turn in turns_of(messages)]
        persona = rest.pop("system", None)
        if persona is not None:
            turns.insert(0, {"role": "system", "content": persona})
        functions = cast("Sequence[object]", rest.pop("functions", None) or ())
        if functions:
            tools = [{"type": "function", "function": function} for function in functions]
            rest["tools"] = [*cast("Sequence[object]", rest.get("tools") or ()), *tools]
        if isinstance(rest.get("response_format"), str):
            rest["response_format"] = {"type": rest["response_format"]}
        if stream and rest.get("stream_options") is None:
            rest["stream_options"] = {"include_usage": True}
        fields = fields_of(rest, version=2, known=_KNOWN, renamed=_RENAMED)
        return {
            "model": model,
            "messages": turns,
            **({"stream": True} if stream else {}),
            **fields,
            **extra,
        }

    def picture_path(self, model: str) -> str:
        """A call about a picture is a chat."""
        return self.path(model)

    def picture_body(
        self, model: str, prompt: str, image: Image, options: ChatOptions, *, stream: bool
    ) -> JSON:
        """Body of a call about a picture."""
        content = [image_part(image), {"type": "text", "text": prompt}]
        return self.body(model, [{"role": "user", "content": content}], options, stream=stream)

    def completion_path(self, model: str) -> str:  # noqa: ARG002 - the body names the model
        """One path for all models."""
        return COMPLETIONS.path

    def completion_body(
        self, model: str, prompt: Prompt, options: CompletionOptions, *, stream: bool
    ) -> JSON:
        """Body of a call that goes on from a text, or from several."""
        rest: JSON = dict(options)
        extra = cast("JSON", rest.pop("extra_body", None) or {})
        if stream and rest.get("stream_options") is None:
            rest["stream_options"] = {"include_usage": True}
        fields = fields_of(
            rest,
            version=2,
            known=_KNOWN_TO_COMPLETIONS,
            renamed={"max_output_tokens": "max_tokens", "user_id": "user"},
            offered=CompletionOptions,
        )
        return {
            "model": model,
            "prompt": prompt
            if isinstance(prompt, str)
            else [each if isinstance(each, str | int) else list(each) for each in prompt],
            **({"stream": True} if stream else {}),
            **fields,
            **extra,
        }

    def result(self, document: JSON, *, model: str, info: ReplyInfo) -> ChatResult:
        """Read a whole answer."""
        answer = _read(document)
        if not answer.choices:
            raise errors.BadReply("the reply is not a v2 answer: it has no choices")
        choices = tuple(item.choice() for item in answer.choices)
        return ChatResult(
            id=answer.id,
            created=answer.created,
            model=answer.model or model,
            choices=choices,
            usage=answer.usage.value() if answer.usage else None,
            is_truncated=choices[0].finish_reason == "length",
            search_results=search_results_of(answer.search_results),
            info=info,
            raw=document,
        )

    def events(self, document: JSON) -> list[ChatEvent]:
        """Read one chunk; one without choices carries the usage."""
        chunk = _read(document)
        choices = [item.choice() for item in chunk.choices]
        return [
            ChatEvent(
                id=chunk.id,
                created=chunk.created,
                model=chunk.model,
                choice=choice,
                usage=chunk.usage.value() if chunk.usage else None,
                is_end=choice.finish_reason is not None,
                is_truncated=choice.finish_reason == "length",
                search_results=search_results_of(chunk.search_results),
                raw=document,
            )
            for choice in choices or [Choice()]
        ]

    def is_last(self, document: JSON) -> bool:  # noqa: ARG002 - the dialect's signature
        """No chunk ends the stream: ``[DONE]`` does."""
        return False


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)


def _no_calls() -> list[_ToolCall]:
    return []


class _Message(msgspec.Struct):
    content: str = ""
    reasoning_content: str = ""
    tool_calls: list[_ToolCall] = msgspec.field(default_factory=_no_calls)
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    """An answer, or the news of one."""

    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    text: str = ""
    finish_reason: str | None = None
    flag: int = 0
    ban_round: int | None = None
    need_clear_history: bool = False
    logprobs: JSON | None = None

    def choice(self) -> Choice:
        message = self.message or self.delta or _Message()
        calls = [
            FunctionCall(
                call.function.name,
                call.function.arguments,
                call.id,
                "",
                place if call.index is None else call.index,
            )
            for place, call in enumerate(message.tool_calls)
        ]
        if message.function_call:
            calls.append(FunctionCall(message.function_call.name, message.function_call.arguments))
        return Choice(
            index=self.index,
            text=message.content or self.text,
            reasoning=message.reasoning_content,
            finish_reason=self.finish_reason or None,
            function_calls=tuple(calls),
            flag=self.flag,
            ban_round=self.ban_round,
            need_clear_history=self.need_clear_history,
            logprobs=self.logprobs,
        )


def _no_choices() -> list[_Choice]:
    return []


def _no_pages() -> list[SearchItem]:
    return []


class _Answer(msgspec.Struct):
    """A reply or a chunk, as far as it came."""

    id: str = ""
    created: int = 0
    model: str = ""
    choices: list[_Choice] = msgspec.field(default_factory=_no_choices)
    usage: UsageItem | None = None
    search_results: list[SearchItem] = msgspec.field(default_factory=_no_pages)


def _read(document: JSON) -> _Answer:
    try:
        return msgspec.convert(document, _Answer)
    except msgspec.ValidationError as error:
        raise errors.BadReply(f"the reply is not a v2 answer: {error}") from None


def _turn(turn: JSON) -> JSON:
    """A turn in v2's spelling."""
    if turn.get("role") == "function":
        call_id = turn.get("tool_call_id") or turn.get("name")
        return {"role": "tool", "tool_call_id": call_id, "content": turn.get("content")}
    call = cast("Mapping[str, object] | None", turn.pop("function_call", None))
    if call:
        function = {"name": call.get("name"), "arguments": call.get("arguments")}
        turn["tool_calls"] = [{"id": call.get("name"), "type": "function", "function": function}]
    return turn
