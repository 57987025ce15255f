"""What v1 and v2 have in common for the client: how an option becomes a field, and the parts that both replies share."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from yangfan import errors
from yangfan.client.options import ChatOptions, CompletionOptions
from yangfan.client.prompts import RenderedPrompt
from yangfan.client.types import (
    JSON,
    ChatEvent,
    ChatResult,
    ReplyInfo,
    SearchResult,
    ToolUsage,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from yangfan.client.options import Messages, Prompt


class Dialect(Protocol):
    """One way to spell chats and completions and to read their answers."""

    def path(self, model: str) -> str:
        """Path of the call."""
        ...

    def body(self, model: str, messages: Messages, options: ChatOptions, *, stream: bool) -> JSON:
        """Body of the call.

        Raises:
            ConfigurationError: An option that this dialect does not have.
        """
        ...

    def completion_path(self, model: str) -> str:
        """Path of a call that goes on from a text."""
        ...

    def completion_body(
        self, model: str, prompt: Prompt, options: CompletionOptions, *, stream: bool
    ) -> JSON:
        """Body of a call that goes on from a text.

        Raises:
            ConfigurationError: An option that this dialect does not have.
        """
        ...

    def result(self, document: JSON, *, model: str, info: ReplyInfo) -> ChatResult:
        """Read a whole answer.

        Raises:
            BadReply: A field has a wrong type.
        """
        ...

    def events(self, document: JSON) -> list[ChatEvent]:
        """Read one event of a stream; a v2 event may hold news of several answers.

        Raises:
            BadReply: A field has a wrong type.
        """
        ...

    def is_last(self, document: JSON) -> bool:
        """Whether this event ends the stream; v2 ends with a mark of its own instead."""
        ...


def fields_of(
    options: Mapping[str, object],
    *,
    version: int,
    known: AbstractSet[str],
    renamed: Mapping[str, str],
    offered: type[ChatOptions | CompletionOptions] = ChatOptions,
) -> JSON:
    """Options as fields of a request body; those that are None are left out.

    Args:
        options: What the caller passed.
        version: The dialect, for messages.
        known: The fields that it has.
        renamed: Options that it spells in another way.
        offered: The options that there are.

    Raises:
        ConfigurationError: No such option, or none of this dialect, or two names of one field.
    """
    body: JSON = {}
    for option, value in options.items():
        if value is None:
            continue
        if option not in offered.__annotations__:
            raise errors.ConfigurationError(_unknown(option, offered))
        name = renamed.get(option, option)
        if name not in known:
            raise errors.ConfigurationError(
                f"{option} is a field of v{3 - version} and this client speaks v{version}; leave it out, or make the"
                f" client with version={3 - version}"
            )
        if name in body:
            others = " and ".join(
                sorted({option, *(key for key, to in renamed.items() if to == name), name})
            )
            raise errors.ConfigurationError(f"{others} are one field: give one of them")
        body[name] = value
    return body


def _unknown(option: str, offered: type[ChatOptions | CompletionOptions]) -> str:
    names = list(offered.__annotations__)
    close = difflib.get_close_matches(option, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(names))};"
    call = "chat" if offered is ChatOptions else "a completion"
    return f"{call} has no option {option!r}; {hint} Fields that the client does not know go into extra_body"


def turns_of(messages: Messages) -> list[JSON]:
    """The turns as dicts; text alone is one user turn, and a rendered prompt has those of its template.

    Raises:
        ConfigurationError: A turn is not a mapping.
    """
    if isinstance(messages, RenderedPrompt):
        return [{"role": role, "content": text} for role, text in messages.turns]
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    turns: list[JSON] = []
    for message in cast("Sequence[object]", messages):
        if not isinstance(message, Mapping):
            raise errors.ConfigurationError(
                "messages must be text, or a list of mappings such as {'role': 'user', 'content': '…'}"
            )
        turns.append(dict(cast("Mapping[str, object]", message)))
    return turns


def text_of(content: object) -> str:
    """The text of a turn's content, which may be a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = cast("Sequence[Mapping[str, object]]", content)
    return "".join(str(part.get("text", "")) for part in parts)


def encode(body: JSON) -> bytes:
    """The body as JSON.

    Raises:
        ConfigurationError: It holds something that JSON cannot say.
    """
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.ConfigurationError(f"the request cannot be written as JSON: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, str):
        # A text of a class of its own, such as a rendered prompt.
        return str(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, Sequence):
        return list(cast("Sequence[object]", value))
    raise TypeError(f"{type(value).__name__} is not JSON")


class SearchItem(msgspec.Struct):
    """A page that search found, as both dialects write it."""

    index: int = 0
    url: str = ""
    title: str = ""


class _PromptDetails(msgspec.Struct):
    cached_tokens: int = 0


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int = 0


class _ToolUsage(msgspec.Struct):
    name: str = ""
    tool_point: int = 0


def _no_tools() -> list[_ToolUsage]:
    return []


class UsageItem(msgspec.Struct):
    """Usage as either dialect writes it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: _PromptDetails = msgspec.field(default_factory=_PromptDetails)
    completion_tokens_details: _CompletionDetails = msgspec.field(
        default_factory=_CompletionDetails
    )
    tool_tokens: int = 0
    tool_usage: list[_ToolUsage] = msgspec.field(default_factory=_no_tools)
    estimated: bool = False

    def value(self) -> Usage:
        """The same as callers see it."""
        return Usage(
            self.prompt_tokens,
            self.completion_tokens,
            self.total_tokens,
            self.prompt_tokens_details.cached_tokens,
            self.completion_tokens_details.reasoning_tokens,
            self.tool_tokens,
            tuple(ToolUsage(tool.name, tool.tool_point) for tool in self.tool_usage),
            self.estimated,
        )


def search_results_of(items: Sequence[SearchItem]) -> tuple[SearchResult, ...]:
    """Pages as callers see them."""
    return tuple(SearchResult(item.index, item.url, item.title) for item in items)
