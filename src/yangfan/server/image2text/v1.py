"""v1 image understanding (specification B.9): its rules on the way in, its shapes on the way out."""

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
from yangfan.protocol.v1.image2text import (
    IMAGE2TEXT,
    ImageToTextEvent,
    ImageToTextReply,
    ImageToTextRequest,
)
from yangfan.server.chat import V1_PICTURE_BYTES, check, decode_base64, v1_sampling
from yangfan.server.http import Call, Reply, Route, Stream
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from yangfan.server.chat import Chat
    from yangfan.server.http import Meter
    from yangfan.server.services import Target

_FINISH = {
    Finish.NATURAL: "normal",
    Finish.STOP_STRING: "stop",
    Finish.LENGTH: "length",
    Finish.CONTENT_FILTER: "content_filter",
}


def routes(chat: Chat) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[ImageToTextRequest]) -> Reply | Stream:
        target = chat.target(call.params["endpoint"], "image2text")
        request = to_engine(call.request, target)
        if call.request.stream:
            return Stream(_events(chat, target, request, call.meter), answered_by(target))
        reply = await chat.answer(target, request, call.meter)
        return Reply(_reply(reply), answered_by(target, estimated=reply.usage.estimated))

    return [Route(IMAGE2TEXT, answer)]


# In


def to_engine(wire: ImageToTextRequest, target: Target) -> base.ChatRequest:
    """Check v1's rules and translate: the picture first, the question after it.

    Raises:
        Invalid: A rule is broken; the subclass decides the code.
    """
    if not wire.prompt or not wire.prompt.strip():
        raise Invalid("prompt can not be empty; ask something about the picture", param="prompt")
    if not wire.image:
        raise Invalid("image can not be empty; give a picture in base64", param="image")
    preset = target.preset
    highest = preset.max_output_tokens if preset is not None else target.service.context_tokens
    if wire.max_output_tokens is not None and wire.max_output_tokens > highest:
        raise Invalid(
            f"max_output_tokens must be in [2, {highest}], got {wire.max_output_tokens}",
            param="max_output_tokens",
        )
    data = decode_base64(_without_header(wire.image), max_bytes=V1_PICTURE_BYTES, param="image")
    picture = check(data, param="image")
    content = (base.Part(image_url=picture.data_uri), base.Part(text=wire.prompt))
    return base.ChatRequest(
        messages=(base.Message("user", content),),
        sampling=v1_sampling(wire),
        passed={"user": wire.user_id} if wire.user_id else {},
    )


def _without_header(image: str) -> str:
    """The base64 of `image`; who sends a whole data URI means the same."""
    head, sign, text = image.partition(";base64,")
    return text if sign and head.startswith("data:image/") else image


# Out


def _reply(reply: base.ChatReply) -> ImageToTextReply:
    answer = reply.answers[0]
    return ImageToTextReply(
        id=new_id(),
        created=int(time.time()),
        result=answer.text,
        is_truncated=answer.finish is Finish.LENGTH,
        is_safe=int(answer.verdict is None),
        finish_reason=_FINISH[answer.finish],
        usage=_usage(reply.usage),
    )


async def _events(
    chat: Chat, target: Target, request: base.ChatRequest, meter: Meter
) -> AsyncGenerator[ImageToTextEvent]:
    answer_id, created, sentence_id, usage = new_id(), int(time.time()), 0, Usage()
    async with aclosing(chat.stream(target, request, meter)) as deltas:
        async for delta in deltas:
            if delta.usage is not None:
                usage = _usage(delta.usage)
            if not delta.text and delta.finish is None:
                continue  # v1 has no word for reasoning
            texts = pieces(delta.text)
            for place, text in enumerate(texts, 1):
                finish = delta.finish if place == len(texts) else None
                yield ImageToTextEvent(
                    id=answer_id,
                    created=created,
                    sentence_id=sentence_id,
                    is_end=finish is not None,
                    is_truncated=finish is Finish.LENGTH,
                    result=text,
                    is_safe=int(delta.verdict is None),
                    finish_reason=_FINISH[finish] if finish is not None else UNSET,
                    usage=usage,
                )
                sentence_id += 1


def _usage(usage: base.Usage) -> Usage:
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.estimated or UNSET,
    )
