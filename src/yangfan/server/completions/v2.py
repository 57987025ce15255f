"""v2 completions (specification C.1): OpenAI's legacy shape, for one prompt or several."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from yangfan.engines import base
from yangfan.engines.base import Finish
from yangfan.errors import Invalid
from yangfan.protocol.sse import pieces
from yangfan.protocol.v2.chat import PromptTokensDetails, Usage
from yangfan.protocol.v2.completions import (
    COMPLETIONS,
    DEFAULT_MAX_TOKENS,
    MAX_PROMPTS,
    Choice,
    Completion,
    CompletionRequest,
    Logprobs,
)
from yangfan.protocol.v2.sampling import StreamOptions
from yangfan.server.chat import v2_sampling
from yangfan.server.http import Call, Reply, Route, Stream
from yangfan.server.http.call import new_id
from yangfan.server.services import answered_by, named, texts_or_ids

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from yangfan.server.completions.logic import Completions
    from yangfan.server.http import Meter
    from yangfan.server.services import Target

_FINISH = {
    Finish.NATURAL: "stop",
    Finish.STOP_STRING: "stop",
    Finish.LENGTH: "length",
    Finish.CONTENT_FILTER: "content_filter",
}


def routes(completions: Completions) -> list[Route]:
    """What this file answers."""

    async def answer(call: Call[CompletionRequest]) -> Reply | Stream:
        wire = call.request
        target = completions.target(named(wire.model))
        requests = to_engine(wire)
        if wire.stream:
            options = wire.stream_options or StreamOptions()
            chunks = _chunks(completions, target, requests, options, call.meter)
            return Stream(chunks, answered_by(target))
        reply = await completions.answer(
            target, requests, call.meter, low=call.principal.kind == "job"
        )
        headers = answered_by(target, estimated=reply.usage.estimated)
        return Reply(_reply(target.asked, reply), headers)

    return [Route(COMPLETIONS, answer)]


# In


def to_engine(wire: CompletionRequest) -> list[base.CompletionRequest]:
    """Check the rules and translate: one request for each prompt.

    Raises:
        Invalid: A rule is broken.
    """
    prompts = texts_or_ids(wire.prompt or (), param="prompt")
    if not prompts:
        raise Invalid("prompt must not be empty; give the text to go on from", param="prompt")
    if len(prompts) > MAX_PROMPTS:
        raise Invalid(
            f"prompt holds {len(prompts)} prompts, a call takes {MAX_PROMPTS}; send them in several calls",
            param="prompt",
        )
    for position, prompt in enumerate(prompts):
        if not prompt:
            where = "prompt" if isinstance(wire.prompt, str) else f"prompt[{position}]"
            raise Invalid(f"{where} must not be empty; give the text to go on from", param="prompt")
    _check_fields(wire)
    limit = DEFAULT_MAX_TOKENS if wire.max_tokens is None else wire.max_tokens
    sampling = v2_sampling(wire, limit)
    return [
        base.CompletionRequest(
            prompt if isinstance(prompt, str) else "",
            sampling,
            n=wire.n or 1,
            logprobs=wire.logprobs,
            echo=bool(wire.echo),
            passed={"user": wire.user} if wire.user else {},
            prompt_ids=() if isinstance(prompt, str) else prompt,
        )
        for prompt in prompts
    ]


def _check_fields(wire: CompletionRequest) -> None:
    if wire.suffix:
        raise Invalid(
            "suffix is not supported, texts only go on at their end; leave it out", param="suffix"
        )
    if wire.best_of is not None and wire.best_of != (wire.n or 1):
        raise Invalid(
            f"best_of {wire.best_of} is not supported, every text that is generated is returned; leave it out and set n",
            param="best_of",
        )
    if wire.max_tokens == 0 and not (wire.echo and wire.logprobs is not None):
        raise Invalid(
            "max_tokens must be at least 1; 0 goes together with echo and logprobs, which tell how likely the prompt is",
            param="max_tokens",
        )
    for token_id, bias in (wire.logit_bias or {}).items():
        if not (token_id.isascii() and token_id.isdigit() and -100 <= bias <= 100):
            raise Invalid(
                f"logit_bias must map a token id to a number in [-100, 100], got {token_id[:32]!r}: {bias:g}",
                param="logit_bias",
            )


# Out


def _reply(model: str, reply: base.ChatReply) -> Completion:
    return Completion(
        id=new_id(),
        created=int(time.time()),
        model=model,
        choices=[
            Choice(
                index=answer.index,
                text=answer.text,
                logprobs=_logprobs(answer.logprobs, answer.text, 0),
                finish_reason=_FINISH[answer.finish],
            )
            for answer in reply.answers
        ],
        usage=_usage(reply.usage),
    )


async def _chunks(
    completions: Completions,
    target: Target,
    requests: list[base.CompletionRequest],
    options: StreamOptions,
    meter: Meter,
) -> AsyncGenerator[Completion]:
    answer_id, created, model = new_id(), int(time.time()), target.asked
    usage: Usage | UnsetType = UNSET
    lengths: dict[int, int] = {}
    async with aclosing(completions.stream(target, requests, meter)) as deltas:
        async for delta in deltas:
            usage = _usage(delta.usage or base.Usage())
            texts = pieces(delta.text)
            for place, text in enumerate(texts, 1):
                choice = Choice(index=delta.index, text=text)
                if place == len(texts):
                    before = lengths.get(delta.index, 0)
                    choice.logprobs = _logprobs(delta.logprobs, delta.text, before)
                    choice.finish_reason = None if delta.finish is None else _FINISH[delta.finish]
                yield Completion(
                    id=answer_id,
                    created=created,
                    model=model,
                    choices=[choice],
                    usage=usage if options.chunk_include_usage else UNSET,
                )
            lengths[delta.index] = lengths.get(delta.index, 0) + len(delta.text)
    if options.include_usage:
        yield Completion(id=answer_id, created=created, model=model, choices=[], usage=usage)


def _logprobs(given: Mapping[str, Any] | None, text: str, offset: int) -> Logprobs | None:
    """OpenAI's older shape of log-probabilities, for the tokens of `text`, which begins `offset` characters into the whole."""
    if given is None:
        return None
    tokens: Iterable[dict[str, Any]] = given.get("content") or ()
    told = Logprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
    for token in tokens:
        chance: float | None = token["logprob"]
        told.tokens.append(token["token"])
        told.token_logprobs.append(chance)
        told.top_logprobs.append(None if chance is None else _alternatives(token))
        told.text_offset.append(offset)
        # The mark that some models put in front of every prompt is none of the text's.
        if chance is not None or text.startswith(token["token"]):
            offset += len(token["token"])
    return told


def _alternatives(token: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for other in token.get("top_logprobs") or ():
        # Several pieces of a character read alike: the likeliest, which comes first, stands for them.
        found.setdefault(other["token"], other["logprob"])
    return found


def _usage(usage: base.Usage) -> Usage:
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        PromptTokensDetails(usage.cached_tokens) if usage.cached_tokens else UNSET,
        usage.estimated or UNSET,
    )
