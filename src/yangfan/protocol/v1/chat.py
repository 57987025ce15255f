"""v1 chat: `POST /rpc/2.0/ai_custom/v1/wenxinworkshop/chat/{endpoint}` (specification B.3, B.4, B.5).

Ranges are in the annotations: they validate, they document, and the reference is generated from them. Unknown and null
fields are ignored, because the official SDKs send both.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.sampling import Writing

PREFIX = "/rpc/2.0/ai_custom/v1/wenxinworkshop"


class FunctionCall(msgspec.Struct, omit_defaults=True):
    """A function that the model wants called; `arguments` is JSON text."""

    name: str | None = None
    arguments: str | None = None
    thoughts: str | None = None


class ImageUrl(msgspec.Struct):
    """An image by https address or data URI."""

    url: str
    detail: str | None = None


class ContentPart(msgspec.Struct, omit_defaults=True):
    """One part of a multi-part message (vision models)."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class Message(msgspec.Struct, omit_defaults=True):
    """One turn: roles alternate user, assistant, …; `function` stands where `user` would. `tool_call_id` does for its `name`."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    function_call: FunctionCall | None = None
    tool_call_id: str | None = None


class Function(msgspec.Struct, omit_defaults=True):
    """A function on offer (B.5); the model reads `responses` and `examples` behind the description."""

    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    responses: dict[str, Any] | None = None
    examples: list[Any] | None = None
    plugin_id: str | None = None


class BuiltIn(msgspec.Struct, omit_defaults=True):
    """A built-in tool as the official SDK's BaiduSearchTool spells it."""

    name: str | None = None
    baidu_search: dict[str, Any] | None = None


class Tool(msgspec.Struct, omit_defaults=True):
    """A function in v2's shape, or the built-in search in either spelling (`type` baidu_search or tool)."""

    type: str | None = None
    function: Function | None = None
    baidu_search: dict[str, Any] | None = None
    tool: BuiltIn | None = None


class ToolChoiceFunction(msgspec.Struct):
    """Which function."""

    name: str


class ToolChoice(msgspec.Struct, omit_defaults=True):
    """Forces one function."""

    type: str | None = None
    function: ToolChoiceFunction | None = None
    name: str | None = None


class ChatRequest(Writing, kw_only=True, omit_defaults=True):
    """Body of a v1 chat call."""

    messages: Annotated[
        list[Message] | None,
        Meta(
            description="Conversation: odd count, roles alternate, the last is user or function. Required."
        ),
    ] = None
    frequency_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None, Meta(description="[-2.0, 2.0].")
    ] = None
    presence_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None, Meta(description="[-2.0, 2.0].")
    ] = None
    system: Annotated[str | None, Meta(description="Persona; counts towards the input limits.")] = (
        None
    )
    min_output_tokens: Annotated[
        Annotated[int, Meta(ge=2, le=1024)] | None, Meta(description="[2, 1024].")
    ] = None
    response_format: Annotated[
        Literal["text", "json_object"] | None,
        Meta(description="text (default) or json_object; a string in v1."),
    ] = None
    disable_search: Annotated[
        bool | None,
        Meta(
            description="No search of the web. This and the next three are for models that run elsewhere: those that run here do not search."
        ),
    ] = None
    enable_citation: Annotated[
        bool | None, Meta(description="Mark the sources that search found in the text.")
    ] = None
    enable_trace: Annotated[
        bool | None, Meta(description="Return what search found, in search_info.")
    ] = None
    trace_number: Annotated[
        int | None, Meta(description="How many results of a search to return.")
    ] = None
    functions: Annotated[
        list[Function] | None, Meta(description="Functions that the model may call.")
    ] = None
    tool_choice: Annotated[ToolChoice | None, Meta(description="Forces one function.")] = None
    tools: Annotated[
        list[Tool] | None,
        Meta(
            description="Functions in v2's shape, and baidu_search for models that run elsewhere, whose results come in tools_info."
        ),
    ] = None
    enable_system_memory: Annotated[
        bool | None, Meta(description="Put a system memory in front; needs system_memory_id.")
    ] = None
    system_memory_id: Annotated[str | None, Meta(description="sm-…, see /v2/memory.")] = None
    enable_user_memory: Annotated[
        bool | None, Meta(description="Put a user memory in front; needs user_memory_id.")
    ] = None
    user_memory_id: Annotated[
        str | None, Meta(description="um-…, see /v2/memory; by default user_id, if that is one.")
    ] = None
    user_memory_level: Annotated[
        Annotated[int, Meta(ge=0, le=4)] | None,
        Meta(
            description="How much of the user memory to recall, [0, 4]: 0 its description alone, 4 all of it. Default 1."
        ),
    ] = None
    user_memory_extract_level: Annotated[
        Annotated[int, Meta(ge=0, le=2)] | None,
        Meta(description="[0, 2]; nothing is extracted here: /v2/memory fills memories."),
    ] = None
    user_setting: str | None = None


