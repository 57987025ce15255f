"""Paths of v1 from the names of models."""

import pytest

from yangfan.client.paths import Paths
from yangfan.protocol.v1.embeddings import EMBEDDINGS
from yangfan.protocol.v1.rerank import RERANK

PREFIX = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
EMBEDDINGS_PATHS = Paths(EMBEDDINGS, "embeddings")


@pytest.mark.parametrize(
    ("model", "suffix"),
    [
        ("Embedding-V1", "embedding-v1"),
        ("bge-large-zh", "bge_large_zh"),
        ("TAO_8K", "tao_8k"),
        ("my_service", "my_service"),
        ("a/b c", "a%2Fb%20c"),
        ("ernie_speed", "ernie_speed"),
    ],
)
def test_a_model_is_found_by_any_of_its_names(model: str, suffix: str):
    assert EMBEDDINGS_PATHS.of(model) == f"{PREFIX}/embeddings/{suffix}"


def test_a_name_of_another_kind_is_taken_as_it_is():
    assert Paths(RERANK, "reranker").of("Embedding-V1") == f"{PREFIX}/reranker/Embedding-V1"
    assert (
        Paths(RERANK, "reranker").of("bce-reranker-base") == f"{PREFIX}/reranker/bce_reranker_base"
    )
