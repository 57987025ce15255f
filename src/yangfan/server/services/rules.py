"""What a name allows and assumes: how long an input may be, how long an answer becomes, how its tokens are picked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import ContextTooLong, MalformedArgument, TooManyCharacters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yangfan.engines.base import Sampling
    from yangfan.server.services.service import Target

Header = tuple[bytes, bytes]


def named(model: str | None) -> str:
    """The name in a body's `model` field.

    Raises:
        MalformedArgument: There is none.
    """
    if not model:
        raise MalformedArgument(
            "model is empty; name one, GET /v2/models lists them", param="model"
        )
    return model


ESTIMATED: Header = (b"X-Yangfan-Tokens", b"estimated")
"""Beside counts of a model on somebody else's server: its tokenizer is not here, so Qianfan's documented rough rule stands in."""


def answered_by(target: Target, *, estimated: bool = False) -> tuple[Header, ...]:
    """The header that names the model that really answers, and the one that says that tokens are `estimated`."""
    named_model = target.service.header
    return (named_model, ESTIMATED) if estimated else (named_model,)


def with_defaults(target: Target, sampling: Sampling, *, output_tokens: int) -> Sampling:
    """`sampling`, completed with what Qianfan assumes for the name.

    Args:
        target: What the name means.
        sampling: What the request says.
        output_tokens: Most tokens of an answer when neither the request nor a preset says.
    """
    if target.service.remote:
        return sampling  # what is not said there, its own server decides
    preset, limit = target.preset, sampling.max_output_tokens
    if limit is None:
        limit = output_tokens if preset is None else preset.default_output_tokens
    changes: dict[str, float | int] = {
        "max_output_tokens": min(limit, target.service.context_tokens)
    }
    if preset is not None and preset.family == "ernie":
        if sampling.temperature is None:
            changes["temperature"] = preset.default_temperature
        if sampling.top_p is None:
            changes["top_p"] = preset.default_top_p
        if sampling.frequency_penalty is None and preset.default_frequency_penalty is not None:
            changes["frequency_penalty"] = preset.default_frequency_penalty
    return msgspec.structs.replace(sampling, **changes)


def check_characters(target: Target, characters: int, *, of: str, remedy: str) -> None:
    """Refuse an input with more characters than the name takes.

    Args:
        target: What the name means.
        characters: How many there are.
        of: Whose they are, with a verb: ``the prompt has``.
        remedy: What to do about it: ``shorten it``.

    Raises:
        TooManyCharacters: There are too many.
    """
    highest = target.max_input_chars
    if highest is not None and characters > highest:
        raise TooManyCharacters(
            f"the max input characters is {highest}; {of} {characters}, {remedy}"
        )


def surely_fits(target: Target, most: int) -> bool:
    """Whether an input of at most so many tokens is one that `check_tokens` lets pass without a count."""
    return target.service.remote or most <= _token_limit(target)


def _token_limit(target: Target) -> int:
    limit, highest = target.service.context_tokens - 1, target.max_input_tokens
    return limit if highest is None else min(limit, highest)


async def check_tokens(
    target: Target, most: int, count: Callable[[], Awaitable[int]], *, remedy: str
) -> int:
    """Refuse an input with more tokens than the name takes or than leave the model room for an answer.

    Args:
        target: What the name means.
        most: An upper bound of the tokens; `count` is called only where that does not settle it.
        count: Counts them.
        remedy: What to do about too many: ``shorten the prompt``.

    Returns:
        The tokens if they were counted, else `most`.

    Raises:
        ContextTooLong: There are too many.
    """
    if surely_fits(target, most):
        return most  # of a model elsewhere, only its own server can count
    limit, tokens = _token_limit(target), await count()
    if tokens > limit:
        raise ContextTooLong(
            f"Prompt tokens too long: {tokens} tokens, {target.asked} takes {limit}; {remedy}"
        )
    return tokens
