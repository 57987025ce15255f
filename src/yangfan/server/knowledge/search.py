"""From a question to the passages that answer it: by words, by meaning, by both; the same order on every database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from yangfan.errors import Invalid, ModelNotFound
from yangfan.plugins.knowledge_base.ranking import Corpus, bm25, fused, telling_terms
from yangfan.plugins.knowledge_base.terms import query_terms, telling_characters, terms_of
from yangfan.server.knowledge import filters
from yangfan.server.knowledge.store import embedded_text
from yangfan.server.knowledge.types import Found
from yangfan.server.knowledge.vectors import unit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.knowledge.store import KnowledgeStore
    from yangfan.server.knowledge.types import Base, Passage, Question
    from yangfan.server.knowledge.vectors import Vectors
    from yangfan.server.services import Services

MAX_QUESTION_CHARS = 1000
MAX_TOP, MAX_SKIP = 100, 400
DEPTH = 100
"""How many of each ranking are fused at least."""

RERANKED = 32


@dataclass(slots=True)
class _Rankings:
    """What one look into the database found."""

    by_words: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    by_meaning: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    corpus: Corpus = field(default_factory=lambda: Corpus(0, 0, {}))


class Search:
    """Looks into bases.

    Args:
        store: Where they are kept.
        vectors: Their matrices.
        services: Who turns the question into a vector, and who reranks.
    """

    def __init__(self, store: KnowledgeStore, vectors: Vectors, services: Services) -> None:
        self._store = store
        self._vectors = vectors
        self._services = services

    async def find(
        self,
        bases: Sequence[Base],
        question: Question,
        key: str,
        known: dict[tuple[str, str], bytes] | None = None,
    ) -> list[Found]:
        """The passages that answer a question, the best first.

        Args:
            bases: Where to look.
            question: What is asked.
            key: Whose turn at the model that it is.
            known: Vectors by model and text, for who asks the same in several ways; it learns this question's.

        Raises:
            Invalid: The question or its filter is none that can be asked.
            ModelNotFound: The service that made the vectors of a base is not served (any more).
            Overloaded: No room or no engine to turn the question into a vector.
        """
        _check(question)
        terms = query_terms(question.text) if question.mode != "semantic" else []
        telling = [*terms, *telling_characters(question.text)] if terms else []
        asked: dict[str, bytes] = {}
        if question.mode != "fulltext":
            for embedder in {base.embedder for base in bases}:
                place = (embedder, question.text)
                vector = None if known is None else known.get(place)
                if vector is None:
                    vector = await self._embedded(embedder, question.text, key)
                if known is not None:
                    known[place] = vector
                asked[embedder] = vector
        wanted = question.skip + question.top
        depth = max(DEPTH, 4 * wanted)
        async with self._store.read() as connection:
            documents = await self._documents(connection, bases, question)
            rankings = await self._rank(
                connection, bases, (terms, telling), asked, documents, depth
            )
            lists = [
                [number for number, _ in rankings.by_words],
                [n for n, _ in rankings.by_meaning],
            ]
            ranked = fused([ranking for ranking in lists if ranking])
            found = await self._told(connection, bases, ranked, rankings)
            if question.least_similarity is not None:
                least = question.least_similarity
                found = [
                    each for each in found if each.similarity is None or each.similarity >= least
                ]
        if question.rerank:
            found = await self._reranked(question.text, found, key)
        found = [
            replace(each, coverage=_coverage(each.passage, telling, rankings.corpus))
            for each in found[question.skip : wanted]
        ]
        return await self._with_neighbours(found) if question.neighbours else found

    async def _embedded(self, embedder: str, text: str, key: str) -> bytes:
        target = self._services.resolve(embedder, "embeddings")
        # Much longer than any question; models that take less get its beginning.
        reply = await target.service.embed([text], max_tokens=target.max_input_tokens, key=key)
        return unit(reply.vectors[0])

    async def _documents(
        self, connection: AsyncConnection, bases: Sequence[Base], question: Question
    ) -> set[int] | None:
        """The documents that the filter lets through; None if there is none."""
        if not question.filter.conditions:
            return None
        passing: set[int] = set()
        for base in bases:
            after = 0
            while page := await self._store.documents(connection, base.number, after=after):
                passing |= {
                    document.number
                    for document in page
                    if filters.passes(question.filter, document)
                }
                after = page[-1].number
        return passing

    async def _rank(
        self,
        connection: AsyncConnection,
        bases: Sequence[Base],
        sought: tuple[Sequence[str], Sequence[str]],
        asked: dict[str, bytes],
        documents: Collection[int] | None,
        depth: int,
    ) -> _Rankings:
        rankings = _Rankings()
        terms, telling = sought
        numbers = [base.number for base in bases]
        if terms:
            frequencies = await self._store.frequencies(connection, numbers, telling)
            rankings.corpus = Corpus(
                sum(base.chunks for base in bases), sum(base.terms for base in bases), frequencies
            )
            leading = telling_terms(terms, frequencies)
            if leading:
                candidates = await self._store.candidates(connection, numbers, leading)
                if documents is not None:
                    candidates = [each for each in candidates if each[3] in documents]
                rows = [each[:3] for each in candidates]
                scored = await asyncio.to_thread(bm25, terms, rows, rankings.corpus)
                rankings.by_words = scored[:depth]
        nearest: list[tuple[int, float]] = []
        for base in bases:
            if base.embedder in asked:
                matrix = await self._vectors.current(connection, base)
                nearest += await asyncio.to_thread(
                    matrix.nearest, asked[base.embedder], depth, documents
                )
        nearest.sort(key=lambda item: (-item[1], item[0]))
        rankings.by_meaning = nearest[:depth]
        return rankings

    async def _told(
        self,
        connection: AsyncConnection,
        bases: Sequence[Base],
        ranked: Sequence[tuple[int, float]],
        rankings: _Rankings,
    ) -> list[Found]:
        """What was ranked, as it stands in the database; what is gone or disabled is left out."""
        passages = await self._store.passages(connection, [number for number, _ in ranked])
        documents = await self._store.documents_by_number(
            connection, {passage.document_number for passage in passages.values()}
        )
        by_number = {base.number: base for base in bases}
        words, meaning = dict(rankings.by_words), dict(rankings.by_meaning)
        found: list[Found] = []
        for number, score in ranked:
            passage = passages.get(number)
            document = None if passage is None else documents.get(passage.document_number)
            if passage is None or document is None or not (passage.enabled and document.enabled):
                continue
            found.append(
                Found(
                    passage,
                    document,
                    by_number[passage.base_number],
                    score,
                    similarity=meaning.get(number),
                    words_score=words.get(number),
                )
            )
        return found

    async def _reranked(self, text: str, found: list[Found], key: str) -> list[Found]:
        """The best ones in the order that a served reranker gives them; as they are if there is none."""
        try:
            target = self._services.resolve("bce-reranker-base", "reranker")
        except ModelNotFound:
            return found
        if "rerank" not in target.service.kinds or len(found) < 2:
            return found
        head, rest = found[:RERANKED], found[RERANKED:]
        texts = [embedded_text(each.passage.headings, each.passage.text) for each in head]
        reply = await target.service.rerank(text, texts, key=key)
        scored = [
            replace(each, score=score) for each, score in zip(head, reply.scores, strict=True)
        ]
        scored.sort(key=lambda each: (-each.score, each.passage.number))
        return scored + rest

    async def _with_neighbours(self, found: Sequence[Found]) -> list[Found]:
        places = [(each.passage.document_number, each.passage.place) for each in found]
        wanted = {(number, place + step) for number, place in places for step in (-1, 1)}
        async with self._store.read() as connection:
            there = await self._store.at(connection, wanted)
        return [
            replace(
                each, before=there.get((number, place - 1)), after=there.get((number, place + 1))
            )
            for each, (number, place) in zip(found, places, strict=True)
        ]


def _coverage(passage: Passage, terms: Sequence[str], corpus: Corpus) -> float:
    if not terms:
        return 0.0
    there = set(terms_of(embedded_text(passage.headings, passage.text)))
    # A pair that stands nowhere is hardly a word, but stands across the border of two.
    weights = {
        term: corpus.weight(term)
        for term in terms
        if term in corpus.frequencies or len(term) != 2 or term.isascii()
    }
    total = sum(weights.values())
    return (
        sum(weight for term, weight in weights.items() if term in there) / total if total else 0.0
    )


def _check(question: Question) -> None:
    if not question.text.strip() or len(question.text) > MAX_QUESTION_CHARS:
        raise Invalid(
            f"query must have 1 to {MAX_QUESTION_CHARS} characters, got {len(question.text)}",
            param="query",
        )
    if not 1 <= question.top <= MAX_TOP:
        raise Invalid(f"top must be in [1, {MAX_TOP}], got {question.top}", param="top")
    if not 0 <= question.skip <= MAX_SKIP:
        raise Invalid(f"skip must be in [0, {MAX_SKIP}], got {question.skip}", param="skip")
    filters.check(question.filter)
