"""v2 pictures (specification C.4): OpenAI's shape."""

from __future__ import annotations

import base64
import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines.base import ImageRequest
from yangfan.errors import Invalid, InvalidReferenceImage
from yangfan.protocol.v2.images import (
    EDITS,
    GENERATIONS,
    EditsRequest,
    ImageItem,
    ImagesReply,
    ImagesRequest,
    ImagesUsage,
)
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.call import new_id
from yangfan.server.http.forms import json_of_form
from yangfan.server.images.logic import MAX_SIDE, MIN_SIDE, near
from yangfan.server.services import answered_by, named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.server.images.logic import Images
    from yangfan.server.images.shelf import Shelf
    from yangfan.server.services import Target

_NUMBERS = {"n": int, "steps": int, "seed": int, "guidance": float, "strength": float}
"""Fields of a form that are no texts."""

_SIZE = re.compile(r"(\d{1,5})[xX*](\d{1,5})")


def routes(images: Images, shelf: Shelf) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[ImagesRequest]) -> Reply:
        wire = call.request
        target = images.target(named(wire.model))
        width, height = _size(wire.size)
        reference = None if not wire.refer_image else await images.reference(wire.refer_image)
        return await drawn(call, target, _request(wire, width, height, reference))

    async def edit(call: Call[EditsRequest]) -> Reply:
        wire = call.request
        target = images.target(named(wire.model))
        given = [wire.image] if isinstance(wire.image, str) else wire.image or []
        if len(given) != 1:
            raise InvalidReferenceImage(
                f"image: {len(given)} pictures came, and one can be drawn over; send one",
                param="image",
            )
        picture = await images.reference(given[0], param="image")
        mask = None if not wire.mask else await images.reference(wire.mask, param="mask")
        width, height = 0, 0
        if wire.size and wire.size != "auto":
            width, height = _size(wire.size)
        elif not target.service.remote:
            width, height = near(picture)
        request = _request(wire, width, height, picture, strength=wire.strength, mask=mask)
        return await drawn(call, target, msgspec.structs.replace(request, edit=True))

    async def drawn(
        call: Call[ImagesRequest] | Call[EditsRequest], target: Target, request: ImageRequest
    ) -> Reply:
        wire = call.request
        reply = await images.answer(target, request, call.meter, low=call.principal.kind == "job")
        if wire.response_format == "b64_json":
            data = [
                ImageItem(b64_json=base64.b64encode(picture).decode("ascii"))
                for picture in reply.images
            ]
        else:
            base = _base_url(call.scope)
            data = [ImageItem(url=base + await shelf.put(picture)) for picture in reply.images]
        tokens = reply.usage.prompt_tokens
        details = {"text_tokens": tokens, "image_tokens": 0}
        usage = ImagesUsage(tokens, tokens, tokens, 0, details)
        body = ImagesReply(id=new_id(), created=int(time.time()), data=data, usage=usage)
        return Reply(body, answered_by(target, estimated=reply.usage.estimated))

    return [
        Route(GENERATIONS, answer),
        Route(EDITS, edit, body=lambda body, scope: json_of_form(body, scope, _NUMBERS)),
    ]


def _request(
    wire: ImagesRequest | EditsRequest,
    width: int,
    height: int,
    reference: bytes | None,
    *,
    strength: float | None = None,
    mask: bytes | None = None,
) -> ImageRequest:
    return ImageRequest(
        prompt=wire.prompt or "",
        negative_prompt=wire.negative_prompt or "",
        width=width,
        height=height,
        n=wire.n or 1,
        steps=wire.steps,
        guidance_scale=wire.guidance,
        seed=wire.seed,
        reference=reference,
        strength=strength,
        mask=mask,
    )


def _size(size: str | None) -> tuple[int, int]:
    if not size or size == "auto":
        return 1024, 1024
    found = _SIZE.fullmatch(size)
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(MIN_SIDE <= side <= MAX_SIDE and side % 8 == 0 for side in sides):
        raise Invalid(
            f"size must be WIDTHxHEIGHT with sides from {MIN_SIDE} to {MAX_SIDE} that are multiples of 8, such as 1024x768;"
            f" got {size[:32]!r}",
            param="size",
        )
    return sides


def _base_url(scope: Mapping[str, Any]) -> str:
    """Where the caller reached this server."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    if not host:
        address, port = scope.get("server") or ("127.0.0.1", 80)
        host = f"{address}:{port}".encode()
    return f"{scope.get('scheme', 'http')}://{host.decode('latin-1')}"
