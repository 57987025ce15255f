"""What both dialects share: input limits, defaults, several prompts in one call, and the way to the service."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from yangfan.engines.base import ChatReply, Usage
from yangfan.server.services import (
    booked,
    booked_stream,
    check_characters,
    check_tokens,
    read_ids,
    reserve,
    with_defaults,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from yangfan.engines.base import CompletionRequest, Delta
    from yangfan.server.http import Meter
    from yangfan.server.services import Services, Target

DEFAULT_OUTPUT_TOKENS = 1024
"""Most tokens of a text when neither the request nor a preset says."""

SPECIAL_TOKENS = 2
"""Begin and end, which some models put around every prompt."""


class Completions:
    """Completions by any served model.

    Args:
        services: What is served.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def target(self, name: str) -> Target:
        """What `name` means here. Raises ModelNotFound."""
        return self._services.resolve(name, "completions")

    async def answer(
        self,
        target: Target,
        requests: Sequence[CompletionRequest],
        meter: Meter,
        *,
        low: bool = False,
    ) -> ChatReply:
        """Whole texts for each prompt, as many prompts side by side as the engine has slots; of a call that is `low`, once no other call waits.

        The k-th text of the i-th prompt has the index i * n + k. All requests but for their prompts are the same.

        Raises:
            Invalid: A prompt is too long, or the engine refuses the request.
            ModelForbidden: The key may not use this model.
            RateLimited: A limit has no room now.
            QuotaExceeded: The key's tokens are used up.
            Overloaded: No room or no engine.
            EngineFailed: The engine died repeatedly.
        """
        requests = await self._prepared(target, requests, meter)
        return await booked(meter, _complete_all(target, requests, meter.key_id, low=low))

    def stream(
        self, target: Target, requests: Sequence[CompletionRequest], meter: Meter
    ) -> AsyncGenerator[Delta]:
        """Texts as they come, one prompt after the other; raises as `answer` does."""

        async def begin() -> AsyncGenerator[Delta]:
            prepared = await self._prepared(target, requests, meter)
            return _stream_all(target, prepared, meter.key_id)

        return booked_stream(meter, begin, answers=sum(request.n for request in requests))

    async def _prepared(
        self, target: Target, requests: Sequence[CompletionRequest], meter: Meter
    ) -> list[CompletionRequest]:
        if any(request.prompt_ids for request in requests):
            meter.reserve(target, 1)  # the engine reads token ids only for a call that may come
        requests = [
            await self._with_text(target, request, place) for place, request in enumerate(requests)
        ]
        prompt_tokens = sum([await self._check_prompt(target, request) for request in requests])

        async def count() -> int:
            return sum([await _count(target, request) for request in requests])

        asked = requests[0].sampling
        sampling = await reserve(
            meter,
            target,
            with_defaults(target, asked, output_tokens=DEFAULT_OUTPUT_TOKENS),
            prompt_tokens=prompt_tokens,
            count=count,
            answers=sum(request.n for request in requests),
            length_asked=asked.max_output_tokens is not None,
        )
        return [msgspec.structs.replace(request, sampling=sampling) for request in requests]

    async def _with_text(
        self, target: Target, request: CompletionRequest, place: int
    ) -> CompletionRequest:
        """The request whose prompt came in token ids with the text that they are."""
        ids = request.prompt_ids
        if not ids:
            return request
        await self._check_prompt(target, request)  # before all of them are looked at
        text = await read_ids(target, ids, where=f"prompt[{place}]", param="prompt")
        return msgspec.structs.replace(request, prompt=text)

    async def _check_prompt(self, target: Target, request: CompletionRequest) -> int:
        """Refuse what is too long; an upper bound of the prompt's tokens."""
        prompt = request.prompt
        check_characters(target, len(prompt), of="the prompt has", remedy="shorten it")
        most = SPECIAL_TOKENS + len(prompt.encode("utf-8", "surrogatepass"))
        return await check_tokens(
            target,
            len(request.prompt_ids) or most,
            lambda: _count(target, request),
            remedy="shorten the prompt",
        )


async def _count(target: Target, request: CompletionRequest) -> int:
    return len(request.prompt_ids) or await target.service.count_text_tokens(request.prompt)


async def _complete_all(
    target: Target, requests: Sequence[CompletionRequest], key: str, *, low: bool
) -> ChatReply:
    side_by_side = asyncio.Semaphore(max(target.service.size // requests[0].n, 1))

    async def complete(request: CompletionRequest) -> ChatReply:
        async with side_by_side:
            return await target.service.complete(request, key=key, low=low)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(complete(request)) for request in requests]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    replies = [task.result() for task in tasks]
    answers = [answer for reply in replies for answer in reply.answers]
    return ChatReply(
        tuple(msgspec.structs.replace(answer, index=index) for index, answer in enumerate(answers)),
        _sum(reply.usage for reply in replies),
    )


async def _stream_all(
    target: Target, requests: Sequence[CompletionRequest], key: str
) -> AsyncGenerator[Delta]:
    before, first = Usage(), 0
    for request in requests:
        usage = Usage()
        async with aclosing(target.service.complete_stream(request, key=key)) as deltas:
            async for delta in deltas:
                usage = delta.usage or usage
                yield msgspec.structs.replace(
                    delta, index=first + delta.index, usage=_sum((before, usage))
                )
        before, first = _sum((before, usage)), first + request.n


def _sum(usages: Iterable[Usage]) -> Usage:
    total = Usage()
    for usage in usages:
        total = Usage(
            total.prompt_tokens + usage.prompt_tokens,
            total.completion_tokens + usage.completion_tokens,
            total.cached_tokens + usage.cached_tokens,
            total.estimated or usage.estimated,
        )
    return total
