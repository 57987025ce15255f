"""v1 text2image (specification B.9)."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

from yangfan.engines.base import ImageRequest
from yangfan.protocol.v1.images import (
    TEXT2IMAGE,
    Text2ImageItem,
    Text2ImageReply,
    Text2ImageRequest,
    Text2ImageUsage,
)
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from yangfan.engines.base import ImagesReply
    from yangfan.server.images.logic import Images


def routes(images: Images) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[Text2ImageRequest]) -> Reply:
        wire = call.request
        target = images.target(call.params["endpoint"])
        reply = await images.answer(target, _request(wire), call.meter, style=wire.style or "Base")
        return Reply(_reply(reply), answered_by(target, estimated=reply.usage.estimated))

    return [Route(TEXT2IMAGE, answer)]


def _request(wire: Text2ImageRequest) -> ImageRequest:
    width, _, height = (wire.size or "1024x1024").partition("x")
    return ImageRequest(
        prompt=wire.prompt or "",
        negative_prompt=wire.negative_prompt or "",
        width=int(width),
        height=int(height),
        n=wire.n or 1,
        steps=wire.steps or 20,
        guidance_scale=5.0 if wire.cfg_scale is None else wire.cfg_scale,
        sampler=wire.sampler_index or "Euler a",
        seed=wire.seed,
    )


def _reply(reply: ImagesReply) -> Text2ImageReply:
    return Text2ImageReply(
        id=new_id(),
        created=int(time.time()),
        data=[
            Text2ImageItem(b64_image=base64.b64encode(picture).decode("ascii"), index=index)
            for index, picture in enumerate(reply.images, 1)
        ],
        usage=Text2ImageUsage(reply.usage.prompt_tokens, reply.usage.total_tokens),
    )
