"""Chunks to vectors, by whoever is asked; texts that are too long for the model are embedded in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 16
SMALLEST_PART_CHARS = 64

Ask = Callable[[str, Any], Any]
"""Makes a v2 call: path and body to what is answered."""


def vectors(texts: Sequence[str], model: str, ask: Ask) -> list[bytes]:
    """A vector of length 1 for each text, as 32-bit floats.

    Args:
        texts: What to embed.
        model: The service of embeddings.
        ask: Asks the platform.

    Raises:
        RefusedError: The service refuses or fails.
    """
    import numpy as np

    found: list[bytes] = []
    for start in range(0, len(texts), BATCH):
        for vector in _batch(list(texts[start : start + BATCH]), model, ask):
            values = np.asarray(vector, dtype=np.float64)
            length = float(np.linalg.norm(values))
            found.append((values / length if length > 0 else values).astype(np.float32).tobytes())
    return found


def _batch(texts: list[str], model: str, ask: Ask) -> list[Any]:
    try:
        answer = ask("/v2/embeddings", {"model": model, "input": texts})
    except Invalid:
        # One of them is too long, or this model takes fewer at once: they come one by one.
        if len(texts) == 1:
            return [_in_parts(texts[0], model, ask)]
        return [_batch([text], model, ask)[0] for text in texts]
    items = cast("list[dict[str, Any]]", answer["data"])
    return [item["embedding"] for item in sorted(items, key=lambda item: item["index"])]


def _in_parts(text: str, model: str, ask: Ask) -> Any:
    """The mean of the vectors of both halves, by their lengths."""
    import numpy as np

    if len(text) < 2 * SMALLEST_PART_CHARS:
        return ask("/v2/embeddings", {"model": model, "input": [text]})["data"][0]["embedding"]
    middle = len(text) // 2
    halves = [part for part in (text[:middle], text[middle:]) if part.strip()]
    means = [np.asarray(_batch([part], model, ask)[0]) * len(part) for part in halves]
    return sum(means) / sum(map(len, halves))
