"""v2 rerank (specification C.4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from yangfan.protocol.v2.rerank import (
    RERANK,
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
            wire.documents,
            wire.top_n,
            call.meter,
            low=call.principal.kind == "job",
        )
        return Reply(_reply(target.asked, ranking), ranked_by(target, ranking))

    return [Route(RERANK, answer)]


def _reply(model: str, ranking: Ranking) -> RerankReply:
    return RerankReply(
        id=new_id(),
        created=int(time.time()),
        model=model,
        results=[
            RerankResult(result.document, result.score, result.index) for result in ranking.results
        ],
        usage=RerankUsage(ranking.usage.prompt_tokens, ranking.usage.total_tokens),
    )