class Usage(msgspec.Struct):
    """Tokens counted by the served model's tokenizer; `estimated` says that it is elsewhere and its server does not count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    estimated: bool | msgspec.UnsetType = msgspec.UNSET


class SearchResult(msgspec.Struct):
    """A page that search found."""

    index: int
    url: str
    title: str


class SearchInfo(msgspec.Struct):
    """What search found, when citation or trace asked for it."""

    search_results: list[SearchResult]


class ToolsInfo(msgspec.Struct):
    """What the built-in search found, when `tools` asked for it."""

    baidu_search: list[SearchResult]
    name: str = "baidu_search"
    rewrite_query: str = ""


class ChatReply(msgspec.Struct, kw_only=True):
    """A v1 answer. `is_truncated` and `need_clear_history` are always there: official clients index them."""

    id: str
    object: str = "chat.completion"
    created: int
    result: str
    is_truncated: bool = False
    need_clear_history: bool = False
    finish_reason: str | msgspec.UnsetType = msgspec.UNSET
    ban_round: int | msgspec.UnsetType = msgspec.UNSET
    flag: int | msgspec.UnsetType = msgspec.UNSET
    is_safe: int | msgspec.UnsetType = msgspec.UNSET
    function_call: FunctionCall | msgspec.UnsetType = msgspec.UNSET
    search_info: SearchInfo | msgspec.UnsetType = msgspec.UNSET
    tools_info: ToolsInfo | msgspec.UnsetType = msgspec.UNSET
    usage: Usage


class ChatEvent(msgspec.Struct, kw_only=True):
    """One event of a v1 stream; `result` is what is new. The last has `is_end` true; there is no [DONE]."""

    id: str
    object: str = "chat.completion"
    created: int
    sentence_id: int
    is_end: bool
    is_truncated: bool = False
    result: str = ""
    need_clear_history: bool = False
    finish_reason: str | msgspec.UnsetType = msgspec.UNSET
    ban_round: int | msgspec.UnsetType = msgspec.UNSET
    flag: int | msgspec.UnsetType = msgspec.UNSET
    is_safe: int | msgspec.UnsetType = msgspec.UNSET
    function_call: FunctionCall | msgspec.UnsetType = msgspec.UNSET
    search_info: SearchInfo | msgspec.UnsetType = msgspec.UNSET
    tools_info: ToolsInfo | msgspec.UnsetType = msgspec.UNSET
    usage: Usage


CHAT = Endpoint(
    name="v1.chat",
    dialect="v1",
    method="POST",
    path=f"{PREFIX}/chat/{{endpoint}}",
    request=ChatRequest,
    reply=ChatReply,
    stream=ChatEvent,
    summary="Chat with a model, Qianfan v1.",
    summary_zh="与模型对话（千帆 v1）。",
    spec="B.3, B.4",
)
