"""What takes long: reading and embedding documents. One job at a time works on a base; what comes meanwhile waits for the next one.

A worker hands over what it made of each document in a file and saves its name. The hook puts it into the database in the transaction
that keeps the save, so a document is found as a whole or not at all, however often somebody is killed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.handover import Indexed, Vectors
from yangfan.server.jobs import Hooks
from yangfan.server.knowledge.store import NewChunk

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from yangfan.server.jobs import Job, JobError, Jobs
    from yangfan.server.knowledge.store import KnowledgeStore
    from yangfan.server.knowledge.types import Base

INDEX = "index_documents"
EMBED = "embed_chunks"
DOCUMENTS_A_JOB = 200
CHUNKS_A_JOB = 5000
CHUNKS_A_REQUEST = 128


class Work:
    """Keeps a job at work on every base that has something to do.

    Args:
        store: Where bases are kept.
        jobs: What does it.
        folder: Where contents lie, and where workers hand over what they made.
    """

    def __init__(self, store: KnowledgeStore, jobs: Jobs, folder: Path) -> None:
        self._store = store
        self._jobs = jobs
        self._folder = folder
        jobs.register(INDEX, _IndexHooks(self))
        jobs.register(EMBED, _EmbedHooks(self))

    @property
    def handed_over(self) -> Path:
        """The folder in which workers leave what they made."""
        return self._folder / "made"

    def tidy(self) -> None:
        """Remove what workers that were killed had handed over: their jobs make it again."""
        for path in self.handed_over.glob("*"):
            path.unlink(missing_ok=True)

    async def stop(self, job_id: str) -> None:
        """A base is gone: nobody need work on it."""
        if job_id:
            job = await self._jobs.get(job_id)
            if not job.final:
                await self._jobs.cancel(job_id)

    async def go_on(self, connection: AsyncConnection, base_number: int) -> None:
        """Give a base a job if it needs one and has none."""
        base = await self._store.base(connection, number=base_number)
        if base is None or base.job_id:
            return
        waiting = await self._store.documents(
            connection, base.number, state="waiting", limit=DOCUMENTS_A_JOB
        )
        if waiting:
            spec: dict[str, Any] = {
                "base": base.id,
                "embedder": base.embedder,
                "chunking": msgspec.to_builtins(base.chunking),
                "folder": str(self.handed_over),
                "documents": [
                    {
                        "id": document.id,
                        "name": document.name,
                        "revision": document.revision,
                        "path": str(self._folder / document.sha256[:2] / document.sha256),
                    }
                    for document in waiting
                ],
            }
            for document in waiting:
                await self._store.change_document(connection, document.number, state="indexing")
            await self._submit(connection, base, INDEX, spec)
        elif base.next_embedder:
            spec = {
                "base": base.id,
                "embedder": base.next_embedder,
                "generation": base.generation + 1,
                "folder": str(self.handed_over),
                "chunks": CHUNKS_A_JOB,
            }
            await self._submit(connection, base, EMBED, spec)

    async def _submit(
        self, connection: AsyncConnection, base: Base, kind: str, spec: dict[str, Any]
    ) -> None:
        job = await self._jobs.submit(
            kind, spec, account=base.app_id, subject=base.id, connection=connection
        )
        await self._store.change_base(connection, base.number, job_id=job.id)

    async def texts(self, base_id: str, generation: int) -> list[tuple[int, str]]:
        """Some chunks of a base that have no vector of a generation yet, and what the model reads of each."""
        async with self._store.read() as connection:
            base = await self._store.base(connection, id=base_id)
            if base is None:
                return []
            return await self._store.without_vector(
                connection, base.number, generation, CHUNKS_A_REQUEST
            )

    # What happens within the transactions of jobs

    async def made(self, connection: AsyncConnection, job: Job, state: dict[str, Any]) -> None:
        """A document was read, or could not be."""
        document = await self._store.document(connection, id=str(state["document"]))
        base = await self._store.base(connection, id=job.subject)
        if base is None or document is None or document.revision != state["revision"]:
            return  # deleted, or sent anew, meanwhile
        if error := state.get("error"):
            await self._store.change_document(
                connection, document.number, state="failed", error=str(error)[:2000]
            )
            return
        indexed = await asyncio.to_thread(self._read, state["file"], Indexed)
        if base.embedder != indexed.embedder:
            await self._store.change_document(connection, document.number, state="waiting")
            return
        chunks = [NewChunk(*item) for item in indexed.chunks]
        await self._store.fill(connection, base, document, chunks, characters=indexed.characters)

    async def embedded(self, connection: AsyncConnection, job: Job, state: dict[str, Any]) -> None:
        """Some chunks have vectors of the next generation."""
        base = await self._store.base(connection, id=job.subject)
        if base is None:
            return
        made = await asyncio.to_thread(self._read, state["file"], Vectors)
        await self._store.add_vectors(
            connection, base.number, job.spec["generation"], dict(made.vectors)
        )

    async def ended(self, connection: AsyncConnection, job: Job, why: str = "") -> None:
        """The job of a base is over; what it did not come to failed for that reason."""
        base = await self._store.base(connection, id=job.subject)
        if base is None or base.job_id != job.id:
            return
        await self._store.change_base(connection, base.number, job_id="")
        if job.kind == INDEX:
            await self._store.set_states(
                connection, base.number, "indexing", "failed", error=why[:2000] or "it was not read"
            )
        elif why:
            await self._store.change_base(connection, base.number, next_embedder="")
            await self._store.drop_generations(connection, base.number, base.generation)
        elif base.next_embedder == job.spec["embedder"]:
            await self._turn(connection, base)
        await self.go_on(connection, base.number)

    async def _turn(self, connection: AsyncConnection, base: Base) -> None:
        """Search the new vectors from now on, once every chunk has one."""
        generation = base.generation + 1
        if await self._store.without_vector(connection, base.number, generation, 1):
            return
        await self._store.change_base(
            connection,
            base.number,
            generation=generation,
            embedder=base.next_embedder,
            next_embedder="",
        )
        await self._store.drop_generations(connection, base.number, generation)

    def _read(self, name: str, kind: Any) -> Any:
        try:
            return msgspec.msgpack.decode((self.handed_over / name).read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError) as error:
            raise Invalid(f"what the worker made cannot be read: {error}") from None


class _IndexHooks(Hooks):
    """For jobs that read documents."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def saved(self, connection: AsyncConnection, job: Job, state: dict[str, Any]) -> None:
        """A document is ready, or failed."""
        await self._work.made(connection, job, state)

    async def succeeded(
        self, connection: AsyncConnection, job: Job, result: dict[str, Any]
    ) -> None:
        """On with what came meanwhile."""
        del result
        await self._work.ended(connection, job)

    async def failed(self, connection: AsyncConnection, job: Job, error: JobError) -> None:
        """Likewise; its documents failed."""
        await self._work.ended(connection, job, error.message or error.code)

    async def cancelled(self, connection: AsyncConnection, job: Job) -> None:
        """Likewise."""
        await self._work.ended(connection, job, "its job was cancelled")


class _EmbedHooks(_IndexHooks):
    """For jobs that make vectors anew."""

    async def saved(self, connection: AsyncConnection, job: Job, state: dict[str, Any]) -> None:
        """Some vectors are there."""
        await self._work.embedded(connection, job, state)
