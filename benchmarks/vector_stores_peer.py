"""LanceDB and Chroma as their pages show them, in an environment of their own, on vectors that are handed to them."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers import install, run

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SECONDS = 600


def measure(
    ids: Sequence[str],
    texts: Sequence[str],
    vectors: Sequence[Sequence[float]],
    queries: Sequence[str],
    query_vectors: Sequence[Sequence[float]],
    *,
    depth: int,
) -> dict[str, list[list[str]]]:
    """What each finds for each query: ids, the best first.

    Raises:
        UnavailableError: They cannot be installed or run here.
    """
    python = install("vector-stores")
    with tempfile.TemporaryDirectory(prefix="yangfan-bench-") as folder:
        asked = Path(folder) / "asked.json"
        asked.write_text(
            json.dumps([folder, [*ids], [*texts], [*vectors], [*queries], [*query_vectors], depth])
        )
        printed = run([python, __file__, str(asked)], MOST_SECONDS)
    return json.loads(printed.splitlines()[-1])


def _find(
    folder: str,
    ids: list[str],
    texts: list[str],
    vectors: list[list[float]],
    queries: list[str],
    query_vectors: list[list[float]],
    depth: int,
) -> dict[str, list[list[str]]]:
    """What runs there."""
    lancedb: Any = importlib.import_module("lancedb")
    rows = [
        {"id": id, "text": text, "vector": vector}
        for id, text, vector in zip(ids, texts, vectors, strict=True)
    ]
    store = lancedb.connect(f"{folder}/lance")
    table = store.create_table("passages", data=rows)
    table.create_fts_index("text")
    # Its default takes a run of Chinese for one word; this finds parts of it.
    parts = store.create_table("parts", data=rows)
    parts.create_fts_index("text", base_tokenizer="ngram", ngram_min_length=2, ngram_max_length=3)
    pairs = [*zip(queries, query_vectors, strict=True)]

    def found(query: Any) -> list[str]:
        return [row["id"] for row in query.limit(depth).to_list()]

    chromadb: Any = importlib.import_module("chromadb")
    quiet = chromadb.Settings(anonymized_telemetry=False)
    collection = chromadb.PersistentClient(f"{folder}/chroma", settings=quiet).create_collection(
        "passages", metadata={"hnsw:space": "cosine"}
    )
    collection.add(ids=ids, embeddings=vectors, documents=texts)
    most = min(depth, len(ids))
    return {
        "LanceDB, full text": [found(table.search(text, query_type="fts")) for text, _ in pairs],
        "LanceDB, vectors": [
            found(table.search(vector).distance_type("cosine")) for _, vector in pairs
        ],
        "LanceDB, hybrid": [
            found(table.search(query_type="hybrid").vector(vector).text(text))
            for text, vector in pairs
        ],
        "LanceDB, hybrid, 2- and 3-grams": [
            found(parts.search(query_type="hybrid").vector(vector).text(text))
            for text, vector in pairs
        ],
        "Chroma, vectors": collection.query(query_embeddings=query_vectors, n_results=most)["ids"],
    }


if __name__ == "__main__":
    print(json.dumps(_find(*json.loads(Path(sys.argv[1]).read_text()))))
