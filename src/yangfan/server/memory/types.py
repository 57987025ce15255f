"""The nouns of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["system", "user"]
"""About the model itself, or about one of its users."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What a user says and what the system answers; `id` names it within its memory."""

    id: str
    user: str
    system: str


@dataclass(frozen=True, slots=True)
class Record:
    """One memory.

    Attributes:
        number: Order of creation.
        id: ``sm-…`` or ``um-…``.
        app_id: The application that it belongs to.
        pairs: What it holds.
    """

    number: int
    id: str
    kind: Kind
    app_id: str
    description: str
    pairs: tuple[Pair, ...] = ()
