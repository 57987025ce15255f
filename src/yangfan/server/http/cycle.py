"""One request and its response over uvicorn's protocol, with a cheaper way to send.

uvicorn lower-cases and checks each header by regular expression, and writes head and body apart. Here a response's head waits for
the first part of its body, so that a small answer is one write, and header names stay as they were given: the official Python SDK
looks for `X-Ratelimit-…` in exactly that spelling (specification B.2).
"""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_CONTENT_LENGTH_SIZE = len(b"content-length")
_WITHOUT_BODY = frozenset({204, 304})


class Cycle(RequestResponseCycle):
    """uvicorn's cycle with a `send` of our own; everything else is uvicorn's."""

    _head = b""

    async def send(self, message: Any) -> None:
        """Take one ASGI message; the head is written with the first part of the body.

        Raises:
            RuntimeError: The messages come in an order that ASGI does not allow, or a header would break out of its line.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError("the response is complete, nothing can follow")
        if message["type"] == "http.response.start":
            if self.response_started:
                raise RuntimeError("the response has started already")
            self._start(message["status"], message.get("headers", ()))
        elif not self.response_started:
            raise RuntimeError("the response has to start with its head")
        else:
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def _start(self, status: int, headers: Any) -> None:
        lines = [STATUS_LINE[status]]
        # HTTP/1.0 knows no chunks: there the end of the connection ends the body.
        chunked = (
            status not in _WITHOUT_BODY
            and self.scope["method"] != "HEAD"
            and self.scope["http_version"] != "1.0"
        )
        for name, value in (*self.default_headers, *headers):
            lines.append(b"%b: %b\r\n" % (name, value))
            if len(name) == _CONTENT_LENGTH_SIZE and name.lower() == b"content-length":
                chunked = False
        if chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise RuntimeError("a response header holds a line end")
        self.chunked_encoding = chunked
        self.response_started = True
        self.waiting_for_100_continue = False
        self._head = head + b"\r\n"

    def _write(self, body: bytes, *, more: bool) -> None:
        parts = [self._head] if self._head else []
        self._head = b""
        if self.scope["method"] == "HEAD":
            pass
        elif self.chunked_encoding:
            if body:
                parts += (b"%x\r\n" % len(body), body, b"\r\n")
            if not more:
                parts.append(b"0\r\n\r\n")
        else:
            parts.append(body)
        self.transport.write(b"".join(parts))
        if more:
            return
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        cast("Any", self).on_response()
