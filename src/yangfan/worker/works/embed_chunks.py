"""Make vectors of a knowledge base anew with another model, while searches go on with those that there are.

Spec: ``base``, ``generation`` (of the new vectors), ``embedder``, ``folder`` (where to hand over), ``chunks`` (at most so many, so that documents
that come meanwhile get their turn). Result: how many chunks.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.plugins.knowledge_base.embedding import vectors
from yangfan.plugins.knowledge_base.handover import Vectors

if TYPE_CHECKING:
    from yangfan.worker.task import Task

TEXTS = "/internal/knowledge?Action=TakeTexts"


def run(task: Task) -> dict[str, Any]:
    """Embed what has no vector of that generation yet.

    Raises:
        RefusedError: The service of embeddings refuses or fails.
    """
    folder = Path(task.spec["folder"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = int(task.state.get("done", 0))
    wanted = {"base": task.spec["base"], "generation": task.spec["generation"]}
    while done < task.spec["chunks"]:
        task.progress(done, None, "chunks")
        rows = task.ask(TEXTS, wanted)["texts"]
        if not rows:
            break
        made = vectors([text for _, text in rows], task.spec["embedder"], task.ask)
        path = folder / f"{task.id}-{secrets.token_hex(8)}"
        try:
            numbers = [number for number, _ in rows]
            path.write_bytes(msgspec.msgpack.encode(Vectors(list(zip(numbers, made, strict=True)))))
            done += len(rows)
            task.save({"done": done, "file": path.name})
        finally:
            path.unlink(missing_ok=True)
    return {"chunks": done}
