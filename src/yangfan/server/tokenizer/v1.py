"""v1: the tokens of a text (specification B.10)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from yangfan.errors import Invalid
from yangfan.protocol.v1.tokenizer import (
    DEFAULT_MODEL,
    TOKENIZER,
    TokenizerReply,
    TokenizerRequest,
    TokenizerUsage,
)
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from yangfan.server.services import Services


def routes(services: Services) -> list[Route]:
    """What this file answers."""

    async def count(call: Call[TokenizerRequest]) -> Reply:
        name = call.request.model or DEFAULT_MODEL
        target = services.resolve(name, services.find(name).type)
        prompt = call.request.prompt
        if prompt is None:
            raise Invalid("prompt can not be empty; give the text to count", param="prompt")
        # It counts as a request, and costs no tokens.
        call.meter.reserve(target, 0)
        call.meter.settle(0, 0)
        tokens = await target.service.count_text_tokens(prompt) if prompt else 0
        return Reply(
            TokenizerReply(
                id=new_id(), created=int(time.time()), usage=TokenizerUsage(tokens, tokens)
            ),
            answered_by(target, estimated=target.service.remote),
        )

    return [Route(TOKENIZER, count)]
