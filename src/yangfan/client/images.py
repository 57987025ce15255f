"""Pictures in both dialects: options to body, reply to our types (specification B.9, C.4)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from yangfan import errors
from yangfan.client.call import convert
from yangfan.client.dialect import UsageItem
from yangfan.client.types import JSON, Image, ImagesResult, ReplyInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

_V1 = {"guidance_scale": "cfg_scale", "sampler": "sampler_index", "user": "user_id"}
_V2 = {"guidance_scale": "guidance", "reference": "refer_image"}
_ONLY = {"sampler": 1, "style": 1, "reference": 2}


def body(prompt: str, options: Mapping[str, object], *, model: str, version: int) -> JSON:
    """Body of the call.

    Raises:
        ConfigurationError: An option that this dialect does not have.
    """
    fields: JSON = {"prompt": prompt}
    if version == 2:
        fields |= {"model": model, "response_format": "b64_json"}
    for name, value in options.items():
        if value is None:
            continue
        if _ONLY.get(name, version) != version:
            raise errors.ConfigurationError(
                f"{name} is a field of v{3 - version} and this client speaks v{version}; leave it out, or make the client with"
                f" version={3 - version}"
            )
        fields[(_V1 if version == 1 else _V2).get(name, name)] = value
    return fields


def edit_body(prompt: str, options: Mapping[str, object], *, model: str, version: int) -> JSON:
    """Body of a call that draws over a picture.

    Raises:
        ConfigurationError: The client speaks v1.
    """
    if version != 2:
        raise errors.ConfigurationError("v1 draws over no pictures: make the client with version=2")
    given = {name: value for name, value in options.items() if value is not None}
    if "guidance_scale" in given:
        given["guidance"] = given.pop("guidance_scale")
    return {"model": model, "prompt": prompt, "response_format": "b64_json", **given}


def reference_of(reference: str | bytes | None) -> str | None:
    """A URL as it is; a picture's bytes as a data URI."""
    if isinstance(reference, bytes):
        return f"data:application/octet-stream;base64,{base64.b64encode(reference).decode('ascii')}"
    return reference


def result(document: JSON, *, model: str, info: ReplyInfo) -> ImagesResult:
    """Read an answer.

    Raises:
        BadReply: It has no pictures, or not in base64.
    """
    answer = convert(document, _Answer)
    if not answer.data:
        raise errors.BadReply("the reply has no pictures")
    try:
        images = tuple(
            Image(base64.b64decode(item.b64_json or item.b64_image, validate=True), item.url)
            for item in answer.data
        )
    except (binascii.Error, ValueError):
        raise errors.BadReply("the reply's pictures are not base64") from None
    return ImagesResult(
        images=images,
        model=model,
        usage=answer.usage.value() if answer.usage else None,
        info=info,
        raw=document,
    )


class _Item(msgspec.Struct):
    b64_json: str = ""
    b64_image: str = ""
    url: str = ""


def _no_items() -> list[_Item]:
    return []


class _Answer(msgspec.Struct):
    data: list[_Item] = msgspec.field(default_factory=_no_items)
    usage: UsageItem | None = None
