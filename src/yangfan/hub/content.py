"""What may be in a model: which files are taken, where they may go, and whether they are what they say."""

from __future__ import annotations

import struct
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from yangfan.errors import ChecksumMismatch, FetchError
from yangfan.weights.safetensors import MAX_HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GGUF: Final = ".gguf"
SAFETENSORS: Final = ".safetensors"
TAKEN: Final = frozenset({GGUF, SAFETENSORS, ".json", ".txt", ".model", ".tiktoken", ".jinja"})
"""File name endings that are data. Pickles (.bin .pt .pth .ckpt .pkl) and code (.py) run when they are loaded."""

_MAX_PATH_CHARACTERS: Final = 512


def is_taken(path: str) -> bool:
    """Whether a file of a source is one that a model needs and that is safe to keep."""
    return PurePosixPath(path).suffix.lower() in TAKEN and not PurePosixPath(path).name.startswith(
        "."
    )


def require_safe_path(path: str) -> None:
    """Refuse a path that could leave the model's folder, on any system.

    Raises:
        FetchError: It is absolute, climbs up, or holds characters that have a meaning of their own.
    """
    parts = path.split("/")
    if (
        not path
        or len(path) > _MAX_PATH_CHARACTERS
        or any(part in {"", ".", ".."} or len(part.encode()) > 255 for part in parts)
        or any(letter in '\\:*?"<>|' or not letter.isprintable() for letter in path)
    ):
        raise FetchError(f"the source names a file that cannot be stored safely: {path[:200]!r}")


def format_of(paths: Iterable[str]) -> str | None:
    """Return ``"gguf"`` or ``"safetensors"``, or None if the files hold no weights that can be run."""
    endings = {PurePosixPath(path).suffix.lower() for path in paths}
    if GGUF in endings:
        return "gguf"
    return "safetensors" if SAFETENSORS in endings else None


def require_genuine(file: Path, path: str) -> None:
    """Check that weights begin as their format does (an error page or a Git LFS pointer does not).

    Args:
        file: Where the bytes are.
        path: What they claim to be.

    Raises:
        ChecksumMismatch: They are something else.
    """
    suffix = PurePosixPath(path).suffix.lower()
    with file.open("rb") as stream:
        head = stream.read(9)
    if suffix == GGUF and not head.startswith(b"GGUF"):
        raise ChecksumMismatch(f"{path} is not a GGUF file: it begins with {head[:8]!r}")
    if suffix == SAFETENSORS:
        size_bytes = file.stat().st_size
        header_bytes = struct.unpack("<Q", head[:8])[0] if len(head) > 8 else 0
        if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, size_bytes - 8) or head[8:] != b"{":
            raise ChecksumMismatch(f"{path} is not a safetensors file: it begins with {head[:8]!r}")
