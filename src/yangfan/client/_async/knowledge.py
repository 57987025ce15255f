"""`client.knowledge`: knowledge bases (Yangfan servers)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.client.forms import content_of, form
from yangfan.client.knowledge import (
    base_of,
    chunk_of,
    document_of,
    figures_of,
    judged_question,
    metadata_field,
    passage_of,
)
from yangfan.client.retry import Retry
from yangfan.protocol.v2 import knowledge as wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from yangfan.client._async.session import AsyncSession
    from yangfan.client.knowledge import (
        KnowledgeBase,
        KnowledgeChunk,
        KnowledgeDocument,
        Passage,
        RetrievalFigures,
    )
    from yangfan.client.types import JSON
    from yangfan.protocol.endpoint import Endpoint
    from yangfan.protocol.v2.knowledge import DocumentState, SearchMode


class AsyncKnowledge:
    """Knowledge bases: documents in, the passages that answer a question out."""

    def __init__(self, session: AsyncSession) -> None:
        """Made by the client."""
        self._session = session

    async def create(
        self,
        name: str,
        *,
        description: str = "",
        embedder: str = "",
        target_length: int | None = None,
        overlap: float | None = None,
        readers: Sequence[str] = (),
    ) -> KnowledgeBase:
        """Make an empty base.

        Args:
            name: 1 to 50 characters, unique within the application.
            description: What it holds, at most 500 characters.
            embedder: A served model of embeddings; the first one by default.
            target_length: Length of chunks to aim at, 50 to 1200 Chinese characters (four Latin ones count as one). Default: 220.
            overlap: Share of a chunk that the next one begins with, 0 to 0.5. Default: 0.15.
            readers: Further applications that may search it; ``*`` for all.

        Raises:
            Invalid: A value is out of range, or there is a base of that name.
        """
        body: JSON = {
            "name": name,
            "description": description,
            "embedder": embedder,
            "readers": [*readers],
            **_chunking(target_length, overlap),
        }
        return base_of(await self._ask(wire.CREATE_BASE, body))

    async def list(self) -> tuple[KnowledgeBase, ...]:
        """Every base that the caller may search, the oldest first."""
        return tuple(map(base_of, (await self._ask(wire.DESCRIBE_BASES, {})).items))

    async def get(self, base_id: str) -> KnowledgeBase:
        """A base.

        Raises:
            NotFound: The caller may search none of that id; likewise for all others.
        """
        return base_of(await self._ask(wire.DESCRIBE_BASE, {"id": base_id}))

    async def modify(
        self,
        base_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        embedder: str | None = None,
        target_length: int | None = None,
        overlap: float | None = None,
        readers: Sequence[str] | None = None,
    ) -> KnowledgeBase:
        """Change a base; what is None stays. With another embedder its vectors are made anew while searches go on with the old ones."""
        body: JSON = {
            "id": base_id,
            "name": name,
            "description": description,
            "embedder": embedder,
            "readers": None if readers is None else [*readers],
            **_chunking(target_length, overlap),
        }
        return base_of(await self._ask(wire.MODIFY_BASE, body))

    async def delete(self, base_id: str) -> None:
        """Delete a base with everything in it."""
        await self._ask(wire.DELETE_BASE, {"id": base_id})

    async def upload(
        self,
        base_id: str,
        file: Path | bytes,
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> KnowledgeDocument:
        """Add a document: pdf, docx, pptx, xlsx, html, md, txt or csv, at most 256 MiB. A job reads it.

        Args:
            base_id: Where to.
            file: Where it is, or what it holds.
            name: What it is called; its ending says what it is. By default as it is on this machine.
            metadata: What to write on it; searches can ask for it.

        Raises:
            ConfigurationError: It cannot be read, or bytes come without a name.
            Invalid: It is no kind of document that is read.
        """
        if isinstance(file, Path):
            content, name = content_of(file), name or file.name
        else:
            content = file
        if not name:
            raise errors.ConfigurationError("a document that comes as bytes needs a name")
        boundary = secrets.token_hex(16)
        call = self._session.inference_call(
            wire.UPLOAD_DOCUMENT,
            2,
            path=wire.PATH,
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        body = form(boundary, {"id": base_id, **metadata_field(metadata)}, name, content)
        # Sent once only: a second time would be a second document.
        call = replace(call, request=replace(call.request, body=body), retry=Retry(0))
        reply = await self._session.fetch(call, wire.UPLOAD_DOCUMENT.reply)
        return document_of(reply.result)

    async def add_texts(
        self,
        base_id: str,
        texts: Mapping[str, str],
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[KnowledgeDocument, ...]:
        """Add documents that are texts, by their names; the ending of a name says how to read it, plain text by default."""
        documents: list[JSON] = [
            {"name": name, "text": text, "metadata": dict(metadata or {})}
            for name, text in texts.items()
        ]
        reply = await self._ask(wire.CREATE_DOCUMENTS, {"id": base_id, "documents": documents})
        return tuple(map(document_of, reply.items))

    async def add_page(
        self, base_id: str, url: str, *, metadata: Mapping[str, Any] | None = None
    ) -> KnowledgeDocument:
        """Add a page of the web, or another document that is there; the server fetches it.

        Raises:
            Invalid: Its address is refused, it cannot be had, or it is no kind of document that is read.
        """
        body: JSON = {"id": base_id, "url": url, "metadata": dict(metadata or {})}
        return document_of(await self._ask(wire.FETCH_DOCUMENT, body))

    async def fetch_again(self, base_id: str, document_id: str) -> KnowledgeDocument:
        """Fetch a page again; what it said before is found until the new content is ready.

        Raises:
            Invalid: It did not come from the web, or cannot be had from there now.
        """
        return document_of(await self._ask(wire.FETCH_DOCUMENT, _named(base_id, document_id)))

    async def documents(
        self, base_id: str, *, state: DocumentState | None = None, keyword: str = ""
    ) -> tuple[KnowledgeDocument, ...]:
        """All documents of a base in the order in which they came, or those in a state or with that in their name."""
        body: JSON = {"id": base_id, "state": state, "keyword": keyword, "maxKeys": 1000}
        found: list[KnowledgeDocument] = []
        while True:
            page = await self._ask(wire.DESCRIBE_DOCUMENTS, body)
            found += map(document_of, page.items)
            if page.nextMarker is None:
                return tuple(found)
            body["marker"] = page.nextMarker

    async def document(self, base_id: str, document_id: str) -> KnowledgeDocument:
        """A document."""
        return document_of(await self._ask(wire.DESCRIBE_DOCUMENT, _named(base_id, document_id)))

    async def modify_document(
        self,
        base_id: str,
        document_id: str,
        *,
        enabled: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> KnowledgeDocument:
        """Hide a document from searches, show it again, or write something else on it."""
        body: JSON = {**_named(base_id, document_id), "enabled": enabled}
        if metadata is not None:
            body["metadata"] = dict(metadata)
        return document_of(await self._ask(wire.MODIFY_DOCUMENT, body))

    async def delete_document(self, base_id: str, document_id: str) -> None:
        """Delete a document; searches find nothing of it from then on."""
        await self._ask(wire.DELETE_DOCUMENT, _named(base_id, document_id))

    async def index_again(self, base_id: str, document_id: str) -> KnowledgeDocument:
        """Read a document again, such as one that failed."""
        return document_of(await self._ask(wire.INDEX_DOCUMENT, _named(base_id, document_id)))

    async def chunks(self, base_id: str, document_id: str) -> tuple[KnowledgeChunk, ...]:
        """All chunks of a document, in its order."""
        body: JSON = {**_named(base_id, document_id), "after": -1, "maxKeys": 1000}
        found: list[KnowledgeChunk] = []
        while True:
            page = (await self._ask(wire.DESCRIBE_CHUNKS, body)).items
            found += map(chunk_of, page)
            if len(page) < 1000:
                return tuple(found)
            body["after"] = page[-1].place

    async def add_chunk(self, base_id: str, document_id: str, text: str) -> KnowledgeChunk:
        """Add a chunk of one's own at the end of a document."""
        body: JSON = {**_named(base_id, document_id), "content": text}
        return chunk_of(await self._ask(wire.CREATE_CHUNK, body))

    async def modify_chunk(self, chunk_id: int, *, enabled: bool) -> KnowledgeChunk:
        """Hide a chunk from searches, or show it again."""
        body: JSON = {"chunkId": chunk_id, "enabled": enabled}
        return chunk_of(await self._ask(wire.MODIFY_CHUNK, body))

    async def delete_chunk(self, chunk_id: int) -> None:
        """Delete a chunk."""
        await self._ask(wire.DELETE_CHUNK, {"chunkId": chunk_id})

    async def search(  # noqa: PLR0913 - what a search is made of, one argument each
        self,
        base_ids: str | Sequence[str],
        query: str,
        *,
        mode: SearchMode = "hybrid",
        top: int = 6,
        skip: int = 0,
        least_similarity: float | None = None,
        filters: Sequence[tuple[str, str, Any]] = (),
        any_filter: bool = False,
        neighbours: bool = False,
        rerank: bool = True,
    ) -> tuple[Passage, ...]:
        """The passages that answer a question, the best first.

        Args:
            base_ids: Where to look.
            query: The question, 1 to 1000 characters.
            mode: hybrid (words and meaning), fulltext or semantic.
            top: How many at most, 1 to 100.
            skip: How many to leave out before them, 0 to 400.
            least_similarity: Passages must be so similar at least, -1 to 1.
            filters: What documents must be like: field of the metadata, operator (== != > >= < <= in not_in contains), value.
            any_filter: Whether one of the filters will do.
            neighbours: Whether to give the chunks around each as well.
            rerank: Whether a served reranker orders what was found.
        """
        body: JSON = {
            "knowledgebase_ids": [base_ids] if isinstance(base_ids, str) else [*base_ids],
            "query": query,
            "type": mode,
            "top": top,
            "skip": skip,
            "least_similarity": least_similarity,
            "metadata_filters": {
                "filters": [
                    {"field": name, "operator": operator, "value": value}
                    for name, operator, value in filters
                ],
                "condition": "or" if any_filter else "and",
            },
            "neighbours": neighbours,
            "rerank": rerank,
        }
        return tuple(map(passage_of, (await self._ask(wire.SEARCH, body)).items))

    async def evaluate(
        self,
        base_ids: str | Sequence[str],
        questions: Sequence[tuple[str, Mapping[str, int] | Sequence[str]]],
        *,
        modes: Sequence[SearchMode] = ("hybrid", "fulltext", "semantic"),
        cutoffs: Sequence[int] = (1, 3, 10),
        rerank: bool = True,
    ) -> tuple[RetrievalFigures, ...]:
        """How well searches answer questions whose answers are known; one set of figures for each way of searching.

        Args:
            base_ids: Where to look.
            questions: 1 to 200; each with the ids or names of the documents that answer it, or a mapping of these to grades of 1 to 3.
            modes: Ways of searching: hybrid, fulltext, semantic.
            cutoffs: How many of the found documents count, 1 to 100, at most ten such numbers.
            rerank: Whether a served reranker orders what was found.

        Raises:
            Invalid: A question names a document that is in none of the bases.
        """
        body: JSON = {
            "knowledgebase_ids": [base_ids] if isinstance(base_ids, str) else [*base_ids],
            "questions": [judged_question(query, relevant) for query, relevant in questions],
            "types": [*modes],
            "cutoffs": [*cutoffs],
            "rerank": rerank,
        }
        return tuple(map(figures_of, (await self._ask(wire.EVALUATE, body)).items))

    async def _ask(self, endpoint: Endpoint[Any, Any], body: JSON) -> Any:
        call = self._session.inference_call(endpoint, 2, body=body)
        # It may change something, so it is sent once only.
        call = replace(call, retry=Retry(0))
        return (await self._session.fetch(call, endpoint.reply)).result


def _chunking(target_length: int | None, overlap: float | None) -> JSON:
    given: JSON = {}
    if target_length is not None:
        given["targetLength"] = target_length
    if overlap is not None:
        given["overlapRate"] = overlap
    return {"chunking": given} if given else {}


def _named(base_id: str, document_id: str) -> JSON:
    return {"id": base_id, "documentId": document_id}
