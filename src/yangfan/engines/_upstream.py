"""HTTP/1.1 to somebody else's server, for the child of the remote engine: kept-alive connections, timeouts, events.

It is written on `asyncio.Protocol` and httptools for the reason that `yangfan.engines.wire.pool` is; connections are opened by
`yangfan.egress`, which decides where to.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

import httptools

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

HIGH_WATER_BYTES = 64 * 1024
"""An answer whose reader is this far behind is no longer read from the network until the reader has caught up."""

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Longest line of a stream; a picture in base64 fits."""

MAX_HEAD_BYTES = 64 * 1024
IDLE_SECONDS = 50.0
"""A connection unused for longer is not used again: most servers close theirs after a minute."""

MAX_IDLE = 256


class LostError(Exception):
    """The connection closed before the answer was complete; `answered` tells whether any byte of it had come."""

    def __init__(self, *, answered: bool) -> None:
        """Keep what was seen."""
        super().__init__("the connection closed before the answer was complete")
        self.answered = answered


class NonsenseError(Exception):
    """What came is not what HTTP or its headers promise; the text says what."""


class Connect(Protocol):
    """`yangfan.egress.Egress.connect`."""

    async def __call__(
        self, url: str, protocol: Callable[[], Connection]
    ) -> tuple[asyncio.BaseTransport, Connection]:
        """Open one connection."""
        ...


class Connection(asyncio.Protocol):
    """One connection, one request at a time. httptools calls the `on_…` methods."""

    def __init__(self) -> None:
        """Not yet connected."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._unread: deque[bytes] = deque()
        self._unread_bytes = self._head_bytes = 0
        self._answered = self._paused = self._has_head = self._complete = False
        self._nonsense = self._keep_alive = False
        self.headers: dict[str, str] = {}
        self.lost = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self.lost = True
        if self._has_head and not self._complete and not self._framed:
            self._complete = True  # an answer without a length ends with its connection
        self._wake()

    def data_received(self, data: bytes) -> None:
        self._answered = True
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._nonsense = True
            self.close()
        if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
            self._nonsense = True
            self.close()
        self._wake()

    def on_message_begin(self) -> None:
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            return  # 100 Continue and its like; the answer follows
        self._keep_alive = self._parser.should_keep_alive()  # any later it is always False
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._unread.append(body)
        self._unread_bytes += len(body)
        if self._unread_bytes > HIGH_WATER_BYTES and not self._paused and self._transport:
            self._transport.pause_reading()
            self._paused = True

    def on_message_complete(self) -> None:
        self._complete = self._has_head

    @property
    def _framed(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    @property
    def reusable(self) -> bool:
        """Whether the answer was read whole and the server keeps the connection open."""
        return self._complete and not self._unread and self._keep_alive and not self.lost

    def close(self) -> None:
        """Drop the connection; a server that is still generating for it sees that nobody listens."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    async def send(self, request: bytes) -> int:
        """Send a request and return the status of its answer; then read the body with `chunk`."""
        assert self._transport is not None
        self._answered = self._has_head = self._complete = False
        self._head_bytes = 0
        self._transport.write(request)
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
            if not self.lost:
                self._transport.resume_reading()
        return piece

    async def _progress(self) -> None:
        """Wait until more of the answer has come."""
        if self._nonsense:
            raise NonsenseError("what came is not HTTP/1.1")
        if self.lost:
            raise LostError(answered=self._answered)
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Answer:
    """The answer to one request, its body still on its way.

    Attributes:
        status: HTTP status.
        headers: Header fields, names in lower case.
    """

    def __init__(self, status: int, connection: Connection, idle_timeout_seconds: float) -> None:
        """Begin to read."""
        self.status = status
        self.headers = connection.headers
        self._connection = connection
        self._idle_timeout_seconds = idle_timeout_seconds
        self._inflate = _decoder(self.headers.get("content-encoding", "identity"))

    @property
    def is_stream(self) -> bool:
        """Whether the body is server-sent events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes, decompressed.

        Raises:
            TimeoutError: Nothing came for too long.
            LostError: The connection broke.
            NonsenseError: It is not encoded as the header says.
        """
        inflate = self._inflate
        while True:
            async with asyncio.timeout(self._idle_timeout_seconds):
                piece = await self._connection.chunk()
            if not piece:
                return
            if inflate is None:
                yield piece
                continue
            while piece:
                try:
                    plain = inflate.decompress(piece, HIGH_WATER_BYTES)
                except zlib.error:
                    raise NonsenseError("the body is not compressed as its header says") from None
                piece = inflate.unconsumed_tail
                if plain:
                    yield plain

    async def body(self, max_bytes: int) -> bytes:
        """The whole body. Raises as `chunks` does, and NonsenseError when there is more than `max_bytes`."""
        pieces: list[bytes] = []
        taken = 0
        async for piece in self.chunks():
            taken += len(piece)
            if taken > max_bytes:
                raise NonsenseError(f"the body is larger than the {max_bytes} bytes allowed")
            pieces.append(piece)
        return b"".join(pieces)

    async def events(self) -> AsyncGenerator[bytes]:
        """The data of each event. A line may end with LF or CRLF, the space after the colon is optional, `data` may take several lines.

        Raises as `chunks` does, and NonsenseError when a line is too long.
        """
        rest, data = b"", list[bytes]()
        async for piece in self.chunks():
            if b"\n" not in piece:
                rest += piece
                if len(rest) > MAX_EVENT_BYTES:
                    raise NonsenseError(f"an event is longer than {MAX_EVENT_BYTES} bytes")
                continue
            *lines, rest = (rest + piece).split(b"\n")
            for raw in lines:
                line = raw.rstrip(b"\r")
                if not line and data:
                    yield b"".join(data)
                    data.clear()
                elif line.startswith(b"data:"):
                    data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        last = rest.rstrip(b"\r")
        if last.startswith(b"data:"):
            data.append(last[5:].strip())
        if data:  # a server that leaves out the last empty line
            yield b"".join(data)


