"""v1 image understanding: `POST /rpc/2.0/ai_custom/v1/wenxinworkshop/image2text/{endpoint}` (specification B.9).

Unknown and null fields are ignored, because the official SDKs send both.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.chat import PREFIX, Usage
from yangfan.protocol.v1.sampling import Writing


class ImageToTextRequest(Writing, kw_only=True, omit_defaults=True):
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


class ImageToTextReply(msgspec.Struct, kw_only=True):
    """An answer about a picture. `is_safe` is 1 unless the model runs elsewhere and its server says otherwise: nothing here judges texts."""

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
