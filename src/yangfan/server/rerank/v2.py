"""v2 rerank (specification C.4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from yangfan.protocol.v2.rerank import (
    RERANK,
    RerankDocument,
    RerankReply,
    RerankRequest,
    RerankResult,
    RerankUsage,
)
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.call import new_id
from yangfan.server.rerank.logic import ranked_by
from yangfan.server.services import named

if TYPE_CHECKING:
    from yangfan.server.rerank.logic import Ranking, Rerank


def routes(rerank: Rerank) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[RerankRequest]) -> Reply:
        wire = call.request
        target = rerank.target(named(wire.model))
        ranking = await rerank.answer(
            target,
            wire.query,
            _texts(wire),
            wire.top_n,
            call.meter,
            low=call.principal.kind == "job",
        )
        return Reply(_reply(target.asked, ranking, wire), ranked_by(target, ranking))

    return [Route(RERANK, answer)]


def _texts(wire: RerankRequest) -> list[str] | None:
    if wire.documents is None:
        return None
    return [item if isinstance(item, str) else item.text for item in wire.documents]


def _shown(text: str, wire: RerankRequest) -> str | RerankDocument | UnsetType:
    """The document in the answer: Qianfan's way, unless the request is of another make."""
    if wire.return_documents is None:
        return text
    return RerankDocument(text) if wire.return_documents else UNSET


def _reply(model: str, ranking: Ranking, wire: RerankRequest) -> RerankReply:
    return RerankReply(
        id=new_id(),
        created=int(time.time()),
        model=model,
        results=[
            RerankResult(
                document=_shown(result.document, wire),
                relevance_score=result.score,
                index=result.index,
            )
            for result in ranking.results
        ],
        usage=RerankUsage(ranking.usage.prompt_tokens, ranking.usage.total_tokens),
    )
