"""What a child's reply to embeddings and rerank means."""

from typing import Any

import msgspec
import pytest

from yangfan.engines.wire.embeddings import embeddings_of, scores_of
from yangfan.errors import EngineFailed

USAGE = {"prompt_tokens": 5, "total_tokens": 5}


def test_vectors_come_in_the_order_of_their_indexes() -> None:
    items = [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1, 0]}]
    reply = embeddings_of(msgspec.json.encode({"data": items, "usage": USAGE}), 2)
    assert reply.vectors == ([1.0, 0.0], [0.0, 1.0])
    assert reply.usage.prompt_tokens == 5


def test_scores_come_in_the_order_of_their_indexes() -> None:
    items = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": -3}]
    reply = scores_of(msgspec.json.encode({"results": items, "usage": USAGE}), ["a", "b"])
    assert reply.scores == (-3.0, 0.9)
    assert reply.usage.prompt_tokens == 5


@pytest.mark.parametrize(
    "body",
    [
        {"data": [], "results": [], "usage": USAGE},
        {"data": [{"index": 1, "embedding": [1]}], "results": [], "usage": USAGE},
        {"data": [{"index": 0}], "results": [{"index": 0}], "usage": USAGE},
        {"data": [{"index": 0, "embedding": None}], "usage": USAGE},
        {"usage": USAGE},
        [],
    ],
)
def test_a_reply_that_lacks_one_is_nonsense(body: Any) -> None:
    encoded = msgspec.json.encode(body)
    with pytest.raises(EngineFailed, match="the engine's reply"):
        embeddings_of(encoded, 1)
    with pytest.raises(EngineFailed, match="the engine's reply"):
        scores_of(encoded, ["a"])
