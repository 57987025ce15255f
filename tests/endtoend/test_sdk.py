"""Our own SDK against the real server with a model that computes, with every kind of credentials."""

from __future__ import annotations

import gc
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import yangfan
from yangfan import errors

if TYPE_CHECKING:
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

QUESTION = "1加1为什么等于2?"
CREDENTIALS = {
    "oauth, v1": {"api_key": "api_key", "secret_key": "secret_key"},
    "signature, v1": {
        "access_key": "access_key",
        "secret_access_key": "secret_access_key",
        "version": 1,
    },
    "signature, v2": {
        "access_key": "access_key",
        "secret_access_key": "secret_access_key",
        "version": 2,
    },
    "bearer, v2": {"bearer": "bearer"},
}


def _client(server: Server, kind: str) -> yangfan.Client:
    given: dict[str, Any] = {
        name: getattr(server, value) if isinstance(value, str) else value
        for name, value in CREDENTIALS[kind].items()
    }
    return yangfan.Client(server.base_url, **given)


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_question_gets_a_typed_answer_whole_and_streamed(chat_server: Server, kind: str) -> None:
    with _client(chat_server, kind) as client:
        answer = client.chat(QUESTION, model="ernie_speed", max_output_tokens=16)
        with client.chat(
            QUESTION, model="ernie_speed", max_output_tokens=16, stream=True
        ) as stream:
            pieces = [event.text for event in stream]

    assert answer.text
    assert answer.served_model == "tiny-chat"
    assert answer.usage
    assert answer.rate_limit
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.rate_limit.limit_requests
    assert answer.request_id
    assert "".join(pieces)
    assert stream.result().text == "".join(pieces)


async def test_the_asynchronous_client_answers_as_well(chat_server: Server) -> None:
    async with yangfan.AsyncClient(chat_server.base_url, bearer=chat_server.bearer) as client:
        answer = await client.chat(QUESTION, model="ernie_speed", max_output_tokens=8)

    assert answer.text


@pytest.mark.parametrize("seed", [1, 77])
def test_a_seed_gives_the_same_answer_again(chat_server: Server, seed: int) -> None:
    with _client(chat_server, "bearer, v2") as client:
        first, second = (
            client.chat(
                "Tell me a story", model="ernie_speed", seed=seed, max_output_tokens=24
            ).text
            for _ in range(2)
        )

    assert first == second


def test_chinese_and_emoji_stream_unbroken(chat_server: Server) -> None:
    # A grammar makes the model say exactly this, byte by byte where its vocabulary has no such character.
    text = "千帆竞发，百舸争流。😀👨‍👩‍👧‍👦🇨🇳🏳️‍🌈𠮷é"
    schema = {"name": "exact", "schema": {"type": "string", "enum": [text]}}
    with (
        _client(chat_server, "bearer, v2") as client,
        client.chat(
            "Say it",
            model="tiny-chat",
            response_format={"type": "json_schema", "json_schema": schema},
            max_output_tokens=400,
            stream=True,
        ) as stream,
    ):
        pieces = [event.text for event in stream]

    assert json.loads("".join(pieces)) == text
    assert all("\ufffd" not in piece for piece in pieces)
    assert len(pieces) > 5


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_text_goes_on_and_its_tokens_are_those_of_the_usage(
    chat_server: Server, kind: str
) -> None:
    with _client(chat_server, kind) as client:
        prompt = "Once upon a time there was a 灯塔 😀"
        whole = client.completions(prompt, model="ernie_speed", max_output_tokens=8, seed=1)
        with client.completions(
            prompt, model="ernie_speed", max_output_tokens=8, seed=1, stream=True
        ) as stream:
            pieces = [event.text for event in stream]
        counted = client.tokenizer.count(prompt, model="ernie_speed")

    assert whole.text == "".join(pieces)
    assert whole.served_model == stream.served_model == "tiny-chat"
    assert whole.usage
    assert whole.usage.prompt_tokens == counted


def test_a_v1_client_leaves_no_socket_behind_however_its_calls_ended(
    echo_server: Server,
) -> None:
    with yangfan.Client(
        echo_server.base_url,
        api_key=echo_server.api_key,
        secret_key=echo_server.secret_key,
        version=1,
    ) as client:
        assert client.chat("hi", model="echo").text == "hi"
        with pytest.raises(errors.ModelNotFound):
            client.chat("hi", model="nobody")
        with client.chat("one two three", model="echo", stream=True) as events:
            next(iter(events))
    port = urlsplit(echo_server.base_url).port
    held = [
        thing for thing in gc.get_objects() if issubclass(type(thing), socket.socket)
    ]  # asking a thing itself wakes warnings
    open_ones = [one for one in held if one.fileno() != -1 and peer_port(one) == port]
    assert open_ones == []


def peer_port(one: socket.socket) -> int | None:
    try:
        peer: Any = one.getpeername()
    except OSError:
        return None
    return None if isinstance(peer, str) else int(peer[1])  # pipes within a process have no port
