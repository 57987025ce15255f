"""The shape of a v1 answer (specification B.8)."""

from __future__ import annotations

import re

from tests.server.conftest import Caller

PATH = "/rpc/2.0/ai_custom/v1/wenxinworkshop/reranker/bce_reranker_base"


def test_every_field_of_the_documentation_is_there(echo: Caller):
    body = {
        "query": "上海天气",
        "documents": ["北京美食", "上海今天的天气", "上海气候"],
        "top_n": 2,
        "user": None,
        "stream": False,
        "model": "bce-reranker-base_v1",
        "user_id": "u",
    }
    reply = echo.ask("POST", PATH, body, echo.bearer())
    answer = reply.json
    assert reply.headers["X-Yangfan-Model"] == "echo"
    assert reply.headers["X-Yangfan-Rerank"] is None
    assert list(answer) == ["id", "object", "created", "results", "usage"]
    assert re.fullmatch("as-[0-9a-z]{10}", answer["id"])
    assert answer["object"] == "reranker_list"
    assert [(r["document"], r["index"]) for r in answer["results"]] == [
        ("上海今天的天气", 1),
        ("上海气候", 2),
    ]
    assert answer["results"][0]["relevance_score"] > answer["results"][1]["relevance_score"]
    assert answer["usage"] == {"prompt_tokens": 19, "total_tokens": 19}
