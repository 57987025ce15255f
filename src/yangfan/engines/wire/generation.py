"""The fields that ask a child to generate, the same for chats and completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.engines.wire.types import StreamOptions

if TYPE_CHECKING:
    from yangfan.engines.base import Sampling
    from yangfan.engines.wire.types import LoraScale

SHORT_CHARACTERS = 1024
"""A prompt up to this is read within a second by the slowest engine that is any use."""


def generation_fields(
    model: str,
    sampling: Sampling,
    *,
    n: int,
    stream: bool,
    long: bool = True,
    lora: list[LoraScale] | None = None,
) -> dict[str, Any]:
    """The fields of `yangfan.engines.wire.types.GenerationBody`."""
    return {
        "model": model,
        "max_tokens": sampling.max_output_tokens,
        "min_tokens": sampling.min_output_tokens,
        "ignore_eos": sampling.max_output_tokens is not None
        and (sampling.min_output_tokens or 0) >= sampling.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "repeat_penalty": sampling.repetition_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "seed": sampling.seed,
        "stop": list(sampling.stop),
        "logit_bias": sampling.logit_bias,
        "n": n,
        "lora": lora,
        "stream": stream,
        "stream_options": StreamOptions(include_usage=True) if stream else None,
        "timings_per_token": stream,
        # The child notices that its caller has left only when it writes: let it write while it reads a long prompt. A short one is
        # read at one go, and what it would write then only keeps a core from reading.
        "return_progress": stream and long,
        # It repeats the whole prompt, so it is asked for only where "stop" has two meanings.
        "verbose": bool(sampling.stop),
        # Who gives a seed wants the same text again; logits over a reused prefix can differ in the last bits.
        "cache_prompt": None if sampling.seed is None else False,
    }
