"""Knowledge bases in the database: SQL in, types out. What searches see changes in one transaction."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import sqlalchemy as sa

from yangfan.plugins.knowledge_base.chunks import Chunking
from yangfan.plugins.knowledge_base.ranking import MAX_CANDIDATES
from yangfan.server.db import insert_into, now_ms
from yangfan.server.knowledge.tables import BASES, CHUNKS, DOCUMENTS, TERMS, VECTORS
from yangfan.server.knowledge.types import Base, Document, Passage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.db import Database

_B, _D, _C, _V, _T = BASES.c, DOCUMENTS.c, CHUNKS.c, VECTORS.c, TERMS.c
ROWS_A_STATEMENT = 500


class NewChunk(NamedTuple):
    """A chunk to be added: what it says, its terms between spaces, how many they are, and its vector's bytes."""

    text: str
    headings: str
    page: int
    words: str
    terms: int
    vector: bytes


class VectorRow(NamedTuple):
    """A vector, and what it stands for."""

    chunk_number: int
    document_number: int
    vector: bytes


class KnowledgeStore:
    """The rows of all bases.

    Args:
        database: Where they live.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A write transaction."""
        return self._database.write()

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A read transaction."""
        return self._database.read()

    # Bases

    async def add_base(self, connection: AsyncConnection, values: Mapping[str, Any]) -> Base | None:
        """Insert a base; None if its application has one of that name."""
        row = {
            "generation": 1,
            "next_embedder": "",
            "job_id": "",
            "chunks": 0,
            "terms": 0,
            "created_ms": now_ms(),
            "modified_ms": now_ms(),
            **_encoded(values),
        }
        statement = (
            insert_into(connection, BASES)
            .values(row)
            .on_conflict_do_nothing(index_elements=["app_id", "name"])
        )
        done = await connection.execute(statement.returning(_B.number))
        number = done.scalar()
        return None if number is None else await self.base(connection, number=number)

    async def base(self, connection: AsyncConnection, **wanted: Any) -> Base | None:
        """The base of that number, or id."""
        row = (
            await connection.execute(sa.select(BASES).where(*_equal(BASES, wanted)))
        ).one_or_none()
        return None if row is None else _base(row)

    async def bases(self, connection: AsyncConnection, app_id: str) -> list[Base]:
        """Every base that an application may search, the oldest first."""
        rows = (await connection.execute(sa.select(BASES).order_by(_B.number))).all()
        return [base for base in map(_base, rows) if readable(base, app_id)]

    async def change_base(self, connection: AsyncConnection, number: int, **values: Any) -> None:
        """Set columns of a base."""
        await connection.execute(
            sa.update(BASES)
            .where(_B.number == number)
            .values(modified_ms=now_ms(), **_encoded(values))
        )

    async def remove_base(self, connection: AsyncConnection, number: int) -> set[str]:
        """Delete a base with everything in it; the contents that no document has any more."""
        contents = await self._contents(connection, _D.base_number == number)
        for table in (VECTORS, CHUNKS, TERMS, DOCUMENTS):
            await connection.execute(sa.delete(table).where(table.c.base_number == number))
        await connection.execute(sa.delete(BASES).where(_B.number == number))
        return contents - await self._contents(connection, _D.sha256.in_(contents))

    # Documents

    async def add_document(
        self, connection: AsyncConnection, values: Mapping[str, Any]
    ) -> Document:
        """Insert a document that waits to be indexed."""
        row = {
            "revision": 1,
            "state": "waiting",
            "error": "",
            "enabled": 1,
            "chunks": 0,
            "characters": 0,
            "created_ms": now_ms(),
            "modified_ms": now_ms(),
            **_encoded(values),
        }
        done = await connection.execute(sa.insert(DOCUMENTS).values(row))
        (number,) = done.inserted_primary_key or (0,)
        found = await self.document(connection, number=number)
        assert found is not None, "it was just inserted"
        return found

    async def document(self, connection: AsyncConnection, **wanted: Any) -> Document | None:
        """The document with those values."""
        statement = sa.select(DOCUMENTS).where(*_equal(DOCUMENTS, wanted))
        row = (await connection.execute(statement)).one_or_none()
        return None if row is None else _document(row)

    async def documents(
        self,
        connection: AsyncConnection,
        base_number: int,
        *,
        after: int = 0,
        limit: int = 1000,
        state: str | None = None,
        name: str = "",
    ) -> list[Document]:
        """A page of a base's documents, in the order in which they came."""
        statement = sa.select(DOCUMENTS).where(_D.base_number == base_number, _D.number > after)
        if state is not None:
            statement = statement.where(_D.state == state)
        if name:
            statement = statement.where(_D.name.contains(name, autoescape=True))
        statement = statement.order_by(_D.number).limit(limit)
        return [_document(row) for row in (await connection.execute(statement)).all()]

    async def documents_by_number(
        self, connection: AsyncConnection, numbers: Iterable[int]
    ) -> dict[int, Document]:
        """Documents by their numbers."""
        statement = sa.select(DOCUMENTS).where(_D.number.in_(set(numbers)))
        return {row.number: _document(row) for row in (await connection.execute(statement)).all()}

    async def change_document(
        self, connection: AsyncConnection, number: int, **values: Any
    ) -> None:
        """Set columns of a document."""
        await connection.execute(
            sa.update(DOCUMENTS)
            .where(_D.number == number)
            .values(modified_ms=now_ms(), **_encoded(values))
        )

    async def set_states(
        self, connection: AsyncConnection, base_number: int, old: str, new: str, **values: Any
    ) -> None:
        """Every document of a base in one state comes into another."""
        await connection.execute(
            sa.update(DOCUMENTS)
            .where(_D.base_number == base_number, _D.state == old)
            .values(state=new, modified_ms=now_ms(), **values)
        )

    async def remove_document(self, connection: AsyncConnection, document: Document) -> bool:
        """Delete a document; whether no other one holds the same."""
        await self.clear(connection, document)
        await connection.execute(sa.delete(DOCUMENTS).where(_D.number == document.number))
        return not await self._contents(connection, _D.sha256 == document.sha256)

    async def contents(self) -> set[str]:
        """Every content that a document has."""
        async with self._database.read() as connection:
            return await self._contents(connection, sa.true())

    async def _contents(
        self, connection: AsyncConnection, condition: sa.ColumnElement[bool]
    ) -> set[str]:
        rows = await connection.execute(sa.select(_D.sha256).where(condition).distinct())
        return set(rows.scalars())

    # Chunks

    async def fill(
        self,
        connection: AsyncConnection,
        base: Base,
        document: Document,
        chunks: Sequence[NewChunk],
        *,
        characters: int,
    ) -> None:
        """What a document says from now on, in place of what it said."""
        await self.clear(connection, document)
        await self._insert(connection, base, document.number, enumerate(chunks), chunks)
        await self._count(connection, base.number, chunks, sign=1)
        await self.change_document(
            connection,
            document.number,
            state="ready",
            error="",
            chunks=len(chunks),
            characters=characters,
        )

    async def add_chunk(
        self, connection: AsyncConnection, base: Base, document: Document, chunk: NewChunk
    ) -> int:
        """Put one more chunk at the end of a document; its number."""
        last = await connection.scalar(
            sa.select(sa.func.max(_C.place)).where(_C.document_number == document.number)
        )
        place = 0 if last is None else last + 1
        (number,) = await self._insert(connection, base, document.number, [(place, chunk)], [chunk])
        await self._count(connection, base.number, [chunk], sign=1)
        await self.change_document(connection, document.number, chunks=document.chunks + 1)
        return number

    async def clear(self, connection: AsyncConnection, document: Document) -> None:
        """Forget what a document says."""
        await self._drop(connection, document.base_number, _C.document_number == document.number)

    async def remove_chunk(self, connection: AsyncConnection, passage: Passage) -> None:
        """Delete one chunk."""
        await self._drop(connection, passage.base_number, _C.number == passage.number)
        await connection.execute(
            sa.update(DOCUMENTS)
            .where(_D.number == passage.document_number)
            .values(chunks=_D.chunks - 1, modified_ms=now_ms())
        )

    async def enable_chunk(self, connection: AsyncConnection, number: int, *, on: bool) -> None:
        """Let searches find a chunk, or not."""
        await connection.execute(
            sa.update(CHUNKS).where(_C.number == number).values(enabled=int(on))
        )

    async def passages(
        self, connection: AsyncConnection, numbers: Iterable[int]
    ) -> dict[int, Passage]:
        """Chunks by their numbers; those that are gone are not among them."""
        rows = await connection.execute(_PASSAGES.where(_C.number.in_(list(numbers))))
        return {row.number: _passage(row) for row in rows.all()}

    async def passages_of(
        self,
        connection: AsyncConnection,
        document_number: int,
        *,
        after: int = -1,
        limit: int = 100,
    ) -> list[Passage]:
        """A page of a document's chunks, in its order, behind a place."""
        statement = (
            _PASSAGES.where(_C.document_number == document_number, _C.place > after)
            .order_by(_C.place)
            .limit(limit)
        )
        return [_passage(row) for row in (await connection.execute(statement)).all()]

    async def at(
        self, connection: AsyncConnection, places: Iterable[tuple[int, int]]
    ) -> dict[tuple[int, int], Passage]:
        """Chunks by document and place."""
        wanted = list(places)
        if not wanted:
            return {}
        statement = _PASSAGES.where(sa.tuple_(_C.document_number, _C.place).in_(wanted))
        rows = (await connection.execute(statement)).all()
        return {(row.document_number, row.place): _passage(row) for row in rows}

    # Searching

    async def frequencies(
        self, connection: AsyncConnection, base_numbers: Sequence[int], terms: Sequence[str]
    ) -> dict[str, int]:
        """In how many chunks of the bases each term stands."""
        statement = (
            sa.select(_T.term, sa.func.sum(_T.chunks))
            .where(_T.base_number.in_(base_numbers), _T.term.in_(terms))
            .group_by(_T.term)
        )
        rows = (await connection.execute(statement)).all()
        return {term: int(count) for term, count in rows}

    async def candidates(
        self, connection: AsyncConnection, base_numbers: Sequence[int], terms: Sequence[str]
    ) -> list[tuple[int, str, int, int]]:
        """Chunks with one of the terms in them: number, terms between spaces, how many, and number of the document."""
        statement = sa.select(_C.number, _C.words, _C.terms, _C.document_number)
        if connection.dialect.name == "sqlite":
            found = sa.text("SELECT rowid FROM fts_knowledge WHERE fts_knowledge MATCH :query")
            quoted = " OR ".join(f'"{term}"' for term in terms)
            matching = found.bindparams(query=quoted).columns(sa.column("rowid", sa.Integer))
            statement = statement.where(_C.number.in_(matching))
        else:
            query = " | ".join(f"'{term}'" for term in terms)
            statement = statement.where(
                sa.text(
                    "array_to_tsvector(string_to_array(words, ' ')) @@ CAST(:query AS tsquery)"
                ).bindparams(query=query)
            )
        statement = (
            statement.where(_C.base_number.in_(base_numbers), _C.enabled == 1)
            .order_by(_C.number)
            .limit(4 * MAX_CANDIDATES)
        )
        return [tuple(row) for row in (await connection.execute(statement)).all()]

    async def vectors_after(
        self,
        connection: AsyncConnection,
        base_number: int,
        generation: int,
        after: int,
        limit: int,
    ) -> list[VectorRow]:
        """Vectors of a base of chunks behind a number, in order."""
        statement = (
            sa.select(_V.chunk_number, _C.document_number, _V.vector)
            .join(CHUNKS, _C.number == _V.chunk_number)
            .where(
                _V.base_number == base_number,
                _V.generation == generation,
                _V.chunk_number > after,
            )
            .order_by(_V.chunk_number)
            .limit(limit)
        )
        return [VectorRow(*row) for row in (await connection.execute(statement)).all()]

    # Vectors of another model

    async def without_vector(
        self, connection: AsyncConnection, base_number: int, generation: int, limit: int
    ) -> list[tuple[int, str]]:
        """Chunks that have no vector of a generation: number, and what the model reads."""
        has = sa.exists().where(
            _V.base_number == base_number,
            _V.generation == generation,
            _V.chunk_number == _C.number,
        )
        statement = (
            sa.select(_C.number, _C.headings, _C.text)
            .where(_C.base_number == base_number, ~has)
            .order_by(_C.number)
            .limit(limit)
        )
        rows = (await connection.execute(statement)).all()
        return [(number, embedded_text(headings, text)) for number, headings, text in rows]

    async def add_vectors(
        self,
        connection: AsyncConnection,
        base_number: int,
        generation: int,
        vectors: Mapping[int, bytes],
    ) -> None:
        """Keep vectors of chunks; of those that are gone, none."""
        there = await connection.execute(
            sa.select(_C.number).where(_C.number.in_(list(vectors)), _C.base_number == base_number)
        )
        rows = [
            {
                "base_number": base_number,
                "generation": generation,
                "chunk_number": number,
                "vector": vectors[number],
            }
            for number in there.scalars()
        ]
        if rows:
            await connection.execute(
                insert_into(connection, VECTORS).on_conflict_do_nothing(), rows
            )

    async def drop_generations(
        self, connection: AsyncConnection, base_number: int, kept: int
    ) -> None:
        """Delete all vectors of a base but those of one generation."""
        await connection.execute(
            sa.delete(VECTORS).where(_V.base_number == base_number, _V.generation != kept)
        )

    async def _insert(
        self,
        connection: AsyncConnection,
        base: Base,
        document_number: int,
        placed: Iterable[tuple[int, NewChunk]],
        chunks: Sequence[NewChunk],
    ) -> list[int]:
        rows = [
            {
                "document_number": document_number,
                "base_number": base.number,
                "place": place,
                "text": chunk.text,
                "headings": chunk.headings,
                "page": chunk.page,
                "words": chunk.words,
                "terms": chunk.terms,
                "enabled": 1,
            }
            for place, chunk in placed
        ]
        if not rows:
            return []
        await connection.execute(sa.insert(CHUNKS), rows)
        found = await connection.execute(
            sa.select(_C.number)
            .where(_C.document_number == document_number, _C.place >= rows[0]["place"])
            .order_by(_C.place)
        )
        numbers = list(found.scalars())
        await connection.execute(
            sa.insert(VECTORS),
            [
                {
                    "base_number": base.number,
                    "generation": base.generation,
                    "chunk_number": number,
                    "vector": chunk.vector,
                }
                for number, chunk in zip(numbers, chunks, strict=True)
            ],
        )
        return numbers

    async def _drop(
        self, connection: AsyncConnection, base_number: int, which: sa.ColumnElement[bool]
    ) -> None:
        rows = (
            await connection.execute(sa.select(_C.number, _C.words, _C.terms).where(which))
        ).all()
        if not rows:
            return
        numbers = sa.select(_C.number).where(which)
        await connection.execute(
            sa.delete(VECTORS).where(_V.base_number == base_number, _V.chunk_number.in_(numbers))
        )
        await connection.execute(sa.delete(CHUNKS).where(which))
        gone = [NewChunk("", "", 0, row.words, row.terms, b"") for row in rows]
        await self._count(connection, base_number, gone, sign=-1)

    async def _count(
        self,
        connection: AsyncConnection,
        base_number: int,
        chunks: Sequence[NewChunk],
        *,
        sign: int,
    ) -> None:
        """Keep account of chunks and terms that came (1) or went (-1)."""
        counts = Counter(term for chunk in chunks for term in set(chunk.words.split(" ")) if term)
        rows = [
            {"base_number": base_number, "term": term, "chunks": sign * count}
            for term, count in sorted(counts.items())
        ]
        if rows:
            insert = insert_into(connection, TERMS)
            await connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["base_number", "term"],
                    set_={"chunks": _T.chunks + insert.excluded.chunks},
                ),
                rows,
            )
        if sign < 0:
            await connection.execute(
                sa.delete(TERMS).where(_T.base_number == base_number, _T.chunks <= 0)
            )
        await connection.execute(
            sa.update(BASES)
            .where(_B.number == base_number)
            .values(
                chunks=_B.chunks + sign * len(chunks),
                terms=_B.terms + sign * sum(chunk.terms for chunk in chunks),
                modified_ms=now_ms(),
            )
        )


