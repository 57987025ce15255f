"""How far a pull is, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """One step of a pull.

    Attributes:
        file: Path of the file within the model, or what is being asked.
        done_bytes: Bytes of it that are here.
        total_bytes: Its size, None while it is unknown.
        stage: waiting (another pull of the model is running), listing, downloading, verifying or done.
    """

    file: str
    done_bytes: int
    total_bytes: int | None
    stage: str


Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Report to nobody."""
