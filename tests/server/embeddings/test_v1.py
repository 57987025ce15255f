"""The shape of a v1 answer (specification B.7)."""

from __future__ import annotations

import re

from tests.server.conftest import Caller

ROOT = "/rpc/2.0/ai_custom/v1/wenxinworkshop/embeddings"


def test_every_field_of_the_documentation_is_there(echo: Caller):
    body = {
        "input": ["推荐一些美食", "hello"],
        "user_id": "u",
        "stream": False,
        "extra_parameters": None,
    }
    reply = echo.ask("POST", f"{ROOT}/embedding-v1", body, echo.bearer())
    answer = reply.json
    assert reply.status == 200
    assert reply.headers["X-Yangfan-Model"] == "echo"
    assert list(answer) == ["id", "object", "created", "data", "usage"]
    assert re.fullmatch("as-[0-9a-z]{10}", answer["id"])
    assert answer["object"] == "embedding_list"
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert {item["object"] for item in answer["data"]} == {"embedding"}
    assert [len(item["embedding"]) for item in answer["data"]] == [384, 384]
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_a_string_is_one_text_and_not_one_per_character(echo: Caller):
    answer = echo.ask("POST", f"{ROOT}/bge_large_zh", {"input": "你好世界"}, echo.bearer()).json
    assert len(answer["data"]) == 1


def test_a_chat_name_says_what_embeds(echo: Caller):
    answer = echo.ask("POST", f"{ROOT}/ernie_speed", {"input": "a"}, echo.bearer()).json
    assert answer["error_code"] == 3
    assert "'ernie_speed' is a model for chat, not for embeddings" in answer["error_msg"]
    assert "embeddings is served by: echo" in answer["error_msg"]
