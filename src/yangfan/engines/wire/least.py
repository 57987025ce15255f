"""An answer of at least so many tokens, from a child that can keep a model from ending for a whole request only.

So the beginning is asked for without an end, and the rest as what goes on from it. Pure, but for whoever generates.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from yangfan.engines._pieces import StopCutter
from yangfan.engines.base import Delta, Finish, Usage
from yangfan.engines.wire.reasoning import OPENING_TAG, ReasoningSplitter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from yangfan.engines.base import CompletionRequest

Generate: TypeAlias = "Callable[[CompletionRequest], AsyncGenerator[Delta]]"


async def at_least(
    tokens: int, request: CompletionRequest, generate: Generate
) -> AsyncGenerator[Delta]:
    """The deltas of one answer to a rendered prompt.

    Args:
        tokens: The fewest of the answer; a stop string ends it all the same.
        request: With its `max_output_tokens`, one answer, no log-probabilities.
        generate: Goes on from a prompt; where `min_output_tokens` is no less than `max_output_tokens`, without an end of its own.
    """
    sampling = request.sampling
    longest = sampling.max_output_tokens or tokens
    cutter = StopCutter(sampling.stop)
    splitter = ReasoningSplitter(inside=request.prompt.rstrip().endswith(OPENING_TAG))
    text, before, thought_tokens = "", Usage(), 0
    for least in (min(tokens, longest), 0):
        most = least or longest - before.completion_tokens
        asked = msgspec.structs.replace(
            request,
            prompt=request.prompt + text,
            sampling=msgspec.structs.replace(
                sampling, stop=(), max_output_tokens=most, min_output_tokens=least or None
            ),
        )
        usage = before
        async with aclosing(generate(asked)) as deltas:
            async for delta in deltas:
                text += delta.text
                usage = usage if delta.usage is None else _together(before, delta.usage)
                shown, finish = cutter.add(delta.text), delta.finish
                if cutter.stopped:
                    finish = Finish.STOP_STRING
                elif (
                    least and finish is Finish.LENGTH and least <= usage.completion_tokens < longest
                ):
                    finish = None  # of the beginning alone
                if finish is not None:
                    shown += cutter.end()
                thought, answer = splitter.split(shown, last=finish is not None)
                if thought:
                    thought_tokens = usage.completion_tokens
                if thought or answer or finish is not None:
                    told = msgspec.structs.replace(usage, reasoning_tokens=thought_tokens)
                    yield Delta(answer, reasoning=thought, finish=finish, usage=told)
                if finish is not None:
                    return
        before = usage


def _together(before: Usage, usage: Usage) -> Usage:
    """The usage of a beginning and of what went on from it, whose prompt it was."""
    if not before.total_tokens:
        return usage
    return msgspec.structs.replace(
        before, completion_tokens=before.completion_tokens + usage.completion_tokens
    )
