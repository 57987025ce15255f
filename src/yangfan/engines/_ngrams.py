"""Vectors without a model: texts that share short strings of characters point in similar directions.

Each run of one to three characters of the case-folded text (with a space on either side; spaces alone do not count) adds or
subtracts 1 in one of 384 dimensions, as many as Embedding-V1 has. CRC-32 of its UTF-8 picks dimension and sign (feature hashing,
Weinberger et al. 2009, https://arxiv.org/abs/0902.2206). The vector is then scaled to length 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Sequence

DIMENSIONS = 384
LONGEST_RUN = 3
_SIGN_BIT = 1 << 31


def vector_of(text: str) -> list[float]:
    """The vector of a text, of length 1; of a blank one, all zeros."""
    vector = [0.0] * DIMENSIONS
    padded = f" {text.casefold()} "
    for length in range(1, LONGEST_RUN + 1):
        for start in range(len(padded) - length + 1):
            run = padded[start : start + length]
            if run.isspace():
                continue  # every text has spaces
            code = crc32(run.encode("utf-8", "replace"))
            vector[code % DIMENSIONS] += 1.0 if code & _SIGN_BIT else -1.0
    norm = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / norm for value in vector]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors of length 1."""
    return sum(map(float.__mul__, one, other))
