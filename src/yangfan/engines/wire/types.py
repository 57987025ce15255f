"""OpenAI's chats and completions as they travel between us and a child, with llama.cpp's extensions.

Only the fields that one of the two ends uses: decoding skips the rest, which is what makes a chunk cheap. The contract is
https://platform.openai.com/docs/api-reference/chat and llama.cpp's tools/server/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from yangfan.engines.wire.errors import ErrorDetail


class ImageURL(msgspec.Struct, omit_defaults=True):
    """Where an image is."""

    url: str
    detail: str | None = None


class ContentPart(msgspec.Struct, omit_defaults=True):
    """One piece of a message; `type` is text or image_url."""

    type: str
    text: str | None = None
    image_url: ImageURL | None = None


class FunctionFragment(msgspec.Struct, omit_defaults=True):
    """A function call or, in a stream, the next piece of one."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, omit_defaults=True):
    """A tool call or, in a stream, the next piece of the one at `index`."""

    function: FunctionFragment
    type: str | None = None
    id: str | None = None
    index: int | None = None


class ChatMessage(msgspec.Struct, omit_defaults=True):
    """One turn of the conversation."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None


class FunctionSpec(msgspec.Struct, omit_defaults=True):
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None


class ToolSpec(msgspec.Struct):
    """A tool that the model may call; `type` is always function."""

    type: str
    function: FunctionSpec


class StreamOptions(msgspec.Struct):
    """What a stream carries besides its text."""

    include_usage: bool


class LoraScale(msgspec.Struct):
    """llama.cpp: how much of the adapter with this number goes into the answer."""

    id: int
    scale: float


class GenerationBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the bodies of chats and completions share."""

    model: str
    max_tokens: int | None = None
    min_tokens: int | None = None
    """vLLM's name for the fewest tokens of an answer; llama.cpp knows none (see `yangfan.engines.wire.least`)."""
    ignore_eos: bool = False
    """Go on where the model would end."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repeat_penalty: float | None = None
    """llama.cpp's name for the repetition penalty."""
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: list[str] = []
    logit_bias: Mapping[str, float] | None = None
    n: int = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    timings_per_token: bool = False
    """llama.cpp: put the token counts so far into each chunk."""
    return_progress: bool = False
    """llama.cpp: send a chunk without text for each part of the prompt that it has read."""
    verbose: bool = False
    """llama.cpp: tell in `__verbose` what ended the generation."""
    cache_prompt: bool | None = None
    """llama.cpp: whether to reuse the prompt's prefix from an earlier request; None is its default, yes."""
    lora: list[LoraScale] | None = None
    """llama.cpp: the adapters that answer; None leaves those on that were on at the start."""


class ChatBody(GenerationBody, kw_only=True, omit_defaults=True):
    """Body of POST /v1/chat/completions."""

    messages: list[ChatMessage]
    tools: list[ToolSpec] = []
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[str, Any] | None = None
    chat_template_kwargs: Mapping[str, bool] | None = None
    """llama.cpp and vLLM: variables of the model's chat template."""
    reasoning_budget_tokens: int | None = None
    """llama.cpp: most tokens of a thought; then its end is written for the model."""
    reasoning_budget_start_tag: str | None = None
    reasoning_budget_end_tags: list[str] = []
    reasoning_budget_end_tag: str | None = None
    """What the one before is called in older versions."""
    reasoning_budget_message: str | None = None
    """What is written before that end; versions of llama.cpp settle all this where they meet it."""
    logprobs: bool = False
    top_logprobs: int | None = None


class CompletionBody(GenerationBody, kw_only=True, omit_defaults=True):
    """Body of POST /v1/completions."""

    prompt: str | Sequence[int]
    """A text, or its tokens."""
    logprobs: int | None = None
    """How many alternatives to tell for each token; llama.cpp takes 0 for no log-probabilities at all."""
    echo: bool = False
    """Tell the log-probabilities of the prompt's tokens, too; its text is put in front by the parent."""


class Output(msgspec.Struct, omit_defaults=True):
    """What the model said: a whole message, or the next piece of one in a stream."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] = []


class Choice(msgspec.Struct, omit_defaults=True):
    """One of the `n` answers: `message` in a whole reply to a chat, `delta` in a chunk; `text` in both of a completion."""

    index: int = 0
    message: Output | None = None
    delta: Output | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Mapping[str, Any] | None = None


class CachedTokens(msgspec.Struct):
    """How much of the prompt was not computed again."""

    cached_tokens: int = 0


class UsageCounts(msgspec.Struct):
    """Token counts of a finished request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: CachedTokens | None = None


class Timings(msgspec.Struct):
    """llama.cpp's token counts so far: prompt from the cache, prompt computed, answer."""

    cache_n: int = 0
    prompt_n: int = 0
    predicted_n: int = 0


class Verbose(msgspec.Struct):
    """llama.cpp's word for what ended the generation: word (a stop string), eos or limit."""

    stop_type: str = "none"


class Completion(msgspec.Struct, omit_defaults=True):
    """A whole reply or one chunk of a stream."""

    choices: list[Choice] = []
    usage: UsageCounts | None = None
    timings: Timings | None = None
    verbose: Verbose | None = msgspec.field(default=None, name="__verbose")
    error: ErrorDetail | None = None


class Tokens(msgspec.Struct):
    """Reply of POST /tokenize."""

    tokens: list[msgspec.Raw]


class TokenizeBody(msgspec.Struct):
    """Body of POST /tokenize: count a finished prompt as the chat endpoint would."""

    content: str
    add_special: bool = True
    parse_special: bool = True


class DetokenizeBody(msgspec.Struct):
    """Body of POST /detokenize."""

    tokens: Sequence[int]


class Detokenized(msgspec.Struct):
    """Its reply: the text, None where there is nothing to make it with."""

    content: str | None


class TemplateBody(msgspec.Struct, omit_defaults=True):
    """Body of POST /apply-template."""

    messages: list[ChatMessage]
    chat_template_kwargs: Mapping[str, bool] | None = None


class Prompt(msgspec.Struct):
    """Reply of POST /apply-template."""

    prompt: str


class SlotState(msgspec.Struct):
    """One element of the reply of GET /slots."""

    id: int = 0
    n_ctx: int = 0
    is_processing: bool = False
