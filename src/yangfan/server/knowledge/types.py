"""Knowledge bases as the platform thinks of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.plugins.knowledge_base.chunks import Chunking

DocumentState = Literal["waiting", "indexing", "ready", "failed"]
SearchMode = Literal["hybrid", "fulltext", "semantic"]


@dataclass(frozen=True, slots=True)
class Base:
    """A knowledge base.

    Attributes:
        number: Of its row.
        id: Its id, ``kb-…``.
        app_id: The application that it belongs to.
        readers: Further applications that may search it; ``*`` for all.
        name: Unique within the application.
        description: For people and models.
        chunking: How its documents are cut.
        embedder: The service whose vectors are searched.
        generation: Of those vectors.
        next_embedder: The service that vectors are being made of anew with; "" when none is.
        job_id: Of the job that works on it; "" when none does.
        chunks: How many it has.
        terms: How many terms they have in all.
    """

    number: int
    id: str
    app_id: str
    readers: tuple[str, ...]
    name: str
    description: str
    chunking: Chunking
    embedder: str
    generation: int
    next_embedder: str
    job_id: str
    chunks: int
    terms: int
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a base.

    Attributes:
        revision: Rises with every content that is sent for it.
        state: waiting, indexing, ready or failed. What an earlier revision said is found until the new one is ready.
        error: Why it failed.
        metadata: What its owner wrote on it; searches can ask for it.
        enabled: Whether searches find it.
    """

    number: int
    id: str
    base_number: int
    name: str
    sha256: str
    size_bytes: int
    revision: int
    state: DocumentState
    error: str
    metadata: Mapping[str, Any]
    enabled: bool
    chunks: int
    characters: int
    created_ms: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as it is kept."""

    number: int
    document_number: int
    base_number: int
    place: int
    text: str
    headings: str
    page: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that answers a question.

    Attributes:
        score: By which it is ranked: fused, or of the reranker; comparable within one search only.
        similarity: Cosine of its vector with the question's, -1 to 1; None if vectors were not searched or it is not among the nearest.
        words_score: BM25; None if it was not found by words.
        coverage: Which share of the question's words stands in it, each weighed by how rare it is, 0 to 1.
        before: The passage before it in the document, if asked for.
        after: The one behind it.
    """

    passage: Passage
    document: Document
    base: Base
    score: float
    similarity: float | None = None
    words_score: float | None = None
    coverage: float = 0.0
    before: Passage | None = None
    after: Passage | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What a document's metadata must be like.

    Attributes:
        field: Name within the metadata, or doc_id, doc_name.
        operator: ==, !=, >, >=, <, <=, in, not_in, contains.
        value: What to compare with.
    """

    field: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions, all or one of which must hold; none at all lets every document through."""

    conditions: tuple[Condition, ...] = ()
    any: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for.

    Attributes:
        text: In words, 1 to 1000 characters.
        mode: By words and meaning, words only, or meaning only.
        top: How many passages at most, 1 to 100.
        skip: How many to leave out before them, 0 to 400.
        least_similarity: Passages must be so similar at least, where their similarity is known.
        filter: On documents.
        neighbours: Whether to give the passages around each as well.
        rerank: Whether a served reranker orders what was found.
    """

    text: str
    mode: SearchMode = "hybrid"
    top: int = 6
    skip: int = 0
    least_similarity: float | None = None
    filter: Filter = field(default_factory=Filter)
    neighbours: bool = False
    rerank: bool = True
