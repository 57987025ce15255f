"""v1 image understanding: `POST /rpc/2.0/ai_custom/v1/wenxinworkshop/image2text/{endpoint}` (specification B.9).

Unknown and null fields are ignored, because the official SDKs send both.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.chat import PREFIX, Usage


class ImageToTextRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a call about a picture."""

    prompt: Annotated[str | None, Meta(description="The question about the picture. Required.")] = (
        None
    )
    image: Annotated[
        str | None,
        Meta(
            description="The picture in base64 without a header, at most 4 MB; sides from 5 to 5999 pixels. Required."
        ),
    ] = None
    stream: Annotated[
        bool | None, Meta(description="Answer as server-sent events. Default false.")
    ] = None
    temperature: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="(0, 1.0]; higher is more random. Default: the model's own."),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="[0, 1.0]. Default: the model's own."),
    ] = None
    top_k: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="Positive.")] = None
    penalty_score: Annotated[
        Annotated[float, Meta(ge=1, le=2)] | None,
        Meta(description="[1.0, 2.0] against repetition. Default 1.0."),
    ] = None
    stop: Annotated[
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=20)]], Meta(max_length=4)]
        | None,
        Meta(description="Up to 4 strings of 1 to 20 characters that end the answer."),
    ] = None
    max_output_tokens: Annotated[
        Annotated[int, Meta(ge=2)] | None,
        Meta(
            description="At least 2; at most 2048 for presets. Default 1024. An extension of ours."
        ),
    ] = None
    user_id: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None
    extra_parameters: Annotated[
        dict[str, Any] | None, Meta(description="Sent by the official SDKs, ignored.")
    ] = None


class ImageToTextReply(msgspec.Struct, kw_only=True):
    """An answer about a picture. `is_safe` is 1: nothing here judges texts."""

    id: str
    object: str = "chat.completion"
    created: int
    result: str
    is_truncated: bool = False
    is_safe: int = 1
    finish_reason: str
    usage: Usage


class ImageToTextEvent(msgspec.Struct, kw_only=True):
    """One event of a stream; `result` is what is new. The last has `is_end` true; there is no [DONE]."""

    id: str
    object: str = "chat.completion"
    created: int
    sentence_id: int
    is_end: bool
    is_truncated: bool = False
    result: str = ""
    is_safe: int = 1
    finish_reason: str | msgspec.UnsetType = msgspec.UNSET
    usage: Usage


IMAGE2TEXT = Endpoint(
    name="v1.image2text",
    dialect="v1",
    method="POST",
    path=f"{PREFIX}/image2text/{{endpoint}}",
    request=ImageToTextRequest,
    reply=ImageToTextReply,
    stream=ImageToTextEvent,
    summary="Ask about a picture, Qianfan v1.",
    summary_zh="图像理解（千帆 v1）。",
    spec="B.9",
)
