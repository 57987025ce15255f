"""Knowledge bases as the SDK shows them, and how they are read off the wire. Pure: both clients use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.protocol.v2 import knowledge as wire
    from yangfan.protocol.v2.knowledge import DocumentState, SearchMode


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A knowledge base.

    Attributes:
        id: ``kb-…``.
        name: Unique within the application.
        description: What it holds.
        embedder: The service whose vectors are searched.
        next_embedder: The one that vectors are being made anew with; "" when none is.
        target_length: Length of chunks that is aimed at, in Chinese characters or four times as many Latin ones.
        overlap: Share of a chunk that the next one begins with.
        readers: Further applications that may search it.
        chunks: How many it has.
        job_id: The job that works on it now; "" when none does.
        created: ISO 8601, UTC.
        modified: Likewise.
    """

    id: str
    name: str
    description: str
    embedder: str
    next_embedder: str
    target_length: int
    overlap: float
    readers: tuple[str, ...]
    chunks: int
    job_id: str
    created: str
    modified: str


@dataclass(frozen=True, slots=True)
class KnowledgeDocument:
    """A document of a base.

    Attributes:
        id: ``doc-…``.
        name: What it was called when it was sent.
        state: waiting, indexing, ready or failed.
        error: Why it failed.
        metadata: What is written on it.
        enabled: Whether searches find it.
        chunks: How many it was cut into.
        characters: Of all chunks.
        size_bytes: Of what was sent.
        created: ISO 8601, UTC.
        modified: Likewise.
    """

    id: str
    name: str
    state: DocumentState
    error: str
    metadata: Mapping[str, Any] = field(repr=False)
    enabled: bool
    chunks: int
    characters: int
    size_bytes: int
    created: str
    modified: str


@dataclass(frozen=True, slots=True)
class KnowledgeChunk:
    """A chunk: its id, place in the document, text, what stands above it, its page (0 if there are none), whether searches find it."""

    id: int
    place: int
    text: str
    headings: str
    page: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that answers a question.

    Attributes:
        chunk_id: Of the chunk.
        base_id: Of its base.
        document_id: Of its document.
        document_name: What that is called.
        metadata: What is written on the document.
        place: Its place there.
        page: Page, slide or sheet; 0 if there are none.
        headings: What stands above it.
        text: What it says.
        score: By which it is ranked; comparable within one search only.
        similarity: Cosine of its vector with the question's; None if it was found by words only.
        coverage: Share of the question's words that stand in it, each weighed by how rare it is; 0 to 1.
        before: The chunk before it, if asked for.
        after: The one behind it.
    """

    chunk_id: int
    base_id: str
    document_id: str
    document_name: str
    metadata: Mapping[str, Any] = field(repr=False)
    place: int
    page: int
    headings: str
    text: str
    score: float
    similarity: float | None
    coverage: float
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class RetrievalFigures:
    """How well one way of searching answers questions; means over these, 0 to 1.

    Attributes:
        mode: hybrid, fulltext or semantic.
        recall: By cutoff: which share of the relevant documents is among the first so many.
        ndcg: By cutoff: normalised discounted cumulative gain.
        reciprocal_rank: One over the rank of the first relevant document.
        ranks: For each question the rank of each of its documents; 0 for one that was not found.
    """

    mode: SearchMode
    recall: Mapping[int, float]
    ndcg: Mapping[int, float]
    reciprocal_rank: float
    ranks: tuple[tuple[int, ...], ...] = field(repr=False)


def base_of(item: wire.KnowledgeBase) -> KnowledgeBase:
    """A base off the wire."""
    return KnowledgeBase(
        id=item.id,
        name=item.name,
        description=item.description,
        embedder=item.embedder,
        next_embedder=item.nextEmbedder,
        target_length=item.chunking.targetLength,
        overlap=item.chunking.overlapRate,
        readers=tuple(item.readers),
        chunks=item.chunks,
        job_id=item.jobId,
        created=item.createTime,
        modified=item.modifyTime,
    )


def document_of(item: wire.KnowledgeDocument) -> KnowledgeDocument:
    """A document off the wire."""
    return KnowledgeDocument(
        id=item.id,
        name=item.name,
        state=item.state,
        error=item.error,
        metadata=item.metadata,
        enabled=item.enabled,
        chunks=item.chunks,
        characters=item.wordCount,
        size_bytes=item.sizeInBytes,
        created=item.createTime,
        modified=item.modifyTime,
    )


def chunk_of(item: wire.KnowledgeChunk) -> KnowledgeChunk:
    """A chunk off the wire."""
    return KnowledgeChunk(
        item.chunkId, item.place, item.content, item.headings, item.page, item.enabled
    )


def passage_of(item: wire.FoundChunk) -> Passage:
    """A passage off the wire."""
    return Passage(
        chunk_id=item.chunkId,
        base_id=item.knowledgeBaseId,
        document_id=item.documentId,
        document_name=item.documentName,
        metadata=item.metadata,
        place=item.place,
        page=item.page,
        headings=item.headings,
        text=item.content,
        score=item.score,
        similarity=item.similarity,
        coverage=item.coverage,
        before=item.before,
        after=item.after,
    )


def judged_question(query: str, relevant: Mapping[str, int] | Sequence[str]) -> dict[str, Any]:
    """A question and the documents that answer it, for the wire."""
    grades = relevant if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1)
    documents = [{"document": name, "grade": grade} for name, grade in grades.items()]
    return {"query": query, "relevant": documents}


def figures_of(item: wire.RetrievalFigures) -> RetrievalFigures:
    """Figures off the wire."""
    return RetrievalFigures(
        item.type,
        {int(cutoff): value for cutoff, value in item.recall.items()},
        {int(cutoff): value for cutoff, value in item.ndcg.items()},
        item.meanReciprocalRank,
        tuple(map(tuple, item.ranks)),
    )


def metadata_field(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """The form's field for what is to be written on a document."""
    return {} if not metadata else {"metadata": msgspec.json.encode(metadata).decode()}
