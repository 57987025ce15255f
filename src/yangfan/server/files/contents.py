"""Contents in a folder by their SHA-256: put there whole or not at all, and what is wanted no more taken away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def settle(coming: Path, path: Path) -> None:
    """Move a content to its place, so that it is there whole or not at all."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with coming.open("rb") as file:
        os.fsync(file.fileno())
    coming.replace(path)


def tidy(folder: Path, wanted: set[str]) -> None:
    """Remove what came half, and contents that nobody wants."""
    for path in folder.glob("coming-*"):
        path.unlink(missing_ok=True)
    for path in folder.glob("??/*"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def plain_name(given: str) -> str:
    """The last part of what the caller calls it, as browsers send whole paths at times."""
    name = given.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable()).strip()
