"""The shape of a v2 answer (specification C.4)."""

from __future__ import annotations

import pytest
from tests.server.conftest import Caller


@pytest.mark.parametrize("path", ["/v2/rerank", "/v2/rerankers", "/v1/rerank", "/v2/v1/rerank"])
def test_every_path_answers_with_every_field(echo: Caller, path: str):
    body = {
        "model": "bce-reranker-base",
        "query": "red apples",
        "documents": ["green pears", "red apples and more"],
        "user": "someone",
    }
    answer = echo.ask("POST", path, body, echo.bearer()).json
    assert list(answer) == ["id", "object", "created", "model", "results", "usage"]
    assert (answer["object"], answer["model"]) == ("reranker_list", "bce-reranker-base")
    assert [result["index"] for result in answer["results"]] == [1, 0]
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] > 0
