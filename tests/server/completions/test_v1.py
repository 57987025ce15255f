"""v1 completions, in and out (specification B.6)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.server.conftest import Caller, Reply

PREFIX = "/rpc/2.0/ai_custom/v1/wenxinworkshop/completions"


def call(caller: Caller, body: dict[str, Any], endpoint: str = "sqlcoder_7b") -> Reply:
    return caller.ask("POST", f"{PREFIX}/{endpoint}", body, caller.bearer())


@pytest.mark.parametrize(
    "endpoint",
    ["sqlcoder_7b", "SQLCoder-7B", "codellama_7b_instruct", "ernie_speed", "ERNIE-4.0-8K", "echo"],
)
def test_every_name_that_writes_text_goes_on_from_the_prompt(echo: Caller, endpoint: str):
    reply = call(echo, {"prompt": "one two three"}, endpoint)
    assert reply.headers["X-Yangfan-Model"] == "echo"
    body = reply.json
    assert re.fullmatch(r"as-[0-9a-z]{10}", body.pop("id"))
    assert body.pop("created") > 0
    assert body == {
        "object": "completion",
        "result": "one two three",
        "is_truncated": False,
        "is_safe": 1,
        "finish_reason": "normal",
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    }


def test_stream_has_the_documented_fields_and_ends_with_is_end(echo: Caller):
    events = call(echo, {"prompt": "one two three", "stream": True}).events
    assert {event["id"] for event in events} == {events[0]["id"]}
    assert {event["object"] for event in events} == {"completion"}
    assert {event["is_safe"] for event in events} == {1}
    assert [event["sentence_id"] for event in events] == list(range(len(events)))
    assert [event["is_end"] for event in events] == [False] * (len(events) - 1) + [True]
    assert "".join(event["result"] for event in events) == "one two three"
    assert events[-1]["finish_reason"] == "normal"
    assert all("finish_reason" not in event for event in events[:-1])
    assert events[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


@pytest.mark.parametrize("stream", [False, True])
def test_limit_of_output_tokens_truncates(echo: Caller, stream: bool):
    body = {"prompt": "one two three", "max_output_tokens": 2, "stream": stream}
    reply = call(echo, body)
    last = reply.events[-1] if stream else reply.json
    assert (last["is_truncated"], last["finish_reason"]) == (True, "length")
    assert last["usage"]["completion_tokens"] == 2


def test_stop_string_ends_the_text(echo: Caller):
    body = call(echo, {"prompt": "one two three", "stop": [" three"]}).json
    assert (body["result"], body["finish_reason"]) == ("one two", "stop")


def test_system_stands_in_front_of_the_prompt(echo: Caller):
    assert call(echo, {"prompt": "b", "system": "a"}).json["result"] == "a\nb"


def test_long_text_without_a_stop_is_cut_into_events_of_64_kib(echo: Caller):
    words = "word" * 5000  # one token
    reply = call(echo, {"prompt": words, "stream": True}, "echo")
    assert "".join(event["result"] for event in reply.events) == words
    assert max(map(len, reply.body.split(b"\n\n"))) < 64 * 1024
    assert [event["is_end"] for event in reply.events].count(True) == 1


def test_fields_that_official_clients_send_are_ignored(echo: Caller):
    body = {"prompt": "a", "extra_parameters": {"x": 1}, "disable_search": None, "user_id": "me"}
    assert call(echo, body).json["result"] == "a"


def test_prompt_with_too_many_characters_is_refused_for_them(echo: Caller):
    reply = call(echo, {"prompt": "a" * 4801})
    assert reply.json["error_code"] == 336007
    assert "max input characters is 4800; the prompt has 4801" in reply.json["error_msg"]


def test_prompt_longer_than_the_context_is_refused_for_its_tokens(echo: Caller):
    reply = call(echo, {"prompt": "字" * 9000}, "echo")
    assert reply.json["error_code"] == 336103
    assert "9000 tokens, echo takes 8191; shorten the prompt" in reply.json["error_msg"]


@pytest.mark.parametrize("endpoint", ["embedding-v1", "bge_large_zh", "sd_xl", "none-such"])
def test_names_that_write_no_text_are_refused(echo: Caller, endpoint: str):
    reply = call(echo, {"prompt": "a"}, endpoint)
    assert reply.json["error_code"] == 3
    assert endpoint in reply.json["error_msg"]
