"""The engine vocabulary into OpenAI's completions. A child's answer is read as that of a chat (`yangfan.engines.wire.chat`)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from yangfan.engines.wire.generation import SHORT_CHARACTERS, generation_fields
from yangfan.engines.wire.types import CompletionBody
from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from yangfan.engines.base import CompletionRequest, Delta
    from yangfan.engines.wire.types import LoraScale

_encoder = msgspec.json.Encoder()


def encode_completion(
    model: str, request: CompletionRequest, *, lora: list[LoraScale] | None = None
) -> bytes:
    """The JSON body that asks a child for a stream of `request`, with the adapters `lora`.

    Raises:
        Invalid: The prompt is empty: there is nothing to go on from.
    """
    if not (request.prompt or request.prompt_ids):
        raise Invalid("prompt must not be empty; give the text to go on from", param="prompt")
    # A child takes 0 for none at all; `completed` drops the alternative that 1 brings.
    logprobs = None if request.logprobs is None else max(request.logprobs, 1)
    fields = generation_fields(
        model,
        request.sampling,
        n=request.n,
        stream=True,
        lora=lora,
        long=len(request.prompt or request.prompt_ids) > SHORT_CHARACTERS,
    )
    body = CompletionBody(
        **fields,
        prompt=request.prompt_ids or request.prompt,
        logprobs=logprobs,
        echo=request.echo and logprobs is not None,
    )
    return _encoder.encode(body)


async def completed(
    deltas: AsyncGenerator[Delta], request: CompletionRequest
) -> AsyncGenerator[Delta]:
    """What a child does not do itself: the prompt in front of each text, and no more alternatives than were asked for.

    The prompt comes with the first delta of its text and not before: until then the call may be tried again.
    """
    unbegun = set(range(request.n)) if request.echo else set[int]()
    async with aclosing(deltas):
        async for delta in deltas:
            changes: dict[str, object] = {}
            if delta.index in unbegun:
                unbegun.remove(delta.index)
                changes["text"] = request.prompt + delta.text
            if request.logprobs is not None and delta.logprobs is not None:
                tokens = delta.logprobs.get("content") or ()
                changes["logprobs"] = {
                    "content": [
                        {**token, "top_logprobs": token["top_logprobs"][: request.logprobs]}
                        for token in tokens
                    ]
                }
            yield msgspec.structs.replace(delta, **changes) if changes else delta
