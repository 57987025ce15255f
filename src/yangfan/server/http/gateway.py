"""The ASGI application in front of every slice: find the route, check who calls, decode, answer, say no properly.

A raw ASGI callable on purpose: it is the hot path (docs/decisions/0006). Whatever it does not know goes to `fallback`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import structlog

from yangfan import errors
from yangfan.protocol import sse
from yangfan.protocol.endpoint import Auth, Dialect
from yangfan.server.http.call import Call, Principal, Reply, Stream, new_id
from yangfan.server.http.decoding import BodyDecoder
from yangfan.server.http.dialects import ENCODERS, Header
from yangfan.server.http.routing import Match, Route, RoutingTable, dialect_of, unknown_path

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Authenticate = Callable[[Scope, Auth], Principal]
"""Who calls, from the raw head of a request; raises an Unauthenticated or Forbidden."""

_JSON: Header = (b"Content-Type", b"application/json")
_EVENTS: tuple[Header, ...] = (
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-cache"),
    (b"X-Accel-Buffering", b"no"),
)
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_V1_EVENT_WORD, _V1_EVENT_ESCAPED = b"event", b"\\u0065vent"
_ANONYMOUS = Principal("", "", "none")

_log = structlog.get_logger("yangfan.http")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may weigh and how long it may take to arrive."""

    max_body_bytes: int
    read_timeout_seconds: float


class Gateway:
    """Routes calls to handlers.

    Args:
        routes: Everything that is answered.
        authenticate: The hook that tells who calls.
        limits: Size and time limits.
        inference_headers: Headers that every inference answer carries (rate limits).
        fallback: ASGI application for paths that no route knows and that are no API's (pages, assets).
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        authenticate: Authenticate,
        limits: Limits,
        inference_headers: Sequence[Header] = (),
        fallback: ASGIApp | None = None,
    ) -> None:
        """Index the routes and prepare their decoders."""
        listed = list(routes)
        self._table = RoutingTable(listed)
        self._decoders = {
            route.endpoint.name: BodyDecoder(route.endpoint.request)
            for route in listed
            if route.endpoint.request is not None
        }
        self._authenticate = authenticate
        self._limits = limits
        self._inference_headers = tuple(inference_headers)
        self._fallback = fallback
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other scope types go to the fallback."""
        if scope["type"] != "http":
            if self._fallback is not None:
                await self._fallback(scope, receive, send)
            return
        answering = _Answering(scope, receive, send, self._encode)
        try:
            match = self._table.find(scope["method"], scope["path"], scope["query_string"])
        except errors.RefusedError as error:
            await answering.refuse(error)
            return
        if match is None:
            if self._fallback is not None and not scope["path"].startswith(_API_PREFIXES):
                await self._fallback(scope, receive, send)
            else:
                await answering.refuse(unknown_path(scope["method"], scope["path"]))
            return
        await self._answer(match, answering)

    async def _answer(self, match: Match, answering: _Answering) -> None:
        endpoint = match.route.endpoint
        answering.dialect = endpoint.dialect
        try:
            principal = (
                _ANONYMOUS
                if endpoint.auth == "none"
                else self._authenticate(answering.scope, endpoint.auth)
            )
            if endpoint.auth == "inference":
                answering.headers += self._inference_headers
            request: Any = None
            if endpoint.request is not None:
                body = await answering.read_body(self._limits)
                request = self._decoders[endpoint.name].decode(
                    _body_or_query(body, endpoint.dialect, answering.scope)
                )
            call = Call[Any](
                answering.scope, request, principal, match.params, answering.request_id
            )
            await answering.run(match.route.handler(call))
        except errors.RefusedError as error:
            await answering.refuse(error)
        except _ClientGone:
            return
        except asyncio.CancelledError:
            if not answering.client_gone:
                raise
        except Exception:  # noqa: BLE001 - the last line of defence: log it, say Internal error, stay up
            _log.exception(
                "handler failed", endpoint=endpoint.name, request_id=answering.request_id
            )
            await answering.refuse(
                errors.InternalError(
                    f"Internal error; the server's log has it under {answering.request_id}"
                )
            )


_API_PREFIXES = ("/rpc/", "/v1/", "/v2/", "/oauth/", "/wenxinworkshop/", "/rest/")


def _body_or_query(body: bytes, dialect: Dialect, scope: Scope) -> bytes:
    """OAuth's parameters come in the query or as a form; turn them into the JSON that everybody else sends."""
    if dialect != "oauth":
        return body or b"{}" if dialect == "action" else body
    return oauth_parameters(body, scope)


