"""The sending side of one request: read its body, send its answer or its refusal, notice when the client leaves."""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.protocol import sse
from yangfan.protocol.v1 import errors as v1_errors
from yangfan.server.http.call import Accepted, Download, Reply, Stream, new_id
from yangfan.server.http.dialects import ENCODERS
from yangfan.server.http.exchange import Exchange, Header, Messages, Receive, Scope, Send
from yangfan.server.http.metering import Meter, Unmetered
from yangfan.server.http.routing import dialect_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    import msgspec

    from yangfan.protocol.endpoint import Dialect

_JSON: Header = (b"Content-Type", b"application/json")
_EVENTS: tuple[Header, ...] = (
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-cache"),
    (b"X-Accel-Buffering", b"no"),
)
_REQUEST_ID_NAMES = frozenset({b"request_id", b"request-id", b"x-request-id"})
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_V1_EVENT_WORD, _V1_EVENT_ESCAPED = b"event", b"\\u0065vent"
_NO_METER = Unmetered()
_PIECE_BYTES = 1024 * 1024


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Answering:
    """The sending side of one request.

    Attributes:
        fields: Names of the headers that it came with; most have none of those that are looked for.
    """

    __slots__ = (
        "_encode",
        "_exchange",
        "_receive",
        "_started",
        "client_gone",
        "dialect",
        "fields",
        "first_event_at",
        "headers",
        "meter",
        "must_reserve",
        "request_id",
        "scope",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, encode: Callable[[msgspec.Struct], bytes]
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._exchange = send if isinstance(send, Exchange) else Messages(receive, send)
        self._encode = encode
        self._started = False
        self.first_event_at: float | None = None
        self.client_gone = False
        self.fields = dict(scope["headers"]).keys()
        self.request_id = (
            new_id("req-", 16)
            if self.fields.isdisjoint(_REQUEST_ID_NAMES)
            else _request_id(scope["headers"])
        )
        self.dialect: Dialect | None = None
        self.meter: Meter = _NO_METER
        self.must_reserve = False
        self.headers: tuple[Header, ...] = ((b"X-Baidu-Request-Id", self.request_id.encode()),)

    async def read_body(self, max_bytes: int) -> bytes:
        """Read the whole body.

        Raises:
            BodyTooLarge: It is longer than `max_bytes`, or says that it will be.
            ClientGone: It never arrived.
        """
        whole = self._exchange.whole_body()
        if whole is not None:
            if len(whole) > max_bytes:
                raise _too_large(max_bytes)
            return whole
        for name, value in self.scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
                raise _too_large(max_bytes)
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(part)
            if size > max_bytes:
                raise _too_large(max_bytes)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes; the client is held back while nobody takes the next piece.

        Raises:
            ClientGone: The rest never came.
        """
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            yield message.get("body", b"")

    async def run(self, handling: Awaitable[Reply | Stream | Download | Accepted]) -> None:
        """Await the handler and send what it gives; stop working as soon as the client is gone."""
        self._exchange.watch(self._gone)
        try:
            answer = await handling
            if isinstance(answer, Stream):
                await self._stream(answer)
            elif isinstance(answer, Download):
                await self._file(answer)
            elif isinstance(answer, Accepted):
                await self._begin(202, ((b"Content-Length", b"0"), *self.headers))
                await self._exchange.part(b"", more=False)
            else:
                self._check_reserved()
                await self.send(200, answer.body, answer.headers)
        finally:
            self._exchange.unwatch()

    def _gone(self) -> None:
        self.client_gone = True

    async def _stream(self, stream: Stream) -> None:
        events = stream.events
        try:
            first = await anext(events, None)
            self._check_reserved()
            await self._begin(
                200, (*_EVENTS, *self.headers, *self.meter.headers(), *stream.headers)
            )
            if first is not None:
                part = self._exchange.part
                await part(self._line(first))
                self.first_event_at = time.perf_counter()
                async for event in events:
                    await part(self._line(event))
            if self.dialect == "v2" and stream.says_done:
                await self._exchange.part(sse.encode(sse.DONE))
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()
        await self._exchange.part(b"", more=False)

    async def _file(self, answer: Download) -> None:
        try:
            file = await asyncio.to_thread(answer.path.open, "rb")
        except OSError as error:
            raise errors.NotFound(f"{answer.name} is gone: {error.strerror}") from None
        with file:
            size = os.fstat(file.fileno()).st_size
            disposition = f'attachment; filename="{answer.name}"'
            headers = (
                (b"Content-Type", answer.media_type.encode()),
                (b"Content-Length", str(size).encode()),
                (b"Content-Disposition", disposition.encode("ascii", "replace")),
                (b"X-Content-Type-Options", b"nosniff"),
            )
            await self._begin(200, (*headers, *self.headers))
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                await self._exchange.part(piece)
        await self._exchange.part(b"", more=False)

    def _check_reserved(self) -> None:
        assert self.meter.reserved or not self.must_reserve, (
            "the handler answers an inference call for which it reserved nothing: call.meter.reserve(target, tokens) comes first"
        )

    def _line(self, event: msgspec.Struct) -> bytes:
        data = self._encode(event)
        if self.dialect == "v1" and _V1_EVENT_WORD in data:
            # Baidu's Go SDK drops every line that contains the word; an escape means the same to every other reader.
            data = data.replace(_V1_EVENT_WORD, _V1_EVENT_ESCAPED)
        return sse.encode(data, getattr(event, "event_name", ""))

    async def send(self, status: int, body: msgspec.Struct, headers: Sequence[Header] = ()) -> None:
        """Send a whole JSON answer on one line."""
        data = self._encode(body)
        self._started = True
        length = (b"Content-Length", b"%d" % len(data))
        await self._exchange.respond(
            status, (_JSON, length, *self.headers, *self.meter.headers(), *headers), data
        )

    async def nothing(self, status: int, headers: Sequence[Header]) -> None:
        """Send an answer without a body."""
        await self._begin(status, (*self.headers[:1], *headers))
        await self._exchange.part(b"", more=False)

    async def refuse(self, error: errors.RefusedError) -> None:
        """Send an error in the dialect of the path; inside a stream, as its last event."""
        dialect = self.dialect or dialect_of(self.scope["path"])
        shown_id = self.request_id if dialect in {"iam", "action", "data"} else new_id()
        refusal = ENCODERS[dialect](error, shown_id)
        if isinstance(refusal.body, v1_errors.ErrorBody) and self.scope["path"].startswith(
            "/wenxinworkshop/"
        ):
            refusal.body.id, refusal.body.log_id = "", self.request_id
        if self._started:
            with suppress(OSError):
                await self._exchange.part(sse.encode(self._encode(refusal.body)))
                await self._exchange.part(b"", more=False)
            return
        await self.send(refusal.status, refusal.body, refusal.headers)

    async def _begin(self, status: int, headers: Sequence[Header]) -> None:
        self._started = True
        await self._exchange.begin(status, headers)


def _request_id(headers: Iterable[Header]) -> str:
    """The caller's Request_id (its underscore is the wire's), if it is harmless, or a new one."""
    for name, value in headers:
        if name in _REQUEST_ID_NAMES and _REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return new_id("req-", 16)


def _too_large(max_bytes: int) -> errors.BodyTooLarge:
    return errors.BodyTooLarge(f"the body is larger than {max_bytes} bytes; send less")