_PASSAGES = sa.select(
    _C.number,
    _C.document_number,
    _C.base_number,
    _C.place,
    _C.text,
    _C.headings,
    _C.page,
    _C.enabled,
)


def readable(base: Base, app_id: str) -> bool:
    """Whether an application may search a base."""
    return app_id == base.app_id or "*" in base.readers or app_id in base.readers


def embedded_text(headings: str, text: str) -> str:
    """What a model of embeddings reads of a chunk."""
    return f"{headings}\n{text}" if headings else text


def _equal(table: sa.Table, wanted: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in wanted.items()]


def _encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that hold JSON, as text."""
    json = {"readers", "chunking", "metadata"}
    return {
        name: msgspec.json.encode(value).decode() if name in json else value
        for name, value in values.items()
    }


def _base(row: sa.Row[Any]) -> Base:
    values = _values(BASES, row)
    values["readers"] = msgspec.json.decode(row.readers, type=tuple[str, ...])
    values["chunking"] = msgspec.json.decode(row.chunking, type=Chunking)
    return Base(**values)


def _document(row: sa.Row[Any]) -> Document:
    values = _values(DOCUMENTS, row)
    values["metadata"] = msgspec.json.decode(row.metadata)
    values["enabled"] = bool(row.enabled)
    return Document(**values)


def _values(table: sa.Table, row: Any) -> dict[str, Any]:
    return dict(zip(table.columns.keys(), row, strict=True))


def _passage(row: Any) -> Passage:
    *values, enabled = row
    return Passage(*values, enabled=bool(enabled))
