"""One request and its response over uvicorn's protocol, with a cheaper way to read and to send.

uvicorn lower-cases and checks each header by regular expression, and writes head and body apart. Here a response's head waits for
the first part of its body, so that a small answer is one write, and header names stay as they were given: the official Python SDK
looks for `X-Ratelimit-…` in exactly that spelling (specification B.2).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from yangfan.server.http.exchange import Exchange

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from yangfan.server.http.exchange import Header

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LENGTH_LINE = b"\r\ncontent-length: "
_WITHOUT_BODY = frozenset({204, 304})


class Cycle(RequestResponseCycle, Exchange):
    """uvicorn's cycle with reading and sending of our own; how it runs an application is uvicorn's.

    The application gets this object as its `send`, and finds an `Exchange` in it.
    """

    def __init__(
        self,
        scope: Any,
        transport: asyncio.Transport,
        flow: Any,
        logger: logging.Logger,
        default_headers: list[Header],
        *,
        expect_100_continue: bool,
        keep_alive: bool,
        on_response: Callable[[], None],
    ) -> None:
        # Not uvicorn's own: that makes an Event and a bytearray, which few requests need.
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.logger = logger
        self.default_headers = default_headers
        self.waiting_for_100_continue = expect_100_continue
        self.keep_alive = keep_alive
        self.on_response = on_response
        self.task: asyncio.Task[None] | None = None
        self.disconnected = False
        self.body = b""  # pyright: ignore[reportIncompatibleVariableOverride] - grows by pieces of the parser's, seldom more than one
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.chunked_encoding = False
        self._news = False
        self._event: asyncio.Event | None = None
        self._gone: Callable[[], object] | None = None
        self._head = b""

    # The request

    @property
    def message_event(self) -> asyncio.Event:  # pyright: ignore[reportIncompatibleVariableOverride] - uvicorn's protocol only sets it
        """Set when there is something to receive; made when somebody has to wait for that."""
        if self._event is None:
            self._event = asyncio.Event()
        return self._event

    def tell(self) -> None:
        """There is something to receive."""
        self._news = True
        if self._event is not None:
            self._event.set()

    def lost(self) -> None:
        """The connection is lost while this request is answered."""
        self.disconnected = True  # uvicorn tells only the request that came last
        gone, self._gone = self._gone, None
        if gone is not None and self.task is not None:
            gone()
            self.task.cancel()

    async def receive(self) -> Any:
        """The next ASGI message of the request."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(_CONTINUE)
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            if not self._news:
                event = self.message_event
                event.clear()
                await event.wait()
            self._news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def whole_body(self) -> bytes | None:
        """The body, where it came with the head or soon after."""
        if self.more_body or self.disconnected:
            return None
        if self.flow.read_paused:
            self.flow.resume_reading()  # a client that leaves is noticed by reading
        body, self.body = self.body, b""
        self._news = False
        return body

    def watch(self, gone: Callable[[], object]) -> None:
        """The protocol tells of a lost connection by `lost`."""
        self._gone = gone

    def unwatch(self) -> None:
        """Let it tell nobody."""
        self._gone = None

    # The response

    @property
    def send(self) -> Cycle:  # pyright: ignore[reportIncompatibleMethodOverride] - it is called all the same
        """What applications call with messages: this object."""
        return self

    async def __call__(self, message: Any) -> None:
        """Take one ASGI message; the head is written with the first part of the body.

        Raises:
            RuntimeError: The messages come in an order that ASGI does not allow, or a header would break out of its line.
        """
        if message["type"] == "http.response.start":
            await self.begin(message["status"], message.get("headers", ()))
        else:
            await self.part(message.get("body", b""), more=message.get("more_body", False))

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Write head and body at one go; raises as `send` does."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected:
            self._start(status, headers)
            self._write(body, more=False)

    async def begin(self, status: int, headers: Sequence[Header]) -> None:
        """Keep the head for the first part; raises as `send` does."""
        if not self.disconnected:
            self._start(status, headers)

    async def part(self, data: bytes, *, more: bool = True) -> None:
        """Write a part, once the client has read enough of those before; raises as `send` does."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected:
            self._write(data, more=more)

    def _start(self, status: int, headers: Sequence[Header]) -> None:
        if self.response_started:
            raise RuntimeError("the response has started already")
        fields = [b": ".join(field) for field in (*self.default_headers, *headers)]
        head = STATUS_LINE[status] + b"\r\n".join(fields) + b"\r\n"
        # One line end for each field and one for the status line; a field that holds another would break out of its line.
        if head.count(b"\n") != len(fields) + 1 or head.count(b"\r") != len(fields) + 1:
            raise RuntimeError("a response header holds a line end")
        if (
            status not in _WITHOUT_BODY
            and _LENGTH_LINE not in head.lower()
            and self.scope["method"] != "HEAD"
            # HTTP/1.0 knows no chunks: there the end of the connection ends the body.
            and self.scope["http_version"] != "1.0"
        ):
            self.chunked_encoding = True
            head += b"transfer-encoding: chunked\r\n"
        if not self.keep_alive:
            head += b"connection: close\r\n"
        self.response_started = True
        self.waiting_for_100_continue = False
        self._head = head + b"\r\n"

    def _write(self, body: bytes, *, more: bool) -> None:
        if not self.response_started:
            raise RuntimeError("the response has to start with its head")
        if self.response_complete:
            raise RuntimeError("the response is complete, nothing can follow")
        if self.chunked_encoding:
            data = b"%b%x\r\n%b\r\n" % (self._head, len(body), body) if body else self._head
            if not more:
                data += b"0\r\n\r\n"
        elif self.scope["method"] == "HEAD":
            data = self._head
        else:
            data = self._head + body
        self._head = b""
        self.transport.write(data)
        if more:
            return
        self.response_complete = True
        if self._event is not None:
            self._event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
