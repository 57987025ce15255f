"""How tokens are picked: the fields that every v1 call which writes text has (specification B.3, B.6, B.9)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class Drawing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How freely the model picks."""

    temperature: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(
            description="(0, 1.0]; higher is more random. Default: the model's own, 0.95 or 0.8 in chats with ERNIE presets."
        ),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="[0, 1.0]. Default: the model's own, 0.7 or 0.8 in chats with ERNIE presets."
        ),
    ] = None
    penalty_score: Annotated[
        Annotated[float, Meta(ge=1, le=2)] | None,
        Meta(description="[1.0, 2.0] against repetition. Default 1.0."),
    ] = None


class Writing(Drawing, kw_only=True, omit_defaults=True):
    """What a body has besides what the text is about."""

    stream: Annotated[
        bool | None, Meta(description="Answer as server-sent events. Default false.")
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Positive; open-source models.")
    ] = None
    stop: Annotated[
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=20)]], Meta(max_length=4)]
        | None,
        Meta(description="Up to 4 strings of 1 to 20 characters that end the answer."),
    ] = None
    max_output_tokens: Annotated[
        Annotated[int, Meta(ge=2)] | None,
        Meta(description="At least 2; at most 2048, or 4096 for 128K models. Default 1024 (4096)."),
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2147483647)] | None,
        Meta(
            description="[0, 2147483647]; equal seeds give equal answers on one engine. An extension of ours."
        ),
    ] = None
    user_id: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None
    extra_parameters: Annotated[
        dict[str, Any] | None, Meta(description="Sent by the official SDKs, ignored.")
    ] = None
