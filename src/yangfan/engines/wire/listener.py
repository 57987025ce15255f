"""The other end of the pool: a small HTTP/1.1 server for child processes whose engine brings none.

One request at a time on each connection, bodies in memory, replies as JSON or as server-sent events.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING, cast

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

UNAUTHORIZED = b'{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}'
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Exchange(asyncio.Protocol):
    """One connection: calls `answer` for each request, which replies at once or `spawn`s the work.

    Attributes:
        path: Path of the request being answered.
        body: Its body.
        traceparent: The trace that it belongs to; empty if it was sent without.
    """

    def __init__(self, answer: Callable[[Exchange], None], api_key: str) -> None:
        """Serve one connection.

        Args:
            answer: Called with this object for each authorized request; calls `reply` or `spawn`.
            api_key: What the Authorization header must carry.
        """
        self.path = ""
        self.body = self.traceparent = b""
        self._answer = answer
        self._expected = f"Bearer {api_key}".encode()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._authorized = False
        self._work: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        if self._work is not None:
            self._work.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def on_message_begin(self) -> None:
        self.path = ""
        self.body = self.traceparent = b""
        self._authorized = False

    def on_url(self, url: bytes) -> None:
        self.path += url.decode("ascii", "replace")

    def on_header(self, name: bytes, value: bytes) -> None:
        folded = name.lower()
        if folded == b"authorization":
            self._authorized = hmac.compare_digest(value, self._expected)
        elif folded == b"traceparent":
            self.traceparent = value

    def on_body(self, body: bytes) -> None:
        self.body = self.body + body if self.body else body

    def on_message_complete(self) -> None:
        if self._authorized:
            self._answer(self)
        else:
            self.reply(401, UNAUTHORIZED)

    def reply(self, status: int, body: bytes) -> None:
        """Send a whole JSON reply."""
        head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._write(head % (status, len(body)) + body)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Answer in a task, which is cancelled when the client leaves."""
        self._work = asyncio.create_task(work)
        self._work.add_done_callback(self._worked)

    def start_stream(self) -> None:
        """Send the head of a reply of server-sent events."""
        self._write(_STREAM_HEAD)

    async def send_event(self, data: bytes) -> None:
        """Send one event, after waiting for a client that reads slowly."""
        self._write(b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data))
        await self._writable.wait()

    def end_stream(self) -> None:
        """End the reply of server-sent events."""
        self._write(b"0\r\n\r\n")

    def _worked(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if not work.cancelled() and work.exception() is not None:
            self._close()  # an unfinished reply must not look finished
            work.result()  # and the defect goes to the log, through the loop's exception handler

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
