"""The nearest vectors of a base, by exact cosine over a matrix in memory.

The database holds the vectors; the matrix is a copy that follows it: before each search it takes in the chunks that came since, by
their rising numbers. Chunks that are gone stay in it until there are many of them; whoever searches drops them, for they are not in
the database any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.knowledge.store import KnowledgeStore
    from yangfan.server.knowledge.types import Base

ROWS_A_READ = 5000
SPARE_ROWS = 1000
MAX_LOADED_BASES = 64


def numpy() -> Any:
    """numpy, loaded when it is first needed.

    Raises:
        Invalid: It is not installed.
    """
    try:
        import numpy
    except ModuleNotFoundError:
        raise Invalid(
            "knowledge bases need numpy, which is not installed on the server; type there: pip install 'yangfan[knowledge]'"
        ) from None
    return numpy


class Matrix:
    """Vectors of one generation of a base, each of length 1."""

    def __init__(self, generation: int) -> None:
        """Start empty."""
        self.generation = generation
        self.rows = 0
        self.last = 0
        self.lock = asyncio.Lock()
        self._numbers: Any = None
        self._documents: Any = None
        self._vectors: Any = None

    def add(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Take in vectors; those of another length than the first are of no use and left out."""
        np = numpy()
        if self._vectors is None:
            width = len(rows[0][2]) // 4
            self._numbers = np.empty(0, dtype=np.int64)
            self._documents = np.empty(0, dtype=np.int64)
            self._vectors = np.empty((0, width), dtype=np.float32)
        width = self._vectors.shape[1]
        kept = [row for row in rows if len(row[2]) == 4 * width]
        more = np.frombuffer(b"".join(row[2] for row in kept), dtype=np.float32).reshape(-1, width)
        self._grow(self.rows + len(kept))
        end = self.rows + len(kept)
        self._numbers[self.rows : end] = [row[0] for row in kept]
        self._documents[self.rows : end] = [row[1] for row in kept]
        self._vectors[self.rows : end] = more
        self.rows = end
        self.last = rows[-1][0]

    def nearest(
        self, vector: bytes, count: int, documents: Collection[int] | None
    ) -> list[tuple[int, float]]:
        """Chunks by their cosine, the nearest first; equal ones by number.

        Args:
            vector: Of the question, of length 1.
            count: How many.
            documents: Only of these; of all if None.
        """
        np = numpy()
        if self.rows == 0:
            return []
        asked = np.frombuffer(vector, dtype=np.float32)
        if asked.shape[0] != self._vectors.shape[1]:
            return []
        numbers, scores = self._numbers[: self.rows], self._vectors[: self.rows] @ asked
        if documents is not None:
            wanted = np.isin(self._documents[: self.rows], np.fromiter(documents, dtype=np.int64))
            numbers, scores = numbers[wanted], scores[wanted]
        if len(scores) > count:
            best = np.argpartition(-scores, count - 1)[:count]
            numbers, scores = numbers[best], scores[best]
        order = np.lexsort((numbers, -scores))
        return [(int(numbers[at]), float(scores[at])) for at in order]

    def _grow(self, rows: int) -> None:
        np = numpy()
        if rows <= len(self._numbers):
            return
        room = max(rows, len(self._numbers) * 3 // 2)
        for name in ("_numbers", "_documents", "_vectors"):
            old = getattr(self, name)
            new = np.empty((room, *old.shape[1:]), dtype=old.dtype)
            new[: self.rows] = old[: self.rows]
            setattr(self, name, new)


class Vectors:
    """The matrices of the bases that were searched lately.

    Args:
        store: Where vectors are kept.
    """

    def __init__(self, store: KnowledgeStore) -> None:
        self._store = store
        self._matrices: dict[int, Matrix] = {}

    async def current(self, connection: AsyncConnection, base: Base) -> Matrix:
        """The matrix of a base, with everything in it that the connection's transaction sees."""
        matrix = self._matrices.pop(base.number, None)
        if (
            matrix is None
            or matrix.generation != base.generation
            or matrix.rows > base.chunks * 5 // 4 + SPARE_ROWS
        ):
            matrix = Matrix(base.generation)
        self._matrices[base.number] = matrix  # the latest one last
        while len(self._matrices) > MAX_LOADED_BASES:
            del self._matrices[next(iter(self._matrices))]
        async with matrix.lock:
            while True:
                rows = await self._store.vectors_after(
                    connection, base.number, base.generation, matrix.last, ROWS_A_READ
                )
                if rows:
                    await asyncio.to_thread(matrix.add, rows)
                if len(rows) < ROWS_A_READ:
                    return matrix

    def forget(self, base_number: int) -> None:
        """Free the matrix of a base."""
        self._matrices.pop(base_number, None)


def unit(vector: Sequence[float]) -> bytes:
    """A vector scaled to length 1, as 32-bit floats."""
    np = numpy()
    values = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(values))
    return (values / length if length > 0 else values).astype(np.float32).tobytes()
