"""v2 completions: `POST /v2/completions`, OpenAI's legacy shape (specification C.1, https://platform.openai.com/docs/api-reference/completions)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v2.chat import StreamOptions, Usage

DEFAULT_MAX_TOKENS = 16
"""OpenAI's."""


class CompletionRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a v2 completions call. Unknown and null fields are ignored."""

    model: Annotated[
        str | None, Meta(description="Service name, preset name or endpoint suffix. Required.")
    ] = None
    prompt: Annotated[
        str | Annotated[list[str], Meta(max_length=64)] | None,
        Meta(
            description="The text to go on from, or up to 64 texts; text only, no token ids. Required."
        ),
    ] = None
    suffix: Annotated[
        str | None,
        Meta(description="Text that follows the gap: refused, no model here fills gaps."),
    ] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Most tokens of each text, at least 1. Default 16, as OpenAI's."),
    ] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        Meta(description="[0, 2]; 0 is greedy. Default: the model's own."),
    ] = None
    top_p: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="[0, 1.0].")] = (
        None
    )
    top_k: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Positive; an extension.")
    ] = None
    n: Annotated[
        Annotated[int, Meta(ge=1, le=8)] | None,
        Meta(description="Texts to generate for each prompt, [1, 8]. Default 1."),
    ] = None
    best_of: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Refused unless it equals n: every text that is generated is returned."),
    ] = None
    stream: Annotated[
        bool | None, Meta(description="Answer as server-sent events. Default false.")
    ] = None
    stream_options: StreamOptions | None = None
    logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=5)] | None,
        Meta(description="Log-probabilities of the tokens and of so many alternatives, [0, 5]."),
    ] = None
    echo: Annotated[
        bool | None,
        Meta(description="Put the prompt in front of each text; not together with logprobs."),
    ] = None
    stop: Annotated[
        Annotated[str, Meta(min_length=1, max_length=20)]
        | Annotated[list[Annotated[str, Meta(min_length=1, max_length=20)]], Meta(max_length=4)]
        | None,
        Meta(description="One string, or up to 4, of 1 to 20 characters each."),
    ] = None
    presence_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None, Meta(description="[-2.0, 2.0].")
    ] = None
    frequency_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None, Meta(description="[-2.0, 2.0].")
    ] = None
    repetition_penalty: Annotated[
        Annotated[float, Meta(gt=0, le=2)] | None, Meta(description="(0, 2.0]; an extension.")
    ] = None
    penalty_score: Annotated[
        Annotated[float, Meta(ge=1, le=2)] | None,
        Meta(description="[1.0, 2.0]; Qianfan's name of repetition_penalty."),
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2147483647)] | None, Meta(description="[0, 2147483647].")
    ] = None
    logit_bias: Annotated[
        dict[str, float] | None, Meta(description="Token id to a number in [-100, 100].")
    ] = None
    user: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None
    extra_parameters: dict[str, Any] | None = None


class Logprobs(msgspec.Struct, kw_only=True):
    """Log-probabilities, one item for each token; `text_offset` counts characters of `text`."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
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
