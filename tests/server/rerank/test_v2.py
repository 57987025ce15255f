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


def test_documents_of_other_makes_of_client_come_and_go_as_they_expect(echo: Caller):
    """Cohere's clients, LiteLLM and others send `return_documents`, and read objects."""
    body = {"model": "bce-reranker-base", "query": "red", "documents": [{"text": "red"}, "blue"]}

    def asked(**given: bool | None) -> list[object]:
        answer = echo.ask("POST", "/v2/rerank", {**body, **given}, echo.bearer()).json
        return [result.get("document", "left out") for result in answer["results"]]

    assert asked() == asked(return_documents=None) == ["red", "blue"]
    assert asked(return_documents=True) == [{"text": "red"}, {"text": "blue"}]
    assert asked(return_documents=False) == ["left out", "left out"]
