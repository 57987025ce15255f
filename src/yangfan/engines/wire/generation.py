"""The fields that ask a child to generate, the same for chats and completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.engines.wire.types import StreamOptions

if TYPE_CHECKING:
    from yangfan.engines.base import Sampling
    from yangfan.engines.wire.types import LoraScale

_WITH_USAGE = StreamOptions(include_usage=True)

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
    """The fields of `yangfan.engines.wire.types.GenerationBody` that are not left to their defaults."""
    most = sampling.max_output_tokens
    fields: dict[str, Any] = {
        "model": model,
        "max_tokens": most,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "repeat_penalty": sampling.repetition_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logit_bias": sampling.logit_bias,
        "n": n,
        "lora": lora,
    }
    if sampling.min_output_tokens:
        fields["min_tokens"] = sampling.min_output_tokens
    if most is not None and (sampling.min_output_tokens or 0) >= most:
        fields["ignore_eos"] = True
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
        # Who gives a seed wants the same text again; logits over a reused prefix can differ in the last bits.
        fields["cache_prompt"] = False
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
        # It repeats the whole prompt, so it is asked for only where "stop" has two meanings.
        fields["verbose"] = True
    if stream:
        fields["stream"] = fields["timings_per_token"] = True
        fields["stream_options"] = _WITH_USAGE
        # The child notices that its caller has left only when it writes: let it write while it reads a long prompt. A short one is
        # read at one go, and what it would write then only keeps a core from reading.
        fields["return_progress"] = long
    return fields
