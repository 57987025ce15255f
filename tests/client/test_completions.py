"""`client.completions` and `client.tokenizer` of both clients: what is sent, and what is read from documented replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from yangfan import Usage, errors
from yangfan.client.options import CompletionOptions
from yangfan.protocol.v1 import completions as v1
from yangfan.protocol.v2 import completions as v2

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Playback

PREFIX = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
V1_REPLY = {
    "id": "as-0123456789",
    "object": "completion",
    "created": 1700000000,
    "result": "SELECT 1",
    "is_safe": 1,
    "usage": USAGE,
}
V2_CHOICE = {"index": 0, "text": "SELECT 1", "logprobs": None, "finish_reason": "length"}
V2_REPLY = {
    "id": "as-0123456789",
    "object": "text_completion",
    "created": 1700000000,
    "model": "sqlcoder_7b",
    "choices": [V2_CHOICE],
    "usage": USAGE,
}


async def complete(client: Any, prompt: Any = "-- one", **options: Any) -> Any:
    return await client.of(client.client.completions(prompt, model="SQLCoder-7B", **options))


@pytest.mark.parametrize("protocol", [v1, v2])
def test_every_field_of_the_protocol_is_offered_as_an_option(protocol: Any):
    offered = set(CompletionOptions.__annotations__) | {"model", "prompt", "stream"}
    assert set(protocol.CompletionRequest.__struct_fields__) <= offered


async def test_v1_goes_on_from_a_text(connect: Connect, playback: Playback):
    playback.json(V1_REPLY, headers={"X-Yangfan-Model": "smollm2"})
    result = await complete(
        connect(version=1), stop="\n", max_tokens=9, user="me", extra_body={"x": 1}
    )
    assert (result.text, result.is_safe, result.usage) == ("SELECT 1", True, Usage(2, 3, 5))
    assert (result.id, result.model, result.served_model) == (
        "as-0123456789",
        "SQLCoder-7B",
        "smollm2",
    )
    (call,) = playback.calls
    assert (call.method, call.path) == ("POST", f"{PREFIX}/completions/sqlcoder_7b")
    assert call.json() == {
        "prompt": "-- one",
        "stop": ["\n"],
        "max_output_tokens": 9,
        "user_id": "me",
        "x": 1,
    }


@pytest.mark.parametrize(
    ("model", "suffix"),
    [
        ("ernie-4.0-8k", "completions_pro"),
        ("my service", "my%20service"),
        ("Embedding-V1", "Embedding-V1"),
    ],
)
async def test_v1_path_names_the_model(
    connect: Connect, playback: Playback, model: str, suffix: str
):
    playback.json(V1_REPLY)
    client = connect(version=1)
    await client.of(client.client.completions("a", model=model))
    assert playback.calls[0].path == f"{PREFIX}/completions/{suffix}"


async def test_v2_goes_on_from_several_texts(connect: Connect, playback: Playback):
    second = {
        "index": 1,
        "text": "b",
        "logprobs": {"tokens": ["b"], "token_logprobs": [-0.5]},
        "finish_reason": "stop",
    }
    playback.json({**V2_REPLY, "choices": [V2_CHOICE, second]})
    result = await complete(
        connect(bearer="bce-v3/ALTAK-a/b"),
        ("-- one", "-- two"),
        max_output_tokens=9,
        user_id="me",
        logprobs=1,
        echo=True,
    )
    assert [choice.text for choice in result.choices] == ["SELECT 1", "b"]
    assert [choice.finish_reason for choice in result.choices] == ["length", "stop"]
    assert result.choices[1].logprobs == {"tokens": ["b"], "token_logprobs": [-0.5]}
    assert (result.is_truncated, result.usage) == (True, Usage(2, 3, 5))
    (call,) = playback.calls
    assert call.path == "/v2/completions"
    assert call.json() == {
        "model": "SQLCoder-7B",
        "prompt": ["-- one", "-- two"],
        "max_tokens": 9,
        "user": "me",
        "logprobs": 1,
        "echo": True,
    }


async def test_v1_stream_gives_the_text_piece_by_piece(connect: Connect, playback: Playback):
    base = {"id": "as-1", "object": "completion", "created": 1, "is_safe": 1, "usage": USAGE}
    playback.events(
        {**base, "sentence_id": 0, "is_end": False, "result": "SELECT"},
        {**base, "sentence_id": 1, "is_end": True, "result": " 1"},
    )
    client = connect(version=1)
    stream = await complete(client, stream=True)
    assert [event.text for event in await client.events(stream)] == ["SELECT", " 1"]
    result = await client.of(stream.result())
    assert (result.text, result.usage) == ("SELECT 1", Usage(2, 3, 5))
    assert playback.calls[0].json() == {"prompt": "-- one", "stream": True}


async def test_v2_stream_gives_the_texts_piece_by_piece(connect: Connect, playback: Playback):
    base = {"id": "as-1", "object": "text_completion", "created": 1, "model": "m"}
    first = {"index": 0, "text": "SELECT", "logprobs": {"tokens": ["SELECT"]}}
    last = {"index": 0, "text": " 1", "logprobs": {"tokens": [" 1"]}, "finish_reason": "stop"}
    other = {"index": 1, "text": "b", "finish_reason": "stop"}
    playback.events(
        *({**base, "choices": [choice]} for choice in (first, last, other)),
        {**base, "choices": [], "usage": USAGE},
        done=True,
    )
    client = connect()
    stream = await complete(client, ["a", "b"], stream=True)
    await client.events(stream)
    result = await client.of(stream.result())
    assert [choice.text for choice in result.choices] == ["SELECT 1", "b"]
    assert result.choices[0].logprobs == {"tokens": ["SELECT", " 1"]}
    assert result.usage == Usage(2, 3, 5)
    body = playback.calls[0].json()
    assert body["stream_options"] == {"include_usage": True}


async def test_stream_options_are_the_callers(connect: Connect, playback: Playback):
    playback.events({**V2_REPLY, "usage": None}, done=True)
    client = connect()
    stream = await complete(client, stream=True, stream_options={"include_usage": False})
    await client.events(stream)
    assert playback.calls[0].json()["stream_options"] == {"include_usage": False}


@pytest.mark.parametrize(("prompt", "sent"), [((7, 8), [7, 8]), ([(7, 8), (9,)], [[7, 8], [9]])])
async def test_v2_goes_on_from_token_ids(
    connect: Connect, playback: Playback, prompt: Any, sent: Any
):
    playback.json({**V2_REPLY, "choices": [V2_CHOICE]})
    await complete(connect(bearer="bce-v3/ALTAK-a/b"), prompt)
    assert playback.calls[0].json()["prompt"] == sent


@pytest.mark.parametrize(
    ("version", "prompt", "options", "says"),
    [
        (1, [7, 8], {}, "v1 goes on from one text a call.*version=2"),
        (1, ["a", "b"], {}, "v1 goes on from one text a call.*version=2"),
        (1, "a", {"echo": True}, "echo is a field of v2"),
        (2, "a", {"system": "x"}, "system is a field of v1"),
        (2, "a", {"max_tokens": 1, "max_output_tokens": 1}, "are one field"),
        (2, "a", {"tools": []}, "a completion has no option 'tools'"),
        (2, "a", {"sed": 1}, "a completion has no option 'sed'; did you mean seed"),
    ],
)
async def test_what_a_dialect_does_not_have_is_refused(
    connect: Connect, version: int, prompt: Any, options: dict[str, Any], says: str
):
    with pytest.raises(errors.ConfigurationError, match=says):
        await complete(connect(version=version), prompt, **options)


async def test_refusals_are_raised_by_the_call(connect: Connect, playback: Playback):
    refused = {"error_code": 336003, "error_msg": "prompt can not be empty"}
    for stream in (False, True):
        playback.json(refused)
        with pytest.raises(errors.Invalid, match="prompt can not be empty"):
            await complete(connect(version=1), "", stream=stream)


@pytest.mark.parametrize("version", [1, 2])
async def test_tokens_are_counted_through_v1(connect: Connect, playback: Playback, version: int):
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    playback.json({"id": "as-1", "object": "tokenizer.erniebot", "created": 1, "usage": usage})
    client = connect(version=version)
    assert await client.of(client.client.tokenizer.count("你好", model="ernie_speed")) == 7
    (call,) = playback.calls
    assert call.path == f"{PREFIX}/tokenizer/erniebot"
    assert call.json() == {"prompt": "你好", "model": "ernie_speed"}


async def test_tokens_of_a_name_that_is_not_there(connect: Connect, playback: Playback):
    playback.json({"error_code": 3, "error_msg": "no model 'gpt'"})
    client = connect()
    with pytest.raises(errors.ModelNotFound, match="no model"):
        await client.of(client.client.tokenizer.count("a", model="gpt"))