class Upstream:
    """Requests to one server.

    Args:
        base_url: What the paths are appended to.
        api_key: Sent as a bearer key; "" sends none.
        headers: Further header fields of every request.
        connect: Opens a connection.
        first_byte_timeout_seconds: Longest wait for the head of an answer.
        idle_timeout_seconds: Longest silence within an answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str,
        headers: Mapping[str, str],
        connect: Connect,
        first_byte_timeout_seconds: float,
        idle_timeout_seconds: float,
    ) -> None:
        """Nothing is opened."""
        parts = urlsplit(base_url)
        self._url = base_url
        self._path = parts.path.rstrip("/")
        self._connect = connect
        self._first_byte_timeout_seconds = first_byte_timeout_seconds
        self._idle_timeout_seconds = idle_timeout_seconds
        fields = {
            "Host": parts.netloc,
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": "yangfan",
            **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            **headers,
        }
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
        self._idle: deque[Connection] = deque()

    def __repr__(self) -> str:
        """No secrets."""
        return f"Upstream({self._url!r})"

    @asynccontextmanager
    async def asking(
        self,
        path: str,
        body: bytes | None,
        traceparent: bytes = b"",
        content_type: bytes = b"application/json",
    ) -> AsyncGenerator[Answer]:
        """Send one request (GET without a body, else POST) and hand out its answer; leaving early closes the connection.

        Redirects are not followed: the key is for this server alone.

        Raises:
            FetchError: The server may not or cannot be reached.
            TimeoutError: No answer in time.
            LostError: The connection broke.
            NonsenseError: What came is not HTTP.
        """
        status, connection = await self._send(self._request(path, body, traceparent, content_type))
        try:
            yield Answer(status, connection, self._idle_timeout_seconds)
        finally:
            self._put_back(connection)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _send(self, request: bytes) -> tuple[int, Connection]:
        """Send; once more on a fresh connection if the idle one was closed at the other end before it answered."""
        for connection in (self._take_idle(), None):
            fresh = connection is None
            connection = connection or (await self._connect(self._url, Connection))[1]
            try:
                async with asyncio.timeout(self._first_byte_timeout_seconds):
                    return await connection.send(request), connection
            except LostError as error:
                connection.close()
                if fresh or error.answered:
                    raise
            except BaseException:
                connection.close()
                raise
        raise AssertionError("the second connection is fresh")

    def _take_idle(self) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _put_back(self, connection: Connection) -> None:
        if connection.reusable and len(self._idle) < MAX_IDLE:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()

    def _request(
        self, path: str, body: bytes | None, traceparent: bytes, content_type: bytes
    ) -> bytes:
        target = (self._path + path).encode()
        if body is None:
            return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, self._head)
        sent = b"traceparent: %b\r\n" % traceparent if traceparent else b""
        head = b"POST %b HTTP/1.1\r\n%b%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        return head % (target, self._head, sent, content_type, len(body)) + body


def _decoder(encoding: str) -> Any:
    """What undoes a Content-Encoding; None where there is none."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(wbits=47)  # gzip or zlib, whichever the first bytes say
        case _:
            raise NonsenseError("the body is compressed in a way that was not asked for")
