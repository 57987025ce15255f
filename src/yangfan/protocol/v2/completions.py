"""v2 completions: `POST /v2/completions`, OpenAI's legacy shape (specification C.1, https://platform.openai.com/docs/api-reference/completions)."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.chat import Usage
from yangfan.protocol.v2.sampling import Writing
from yangfan.protocol.v2.tokens import TokenId, TokenIds

DEFAULT_MAX_TOKENS = 16
"""OpenAI's."""

MAX_PROMPTS = 64
Prompts: TypeAlias = list[str | TokenId | TokenIds]


class CompletionRequest(Writing, kw_only=True, omit_defaults=True):
    """Body of a v2 completions call. Unknown and null fields are ignored."""

    prompt: Annotated[
        str | Prompts | None,
        Meta(
            description="The text to go on from, or its token ids (of the served model's own vocabulary, read as they stand), or up to 64 such prompts. Required."
        ),
    ] = None
    suffix: Annotated[
        str | None,
        Meta(description="Text that follows the gap: refused, no model here fills gaps."),
    ] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="Most tokens of each text, at least 1, or 0 together with echo and logprobs. Default 16, as OpenAI's."
        ),
    ] = None
    best_of: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Refused unless it equals n: every text that is generated is returned."),
    ] = None
    logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=5)] | None,
        Meta(description="Log-probabilities of the tokens and of so many alternatives, [0, 5]."),
    ] = None
    echo: Annotated[
        bool | None,
        Meta(
            description="Put the prompt in front of each text; with logprobs, tell those of its tokens, too, where the model's engine can."
        ),
    ] = None


class Logprobs(msgspec.Struct, kw_only=True):
    """Log-probabilities, one item for each token, null for the first of a prompt; `text_offset` counts characters of `text`."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Choice(msgspec.Struct, kw_only=True):
    """One text, or what is new of it. `finish_reason`: stop, length or content_filter; null until the end."""

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class Completion(msgspec.Struct, kw_only=True):
    """A reply, or one event of a stream; the k-th text of prompt i has the index i * n + k."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | UnsetType = UNSET


COMPLETIONS = Endpoint(
    name="v2.completions",
    dialect="v2",
    method="POST",
    path="/v2/completions",
    aliases=("/v1/completions", "/v2/v1/completions"),
    request=CompletionRequest,
    reply=Completion,
    stream=Completion,
    summary="Go on from a text, Qianfan v2 (OpenAI's legacy shape).",
    summary_zh="续写文本（千帆 v2，OpenAI 旧版形式）。",
    spec="C.1",
)
