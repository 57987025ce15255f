"""Pictures as they travel between us and a child: OpenAI's shape, with the fields of diffusion models."""

from __future__ import annotations

import base64
import binascii

import msgspec

from yangfan.engines.base import ImageRequest, ImagesReply, Usage
from yangfan.engines.wire.types import UsageCounts
from yangfan.errors import EngineFailed


class ImagesBody(msgspec.Struct, omit_defaults=True):
    """Body of POST /v1/images/generations; `reference` and `mask` are base64."""

    prompt: str
    negative_prompt: str = ""
    width: int = 1024
    height: int = 1024
    n: int = 1
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    seed: int | None = None
    reference: str | None = None
    strength: float | None = None
    mask: str | None = None


class ImageItem(msgspec.Struct):
    """One picture: a PNG file in base64, and the seed that draws it again."""

    b64_json: str
    seed: int


class ImagesResult(msgspec.Struct):
    """Reply of POST /v1/images/generations."""

    data: list[ImageItem]
    usage: UsageCounts


def encode_images(request: ImageRequest) -> bytes:
    """The JSON body that asks a child for `request`."""
    fields = {name: getattr(request, name) for name in ImagesBody.__struct_fields__}
    for name in ("reference", "mask"):
        if fields[name] is not None:
            fields[name] = base64.b64encode(fields[name]).decode("ascii")
    return msgspec.json.encode(ImagesBody(**fields))


def images_of(body: bytes, count: int) -> ImagesReply:
    """So many pictures.

    Raises:
        EngineFailed: The body is not that.
    """
    try:
        result = _decoder.decode(body)
        images = tuple(base64.b64decode(item.b64_json, validate=True) for item in result.data)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise EngineFailed(f"the engine's reply makes no sense: {error}") from error
    if len(images) != count:
        raise EngineFailed(f"the engine's reply has {len(images)} pictures instead of {count}")
    seeds = tuple(item.seed for item in result.data)
    return ImagesReply(images, seeds, Usage(result.usage.prompt_tokens))


_decoder = msgspec.json.Decoder(ImagesResult)
