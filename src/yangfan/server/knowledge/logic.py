"""Knowledge bases: making them, filling them, searching them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import (
    ConfigurationError,
    Conflict,
    FetchError,
    Forbidden,
    Invalid,
    NotFound,
    Overloaded,
)
from yangfan.hub.disk import full_disk_said_clearly, require_free
from yangfan.plugins.knowledge_base.chunks import Chunking
from yangfan.plugins.knowledge_base.parsing import MAX_FILE_BYTES, reader_of
from yangfan.plugins.knowledge_base.terms import terms_of
from yangfan.server.files import plain_name, read_form, settle, tidy
from yangfan.server.http.call import new_id
from yangfan.server.knowledge.pages import SOURCE_URL, fetch
from yangfan.server.knowledge.quality import measured
from yangfan.server.knowledge.search import Search
from yangfan.server.knowledge.store import NewChunk, readable
from yangfan.server.knowledge.vectors import Vectors, numpy, unit
from yangfan.server.knowledge.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.egress import Egress
    from yangfan.protocol.v2.knowledge import SearchMode
    from yangfan.server.jobs import Jobs
    from yangfan.server.knowledge.quality import Figures, Judged
    from yangfan.server.knowledge.store import KnowledgeStore
    from yangfan.server.knowledge.types import Base, Document, Found, Passage, Question
    from yangfan.server.services import Services

MAX_NAME_CHARS = 50
MAX_DESCRIPTION_CHARS = 500
MAX_METADATA_BYTES = 10_000
MAX_CHUNK_CHARS = 4000
MAX_DOCUMENTS_A_CALL = 100


class Knowledge:
    """All knowledge bases.

    Args:
        store: Where they are kept.
        services: Who turns texts into vectors.
        jobs: What indexes documents.
        folder: Where the contents of documents lie, and what workers hand over; made when first needed.
        egress: The guard that pages of the web are fetched through.
    """

    def __init__(
        self, store: KnowledgeStore, services: Services, jobs: Jobs, folder: Path, egress: Egress
    ) -> None:
        self._store = store
        self._egress = egress
        self._services = services
        self._folder = folder
        self._vectors = Vectors(store)
        self._search = Search(store, self._vectors, services)
        # Between the last row that has a content and the content itself, nobody may come with the same again.
        self._lock = asyncio.Lock()
        self.work = Work(store, jobs, folder)

    async def start(self) -> None:
        """Remove what a server that was killed left half done; before the first call. Its jobs go on by themselves."""
        wanted = await self._store.contents()
        await asyncio.to_thread(tidy, self._folder, wanted)
        await asyncio.to_thread(self.work.tidy)

    # Bases

    async def create(
        self,
        app_id: str,
        name: str,
        *,
        description: str = "",
        embedder: str = "",
        chunking: Chunking | None = None,
        readers: Sequence[str] = (),
    ) -> Base:
        """Make an empty base.

        Args:
            app_id: Whose it is.
            name: 1 to 50 characters, unique within the application.
            description: What it holds, at most 500 characters.
            embedder: The service of embeddings to use; the first one that is served by default.
            chunking: How documents are cut.
            readers: Further applications that may search it; ``*`` for all.

        Raises:
            Invalid: A value is out of range, or what knowledge bases need is not installed.
            ModelNotFound: No such service of embeddings is served.
            Conflict: There is one of that name.
        """
        numpy()
        _check_name(name, description)
        values = {
            "id": new_id("kb-", 16),
            "app_id": app_id,
            "name": name.strip(),
            "description": description,
            "embedder": self._embedder(embedder),
            "chunking": chunking or Chunking(),
            "readers": tuple(readers),
        }
        async with self._store.write() as connection:
            base = await self._store.add_base(connection, values)
        if base is None:
            raise _taken(name)
        return base

    async def bases(self, app_id: str) -> list[Base]:
        """Every base that an application may search, the oldest first."""
        async with self._store.read() as connection:
            return await self._store.bases(connection, app_id)

    async def base(self, base_id: str, app_id: str) -> Base:
        """A base that an application may search.

        Raises:
            NotFound: It may search none of that id.
        """
        async with self._store.read() as connection:
            return await self._readable(connection, base_id, app_id)

    async def modify(
        self,
        base_id: str,
        app_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        embedder: str | None = None,
        chunking: Chunking | None = None,
        readers: Sequence[str] | None = None,
    ) -> Base:
        """Change a base. With another embedder its vectors are made anew while searches go on with the old ones.

        Raises:
            NotFound: The application may search none of that id.
            Forbidden: It is another application's.
            Invalid: A value is out of range.
            Conflict: Another base has the name.
            ModelNotFound: No such service of embeddings is served.
        """
        async with self._store.write() as connection:
            base = await self._owned(connection, base_id, app_id)
            values: dict[str, Any] = {}
            if name is not None or description is not None:
                _check_name(name or base.name, description or "")
            if name is not None and name.strip() != base.name:
                if any(
                    other.name == name.strip() and other.app_id == app_id
                    for other in await self._store.bases(connection, app_id)
                ):
                    raise _taken(name)
                values["name"] = name.strip()
            if description is not None:
                values["description"] = description
            if readers is not None:
                values["readers"] = tuple(readers)
            if chunking is not None:
                values["chunking"] = chunking
            if embedder is not None:
                wanted = self._embedder(embedder)
                values["next_embedder"] = "" if wanted == base.embedder else wanted
            await self._store.change_base(connection, base.number, **values)
            await self.work.go_on(connection, base.number)
            changed = await self._store.base(connection, number=base.number)
        assert changed is not None, "it was just changed"
        return changed

    async def delete(self, base_id: str, app_id: str) -> None:
        """Delete a base with everything in it.

        Raises:
            NotFound: The application may search none of that id.
            Forbidden: It is another application's.
        """
        async with self._lock:
            async with self._store.write() as connection:
                base = await self._owned(connection, base_id, app_id)
                contents = await self._store.remove_base(connection, base.number)
            await self._drop(contents)
        self._vectors.forget(base.number)
        await self.work.stop(base.job_id)

    # Documents

    async def upload(
        self, app_id: str, content_type: bytes, pieces: AsyncIterator[bytes]
    ) -> tuple[Base, Document]:
        """Take a document that a multipart/form-data body brings: fields ``id`` (of the base), ``file``, and ``metadata`` (JSON), if any.

        Raises:
            Invalid: It is no such form, or no kind of document that is read.
            NotFound: The application may search no such base.
            Forbidden: It is another application's.
            Overloaded: The disk is full.
        """
        coming = self._coming()
        try:
            require_free(self._folder, 0)
            with full_disk_said_clearly(self._folder):
                form, sha256 = await read_form(content_type, pieces, coming, MAX_FILE_BYTES)
            if form.size_bytes == 0:
                raise Invalid("the document is empty; send one that holds something", param="file")
            metadata = _metadata(form.fields.get("metadata", "") or "{}")
            return await self._take(
                app_id, form.fields.get("id", ""), form.filename or "", coming, sha256, metadata
            )
        except ConfigurationError as error:
            raise Overloaded(f"the document cannot be kept: {error.message}") from None
        finally:
            coming.unlink(missing_ok=True)

    async def add_text(
        self, app_id: str, base_id: str, name: str, text: str, metadata: Mapping[str, Any]
    ) -> Document:
        """Add a document that comes as text; its name says how to read it, plain text by default.

        Raises:
            Invalid: It is empty, or its name is none.
            NotFound: The application may search no such base.
            Forbidden: It is another application's.
            Overloaded: The disk is full.
        """
        if not text.strip():
            raise Invalid("the text is empty; send one that says something", param="text")
        name = name if "." in name else f"{name}.txt"
        written = _metadata(msgspec.json.encode(metadata).decode())
        content = text.encode("utf-8", "replace")
        coming = self._coming()
        try:
            require_free(self._folder, len(content))
            with full_disk_said_clearly(self._folder):
                await asyncio.to_thread(coming.write_bytes, content)
            sha256 = hashlib.sha256(content).hexdigest()
            return (await self._take(app_id, base_id, name, coming, sha256, written))[1]
        except ConfigurationError as error:
            raise Overloaded(f"the document cannot be kept: {error.message}") from None
        finally:
            coming.unlink(missing_ok=True)

    async def add_page(
        self, app_id: str, base_id: str, url: str, metadata: Mapping[str, Any]
    ) -> Document:
        """Add a page of the web, or another document that is there. Its metadata say where it came from, as `source_url`.

        Raises:
            Invalid: It cannot be had from there, or is no kind of document that is read.
            NotFound: The application may search no such base.
            Forbidden: It is another application's.
            Overloaded: The disk is full.
        """
        async with self._store.read() as connection:
            await self._owned(connection, base_id, app_id)
        written = _metadata(msgspec.json.encode({**metadata, SOURCE_URL: url}).decode())
        coming = self._coming()
        try:
            name, sha256 = await self._fetched(url, coming)
            return (await self._take(app_id, base_id, name, coming, sha256, written))[1]
        finally:
            coming.unlink(missing_ok=True)

    async def fetch_again(self, base_id: str, document_id: str, app_id: str) -> Document:
        """Fetch a page of the web again; what it said before is found until the new content is ready.

        Raises:
            NotFound: There is no such base or document.
            Forbidden: It is another application's.
            Invalid: It did not come from the web, or cannot be had from there now.
            Overloaded: The disk is full.
        """
        async with self._store.read() as connection:
            base = await self._owned(connection, base_id, app_id)
            document = await self._of(connection, base, document_id)
        url = document.metadata.get(SOURCE_URL)
        if not isinstance(url, str):
            raise Invalid(
                f"{document.name} was not fetched from the web; send it again", param="documentId"
            )
        coming = self._coming()
        try:
            name, sha256 = await self._fetched(url, coming)
            async with self._lock:
                path = content_of(self._folder, sha256)
                await asyncio.to_thread(settle, coming, path)
                async with self._store.write() as connection:
                    document = await self._of(connection, base, document_id)
                    await self._store.change_document(
                        connection,
                        document.number,
                        name=name,
                        sha256=sha256,
                        size_bytes=path.stat().st_size,
                        state="waiting",
                        revision=document.revision + 1,
                    )
                    await self.work.go_on(connection, base.number)
                    changed = await self._store.document(connection, number=document.number)
                if document.sha256 not in await self._store.contents():
                    await self._drop({document.sha256})
        finally:
            coming.unlink(missing_ok=True)
        assert changed is not None, "it was just changed"
        return changed

    async def _fetched(self, url: str, coming: Path) -> tuple[str, str]:
        """Fetch into a file: the name of the document, and its sha256."""
        try:
            require_free(self._folder, 0)
            with full_disk_said_clearly(self._folder):
                page = await fetch(self._egress, url, coming)
        except FetchError as error:
            raise Invalid(f"the page cannot be fetched: {error.message}", param="url") from None
        except ConfigurationError as error:
            raise Overloaded(f"the document cannot be kept: {error.message}") from None
        return page

    async def documents(
        self,
        base_id: str,
        app_id: str,
        *,
        after: str | None = None,
        limit: int = 100,
        state: str | None = None,
        name: str = "",
    ) -> tuple[list[Document], str | None]:
        """A page of a base's documents, and the `after` of the next one.

        Raises:
            NotFound: The application may search no such base, or there is no document `after`.
        """
        async with self._store.read() as connection:
            base = await self._readable(connection, base_id, app_id)
            number = 0 if after is None else (await self._of(connection, base, after)).number
            found = await self._store.documents(
                connection, base.number, after=number, limit=limit + 1, state=state, name=name
            )
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def document(self, base_id: str, document_id: str, app_id: str) -> Document:
        """A document of a base.

        Raises:
            NotFound: There is no such base or document.
        """
        async with self._store.read() as connection:
            base = await self._readable(connection, base_id, app_id)
            return await self._of(connection, base, document_id)

    async def modify_document(
        self,
        base_id: str,
        document_id: str,
        app_id: str,
        *,
        enabled: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Document:
        """Hide a document from searches or show it again, or write something else on it.

        Raises:
            NotFound: There is no such base or document.
            Forbidden: It is another application's.
            Invalid: The metadata is too long.
        """
        values: dict[str, Any] = {}
        if enabled is not None:
            values["enabled"] = int(enabled)
        if metadata is not None:
            values["metadata"] = _metadata(msgspec.json.encode(metadata).decode())
        async with self._store.write() as connection:
            base = await self._owned(connection, base_id, app_id)
            document = await self._of(connection, base, document_id)
            await self._store.change_document(connection, document.number, **values)
            changed = await self._store.document(connection, number=document.number)
        assert changed is not None, "it was just changed"
        return changed

    async def delete_document(self, base_id: str, document_id: str, app_id: str) -> None:
        """Delete a document; searches find nothing of it from this moment on.

        Raises:
            NotFound: There is no such base or document.
            Forbidden: It is another application's.
        """
        async with self._lock:
            async with self._store.write() as connection:
                base = await self._owned(connection, base_id, app_id)
                document = await self._of(connection, base, document_id)
                last = await self._store.remove_document(connection, document)
            if last:
                await self._drop({document.sha256})

    async def index_again(self, base_id: str, document_id: str, app_id: str) -> Document:
        """Read a document again, such as one that failed, or after its base is to cut otherwise.

        Raises:
            NotFound: There is no such base or document.
            Forbidden: It is another application's.
        """
        async with self._store.write() as connection:
            base = await self._owned(connection, base_id, app_id)
            document = await self._of(connection, base, document_id)
            await self._store.change_document(
                connection, document.number, state="waiting", revision=document.revision + 1
            )
            await self.work.go_on(connection, base.number)
            changed = await self._store.document(connection, number=document.number)
        assert changed is not None, "it was just changed"
        return changed

    # Chunks

    async def chunks(
        self, base_id: str, document_id: str, app_id: str, *, after: int = -1, limit: int = 100
    ) -> list[Passage]:
        """A page of a document's chunks, behind a place.

        Raises:
            NotFound: There is no such base or document.
        """
        async with self._store.read() as connection:
            base = await self._readable(connection, base_id, app_id)
            document = await self._of(connection, base, document_id)
            return await self._store.passages_of(
                connection, document.number, after=after, limit=limit
            )

    async def add_chunk(
        self, base_id: str, document_id: str, app_id: str, text: str, key: str
    ) -> Passage:
        """Add a chunk at the end of a document.

        Raises:
            NotFound: There is no such base or document.
            Forbidden: It is another application's.
            Invalid: The text is empty or too long.
            Overloaded: No room or no engine to turn it into a vector.
        """
        if not text.strip() or len(text) > MAX_CHUNK_CHARS:
            raise Invalid(
                f"a chunk has 1 to {MAX_CHUNK_CHARS} characters, got {len(text)}", param="content"
            )
        base = await self.base(base_id, app_id)
        target = self._services.resolve(base.embedder, "embeddings")
        reply = await target.service.embed(
            [text], max_tokens=target.max_input_tokens, key=key, low=False
        )
        words = list(terms_of(text))
        chunk = NewChunk(text, "", 0, " ".join(words), len(words), unit(reply.vectors[0]))
        async with self._store.write() as connection:
            base = await self._owned(connection, base_id, app_id)
            document = await self._of(connection, base, document_id)
            number = await self._store.add_chunk(connection, base, document, chunk)
            return (await self._store.passages(connection, [number]))[number]

    async def modify_chunk(self, chunk_number: int, app_id: str, *, enabled: bool) -> Passage:
        """Hide a chunk from searches or show it again.

        Raises:
            NotFound: There is none of that number that the application may search.
            Forbidden: It is another application's.
        """
        async with self._store.write() as connection:
            passage = await self._chunk(connection, chunk_number, app_id)
            await self._store.enable_chunk(connection, passage.number, on=enabled)
            return (await self._store.passages(connection, [chunk_number]))[chunk_number]

    async def delete_chunk(self, chunk_number: int, app_id: str) -> None:
        """Delete a chunk.

        Raises:
            NotFound: There is none of that number that the application may search.
            Forbidden: It is another application's.
        """
        async with self._store.write() as connection:
            passage = await self._chunk(connection, chunk_number, app_id)
            await self._store.remove_chunk(connection, passage)

    # Searching

    async def search(
        self, base_ids: Sequence[str], app_id: str, question: Question, key: str = ""
    ) -> list[Found]:
        """The passages of these bases that answer a question, the best first.

        Raises:
            NotFound: The application may not search one of the bases.
            Invalid: The question is none that can be asked.
            ModelNotFound: The service that made the vectors of a base is not served (any more).
            Overloaded: No room or no engine to turn the question into a vector.
        """
        return await self._search.find(await self._sought(base_ids, app_id), question, key)

    async def evaluate(
        self,
        base_ids: Sequence[str],
        app_id: str,
        questions: Sequence[Judged],
        *,
        modes: Sequence[SearchMode],
        cutoffs: Sequence[int],
        rerank: bool,
        key: str = "",
    ) -> list[Figures]:
        """How well searches of these bases answer questions whose answers are known.

        Raises:
            NotFound: The application may not search one of the bases.
            Invalid: A question cannot be asked, or names a document that is in none of the bases.
            ModelNotFound, Overloaded: As of a search.
        """
        return await measured(
            self._search,
            self._store,
            await self._sought(base_ids, app_id),
            questions,
            [*dict.fromkeys(modes)],
            sorted({*cutoffs}),
            rerank=rerank,
            key=key,
        )

    # Within

    async def _sought(self, base_ids: Sequence[str], app_id: str) -> list[Base]:
        if not base_ids:
            raise Invalid("name at least one knowledge base", param="knowledgebase_ids")
        async with self._store.read() as connection:
            return [
                await self._readable(connection, base_id, app_id)
                for base_id in dict.fromkeys(base_ids)
            ]

    def _embedder(self, name: str) -> str:
        """The served model that a name means."""
        if name:
            return self._services.resolve(name, "embeddings").model
        for service in self._services.all:
            if "embeddings" in service.kinds:
                return service.name
        raise Invalid(
            "no model of embeddings is served, and a knowledge base needs one; `yangfan serve --model all-minilm-l6-v2` serves one",
            param="embedder",
        )

    async def _take(
        self,
        app_id: str,
        base_id: str,
        name: str,
        coming: Path,
        sha256: str,
        metadata: dict[str, Any],
    ) -> tuple[Base, Document]:
        name = _file_name(name)
        reader_of(name)
        async with self._lock:
            await asyncio.to_thread(settle, coming, content_of(self._folder, sha256))
            async with self._store.write() as connection:
                base = await self._owned(connection, base_id, app_id)
                values = {
                    "id": new_id("doc-", 16),
                    "base_number": base.number,
                    "name": name,
                    "sha256": sha256,
                    "size_bytes": content_of(self._folder, sha256).stat().st_size,
                    "metadata": metadata,
                }
                document = await self._store.add_document(connection, values)
                await self.work.go_on(connection, base.number)
                told = await self._store.document(connection, number=document.number)
        return base, told or document

    def _coming(self) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder / f"coming-{secrets.token_hex(16)}"

    async def _drop(self, contents: set[str]) -> None:
        for sha256 in contents:
            path = content_of(self._folder, sha256)
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _readable(self, connection: AsyncConnection, base_id: str, app_id: str) -> Base:
        base = await self._store.base(connection, id=base_id)
        if base is None or not readable(base, app_id):
            raise NotFound(
                f"no knowledge base {base_id[:64]!r}; DescribeKnowledgeBases and `yangfan kb list` show those that there are"
            )
        return base

    async def _owned(self, connection: AsyncConnection, base_id: str, app_id: str) -> Base:
        base = await self._readable(connection, base_id, app_id)
        if base.app_id != app_id:
            raise Forbidden(
                f"the knowledge base {base.id} belongs to another application, which alone may change it"
            )
        return base

    async def _of(self, connection: AsyncConnection, base: Base, document_id: str) -> Document:
        document = await self._store.document(connection, id=document_id, base_number=base.number)
        if document is None:
            raise NotFound(
                f"the knowledge base {base.id} has no document {document_id[:64]!r}; DescribeDocuments lists them"
            )
        return document

    async def _chunk(self, connection: AsyncConnection, chunk_number: int, app_id: str) -> Passage:
        passage = (await self._store.passages(connection, [chunk_number])).get(chunk_number)
        base = None
        if passage is not None:
            base = await self._store.base(connection, number=passage.base_number)
        if passage is None or base is None or not readable(base, app_id):
            raise NotFound(f"no chunk {chunk_number}; DescribeChunks lists those of a document")
        if base.app_id != app_id:
            raise Forbidden(
                f"the knowledge base {base.id} belongs to another application, which alone may change it"
            )
        return passage


def content_of(folder: Path, sha256: str) -> Path:
    """Where a document's content lies."""
    return folder / sha256[:2] / sha256


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is a knowledge base called {name.strip()[:MAX_NAME_CHARS]!r} already; take another name"
    )


def _check_name(name: str, description: str) -> None:
    if not 1 <= len(name.strip()) <= MAX_NAME_CHARS:
        raise Invalid(
            f"a knowledge base's name has 1 to {MAX_NAME_CHARS} characters, got {len(name.strip())}",
            param="name",
        )
    if len(description) > MAX_DESCRIPTION_CHARS:
        raise Invalid(
            f"a description has at most {MAX_DESCRIPTION_CHARS} characters, got {len(description)}",
            param="description",
        )


def _metadata(text: str) -> dict[str, Any]:
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise Invalid(
            f"metadata has at most {MAX_METADATA_BYTES} bytes; leave some out", param="metadata"
        )
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Invalid(f"metadata must be a JSON object: {error}", param="metadata") from None


def _file_name(given: str) -> str:
    name = plain_name(given)
    if not 1 <= len(name) <= 255:
        raise Invalid("the document needs a name of at most 255 characters", param="file")
    return name
