"""The nouns of files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file.

    Attributes:
        number: Order of creation.
        id: ``file-…``.
        app_id: Application of the key that sent it; nobody else sees it.
        name: As the caller calls it.
        purpose: What it is for.
        size_bytes: How long it is.
        sha256: Where it lies: files that hold the same are kept once.
        created_ms: When it came, ms since the epoch.
        expires_ms: When it is deleted; None for never.
    """

    number: int
    id: str
    app_id: str
    name: str
    purpose: str
    size_bytes: int
    sha256: str
    created_ms: int
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Adopted:
    """A content that lies among the others already, and the file that it is to become."""

    name: str
    purpose: str
    size_bytes: int
    sha256: str
