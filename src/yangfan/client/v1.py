"""Chats and completions in v1: options to body, reply and events to our types (specification B.3 to B.6).

Reading is liberal: unknown fields are ignored and every field may be absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from yangfan import errors
from yangfan.client.dialect import (
    SearchItem,
    UsageItem,
    fields_of,
    search_results_of,
    text_of,
    turns_of,
)
from yangfan.client.options import CompletionOptions
from yangfan.client.paths import Paths
from yangfan.client.pictures import base64_of
from yangfan.client.types import JSON, ChatEvent, ChatResult, Choice, FunctionCall, ReplyInfo
from yangfan.protocol.v1.chat import CHAT, ChatRequest
from yangfan.protocol.v1.completions import COMPLETIONS, CompletionRequest
from yangfan.protocol.v1.image2text import IMAGE2TEXT, ImageToTextRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yangfan.client.options import ChatOptions, Messages, Prompt
    from yangfan.client.pictures import Image

_KNOWN = frozenset(ChatRequest.__struct_fields__) - {"messages", "stream"}
_KNOWN_TO_COMPLETIONS = frozenset(CompletionRequest.__struct_fields__) - {"prompt", "stream"}
_KNOWN_TO_IMAGE2TEXT = frozenset(ImageToTextRequest.__struct_fields__) - {
    "prompt",
    "image",
    "stream",
}
_NO_PARAMETERS: Mapping[str, object] = {"type": "object", "properties": {}}
"""What v1 wants of a function without arguments; OpenAI's tools leave it out."""

_RENAMED = {"max_completion_tokens": "max_output_tokens", "user": "user_id"}


class V1:
    """The dialect."""

    def __init__(self) -> None:
        """The table of names is read at the first call."""
        self._paths = Paths(CHAT, "chat")
        self._picture_paths = Paths(IMAGE2TEXT, "image2text")
        self._completion_paths = Paths(COMPLETIONS, "completions", "chat")

    def path(self, model: str) -> str:
        """The path of a preset by any of its names, else of a service whose suffix is `model`."""
        return self._paths.of(model)

    def body(self, model: str, messages: Messages, options: ChatOptions, *, stream: bool) -> JSON:  # noqa: ARG002 - the path names the model
        """Body of the call; system turns become the `system` field."""
        rest: JSON = dict(options)
        extra = cast("JSON", rest.pop("extra_body", None) or {})
        turns, persona = _turns(messages)
        if persona:
            own = rest.get("system")
            rest["system"] = f"{own}\n{persona}" if own else persona
        _translate_tools(rest)
        _translate_words(rest)
        fields = fields_of(rest, version=1, known=_KNOWN, renamed=_RENAMED)
        return {"messages": turns, **({"stream": True} if stream else {}), **fields, **extra}

    def picture_path(self, model: str) -> str:
        """The path of a preset that reads pictures by any of its names, else of a service whose suffix is `model`."""
        return self._picture_paths.of(model)

    def picture_body(
        self,
        model: str,  # noqa: ARG002 - the path names the model
        prompt: str,
        image: Image,
        options: ChatOptions,
        *,
        stream: bool,
    ) -> JSON:
        """Body of a call about a picture."""
        rest: JSON = dict(options)
        extra = cast("JSON", rest.pop("extra_body", None) or {})
        _translate_words(rest)
        fields = fields_of(rest, version=1, known=_KNOWN_TO_IMAGE2TEXT, renamed=_RENAMED)
        said = {"prompt": prompt, "image": base64_of(image)}
        return {**said, **({"stream": True} if stream else {}), **fields, **extra}

    def completion_path(self, model: str) -> str:
        """The path of a preset that writes text by any of its names, else of a service whose suffix is `model`."""
        return self._completion_paths.of(model)

    def completion_body(
        self,
        model: str,  # noqa: ARG002 - the path names the model
        prompt: Prompt,
        options: CompletionOptions,
        *,
        stream: bool,
    ) -> JSON:
        """Body of a call that goes on from a text."""
        if not isinstance(prompt, str):
            raise errors.ConfigurationError(
                "v1 goes on from one text a call: send them one after the other, or make the client with version=2"
            )
        rest: JSON = dict(options)
        extra = cast("JSON", rest.pop("extra_body", None) or {})
        _translate_words(rest)
        fields = fields_of(
            rest,
            version=1,
            known=_KNOWN_TO_COMPLETIONS,
            renamed={"max_tokens": "max_output_tokens", "user": "user_id"},
            offered=CompletionOptions,
        )
        return {"prompt": prompt, **({"stream": True} if stream else {}), **fields, **extra}

    def result(self, document: JSON, *, model: str, info: ReplyInfo) -> ChatResult:
        """Read a whole answer."""
        answer = _read(document)
        return ChatResult(
            id=answer.id,
            created=answer.created,
            model=model,
            choices=(answer.choice(),),
            usage=answer.usage.value() if answer.usage else None,
            is_truncated=answer.is_truncated,
            is_safe=answer.safety(),
            search_results=search_results_of(answer.pages()),
            search_query=answer.search_query(),
            info=info,
            raw=document,
        )

    def events(self, document: JSON) -> list[ChatEvent]:
        """Read one event."""
        answer = _read(document)
        event = ChatEvent(
            id=answer.id,
            created=answer.created,
            choice=answer.choice(),
            usage=answer.usage.value() if answer.usage else None,
            is_end=answer.is_end,
            is_truncated=answer.is_truncated,
            is_safe=answer.safety(),
            search_results=search_results_of(answer.pages()),
            search_query=answer.search_query(),
            raw=document,
        )
        return [event]

    def is_last(self, document: JSON) -> bool:
        """The last event says so."""
        return document.get("is_end") is True


