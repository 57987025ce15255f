"""The nouns of charge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UNIT_TPM = 1000
"""Tokens a minute of one unit."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Tokens a minute that a model was given.

    Attributes:
        id: ``tpm-…``.
        model: Name of the served model.
        units: How much, in units of 1,000 tokens a minute.
        payment: Postpaid or Prepaid; nothing is paid here.
        started_ms: Since when, ms since the epoch; `release_ms` until when, None for ever.
    """

    id: str
    model: str
    units: int
    payment: str
    started_ms: int
    release_ms: int | None = None

    @property
    def tpm(self) -> int:
        """Tokens a minute."""
        return self.units * UNIT_TPM


@dataclass(frozen=True, slots=True)
class ComputeUnits:
    """Units that were bought together; each allows a model as much again as it is allowed without any.

    Attributes:
        id: ``unit-…``.
        model: Name of the served model; None for units that no model has yet.
        count: How many.
        payment: Postpaid or Prepaid; nothing is paid here.
        region: Where Baidu would run them; `type` on what. Kept and shown.
        status: Creating and Releasing are written first, so that a change that was cut off is finished at the next start.
        started_ms: Since when, ms since the epoch; `release_ms` until when, None for ever.
    """

    id: str
    model: str | None
    count: int
    payment: str
    region: str
    type: str
    status: Literal["Creating", "Running", "Releasing", "Released"]
    started_ms: int
    release_ms: int | None = None
