"""Limits on the way in: how large a head may be, how slow a client, what happens to what is no HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

import pytest
from tests.server.http.conftest import (
    MAX_BODY_BYTES,
    Answer,
    OpenSite,
    Question,
    endpoint,
    repeat,
    streaming,
)

from yangfan.errors import ConfigurationError
from yangfan.server.http import Call, Reply, Route, listener
from yangfan.server.http.listener import ReadLimits, bind

PATIENCE_SECONDS = 0.2
IMPATIENT = ReadLimits(4096, PATIENCE_SECONDS)
HEAD = "POST /v2/ask HTTP/1.1\r\nHost: x\r\n"


async def test_head_just_below_the_limit_is_read(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    assert (await site.ask(headers={"X": "a" * 3900})).status == 200
    heard = await site.ask(headers={"X": "a" * 4100})
    assert heard.status == 431
    assert heard.json["error"]["message"].startswith("the request head is larger than 4096 bytes")
    assert heard.headers["connection"] == "close"


async def test_head_limit_counts_each_request_anew(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    for _ in range(5):
        line.ask(headers={"X": "a" * 2000})
        assert (await line.hear()).status == 200


@pytest.mark.parametrize("start", ["GET /", "GET / HTTP/1.1\r\nX: ", "GET / HTTP/1.1\r\n"])
async def test_line_without_end_is_refused_at_the_limit(open_site: OpenSite, start: str):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    line.send(start)
    for _ in range(10):
        line.send("a" * 500)
        await line.writer.drain()
    assert (await line.hear()).status == 431


async def test_silent_connection_is_closed_without_a_word(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], limits=IMPATIENT)
    assert await (await site.connect()).rest() == b""


async def test_head_that_trickles_is_cut_off_in_all(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], limits=IMPATIENT)
    line = await site.connect()
    line.send("GET / HTTP/1.1\r\n")
    trickling = asyncio.create_task(trickle(line.writer, b"X: y\r\n"))
    heard = await line.rest()
    trickling.cancel()
    assert heard == b"" or heard.startswith(b"HTTP/1.1 408 ")


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a little, often enough never to look silent."""
    while not writer.is_closing():
        writer.write(data)
        await asyncio.sleep(PATIENCE_SECONDS / 10)


async def test_second_head_on_a_connection_has_the_same_time(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], limits=IMPATIENT)
    line = await site.connect()
    line.ask()
    await line.hear()
    line.send("POST /v2/ask HTTP/1.1\r\nX: ")
    heard = await line.hear()
    assert heard.status == 408
    assert heard.json["error"]["message"].endswith("of silence; send it faster")


async def test_connection_without_a_next_request_is_closed(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listener, "IDLE_SECONDS", 0.05)
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    line.ask()
    assert (await line.hear()).status == 200
    assert await line.rest() == b""


async def test_idle_connection_may_wait_longer_than_a_head(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], limits=IMPATIENT)
    line = await site.connect()
    line.ask()
    await line.hear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS * 2):
            await line.reader.read(1)
    line.ask()
    assert (await line.hear()).status == 200


async def test_silence_in_the_body_ends_the_request(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], limits=IMPATIENT)
    line = await site.connect()
    line.send(HEAD + "Content-Length: 10\r\n\r\n{")
    assert (await line.hear()).status == 408
    assert await line.rest() == b""


async def test_slow_but_steady_body_is_read(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)], limits=IMPATIENT)
    line = await site.connect()
    body = b'{"text":"abcdefghijklmnop"}'
    line.send(HEAD + f"Content-Length: {len(body)}\r\n\r\n")
    for byte in body:
        line.send(bytes([byte]))
        await asyncio.sleep(PATIENCE_SECONDS / 10)
    assert (await line.hear()).json == {"text": "abcdefghijklmnop"}


async def test_long_answer_is_not_mistaken_for_silence(open_site: OpenSite):
    async def think(call: Call[Question]) -> Reply:
        await asyncio.sleep(PATIENCE_SECONDS * 2)
        return Reply(Answer("thought"))

    site = await open_site([Route(endpoint(), think)], limits=IMPATIENT)
    assert (await site.ask()).json == {"text": "thought"}


