import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest

from yangfan.engines.wire.pool import HIGH_WATER_BYTES, Pool
from yangfan.errors import ContextTooLong, EngineFailed, Overloaded

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Child:
    """A server that plays a script: `serve` is called with each connection that comes."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.left = asyncio.Event()
        self.port = 0

    async def read_request(self, reader: asyncio.StreamReader) -> None:
        """Read one request; raises IncompleteReadError when the client has left instead."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.requests.append(head + await reader.readexactly(length))

    @contextlib.asynccontextmanager
    async def serving(self, serve: Handler) -> AsyncGenerator[Pool]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            try:
                await serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                self.left.set()
            finally:
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        pool = Pool("127.0.0.1", self.port, "the-key")
        try:
            yield pool
        finally:
            pool.close()
            server.close()
            await server.wait_closed()


@pytest.fixture
def child() -> Child:
    return Child()


def replying(child: Child, reply: bytes) -> Handler:
    """A server that gives the same reply to every request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await child.read_request(reader)
            writer.write(reply)

    return serve


async def collect(pool: Pool) -> list[bytes]:
    async with aclosing(pool.stream("/chat", b"{}")) as events:
        return [data async for data in events]


async def test_a_post_carries_key_and_body(child: Child) -> None:
    async with child.serving(replying(child, OK)) as pool:
        assert await pool.post("/path", b'{"a": 1}') == (200, b"{}")
    (request,) = child.requests
    assert request.startswith(b"POST /path HTTP/1.1\r\n")
    assert b"Authorization: Bearer the-key\r\n" in request
    assert request.endswith(b'\r\n\r\n{"a": 1}')


async def test_calls_after_each_other_share_a_connection(child: Child) -> None:
    async with child.serving(replying(child, OK)) as pool:
        for _ in range(5):
            await pool.get("/")
        assert child.connections == 1


async def test_calls_beside_each_other_have_a_connection_each(child: Child) -> None:
    both = asyncio.Barrier(2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await child.read_request(reader)
        await both.wait()
        writer.write(OK)
        await reader.read()

    async with child.serving(serve) as pool, asyncio.timeout(5):
        await asyncio.gather(pool.get("/1"), pool.get("/2"))
        assert child.connections == 2


async def test_a_body_that_comes_in_pieces_is_joined(child: Child) -> None:
    body = b"x" * (3 * HIGH_WATER_BYTES)
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with child.serving(replying(child, reply)) as pool:
        assert await pool.get("/") == (200, body)
        assert await pool.get("/") == (200, body)
        assert child.connections == 1


async def test_a_connection_that_the_child_will_close_is_not_used_again(child: Child) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    async with child.serving(replying(child, reply)) as pool:
        await pool.get("/")
        await pool.get("/")
        assert child.connections == 2


async def test_an_idle_connection_closed_by_the_child_is_replaced(child: Child) -> None:
    async def serve_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await child.read_request(reader)
        writer.write(OK)

    async with child.serving(serve_once) as pool:
        for _ in range(3):
            assert (await pool.get("/"))[0] == 200
    assert len(child.requests) == 3


async def test_a_request_that_an_idle_connection_swallows_is_sent_once_more(child: Child) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = child.connections == 1
        await child.read_request(reader)
        writer.write(OK)
        await child.read_request(reader)
        if not first:
            writer.write(OK)

    async with child.serving(serve) as pool:
        assert (await pool.get("/first"))[0] == 200
        assert (await pool.get("/swallowed"))[0] == 200
    assert [request.split()[1] for request in child.requests] == [
        b"/first",
        b"/swallowed",
        b"/swallowed",
    ]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_a_reply_that_breaks_off_or_is_no_http_fails(child: Child, reply: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await child.read_request(reader)
        writer.write(reply)

    async with child.serving(serve) as pool, asyncio.timeout(5):
        with pytest.raises(EngineFailed):
            await pool.get("/")
    assert len(child.requests) == 1


async def test_nobody_listening_fails(child: Child) -> None:
    async with child.serving(replying(child, OK)):
        pass
    with pytest.raises(EngineFailed, match="does not accept connections"):
        await Pool("127.0.0.1", child.port, "key").get("/")


async def test_a_cancelled_call_closes_its_connection(child: Child) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await child.read_request(reader)
        await reader.readexactly(1)

    async with child.serving(serve) as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.get("/")
        async with asyncio.timeout(5):
            await child.left.wait()


# Streams ------------------------------------------------------------------------------------------


async def test_events_come_one_by_one_however_the_bytes_are_cut(child: Child) -> None:
    body = 'data: {"a": "扬帆"}\n\n: ping\n\ndata: 😀\n\ndata: [DONE]\n\n'.encode()
    whole = STREAM_HEAD + b"".join(chunk(body[i : i + 1]) for i in range(len(body))) + chunk(b"")
    async with child.serving(replying(child, whole)) as pool:
        expected = ['{"a": "扬帆"}'.encode(), "😀".encode(), b"[DONE]"]
        assert await collect(pool) == expected
        assert await collect(pool) == expected
        assert child.connections == 1


async def test_an_event_is_delivered_before_the_next_is_sent(child: Child) -> None:
    received = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await child.read_request(reader)
        writer.write(STREAM_HEAD + chunk(b"data: 1\n\n"))
        await received.wait()
        writer.write(chunk(b"data: 2\n\n") + chunk(b""))

    async with (
        asyncio.timeout(5),
        child.serving(serve) as pool,
        aclosing(pool.stream("/", b"")) as events,
    ):
        assert await anext(events) == b"1"
        received.set()
        assert [data async for data in events] == [b"2"]


async def test_a_stream_that_breaks_off_fails(child: Child) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await child.read_request(reader)
        writer.write(STREAM_HEAD + chunk(b"data: 1\n\n"))

    async with child.serving(serve) as pool, aclosing(pool.stream("/", b"")) as events:
        assert await anext(events) == b"1"
        with pytest.raises(EngineFailed):
            await anext(events)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (
            400,
            b'{"error":{"type":"exceed_context_size_error","n_prompt_tokens":9,"n_ctx":8}}',
            ContextTooLong,
        ),
        (503, b'{"error":{"message":"Loading model"}}', Overloaded),
        (500, b"<html>", EngineFailed),
    ],
)
async def test_a_stream_that_is_refused_raises_the_reason(
    child: Child, status: int, body: bytes, error: type[Exception]
) -> None:
    reply = b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
    async with child.serving(replying(child, reply)) as pool:
        for _ in range(2):
            with pytest.raises(error):
                await collect(pool)
        assert child.connections == 1


async def test_closing_a_stream_early_closes_its_connection(child: Child) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await child.read_request(reader)
        writer.write(STREAM_HEAD + chunk(b"data: 1\n\n"))
        await reader.readexactly(1)

    async with child.serving(serve) as pool:
        async with aclosing(pool.stream("/", b"")) as events:
            await anext(events)
        async with asyncio.timeout(5):
            await child.left.wait()


async def test_a_slow_reader_stops_the_child_instead_of_filling_memory(child: Child) -> None:
    event = chunk(b"data: %b\n\n" % (b"x" * 10_000))
    count = 3000
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await child.read_request(reader)
        writer.write(STREAM_HEAD)
        for _ in range(count):
            writer.write(event)
            await writer.drain()
            sent += 1
        writer.write(chunk(b""))

    async with child.serving(serve) as pool, aclosing(pool.stream("/", b"")) as events:
        await anext(events)
        stalled_at = -1
        while sent != stalled_at:
            stalled_at = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < count  # 30 MB do not fit into the sockets' buffers
        async with asyncio.timeout(20):
            assert sum([1 async for _ in events]) == count - 1
