"""v1 completions (specification B.6): its rules on the way in, its shapes on the way out."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import UNSET

from yangfan.engines import base
from yangfan.engines.base import Finish
from yangfan.errors import Invalid
from yangfan.protocol.sse import pieces
from yangfan.protocol.v1.chat import Usage
from yangfan.protocol.v1.completions import (
    COMPLETIONS,
    CompletionEvent,
    CompletionReply,
    CompletionRequest,
)
from yangfan.server.chat import v1_sampling
from yangfan.server.http import Call, Reply, Route, Stream
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from yangfan.server.completions.logic import Completions
    from yangfan.server.http import Meter
    from yangfan.server.services import Target

_FINISH = {
    Finish.NATURAL: "normal",
    Finish.STOP_STRING: "stop",
    Finish.LENGTH: "length",
    Finish.CONTENT_FILTER: "content_filter",
}


def routes(completions: Completions) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[CompletionRequest]) -> Reply | Stream:
        target = completions.target(call.params["endpoint"])
        request = to_engine(call.request, target)
        if call.request.stream:
            return Stream(_events(completions, target, request, call.meter), answered_by(target))
        reply = await completions.answer(target, [request], call.meter)
        return Reply(_reply(reply), answered_by(target, estimated=reply.usage.estimated))

    return [Route(COMPLETIONS, answer)]


# In


def to_engine(wire: CompletionRequest, target: Target) -> base.CompletionRequest:
    """Check v1's rules and translate.

    Raises:
        Invalid: A rule is broken.
    """
    if not wire.prompt:
        raise Invalid("prompt can not be empty; give the text to go on from", param="prompt")
    preset = target.preset
    highest = preset.max_output_tokens if preset is not None else target.service.context_tokens
    if wire.max_output_tokens is not None and wire.max_output_tokens > highest:
        raise Invalid(
            f"max_output_tokens must be in [2, {highest}], got {wire.max_output_tokens}",
            param="max_output_tokens",
        )
    if wire.response_format == "json_object":
        raise Invalid(
            "response_format json_object is for chat; call /chat/ instead of /completions/, or leave it out",
            param="response_format",
        )
    return base.CompletionRequest(
        prompt=f"{wire.system}\n{wire.prompt}" if wire.system else wire.prompt,
        sampling=v1_sampling(wire),
        passed={"user": wire.user_id} if wire.user_id else {},
    )


# Out


def _reply(reply: base.ChatReply) -> CompletionReply:
    answer = reply.answers[0]
    return CompletionReply(
        id=new_id(),
        created=int(time.time()),
        result=answer.text,
        is_truncated=answer.finish is Finish.LENGTH,
        is_safe=int(answer.verdict is None),
        finish_reason=_FINISH[answer.finish],
        usage=_usage(reply.usage),
    )


async def _events(
    completions: Completions, target: Target, request: base.CompletionRequest, meter: Meter
) -> AsyncGenerator[CompletionEvent]:
    answer_id, created, sentence_id = new_id(), int(time.time()), 0
    async with aclosing(completions.stream(target, [request], meter)) as deltas:
        async for delta in deltas:
            texts = pieces(delta.text)
            for place, text in enumerate(texts, 1):
                finish = delta.finish if place == len(texts) else None
                yield CompletionEvent(
                    id=answer_id,
                    created=created,
                    sentence_id=sentence_id,
                    is_end=finish is not None,
                    is_truncated=finish is Finish.LENGTH,
                    result=text,
                    is_safe=int(delta.verdict is None),
                    finish_reason=_FINISH[finish] if finish is not None else UNSET,
                    usage=_usage(delta.usage or base.Usage()),
                )
                sentence_id += 1


def _usage(usage: base.Usage) -> Usage:
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.estimated or UNSET,
    )
