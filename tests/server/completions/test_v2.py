"""v2 completions, in and out: OpenAI's legacy shape (specification C.1)."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from tests.server.conftest import Caller, Reply

from yangfan.engines.base import CompletionRequest as EngineRequest
from yangfan.engines.base import Sampling
from yangfan.protocol.v2.completions import CompletionRequest
from yangfan.server.completions.v2 import to_engine

PROMPT = "one two three"


def call(caller: Caller, fields: dict[str, Any], path: str = "/v2/completions") -> Reply:
    body = {"model": "ernie-speed-8k", "prompt": PROMPT, **fields}
    return caller.ask("POST", path, body, caller.bearer())


def translate(**fields: Any) -> list[EngineRequest]:
    return to_engine(msgspec.convert({"prompt": PROMPT, **fields}, CompletionRequest))


# In


def test_plain_prompt_gets_openais_default_of_sixteen_tokens():
    assert translate() == [EngineRequest(PROMPT, Sampling(max_output_tokens=16))]


def test_every_field_has_its_place():
    fields = {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.6,
        "top_k": 7,
        "penalty_score": 1.1,
        "frequency_penalty": -0.5,
        "presence_penalty": 0.4,
        "seed": 5,
        "stop": "a",
        "logit_bias": {"7": -100},
        "n": 2,
        "best_of": 2,
        "logprobs": 3,
    }
    sampling = Sampling(
        temperature=0.5,
        top_p=0.6,
        top_k=7,
        repetition_penalty=1.1,
        frequency_penalty=-0.5,
        presence_penalty=0.4,
        max_output_tokens=5,
        seed=5,
        stop=("a",),
        logit_bias={"7": -100},
    )
    assert translate(**fields) == [EngineRequest(PROMPT, sampling, n=2, logprobs=3)]
    assert [request.prompt for request in translate(prompt=["a", "b"])] == ["a", "b"]
    (ids,) = translate(prompt=[7, 8])
    assert (ids.prompt, ids.prompt_ids) == ("", (7, 8))
    assert [each.prompt_ids for each in translate(prompt=[[7, 8], [9]])] == [(7, 8), (9,)]


# Out


@pytest.mark.parametrize("path", ["/v2/completions", "/v1/completions", "/v2/v1/completions"])
def test_reply_is_openais_text_completion(echo: Caller, path: str):
    reply = call(echo, {}, path)
    assert reply.headers["X-Yangfan-Model"] == "echo"
    body = reply.json
    assert re.fullmatch(r"as-[0-9a-z]{10}", body.pop("id"))
    assert body.pop("created") > 0
    assert body == {
        "object": "text_completion",
        "model": "ernie-speed-8k",
        "choices": [{"index": 0, "text": PROMPT, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    }


def test_several_prompts_and_texts_are_numbered_through(echo: Caller):
    body = call(echo, {"prompt": ["a b", "c", "d e f"], "n": 2}).json
    assert [choice["index"] for choice in body["choices"]] == list(range(6))
    texts = [choice["text"] for choice in body["choices"]]
    assert texts == ["a b", "a b", "c", "c", "d e f", "d e f"]
    assert body["usage"] == {"prompt_tokens": 6, "completion_tokens": 12, "total_tokens": 18}


def test_more_prompts_than_slots_are_all_answered(echo: Caller):
    prompts = [f"prompt {number}" for number in range(40)]
    body = call(echo, {"prompt": prompts}).json
    assert [choice["text"] for choice in body["choices"]] == prompts


def test_stream_of_several_prompts_adds_up(echo: Caller):
    fields = {
        "prompt": ["a b", "c"],
        "n": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    *chunks, last, done = call(echo, fields).events
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)
    texts, ends = ["", "", "", ""], list[int]()
    for chunk in chunks:
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["text"]
        if choice["finish_reason"] is not None:
            assert choice["finish_reason"] == "stop"
            ends.append(choice["index"])
    assert texts == ["a b", "a b", "c", "c"]
    assert sorted(ends) == [0, 1, 2, 3]


def test_stream_ends_without_usage_unless_it_is_asked_for(echo: Caller):
    *chunks, done = call(echo, {"stream": True}).events
    assert done == "[DONE]"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in chunk for chunk in chunks)


def test_every_chunk_tells_usage_when_asked(echo: Caller):
    *chunks, _ = call(
        echo, {"stream": True, "stream_options": {"chunk_include_usage": True}}
    ).events
    assert all(chunk["usage"]["prompt_tokens"] == 3 for chunk in chunks[1:])


@pytest.mark.parametrize("stream", [False, True])
def test_echo_puts_the_prompt_in_front(echo: Caller, stream: bool):
    reply = call(echo, {"echo": True, "max_tokens": 2, "n": 2, "stream": stream})
    if stream:
        texts = ["", ""]
        for chunk in reply.events[:-1]:
            for choice in chunk["choices"]:
                texts[choice["index"]] += choice["text"]
    else:
        texts = [choice["text"] for choice in reply.json["choices"]]
    assert texts == ["one two threeone two"] * 2


def test_stop_and_limit_end_a_text(echo: Caller):
    stopped = call(echo, {"stop": [" three", "x"]}).json["choices"][0]
    assert (stopped["text"], stopped["finish_reason"]) == ("one two", "stop")
    cut = call(echo, {"max_tokens": 1}).json["choices"][0]
    assert (cut["text"], cut["finish_reason"]) == ("one", "length")


def test_log_probabilities_come_in_openais_older_shape(echo: Caller):
    told: dict[str, list[Any]] = {
        "tokens": ["one", " two", " three"],
        "token_logprobs": [0.0, 0.0, 0.0],
        "top_logprobs": [{}, {}, {}],
        "text_offset": [0, 3, 7],
    }
    assert call(echo, {"logprobs": 0}).json["choices"][0]["logprobs"] == told
    streamed: dict[str, list[Any]] = {name: [] for name in told}
    for chunk in call(echo, {"logprobs": 1, "stream": True}).events[:-1]:
        logprobs: dict[str, list[Any]] = chunk["choices"][0]["logprobs"] or {}
        for name, values in logprobs.items():
            streamed[name] += values
    assert streamed == told


def test_log_probabilities_of_a_prompt_come_in_front(echo: Caller):
    fields = {"echo": True, "logprobs": 1, "max_tokens": 1}
    (choice,) = call(echo, fields).json["choices"]
    told = choice["logprobs"]
    assert (choice["text"], choice["finish_reason"]) == ("one two threeone", "length")
    assert told == {
        "tokens": ["one", " two", " three", "one"],
        "token_logprobs": [None, 0.0, 0.0, 0.0],
        "top_logprobs": [None, {" two": 0.0}, {" three": 0.0}, {}],
        "text_offset": [0, 3, 7, 13],
    }
    whole = call(echo, {**fields, "max_tokens": 0}).json
    assert whole["choices"][0]["text"] == PROMPT
    assert whole["choices"][0]["logprobs"]["text_offset"] == [0, 3, 7]
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}
    streamed: dict[str, list[Any]] = {name: [] for name in told}
    text = ""
    for chunk in call(echo, {**fields, "stream": True}).events[:-1]:
        text += chunk["choices"][0]["text"]
        logprobs: dict[str, list[Any]] = chunk["choices"][0]["logprobs"] or {}
        for name, values in logprobs.items():
            streamed[name] += values
    assert (text, streamed) == (choice["text"], told)


def test_more_than_64_prompts_are_refused(echo: Caller):
    reply = call(echo, {"prompt": ["a"] * 65})
    assert reply.status == 400
    assert reply.json["error"]["code"] == "invalid_argument"
    assert "64" in reply.json["error"]["message"]


def test_token_ids_are_answered_as_their_text_is(echo: Caller):
    ids = list(map(ord, "a b"))  # those of echo are code points
    fields = {"echo": True, "n": 2, "logprobs": 1, "max_tokens": 1}
    body = call(echo, {"prompt": ids, **fields}).json
    first = body["choices"][0]
    assert [choice["text"] for choice in body["choices"]] == ["a ba", "a ba"]
    assert first["logprobs"]["tokens"] == ["a", " ", "b", "a"]
    assert first["logprobs"]["text_offset"] == [0, 1, 2, 3]
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    several = call(echo, {"prompt": [ids, [0x5B57]], "n": 2}).json
    assert [choice["text"] for choice in several["choices"]] == ["a b", "a b", "字", "字"]
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2, 3]
    assert several["usage"]["prompt_tokens"] == 4
    *chunks, last, _ = call(
        echo, {"prompt": [ids], "stream": True, "stream_options": {"include_usage": True}}
    ).events
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "a b"
    assert last["usage"]["prompt_tokens"] == 3


def test_the_limits_of_a_name_hold_for_token_ids(echo: Caller):
    limit = 8191
    reply = call(echo, {"model": "echo", "prompt": [[97], [97] * (limit + 1)]})
    assert (reply.status, reply.json["error"]["code"]) == (400, "tokens_too_long")
    assert f"{limit + 1} tokens, echo takes {limit}" in reply.json["error"]["message"]
    assert call(echo, {"model": "echo", "prompt": [97] * limit, "max_tokens": 1}).status == 200
    reply = call(echo, {"model": "sqlcoder-7b", "prompt": [97] * 8001})
    assert (reply.status, reply.json["error"]["code"]) == (400, "characters_too_long")
    assert "the max input characters is 4800; the prompt has 8001" in reply.json["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_one_prompt_that_is_too_long_refuses_the_call(echo: Caller, stream: bool):
    reply = call(echo, {"model": "echo", "prompt": ["a", "字" * 9000], "stream": stream})
    assert reply.status == 400
    assert reply.json["error"]["code"] == "tokens_too_long"
    assert "9000 tokens, echo takes 8191; shorten the prompt" in reply.json["error"]["message"]
