"""Read documents of a knowledge base: parse, cut, embed, hand over; one save a document.

Spec: ``embedder``, ``chunking``, ``folder`` (where to hand over), ``documents`` (id, name, revision, path of each). Result: how many were
read and how many could not be.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import Invalid
from yangfan.plugins.knowledge_base.chunks import Chunking, chunked
from yangfan.plugins.knowledge_base.embedding import BATCH, vectors
from yangfan.plugins.knowledge_base.handover import Indexed
from yangfan.plugins.knowledge_base.parsing import Parser
from yangfan.plugins.knowledge_base.terms import terms_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.worker.task import Task

MAX_CHUNKS = 20_000


def run(task: Task) -> dict[str, Any]:
    """Read the documents that were not read yet.

    Raises:
        RefusedError: The service of embeddings refuses or fails.
    """
    documents = task.spec["documents"]
    done, failed = int(task.state.get("done", 0)), int(task.state.get("failed", 0))
    folder = Path(task.spec["folder"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Parser() as parser:
        for document in documents[done:]:
            task.progress(done, len(documents), "documents", document["name"])
            state: dict[str, Any] = {"document": document["id"], "revision": document["revision"]}
            path: Path | None = None
            try:
                content = _indexed(task, parser, document)
                path = folder / f"{task.id}-{secrets.token_hex(8)}"
                path.write_bytes(msgspec.msgpack.encode(content))
                state["file"] = path.name
            except (Invalid, FileNotFoundError) as error:
                failed += 1
                state["error"] = (
                    error.message if isinstance(error, Invalid) else "its content is gone"
                )
                task.log(f"{document['name']}: {state['error']}")
            done += 1
            try:
                task.save({**state, "done": done, "failed": failed})
            finally:
                if path is not None:
                    path.unlink(missing_ok=True)
    task.progress(done, len(documents), "documents")
    return {"documents": done - failed, "failed": failed}


def _indexed(task: Task, parser: Parser, document: Mapping[str, Any]) -> Indexed:
    blocks = parser.blocks(Path(document["path"]), document["name"])
    chunking = msgspec.convert(task.spec["chunking"], Chunking)
    chunks = [chunk for chunk in chunked(blocks, chunking) if chunk.text]
    if not chunks:
        raise Invalid(f"{document['name']} holds no text")
    if len(chunks) > MAX_CHUNKS:
        raise Invalid(
            f"{document['name']} makes {len(chunks)} chunks; at most {MAX_CHUNKS} are kept, split it"
        )
    texts = [
        f"{chunk.headings}\n{chunk.text}" if chunk.headings else chunk.text for chunk in chunks
    ]
    found: list[bytes] = []
    for start in range(0, len(texts), BATCH):
        task.check()
        found += vectors(texts[start : start + BATCH], task.spec["embedder"], task.ask)
    rows: list[tuple[str, str, int, str, int, bytes]] = []
    for chunk, text, vector in zip(chunks, texts, found, strict=True):
        words = list(terms_of(text))
        rows.append((chunk.text, chunk.headings, chunk.page, " ".join(words), len(words), vector))
    return Indexed(task.spec["embedder"], sum(len(chunk.text) for chunk in chunks), rows)
