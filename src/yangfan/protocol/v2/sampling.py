"""How tokens are picked: the fields that every v2 call which writes text has (specification C.2)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class StreamOptions(msgspec.Struct, omit_defaults=True):
    """What a stream carries besides text."""

    include_usage: bool | None = None
    chunk_include_usage: bool | None = None


class Writing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a body has besides what the text is about."""

    model: Annotated[
        str | None, Meta(description="Service name, preset name or endpoint suffix. Required.")
    ] = None
    stream: Annotated[
        bool | None, Meta(description="Answer as server-sent events. Default false.")
    ] = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        Meta(
            description="(0, 1.0] for ernie models in chats, [0, 2] otherwise; 0 is greedy. Default: the model's own."
        ),
    ] = None
    top_p: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="[0, 1.0].")] = (
        None
    )
    top_k: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Positive; an extension.")
    ] = None
    penalty_score: Annotated[
        Annotated[float, Meta(ge=1, le=2)] | None,
        Meta(description="[1.0, 2.0]; Qianfan's name of repetition_penalty."),
    ] = None
    repetition_penalty: Annotated[
        Annotated[float, Meta(gt=0, le=2)] | None, Meta(description="(0, 2.0]; an extension.")
    ] = None
    frequency_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None, Meta(description="[-2.0, 2.0].")
    ] = None
    presence_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None, Meta(description="[-2.0, 2.0].")
    ] = None
    stop: Annotated[
        Annotated[str, Meta(min_length=1, max_length=20)]
        | Annotated[list[Annotated[str, Meta(min_length=1, max_length=20)]], Meta(max_length=4)]
        | None,
        Meta(description="One string, or up to 4, of 1 to 20 characters each."),
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2147483647)] | None, Meta(description="[0, 2147483647].")
    ] = None
    n: Annotated[
        Annotated[int, Meta(ge=1, le=8)] | None,
        Meta(
            description="Answers to generate, for each prompt of a completion, [1, 8]. Default 1."
        ),
    ] = None
    logit_bias: Annotated[
        dict[str, float] | None, Meta(description="Token id to a number in [-100, 100].")
    ] = None
    user: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None
    extra_parameters: Annotated[
        dict[str, Any] | None, Meta(description="Sent by the official SDKs, ignored.")
    ] = None
