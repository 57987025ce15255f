"""Keep-alive HTTP/1.1 connections to one child process on loopback.

Written on `asyncio.Protocol` and httptools because the upstream client decides a gateway's speed: a general HTTP library costs
ten times as much a request here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

import httptools

from yangfan.engines.wire.errors import refusal
from yangfan.engines.wire.trace import CURRENT
from yangfan.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from yangfan.errors import RefusedError

_T = TypeVar("_T")

HIGH_WATER_BYTES = 64 * 1024
"""A stream whose reader is this far behind stops reading from the child until the reader has caught up."""


LOST_TEXT = (
    "the engine's process ended or dropped the connection before the answer was complete; try again"
)


class _LostError(Exception):
    """The connection closed before the reply was complete; `answered` tells whether any byte of it had come."""

    def __init__(self, *, answered: bool) -> None:
        super().__init__("connection lost")
        self.answered = answered


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. httptools calls the `on_…` methods."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._answered = False
        self._paused = False
        self._streams = False
        self._has_head = False
        self._complete = False
        self._keep_alive = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self.lost = True
        self._wake()

    def data_received(self, data: bytes) -> None:
        self._answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
        if self._streams or self._complete or self.lost:
            self._wake()

    def on_headers_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()  # any later it is always False
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._unread.append(body)
        self._unread_bytes += len(body)
        if self._streams and self._unread_bytes > HIGH_WATER_BYTES and not self._paused:
            assert self._transport is not None
            self._transport.pause_reading()
            self._paused = True

    def on_message_complete(self) -> None:
        self._complete = True

    @property
    def reusable(self) -> bool:
        """Whether the reply was read whole and the child keeps the connection open."""
        return self._complete and not self._unread and self._keep_alive and not self.lost

    def close(self) -> None:
        """Drop the connection; a child that is still generating for it stops."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    async def whole(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of its reply."""
        self._write(request, streams=False)
        while not self._complete:
            await self._progress()
        pieces, self._unread_bytes = self._unread, 0
        body = pieces.popleft() if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return self._parser.get_status_code(), body

    async def head(self, request: bytes) -> int:
        """Send a request and return the status of its reply; then read the body with `chunk`."""
        self._write(request, streams=True)
        while not self._has_head:
            await self._progress()
        return self._parser.get_status_code()

    async def chunk(self) -> bytes:
        """Return the next piece of the body, b"" at its end."""
        while not self._unread:
            if self._complete:
                return b""
            await self._progress()
        piece = self._unread.popleft()
        self._unread_bytes -= len(piece)
        if self._paused and self._unread_bytes * 2 < HIGH_WATER_BYTES and self._transport:
            self._paused = False
            self._transport.resume_reading()
        return piece

    async def body(self) -> bytes:
        """Return the whole body."""
        pieces: list[bytes] = []
        while piece := await self.chunk():
            pieces.append(piece)
        return b"".join(pieces)

    def _write(self, request: bytes, *, streams: bool) -> None:
        """Send a request; of a reply that does not stream, nobody has to hear before its end."""
        assert self._transport is not None
        self._streams = streams
        self._answered = self._has_head = self._complete = False
        self._transport.write(request)

    def _progress(self) -> asyncio.Future[None]:
        """Done when more of the reply has come, or all of one that does not stream."""
        if self.lost:
            raise _LostError(answered=self._answered)
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Pool:
    """Connections to one child process; as many as there are calls at the same time.

    Every method raises `EngineFailed` when the child cannot be reached or the connection breaks. Cancelling a call closes its
    connection, which tells the child to stop working on it.
    """

    def __init__(self, host: str, port: int, api_key: str) -> None:
        """Remember where the child listens; connections open when they are needed."""
        self._host = host
        self._port = port
        self._head = (
            f"Host: {host}:{port}\r\nAuthorization: Bearer {api_key}\r\nContent-Type: application/json\r\n"
        ).encode()
        self._idle: list[_Connection] = []

    def close(self) -> None:
        """Close the idle connections; calls under way end by themselves."""
        while self._idle:
            self._idle.pop().close()

    async def get(self, path: str) -> tuple[int, bytes]:
        """Send a GET; return status and body."""
        request = b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), self._head)
        reply, connection = await self._send(request, _Connection.whole)
        self._put_back(connection)
        return reply

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a JSON body; return status and body of the reply."""
        reply, connection = await self._send(self._post(path, body), _Connection.whole)
        self._put_back(connection)
        return reply

    async def stream(
        self, path: str, body: bytes, refuse: Callable[[int, bytes], RefusedError] = refusal
    ) -> AsyncGenerator[bytes]:
        """Send a JSON body; yield the data of each server-sent event of the reply as it comes.

        Comments (keep-alive pings) are dropped, and so is every field but `data`.

        Raises:
            RefusedError: The status of the reply was not 200; see `yangfan.engines.wire.errors.refusal`.
        """
        status, connection = await self._send(self._post(path, body), _Connection.head)
        try:
            if status != 200:
                raise refuse(status, await connection.body())
            rest = b""
            while piece := await connection.chunk():
                *events, rest = (rest + piece).split(b"\n\n")
                for event in events:
                    if event.startswith(b"data: "):
                        yield event[6:]
        except _LostError as error:
            raise EngineFailed(LOST_TEXT) from error
        finally:
            self._put_back(connection)

    async def _send(
        self, request: bytes, ask: Callable[[_Connection, bytes], Awaitable[_T]]
    ) -> tuple[_T, _Connection]:
        """What `ask` gets for a request; on a fresh connection if the idle one was closed at the other end."""
        for connection in (self._take_idle(), None):
            fresh = connection is None
            connection = connection or await self._connect()
            try:
                return await ask(connection, request), connection
            except _LostError as error:
                connection.close()
                if fresh or error.answered:
                    raise EngineFailed(LOST_TEXT) from error
            except BaseException:
                connection.close()
                raise
        raise AssertionError("the second connection is fresh")

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                return connection
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            return (await loop.create_connection(_Connection, self._host, self._port))[1]
        except OSError as error:
            raise EngineFailed(
                "the engine's process does not accept connections; try again"
            ) from error

    def _post(self, path: str, body: bytes) -> bytes:
        trace = CURRENT.get()
        sent = b"" if trace is None else b"traceparent: %b\r\n" % trace.traceparent.encode()
        head = b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n"
        return head % (path.encode(), self._head, sent, len(body)) + body

    def _put_back(self, connection: _Connection) -> None:
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
