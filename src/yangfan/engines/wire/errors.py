"""What a child's refusal means: HTTP status and OpenAI's error object in, an exception of ours out."""

from __future__ import annotations

import re

import msgspec

from yangfan.errors import (
    ContextTooLong,
    EngineFailed,
    ImageFailed,
    Invalid,
    Overloaded,
    RefusedError,
)


class ErrorDetail(msgspec.Struct, omit_defaults=True):
    """OpenAI's error object with llama.cpp's two counts."""

    message: str = ""
    type: str | None = None
    code: int | str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class ErrorBody(msgspec.Struct):
    """The body of a reply that is not a 200, and of an event that ends a stream early."""

    error: ErrorDetail


_TOO_LARGE = re.compile(r"input \((\d+) tokens\) is too large to process.*batch size: (\d+)")
"""llama.cpp about a text to embed that does not fit one batch; it comes with status 500."""

_decoder = msgspec.json.Decoder(ErrorBody)


def refusal(status: int, body: bytes) -> RefusedError:
    """The exception for a reply with this `status` (not 200) and `body`."""
    try:
        detail = _decoder.decode(body).error
    except (msgspec.DecodeError, ValueError):
        return EngineFailed(f"the engine answered with HTTP status {status} and no readable reason")
    return refusal_from(detail, status)


def refusal_from(detail: ErrorDetail, status: int) -> RefusedError:  # noqa: PLR0911 - one line for each kind
    """The exception for an error object that came with this HTTP `status`."""
    if detail.type == "exceed_context_size_error":
        return ContextTooLong(
            f"the prompt has {detail.n_prompt_tokens} tokens and the model takes {detail.n_ctx}, prompt and answer "
            "together; shorten the messages"
        )
    if detail.type == "image_failed_error":
        return ImageFailed(detail.message)
    too_large = _TOO_LARGE.match(detail.message)
    if too_large:
        tokens, most_tokens = too_large.groups()
        return ContextTooLong(
            f"a text has {tokens} tokens and the model takes {most_tokens}; shorten it"
        )
    if 400 <= status < 500 and status not in {401, 403, 404}:
        return Invalid(detail.message)
    if status == 503:
        return Overloaded(f"the engine is not ready: {detail.message}; try again")
    if "image input is not supported" in detail.message:
        return Invalid("this model does not take images; send text only")
    return EngineFailed(f"the engine failed ({status}): {detail.message}")
