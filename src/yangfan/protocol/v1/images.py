"""v1 text2image: `POST /rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/{endpoint}` (specification B.9)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint
from yangfan.protocol.v1.chat import PREFIX

Size = Literal[
    "768x768", "1024x1024", "1536x1536", "2048x2048", "1024x768", "2048x1536", "768x1024", "1536x2048",
    "1024x576", "2048x1152", "576x1024", "1152x2048",
]  # fmt: skip

Sampler = Literal[
    "Euler", "Euler a", "DPM++ 2M", "DPM++ 2M Karras", "LMS", "LMS Karras", "DPM++ SDE", "DPM++ SDE Karras",
    "DPM2", "DPM2 Karras", "DPM2 a", "DPM2 a Karras", "Heun", "DPM++ 2M SDE", "DPM++ 2M SDE Karras",
]  # fmt: skip


class Text2ImageRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Body of a v1 text2image call. Unknown and null fields are ignored."""

    prompt: Annotated[
        str | None, Meta(description="What to show, at most 1024 characters. Required.")
    ] = None
    negative_prompt: Annotated[
        str | None, Meta(description="What not to show, at most 1024 characters.")
    ] = None
    size: Annotated[Size | None, Meta(description="Width x height in pixels, 1024x1024.")] = None
    n: Annotated[
        Annotated[int, Meta(ge=1, le=4)] | None, Meta(description="How many pictures, 1.")
    ] = None
    steps: Annotated[
        Annotated[int, Meta(ge=10, le=50)] | None, Meta(description="Denoising steps, 20.")
    ] = None
    sampler_index: Annotated[Sampler | None, Meta(description="Euler a.")] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=4294967295)] | None,
        Meta(description="The same seed draws the same picture; a new one by default."),
    ] = None
    cfg_scale: Annotated[
        Annotated[float, Meta(ge=0, le=30)] | None,
        Meta(description="How closely to follow the prompt, 5."),
    ] = None
    style: Annotated[str | None, Meta(description="Base, or another of Qianfan's styles.")] = None
    user_id: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None


class Text2ImageItem(msgspec.Struct, kw_only=True):
    """A PNG file in base64; the first index is 1."""

    object: str = "image"
    b64_image: str
    index: int


class Text2ImageUsage(msgspec.Struct):
    """Tokens counted by the served model's tokenizer."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class Text2ImageReply(msgspec.Struct, kw_only=True):
    """The pictures."""

    id: str
    object: str = "image"
    created: int
    data: list[Text2ImageItem]
    usage: Text2ImageUsage


TEXT2IMAGE = Endpoint(
    name="v1.text2image",
    dialect="v1",
    method="POST",
    path=f"{PREFIX}/text2image/{{endpoint}}",
    request=Text2ImageRequest,
    reply=Text2ImageReply,
    summary="Draw pictures from a description, Qianfan v1.",
    summary_zh="根据描述生成图像（千帆 v1）。",
    spec="B.9",
)
