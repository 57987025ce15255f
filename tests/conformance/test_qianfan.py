"""The published `qianfan` package, unchanged, against our server and the real model (specification E)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages


def _environ(server: Any, credentials: str) -> dict[str, str]:
    base = {
        "QIANFAN_BASE_URL": server.base_url,
        "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
        "QIANFAN_IAM_BASE_URL": server.base_url,
        "QIANFAN_DISABLE_CACHE": "true",
    }
    given = {
        "oauth": {"QIANFAN_AK": server.api_key, "QIANFAN_SK": server.secret_key},
        "signature": {
            "QIANFAN_ACCESS_KEY": server.access_key,
            "QIANFAN_SECRET_KEY": server.secret_access_key,
        },
        "bearer": {"QIANFAN_BEARER_TOKEN": server.bearer},
        "none": {"QIANFAN_NO_AUTH": "true"},
    }
    return base | given[credentials]


@pytest.mark.model
@pytest.mark.parametrize(
    ("credentials", "served", "name"),
    [("oauth", "model_server", "smollm2"), ("signature", "chat_server", "tiny-chat")],
)
def test_v1_chat_answers_whole_and_streamed(
    request: pytest.FixtureRequest, programs: Programs, credentials: str, served: str, name: str
) -> None:
    server: Server = request.getfixturevalue(served)
    found = programs.run("qianfan_chat", "1", environ=_environ(server, credentials))

    whole = found["sync"]["body"]
    assert found["sync"]["code"] == 200
    assert whole["result"]
    assert whole["object"] == "chat.completion"
    assert whole["id"].startswith("as-")
    assert whole["is_truncated"] in (True, False)
    assert whole["need_clear_history"] is False
    usage = whole["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] <= 24
    assert found["sync"]["headers"]["x-yangfan-model"].startswith(name)
    assert int(found["sync"]["headers"]["x-ratelimit-limit-requests"]) > 0
    assert found["async"]["headers"]["x-baidu-request-id"] == "my-own-id"

    for kind in ("stream", "async_stream"):
        events = found[kind]
        assert [event["sentence_id"] for event in events] == list(range(len(events)))
        assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
        assert "".join(event["result"] for event in events)
        assert events[-1]["finish_reason"] in {"normal", "length"}
        assert events[-1]["usage"]["completion_tokens"] > 0
        assert all(isinstance(event["is_truncated"], bool) for event in events)
    assert found["turns"]["result"]
    assert found["by_endpoint"]["result"]
    assert found["truncated"]["is_truncated"] is True
    assert found["error"]["code"] == 336003
    assert "top_p" in found["error"]["text"]
    assert found["stream_error"]["code"] == 336003


@pytest.mark.model
@pytest.mark.parametrize("credentials", ["bearer", "signature"])
def test_v2_chat_answers_whole_and_streamed(
    chat_server: Server, programs: Programs, credentials: str
) -> None:
    found = programs.run("qianfan_chat", "2", environ=_environ(chat_server, credentials))

    whole = found["sync"]["body"]
    assert whole["object"] == "chat.completion"
    assert whole["model"] == "ernie-speed-8k"
    assert whole["choices"][0]["message"]["content"]
    assert whole["choices"][0]["finish_reason"] in {"stop", "length"}
    for kind in ("stream", "async_stream"):
        chunks = found[kind]
        assert all(chunk["choices"] for chunk in chunks)
        assert all("usage" not in chunk for chunk in chunks)
        assert chunks[-1]["choices"][0]["delta"] == {}
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        assert {chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]} == {None}
    assert found["turns"]["choices"][0]["message"]["content"]
    assert found["error"]["status"] == 400
    assert found["stream_error"]["code"] == "invalid_argument"


def assert_vectors(body: Any) -> None:
    """Three vectors, and the two texts about the cat are the likest."""
    assert body["object"] == "embedding_list"
    assert [item["index"] for item in body["data"]] == [0, 1, 2]
    cat, cats, motor = (item["embedding"] for item in body["data"])
    assert len(cat) == len(cats) == len(motor) == 384
    assert _cosine(cat, cats) > _cosine(cat, motor) + 0.2
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] > 10


def _cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def assert_found_the_cat(body: Any, count: int) -> None:
    """So many documents, the one about the cat first."""
    assert body["object"] == "reranker_list"
    assert len(body["results"]) == count
    assert body["results"][0]["index"] == 1
    assert body["results"][0]["document"] == "The cat sits on the mat."
    scores = [result["relevance_score"] for result in body["results"]]
    assert scores == sorted(scores, reverse=True)
    assert body["usage"]["total_tokens"] > 10


VECTOR_SERVERS = ["echo_server", pytest.param("vector_server", marks=pytest.mark.model)]


@pytest.mark.parametrize("server", VECTOR_SERVERS)
@pytest.mark.parametrize("credentials", ["oauth", "signature"])
def test_v1_embeddings_and_rerank_answer(
    request: pytest.FixtureRequest, programs: Programs, server: str, credentials: str
) -> None:
    environ = _environ(request.getfixturevalue(server), credentials)
    found = programs.run("qianfan_vectors", environ=environ)
    for name in ("embeddings", "async_embeddings", "version_2"):
        assert_vectors(found[name]["body"])
    assert len(found["by_model"]["data"]) == 1
    assert_found_the_cat(found["rerank"]["body"], 2)
    assert_found_the_cat(found["async_rerank"]["body"], 3)
    assert found["too_many"]["code"] == found["no_documents"]["code"] == 336003
    assert "embeddings max batch size is 16" in found["too_many"]["text"]
    assert "embeddings max length per batch size is 1000" in found["too_long"]["text"]


@pytest.mark.model
def test_a_rerank_without_a_reranker_says_so(vector_server: Server, programs: Programs) -> None:
    found = programs.run("qianfan_vectors", environ=_environ(vector_server, "oauth"))
    assert found["rerank"]["headers"]["x-yangfan-rerank"] == "embedding-similarity"
    assert found["embeddings"]["headers"]["x-yangfan-model"] == "all-minilm-l6-v2"


@pytest.mark.model
@pytest.mark.parametrize("credentials", ["oauth", "signature"])
def test_completions_go_on_and_tokens_are_counted(
    chat_server: Server, programs: Programs, credentials: str
) -> None:
    found = programs.run("qianfan_completions", environ=_environ(chat_server, credentials))

    for name in ("preset", "chat_preset", "endpoint", "async"):
        whole, events = found[name]["whole"], found[name]["stream"]
        assert whole["object"] == "completion"
        assert whole["result"]
        usage = whole["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert 0 < usage["completion_tokens"] <= 12
        assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
        assert [event["sentence_id"] for event in events] == list(range(len(events)))
        assert "".join(event["result"] for event in events)
        # The package calls chat for chat presets, whose answers have no such field.
        if name != "chat_preset":
            assert whole["is_safe"] == 1
            assert {event["is_safe"] for event in events} == {1}
            assert usage["prompt_tokens"] == found["tokens"]
    assert found["preset"]["served"].startswith("tiny-chat")
    assert found["error"]["code"] == 336007
    assert found["tokens"] == found["default_tokens"] > 10