async def test_request_that_was_answered_gets_no_second_answer_for_its_silence(
    open_site: OpenSite,
):
    site = await open_site([Route(endpoint(), repeat)], limits=IMPATIENT)
    line = await site.connect()
    line.send(HEAD + f"Content-Length: {MAX_BODY_BYTES * 2}\r\n\r\nabc")
    assert (await line.hear()).status == 413
    assert await line.rest() == b""


async def test_garbage_behind_a_request_does_not_land_inside_its_stream(open_site: OpenSite):
    async def events() -> AsyncGenerator[Answer]:
        yield Answer("first")
        await asyncio.Event().wait()

    site = await open_site([Route(endpoint(), streaming(events))])
    line = await site.connect()
    line.ask()
    await line.hear(head_only=True)
    await line.chunk()
    line.send("\x16\x03\x01 garbage\r\n\r\n")
    assert await line.rest() == b""


async def test_refusal_of_garbage_has_ids_and_a_reason(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    line.send("GET / HTTP/1.1\r\na b: c\r\n\r\n")
    heard = await line.hear()
    assert heard.status == 400
    assert heard.headers["x-baidu-request-id"].startswith("req-")
    assert heard.json["id"].startswith("as-")
    assert heard.json["error"]["message"].startswith(
        "this is not proper HTTP: Invalid header token. Speak HTTP/1.1"
    )
    assert await line.rest() == b""


async def test_nothing_is_said_about_the_server_program(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    assert "server" not in (await site.ask()).headers


def test_taken_port_is_told_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError) as raised:
            bind("127.0.0.1", port)
    assert raised.value.message == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port N (0 picks a free one)"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid", "not an address", "::ffff:1:2:3"])
def test_address_of_another_machine_is_told(host: str):
    with pytest.raises(ConfigurationError, match="cannot listen on "):
        bind(host, 0)


def test_every_local_address_can_be_bound():
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        with bind(host, 0) as opened:
            assert opened.getsockname()[1] > 0


JAVA = (
    "POST /v2/ask HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: {}\r\nHost: x\r\n"
    "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/17.0.15\r\n"
    "Content-Type: application/json\r\n\r\n{}"
)
"""What java.net.http.HttpClient sends, which langchain4j and Spring use."""


@pytest.mark.parametrize("pieces", [1, 2, 9])
async def test_body_behind_an_offer_of_http2_is_read(open_site: OpenSite, pieces: int):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    for text in ("first", "second"):
        body = f'{{"text":"{text}"}}'
        sent = JAVA.format(len(body), body)
        size = len(sent) // pieces + 1
        for start in range(0, len(sent), size):
            line.send(sent[start : start + size])
            await line.writer.drain()
            await asyncio.sleep(0)
        heard = await line.hear()
        assert (heard.status, heard.json) == (200, {"text": text})


async def test_requests_behind_an_offer_of_another_protocol_are_answered(open_site: OpenSite):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    line.send(
        JAVA.format(14, '{"text":"one"}') * 2
        + "GET /v2/ask HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: x\r\n\r\n"
        + JAVA.format(14, '{"text":"two"}')
    )
    assert [(await line.hear()).status for _ in range(4)] == [200, 200, 405, 200]


@pytest.mark.parametrize("target", ["example.com:443", "/v2/ask", "http://x/v2/ask"])
async def test_tunnel_is_refused(open_site: OpenSite, target: str):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    line.send(f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    heard = await line.hear()
    assert heard.status == 400
    assert "CONNECT is for proxies" in heard.json["error"]["message"]
    assert (await site.ask()).status == 200


@pytest.mark.parametrize(
    ("target", "status"), [("http://x", 404), ("http://x?a=b", 404), ("http://x/v2/ask", 200)]
)
async def test_whole_urls_are_read_by_their_paths(open_site: OpenSite, target: str, status: int):
    site = await open_site([Route(endpoint(), repeat)])
    line = await site.connect()
    line.send(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}")
    assert (await line.hear()).status == status


async def test_stream_over_http_1_0_has_no_chunks_and_ends_with_its_connection(open_site: OpenSite):
    async def events() -> AsyncGenerator[Answer]:
        yield Answer("only")

    site = await open_site([Route(endpoint(), streaming(events))])
    line = await site.connect()
    line.send("POST /v2/ask HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
    head, _, body = (await line.rest()).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b'data: {"text":"only"}\n\ndata: [DONE]\n\n'
