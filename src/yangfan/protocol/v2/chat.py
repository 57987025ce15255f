"""v2 chat: `POST /v2/chat/completions`, OpenAI's shape with Qianfan's additions (specification C.2, C.3)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.sampling import Writing


class ImageUrl(msgspec.Struct, omit_defaults=True):
    """An image by https address or data URI."""

    url: str
    detail: str | None = None


class ContentPart(msgspec.Struct, omit_defaults=True):
    """One part of a multi-part message."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None
    video_url: dict[str, Any] | None = None


class FunctionCall(msgspec.Struct):
    """Name and JSON arguments of a call."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, kw_only=True, omit_defaults=False):
    """A complete call: id, type and function are all present in every item, which typed clients require."""

    index: int | UnsetType = UNSET
    id: str
    type: str = "function"
    function: FunctionCall


class Message(msgspec.Struct, omit_defaults=True):
    """One turn: system (first), user, assistant or tool; of older clients function, whose call is in `function_call`."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    function_call: FunctionCall | None = None


class ToolFunction(msgspec.Struct, omit_defaults=True):
    """A function on offer; `parameters` is a JSON Schema object."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """A tool on offer; only functions are known."""

    type: str
    function: ToolFunction | None = None


class NamedFunction(msgspec.Struct):
    """Which function."""

    name: str


class NamedToolChoice(msgspec.Struct):
    """Forces one function."""

    type: str
    function: NamedFunction


class ResponseFormat(msgspec.Struct, omit_defaults=True):
    """Shape of the answer: text, json_object, or json_schema with the schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class ChatRequest(Writing, kw_only=True, omit_defaults=True):
    """Body of a v2 chat call. Unknown and null fields are ignored."""

    messages: Annotated[
        list[Message] | None, Meta(description="Conversation, not empty. Required.")
    ] = None
    max_completion_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="At least 1 (2 for ernie models).")
    ] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="OpenAI's older name of max_completion_tokens."),
    ] = None
    logprobs: bool | None = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=20)] | None, Meta(description="[0, 20].")
    ] = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[
        list[ToolFunction] | None,
        Meta(
            description="OpenAI's older form of tools; a call then comes back as `function_call`."
        ),
    ] = None
    function_call: Annotated[
        Literal["none", "auto"] | NamedFunction | None,
        Meta(description="OpenAI's older form of tool_choice."),
    ] = None
    response_format: ResponseFormat | None = None
    web_search: Annotated[
        dict[str, Any] | None,
        Meta(
            description="Passed on to models that run elsewhere; those that run here do not search."
        ),
    ] = None
    enable_thinking: bool | None = None
    thinking_budget: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="Most tokens of reasoning, >= 0; then it is ended and the answer follows."
        ),
    ] = None
    metadata: Annotated[
        dict[str, str] | None,
        Meta(
            description="Your own labels, text to text; passed on to models that run elsewhere, ignored otherwise."
        ),
    ] = None
    preemptible: Annotated[
        bool | None, Meta(description="Answer only when no other call waits.")
    ] = None
    preemptable: Annotated[
        bool | None, Meta(description="How Qianfan's own Python programs spell preemptible.")
    ] = None
    trace_number: Annotated[
        int | None,
        Meta(description="How many results of a search to return; passed on as web_search is."),
    ] = None
    enable_system_memory: Annotated[
        bool | None, Meta(description="Put a system memory in front; needs system_memory_id.")
    ] = None
    system_memory_id: Annotated[str | None, Meta(description="sm-…, see /v2/memory.")] = None
    enable_user_memory: Annotated[
        bool | None, Meta(description="Put a user memory in front; needs user_memory_id.")
    ] = None
    user_memory_id: Annotated[
        str | None, Meta(description="um-…, see /v2/memory; by default user, if that is one.")
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


class PromptTokensDetails(msgspec.Struct):
    """Tokens of the prompt that were served from the engine's cache."""

    cached_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct):
    """What some of the answer's tokens were."""

    reasoning_tokens: int = 0


class Usage(msgspec.Struct):
    """Tokens counted by the served model's tokenizer; `estimated` says that it is elsewhere and its server does not count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | UnsetType = UNSET
    estimated: bool | UnsetType = UNSET
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET


class AnswerMessage(msgspec.Struct, kw_only=True):
    """The assistant's turn."""

    role: str = "assistant"
    content: str | None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    function_call: FunctionCall | UnsetType = UNSET


class Choice(msgspec.Struct, kw_only=True):
    """One answer. `finish_reason`: stop, length, tool_calls, content_filter, or function_call for older clients."""

    index: int
    message: AnswerMessage
    finish_reason: str | None = None
    flag: int | UnsetType = UNSET
    ban_round: int | UnsetType = UNSET
    need_clear_history: bool | UnsetType = UNSET
    logprobs: dict[str, Any] | UnsetType = UNSET


class SearchResult(msgspec.Struct):
    """A page that search found."""

    index: int
    url: str
    title: str


class ChatReply(msgspec.Struct, kw_only=True):
    """A v2 answer; `object` is validated as a literal by the typed client."""

    id: str
    object: str = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | UnsetType = UNSET
    search_results: list[SearchResult] | UnsetType = UNSET


class DeltaMessage(msgspec.Struct, kw_only=True):
    """What is new; `{}` on the last chunk."""

    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    function_call: FunctionCall | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, kw_only=True):
    """One answer's news. `finish_reason` is null until the end, never empty."""

    index: int
    delta: DeltaMessage
    finish_reason: str | None = None
    flag: int | UnsetType = UNSET
    ban_round: int | UnsetType = UNSET
    need_clear_history: bool | UnsetType = UNSET
    logprobs: dict[str, Any] | UnsetType = UNSET


class ChatChunk(msgspec.Struct, kw_only=True):
    """One event of a v2 stream. `usage` is left out rather than null: Baidu's async client indexes it."""

    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType = UNSET
    search_results: list[SearchResult] | UnsetType = UNSET


EARLY_PATH = "/v2/chat"
"""Where qianfan 0.4.0 to 0.4.5 sends version 2; streams had no [DONE] then, and those clients fail on one."""

CHAT = Endpoint(
    name="v2.chat",
    dialect="v2",
    method="POST",
    path="/v2/chat/completions",
    aliases=("/v1/chat/completions", "/v2/v1/chat/completions", EARLY_PATH),
    request=ChatRequest,
    reply=ChatReply,
    stream=ChatChunk,
    summary="Chat with a model, Qianfan v2 (OpenAI's shape).",
    summary_zh="与模型对话（千帆 v2，OpenAI 形式）。",
    spec="C.2, C.3",
)
