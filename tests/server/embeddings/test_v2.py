"""The shape of a v2 answer (specification C.4), and OpenAI's encodings."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from tests.server.conftest import Caller


def ask(echo: Caller, path: str = "/v2/embeddings", **fields: object) -> dict[str, Any]:
    body = {"model": "embedding-v1", "input": ["hello", "world"], **fields}
    reply = echo.ask("POST", path, body, echo.bearer())
    assert reply.status == 200, reply.body
    return reply.json


@pytest.mark.parametrize("path", ["/v2/embeddings", "/v1/embeddings", "/v2/v1/embeddings"])
def test_every_path_answers_with_every_field(echo: Caller, path: str):
    answer = ask(echo, path, user="someone", endpoint=None, stream=False)
    assert list(answer) == ["id", "object", "created", "model", "data", "usage"]
    assert (answer["object"], answer["model"]) == ("embedding_list", "embedding-v1")
    assert answer["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_base64_holds_the_same_numbers_in_32_bits(echo: Caller):
    plain = ask(echo, encoding_format="float")["data"]
    packed = ask(echo, encoding_format="base64")["data"]
    for one, other in zip(plain, packed, strict=True):
        numbers = struct.unpack("<384f", base64.b64decode(other["embedding"]))
        assert numbers == pytest.approx(one["embedding"], abs=1e-7)


def test_the_models_own_dimensions_are_accepted(echo: Caller):
    assert ask(echo, dimensions=384)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_token_ids_stand_for_their_text(echo: Caller, encoding: str):
    ids = list(map(ord, "hello"))  # those of echo are code points
    plain = ask(echo, input=["hello"], encoding_format=encoding)["data"]
    one = ask(echo, input=ids, encoding_format=encoding)
    assert one["data"] == plain
    assert one["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    two = ask(echo, input=[list(map(ord, "world")), ids], encoding_format=encoding)["data"]
    assert two[1]["embedding"] == plain[0]["embedding"]
    assert two[0]["embedding"] != plain[0]["embedding"]


def test_more_token_ids_than_the_model_takes_are_refused(echo: Caller):
    body = {"model": "echo", "input": [[97], [97] * 8193]}
    reply = echo.ask("POST", "/v2/embeddings", body, echo.bearer())
    assert (reply.status, reply.json["error"]["code"]) == (400, "tokens_too_long")
    assert "input[1] has 8193 tokens and echo takes 8192; shorten" in reply.json["error"]["message"]


def test_a_text_may_stand_in_an_object_and_no_model_here_reads_a_picture(echo: Caller):
    plain = ask(echo, input=["hello"])
    assert ask(echo, input=[{"text": "hello"}])["data"] == plain["data"]
    body = {"model": "embedding-v1", "input": [{"text": "a", "image": "https://a.example/b.png"}]}
    reply = echo.ask("POST", "/v2/embeddings", body, echo.bearer())
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_argument")
    assert "embedding-v1 reads no pictures here" in reply.json["error"]["message"]
