"""The nouns of charge."""

from __future__ import annotations

from dataclasses import dataclass

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
