"""v1 embeddings (specification B.7)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from yangfan.protocol.v1.embeddings import (
    EMBEDDINGS,
    EmbeddingsReply,
    EmbeddingsRequest,
    EmbeddingsUsage,
)
from yangfan.protocol.v1.embeddings import Embedding as Item
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from yangfan.engines import base
    from yangfan.server.embeddings.logic import Embeddings


def routes(embeddings: Embeddings) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[EmbeddingsRequest]) -> Reply:
        target = embeddings.target(call.params["endpoint"])
        reply = await embeddings.answer(target, call.request.input, call.meter)
        return Reply(_reply(reply), answered_by(target, estimated=reply.usage.estimated))

    return [Route(EMBEDDINGS, answer)]


def _reply(reply: base.EmbeddingsReply) -> EmbeddingsReply:
    return EmbeddingsReply(
        id=new_id(),
        created=int(time.time()),
        data=[Item(embedding=vector, index=index) for index, vector in enumerate(reply.vectors)],
        usage=EmbeddingsUsage(reply.usage.prompt_tokens, reply.usage.total_tokens),
    )
