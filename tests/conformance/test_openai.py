"""The published `openai` package, unchanged, against our server and the real model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages


@pytest.mark.model
@pytest.mark.parametrize("path", ["/v2", "/v1"])
def test_chat_models_and_errors_read_as_openai_promises(
    model_server: Server, programs: Programs, path: str
) -> None:
    found = programs.run(
        "openai_chat",
        environ={"BASE_URL": model_server.base_url + path, "API_KEY": model_server.bearer},
    )

    choice = found["sync"]["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] in {"stop", "length"}
    assert found["sync"]["usage"]["completion_tokens"] <= 24

    *chunks, last = found["stream"]
    assert last["choices"] == []
    assert (
        last["usage"]["total_tokens"]
        == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]
    )
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] in {"stop", "length"}
    assert "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)
    assert found["helper"]
    assert found["async_stream"]
    assert found["answers"] == 2
    assert found["raw_headers"]["x-yangfan-model"].startswith("smollm2")
    assert {"ernie-speed-8k", "ernie-4.0-8k"} <= set(found["models"])
    assert found["model"] == "ernie-speed-8k"

    assert found["no_such_model"] == {
        "class": "AuthenticationError",
        "status": 401,
        "code": "invalid_model",
    }
    assert found["bad_range"] == {
        "class": "BadRequestError",
        "status": 400,
        "code": "invalid_argument",
    }
    assert found["no_messages"] == {
        "class": "BadRequestError",
        "status": 400,
        "code": "invalid_messages",
    }
    assert found["wrong_key"] == {"status": 401, "code": "invalid_iam_token"}


@pytest.mark.parametrize("path", ["/v2", "/v1"])
@pytest.mark.parametrize(
    "server", ["echo_server", pytest.param("vector_server", marks=pytest.mark.model)]
)
def test_embeddings_read_as_openai_promises(
    request: pytest.FixtureRequest, programs: Programs, server: str, path: str
) -> None:
    running: Server = request.getfixturevalue(server)
    environ = {"BASE_URL": running.base_url + path, "API_KEY": running.bearer}
    found = programs.run("openai_embeddings", environ=environ)
    for name in ("default", "floats", "async"):
        assert [item["index"] for item in found[name]["data"]] == [0, 1, 2]
        assert [len(item["embedding"]) for item in found[name]["data"]] == [384] * 3
    for one, other in zip(found["default"]["data"], found["floats"]["data"], strict=True):
        assert one["embedding"] == pytest.approx(other["embedding"], abs=1e-4)
    assert len(found["one"]["data"]) == 1
    assert found["default"]["usage"]["total_tokens"] > 10
    assert found["ids"]["usage"]["prompt_tokens"] == 7
    assert [len(item["embedding"]) for item in found["ids"]["data"]] == [384] * 2
    assert found["no_such_id"]["status"] == 400
    assert "check_embedding_ctx_length=False" in found["no_such_id"]["text"]
    assert found["dimensions"] == {"status": 400, "code": "invalid_argument"}
    assert found["chat_model"] == {"status": 401, "code": "invalid_model"}


@pytest.mark.model
@pytest.mark.parametrize("path", ["/v2", "/v1"])
def test_completions_read_as_openai_promises(
    chat_server: Server, programs: Programs, path: str
) -> None:
    found = programs.run(
        "openai_completions",
        environ={"BASE_URL": chat_server.base_url + path, "API_KEY": chat_server.bearer},
    )

    whole = found["sync"]
    assert whole["object"] == "text_completion"
    assert whole["choices"][0]["text"]
    assert whole["choices"][0]["logprobs"] is None
    assert whole["usage"]["completion_tokens"] <= 16
    *chunks, last = found["stream"]
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 12)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert {chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]} == {None}
    assert found["async_stream"]
    texts = [choice["text"] for choice in found["many"]["choices"]]
    assert [text.startswith("Once upon a time") for text in texts] == [True, True, False, False]
    assert [text.startswith("def f(x):") for text in texts] == [False, False, True, True]
    logprobs = found["logprobs"]["choices"][0]["logprobs"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == 3
    assert all(len(others) == 2 for others in logprobs["top_logprobs"])
    assert logprobs["text_offset"][0] == 0
    assert found["error"]["code"] == "invalid_argument"
    assert "suffix is not supported" in found["error"]["text"]
    assert found["ids"]["choices"][0]["text"]
    assert found["ids"]["usage"]["prompt_tokens"] == 4
    choices, usage = found["lists_of_ids"]["choices"], found["lists_of_ids"]["usage"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3]
    assert usage["prompt_tokens"] == 6
    assert found["no_such_id"]["code"] == "invalid_argument"
    assert "has no token 10000000, its ids are 0 to" in found["no_such_id"]["text"]
