"""What a worker hands over to the server, in a file of MessagePack."""

from __future__ import annotations

import msgspec


class Indexed(msgspec.Struct, frozen=True):
    """A document as chunks.

    Attributes:
        embedder: Whose vectors they have.
        characters: Of all chunks.
        chunks: Text, headings, page, terms between spaces, how many, and the vector of length 1 as 32-bit floats.
    """

    embedder: str
    characters: int
    chunks: list[tuple[str, str, int, str, int, bytes]]


class Vectors(msgspec.Struct, frozen=True):
    """Vectors of chunks, by their numbers."""

    vectors: list[tuple[int, bytes]]