def oauth_parameters(body: bytes, scope: Scope) -> bytes:
    """Query, form and JSON body of a token request as one JSON object; the query wins."""
    found: dict[str, object] = {}
    content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    text = body.decode("utf-8", "replace")
    if b"form-urlencoded" in content_type:
        found.update(parse_qsl(text, keep_blank_values=True))
    elif body.strip():
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decoded = None
        if isinstance(decoded, dict):
            found.update(decoded)  # pyright: ignore[reportUnknownArgumentType] - JSON object, checked field by field later
    found.update(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return msgspec.json.encode(found)


class _ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class _Answering:
    """The sending side of one request."""

    __slots__ = (
        "_encode",
        "_receive",
        "_send",
        "_started",
        "client_gone",
        "dialect",
        "headers",
        "request_id",
        "scope",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, encode: Callable[[msgspec.Struct], bytes]
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._encode = encode
        self._started = False
        self.client_gone = False
        self.request_id = _request_id(scope["headers"])
        self.dialect: Dialect | None = None
        self.headers: tuple[Header, ...] = ((b"X-Baidu-Request-Id", self.request_id.encode()),)

    async def read_body(self, limits: Limits) -> bytes:
        """Read the whole body, up to the limit."""
        too_large = errors.BodyTooLarge(
            f"the body is larger than {limits.max_body_bytes} bytes; send less"
        )
        for name, value in self.scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > limits.max_body_bytes:
                raise too_large
        message = await self._receive_part(limits)
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if len(body) > limits.max_body_bytes:
                raise too_large
            return body
        parts, size = [body], len(body)
        while message.get("more_body", False):
            message = await self._receive_part(limits)
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limits.max_body_bytes:
                raise too_large
            parts.append(part)
        return b"".join(parts)

    async def _receive_part(self, limits: Limits) -> Message:
        try:
            async with asyncio.timeout(limits.read_timeout_seconds):
                message = await self._receive()
        except TimeoutError:
            raise errors.Invalid(
                f"the body did not arrive within {limits.read_timeout_seconds:g} s; send it faster"
            ) from None
        if message["type"] == "http.disconnect":
            raise _ClientGone
        return message

    async def run(self, handling: Awaitable[Reply | Stream]) -> None:
        """Await the handler and send what it gives; stop working as soon as the client is gone."""
        work = asyncio.current_task()
        assert work is not None
        watch = asyncio.create_task(self._cancel_when_gone(work))
        try:
            answer = await handling
            if isinstance(answer, Stream):
                await self._stream(answer)
            else:
                await self.send(200, answer.body, answer.headers)
        finally:
            watch.cancel()

    async def _cancel_when_gone(self, work: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        work.cancel()

    async def _stream(self, stream: Stream) -> None:
        events = stream.events
        try:
            first = await anext(events, None)
            await self._begin(200, (*_EVENTS, *self.headers, *stream.headers))
            if first is not None:
                await self._event(first)
                await self._rest(events)
            if self.dialect == "v2":
                await self._part(sse.encode(sse.DONE))
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()
        await self._part(b"", more=False)

    async def _rest(self, events: AsyncIterator[msgspec.Struct]) -> None:
        async for event in events:
            await self._event(event)

    async def _event(self, event: msgspec.Struct) -> None:
        data = self._encode(event)
        if self.dialect == "v1" and _V1_EVENT_WORD in data:
            # Baidu's Go SDK drops every line that contains the word; an escape means the same to every other reader.
            data = data.replace(_V1_EVENT_WORD, _V1_EVENT_ESCAPED)
        await self._part(sse.encode(data))

    async def send(self, status: int, body: msgspec.Struct, headers: Sequence[Header] = ()) -> None:
        """Send a whole JSON answer on one line."""
        data = self._encode(body)
        await self._begin(
            status, (_JSON, (b"Content-Length", str(len(data)).encode()), *self.headers, *headers)
        )
        await self._part(data, more=False)

    async def refuse(self, error: errors.RefusedError) -> None:
        """Send an error in the dialect of the path; inside a stream, as its last event."""
        dialect = self.dialect or dialect_of(self.scope["path"])
        shown_id = self.request_id if dialect in {"iam", "action"} else new_id()
        refusal = ENCODERS[dialect](error, shown_id)
        if self._started:
            with suppress(OSError):
                await self._part(sse.encode(self._encode(refusal.body)))
                await self._part(b"", more=False)
            return
        await self.send(refusal.status, refusal.body, refusal.headers)

    async def _begin(self, status: int, headers: Sequence[Header]) -> None:
        self._started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _part(self, data: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _request_id(headers: Iterable[Header]) -> str:
    """The caller's Request_id (its underscore is the wire's), if it is harmless, or a new one."""
    for name, value in headers:
        if name in {b"request_id", b"request-id", b"x-request-id"} and _REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return new_id("req-", 16)
