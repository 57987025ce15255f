"""v2 embeddings (specification C.4): OpenAI's shape."""

from __future__ import annotations

import base64
import struct
import time
from typing import TYPE_CHECKING

from yangfan.errors import Invalid
from yangfan.protocol.v2.embeddings import (
    EMBEDDINGS,
    EmbeddingsReply,
    EmbeddingsRequest,
    EmbeddingsUsage,
    PicturedText,
)
from yangfan.protocol.v2.embeddings import Embedding as Item
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by, named, texts_or_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.engines import base
    from yangfan.server.embeddings.logic import Embeddings


def routes(embeddings: Embeddings) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[EmbeddingsRequest]) -> Reply:
        wire = call.request
        target = embeddings.target(named(wire.model))
        low = call.principal.kind == "job"
        given = [] if wire.input is None else wire.input
        given = given if isinstance(given, list) else [given]
        pictured = _pictured(given)
        if pictured is None:
            plain = [each.text or "" if isinstance(each, PicturedText) else each for each in given]
            texts = texts_or_ids(plain, param="input")
            reply = await embeddings.answer(
                target, texts, call.meter, dimensions=wire.dimensions, low=low
            )
        else:
            text, picture = pictured
            reply = await embeddings.with_picture(target, text, picture, call.meter, low=low)
        return Reply(
            _reply(wire, target.asked, reply), answered_by(target, estimated=reply.usage.estimated)
        )

    return [Route(EMBEDDINGS, answer)]


def _pictured(given: Sequence[str | int | list[int] | PicturedText]) -> tuple[str, str] | None:
    """The text and the picture of an input that has one."""
    found = [each for each in given if isinstance(each, PicturedText) and each.image]
    if not found:
        return None
    if len(given) > 1:
        raise Invalid(
            f"a picture is the only element of input, or beside its text in that element; here are {len(given)} elements,"
            " send them in several calls",
            param="input",
        )
    return found[0].text or "", found[0].image or ""


def _reply(wire: EmbeddingsRequest, model: str, reply: base.EmbeddingsReply) -> EmbeddingsReply:
    dimensions = len(reply.vectors[0])
    if wire.dimensions not in {None, dimensions}:
        raise Invalid(
            f"dimensions must be {dimensions}, the length of this model's vectors, got {wire.dimensions}; leave it out",
            param="dimensions",
        )
    encoded = wire.encoding_format == "base64"
    return EmbeddingsReply(
        id=new_id(),
        created=int(time.time()),
        model=model,
        data=[
            Item(embedding=_packed(vector) if encoded else vector, index=index)
            for index, vector in enumerate(reply.vectors)
        ],
        usage=EmbeddingsUsage(reply.usage.prompt_tokens, reply.usage.total_tokens),
    )


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
