"""How tokens are picked, from either dialect's fields into the engines' words: for every call that writes text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.engines.base import Sampling

if TYPE_CHECKING:
    from yangfan.protocol.v1.sampling import Writing as V1Writing
    from yangfan.protocol.v2.sampling import Writing as V2Writing


def v1_sampling(wire: V1Writing) -> Sampling:
    """The fields that all v1 calls share."""
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        repetition_penalty=wire.penalty_score,
        max_output_tokens=wire.max_output_tokens,
        seed=wire.seed,
        stop=tuple(wire.stop or ()),
    )


def v2_sampling(wire: V2Writing, max_output_tokens: int | None) -> Sampling:
    """The fields that all v2 calls share; each has its own name for the limit of the answer."""
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        repetition_penalty=wire.repetition_penalty or wire.penalty_score,
        frequency_penalty=wire.frequency_penalty,
        presence_penalty=wire.presence_penalty,
        max_output_tokens=max_output_tokens,
        seed=wire.seed,
        stop=(wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
        logit_bias=wire.logit_bias,
    )