class _FunctionCall(msgspec.Struct):
    name: str = ""
    arguments: str = ""
    thoughts: str = ""


def _no_pages() -> list[SearchItem]:
    return []


class _SearchInfo(msgspec.Struct):
    search_results: list[SearchItem] = msgspec.field(default_factory=_no_pages)
    rewrite_query: str | None = None


class _ToolsInfo(msgspec.Struct):
    baidu_search: list[SearchItem] = msgspec.field(default_factory=_no_pages)
    rewrite_query: str | None = None


class _Answer(msgspec.Struct):
    """A reply or an event, as far as it came."""

    id: str = ""
    created: int = 0
    result: str = ""
    is_truncated: bool = False
    need_clear_history: bool = False
    finish_reason: str | None = None
    ban_round: int | None = None
    flag: int = 0
    is_safe: int | None = None
    is_end: bool = False
    function_call: _FunctionCall | None = None
    search_info: _SearchInfo | None = None
    tools_info: _ToolsInfo | None = None
    usage: UsageItem | None = None

    def choice(self) -> Choice:
        call = self.function_call
        return Choice(
            text=self.result,
            finish_reason=self.finish_reason or None,
            function_calls=(FunctionCall(call.name, call.arguments, thoughts=call.thoughts),)
            if call
            else (),
            flag=self.flag,
            ban_round=self.ban_round,
            need_clear_history=self.need_clear_history,
        )

    def safety(self) -> bool | None:
        return None if self.is_safe is None else bool(self.is_safe)

    def pages(self) -> list[SearchItem]:
        if self.search_info and self.search_info.search_results:
            return self.search_info.search_results
        return self.tools_info.baidu_search if self.tools_info else []

    def search_query(self) -> str | None:
        found = self.search_info or self.tools_info
        return found.rewrite_query if found else None


def _read(document: JSON) -> _Answer:
    try:
        return msgspec.convert(document, _Answer)
    except msgspec.ValidationError as error:
        raise errors.BadReply(f"the reply is not a v1 answer: {error}") from None


def _turns(messages: Messages) -> tuple[list[JSON], str]:
    """The turns in v1's spelling, and the system turns' text."""
    turns: list[JSON] = []
    personas: list[str] = []
    names: dict[object, object] = {}
    for turn in turns_of(messages):
        role = turn.get("role")
        if role == "system":
            personas.append(text_of(turn.get("content")))
        elif role == "tool":
            call_id = turn.get("tool_call_id")
            name = turn.get("name") or names.get(call_id) or call_id
            turns.append({"role": "function", "name": name, "content": turn.get("content")})
        elif calls := cast("Sequence[Mapping[str, object]] | None", turn.pop("tool_calls", None)):
            function = _only_call(calls)
            names[calls[0].get("id")] = function.get("name")
            turns.append({**turn, "function_call": function})
        else:
            turns.append(turn)
    return turns, "\n".join(filter(None, personas))


def _only_call(calls: Sequence[Mapping[str, object]]) -> JSON:
    if len(calls) > 1:
        raise errors.ConfigurationError(
            "a turn of v1 holds one function call: send them one after the other, or make the client with version=2"
        )
    return dict(cast("Mapping[str, object]", calls[0].get("function") or {}))


def _translate_tools(options: JSON) -> None:
    """Tools of v2's shape become functions; built-in tools stay."""
    tools = cast("Sequence[Mapping[str, object]]", options.pop("tools", None) or ())
    functions = [
        {"parameters": _NO_PARAMETERS, **cast("Mapping[str, object]", tool.get("function") or {})}
        for tool in tools
        if tool.get("type") == "function"
    ]
    others = [tool for tool in tools if tool.get("type") != "function"]
    if functions:
        options["functions"] = [
            *cast("Sequence[object]", options.get("functions") or ()),
            *functions,
        ]
    if others:
        options["tools"] = others
    choice = options.get("tool_choice")
    if choice == "auto":
        options["tool_choice"] = None
    elif isinstance(choice, str):
        raise errors.ConfigurationError(
            f"tool_choice={choice!r} is v2's: in v1 name a function, {{'type': 'function', 'function': {{'name': …}}}}"
        )


def _translate_words(options: JSON) -> None:
    if isinstance(options.get("stop"), str):
        options["stop"] = [options["stop"]]
    shape = options.get("response_format")
    if shape is not None and not isinstance(shape, str):
        kind = cast("Mapping[str, object]", shape).get("type")
        if kind not in {"text", "json_object"}:
            raise errors.ConfigurationError(
                f"response_format {kind!r} is v2's: v1 has text and json_object"
            )
        options["response_format"] = kind
