"""Token counts (specification B.10): the served model's own tokenizer, the same numbers as in `usage` everywhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.server.conftest import Caller, Reply

PREFIX = "/rpc/2.0/ai_custom/v1/wenxinworkshop"


def call(caller: Caller, body: dict[str, Any]) -> Reply:
    return caller.ask("POST", f"{PREFIX}/tokenizer/erniebot", body, caller.bearer())


def test_reply_has_the_documented_fields(echo: Caller):
    reply = call(echo, {"prompt": "one two 三", "model": "ernie-4.0-8k", "extra": 1})
    assert reply.headers["X-Yangfan-Model"] == "echo"
    body = reply.json
    assert re.fullmatch(r"as-[0-9a-z]{10}", body.pop("id"))
    assert body.pop("created") > 0
    assert body.pop("object") == "tokenizer.erniebot"
    usage = body.pop("usage")
    assert usage == {"prompt_tokens": usage["total_tokens"], "total_tokens": 4}
    assert body == {}


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("one", 1), ("one two", 2), ("你好", 2), ("字" * 30_000, 30_000)]
)
def test_counts_texts_of_any_length(echo: Caller, text: str, tokens: int):
    assert call(echo, {"prompt": text}).json["usage"]["total_tokens"] == tokens


@pytest.mark.parametrize("model", ["ERNIE-4.0-8K", "sqlcoder_7b", "embedding-v1", "echo"])
def test_every_model_that_reads_text_counts_it(echo: Caller, model: str):
    assert call(echo, {"prompt": "a b", "model": model}).json["usage"]["total_tokens"] == 2
