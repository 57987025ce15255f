"""v2 pictures: `POST /v2/images/generations`, OpenAI's shape (specification C.4)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from yangfan.protocol.endpoint import Endpoint


class _Drawing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What both calls that draw may say."""

    model: Annotated[str | None, Meta(description="Service or preset name. Required.")] = None
    negative_prompt: Annotated[str | None, Meta(description="What not to show.")] = None
    n: Annotated[
        Annotated[int, Meta(ge=1, le=4)] | None, Meta(description="How many pictures, 1.")
    ] = None
    steps: Annotated[
        Annotated[int, Meta(ge=1, le=50)] | None,
        Meta(description="Denoising steps; the model's own number by default."),
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=4294967295)] | None,
        Meta(description="The same seed draws the same picture; a new one by default."),
    ] = None
    guidance: Annotated[
        Annotated[float, Meta(ge=0, le=30)] | None,
        Meta(description="How closely to follow the prompt; the model's own by default."),
    ] = None
    response_format: Annotated[
        Literal["url", "b64_json"] | None,
        Meta(description="url (default): for a day at this server; b64_json: in the reply."),
    ] = None
    user: Annotated[str | None, Meta(description="Your own end user, for your logs.")] = None


class ImagesRequest(_Drawing, kw_only=True, omit_defaults=True):
    """Body of a v2 call for pictures. Unknown and null fields (OpenAI's quality, style …) are ignored."""

    prompt: Annotated[
        str | None,
        Meta(
            description="What to show: at most 1024 characters, irag-1.0 220, flux 512. Required."
        ),
    ] = None
    refer_image: Annotated[
        str | None,
        Meta(
            description="URL or data URI of a picture to start from: at most 10 MB, sides from 128 pixels, at most 4 to 1."
        ),
    ] = None
    size: Annotated[
        str | None,
        Meta(
            description="Width x height in pixels, sides from 256 to 2048 and multiples of 8; 1024x1024, which is also `auto`."
        ),
    ] = None


class EditsRequest(_Drawing, kw_only=True, omit_defaults=True):
    """Body of a v2 call that draws over a picture: JSON, or a form (multipart/form-data) with files. Unknown fields are ignored."""

    prompt: Annotated[
        str | None, Meta(description="What to show, at most 1024 characters. Required.")
    ] = None
    image: Annotated[
        str | list[str] | None,
        Meta(
            description="The picture: a file of the form, or a URL or data URI; at most 10 MB, sides from 128 pixels, at most 4 to 1. Required."
        ),
    ] = None
    mask: Annotated[
        str | None,
        Meta(
            description="What of it to draw anew: what is transparent in the mask or, where nothing is, white. All of it by default."
        ),
    ] = None
    strength: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="How far to go from the picture, (0, 1.0]; an extension of ours."),
    ] = None
    size: Annotated[
        str | None,
        Meta(
            description="Width x height in pixels, sides from 256 to 2048 and multiples of 8; `auto`, the default, is near the picture's own."
        ),
    ] = None


class ImageItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A PNG file, by URL or in base64."""

    url: str | None = None
    b64_json: str | None = None


class ImagesUsage(msgspec.Struct):
    """Tokens of the prompt, counted by the served model's tokenizer; under OpenAI's names, too."""

    prompt_tokens: int = 0
    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: dict[str, int] = msgspec.field(default_factory=dict[str, int])


class ImagesReply(msgspec.Struct, kw_only=True):
    """The pictures."""

    id: str
    created: int
    data: list[ImageItem]
    usage: ImagesUsage


GENERATIONS = Endpoint(
    name="v2.images.generations",
    dialect="v2",
    method="POST",
    path="/v2/images/generations",
    aliases=("/v1/images/generations", "/v2/v1/images/generations"),
    request=ImagesRequest,
    reply=ImagesReply,
    summary="Draw pictures from a description, Qianfan v2 (OpenAI's shape).",
    summary_zh="根据描述生成图像（千帆 v2，OpenAI 形式）。",
    spec="C.4",
)

EDITS = Endpoint(
    name="v2.images.edits",
    dialect="v2",
    method="POST",
    path="/v2/images/edits",
    aliases=("/v1/images/edits", "/v2/v1/images/edits"),
    request=EditsRequest,
    reply=ImagesReply,
    summary="Draw over a picture, or a part of it, Qianfan v2 (OpenAI's shape).",
    summary_zh="编辑图像或其局部（千帆 v2，OpenAI 形式）。",
    spec="C.1",
)
