"""Reserve what a generation may use at most, no more than needs be where little is left, and book what it used."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from yangfan.engines.base import Usage
from yangfan.errors import QuotaExceeded, TokenRateLimited

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from yangfan.engines.base import ChatReply, Delta, Sampling
    from yangfan.server.http import Meter
    from yangfan.server.services.service import Target


REMOTE_OUTPUT_TOKENS = 2048
"""Most tokens of an answer of somebody else's model, where neither the request nor its server's habit may say."""


async def reserve(
    meter: Meter,
    target: Target,
    sampling: Sampling,
    *,
    prompt_tokens: int,
    count: Callable[[], Awaitable[int]],
    answers: int = 1,
    length_asked: bool,
) -> Sampling:
    """Reserve the prompt and the longest answers; the sampling to generate with.

    Args:
        meter: The call's.
        target: What the name means.
        sampling: Complete, with its `max_output_tokens`.
        prompt_tokens: An upper bound of the prompt's tokens.
        count: Counts them; called only where the bound would take most of what the limits have left.
        answers: How many answers are asked for.
        length_asked: Whether the caller chose `max_output_tokens`. Otherwise answers that do not fit are made shorter, so that a
            key with small limits can be used without knowing them.

    Raises:
        ModelForbidden: The key may not use this model.
        RateLimited: A limit has no room now.
        QuotaExceeded: The key's tokens are used up.
    """
    longest = sampling.max_output_tokens
    if longest is None:
        # Somebody else's model answers as long as it likes, unless a limit here has to hold.
        if meter.answer_tokens(target, prompt_tokens) is None:
            meter.reserve(target, prompt_tokens)
            return sampling
        longest = REMOTE_OUTPUT_TOKENS
        sampling = msgspec.structs.replace(sampling, max_output_tokens=longest)
    most = prompt_tokens + longest * answers
    try:
        if meter.spares(target, most):
            meter.reserve(target, most)
            return sampling
        # While the bound is held, others would be refused for tokens that nobody needs: hold a place only.
        meter.reserve(target, 1)
    except (TokenRateLimited, QuotaExceeded):
        pass  # it may be let in once its size is known
    prompt_tokens = await count()
    room = None if length_asked else meter.answer_tokens(target, prompt_tokens)
    if room is not None and room < longest * answers:
        longest = max(room // answers, 1)
        sampling = msgspec.structs.replace(sampling, max_output_tokens=longest)
    meter.reserve(target, prompt_tokens + longest * answers)
    return sampling


async def booked(meter: Meter, replying: Awaitable[ChatReply]) -> ChatReply:
    """What `replying` gives, once its cost is booked."""
    try:
        reply = await replying
    except asyncio.CancelledError:
        # The caller left: that was a request, and nobody knows how far the engine came with it.
        meter.settle(0, 0)
        raise
    meter.settle(reply.usage.prompt_tokens, reply.usage.completion_tokens)
    return reply


async def booked_stream(
    meter: Meter, begin: Callable[[], Awaitable[AsyncGenerator[Delta]]], *, answers: int
) -> AsyncGenerator[Delta]:
    """The deltas of so many answers that `begin` gets, with their cost booked before the caller can see the end.

    What was generated until a caller leaves is booked, too.
    """
    usage, unfinished = Usage(), answers
    async with aclosing(await begin()) as deltas:
        try:
            async for delta in deltas:
                usage = delta.usage or usage
                unfinished -= delta.finish is not None
                if not unfinished:
                    meter.settle(usage.prompt_tokens, usage.completion_tokens)
                yield delta
        except (asyncio.CancelledError, GeneratorExit):
            meter.settle(usage.prompt_tokens, usage.completion_tokens)
            raise
        finally:
            if usage.total_tokens:
                meter.settle(usage.prompt_tokens, usage.completion_tokens)
