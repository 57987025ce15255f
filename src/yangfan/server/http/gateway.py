"""The ASGI application in front of every slice: find the route, check who calls, decode, answer, say no properly.

A raw ASGI callable on purpose: it is the hot path (docs/decisions/0010). Pages go to an ordinary Starlette application.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import structlog

from yangfan import errors
from yangfan.engines.wire.trace import CURRENT
from yangfan.protocol.endpoint import Auth
from yangfan.server.http.answering import Answering, ClientGone
from yangfan.server.http.call import NOTHING, Call, Principal
from yangfan.server.http.cors import Origins
from yangfan.server.http.decoding import BodyDecoder
from yangfan.server.http.exchange import Receive, Scope, Send
from yangfan.server.http.metering import Meter, Unmetered
from yangfan.server.http.observing import (
    CLIENT_GONE,
    OK,
    Observed,
    Observer,
    Unobserved,
    trace_of,
    traceparent,
)
from yangfan.server.http.routing import (
    Match,
    Route,
    RoutingTable,
    WrongMethod,
    tidied,
    unknown_path,
)

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Authenticate = Callable[[Scope, Auth], Principal]
"""Who calls, from the raw head of a request; raises an Unauthenticated or Forbidden."""

_PAGE_METHODS = ("GET", "HEAD")
_ANONYMOUS = Principal("", "", "none")
_NO_METER = Unmetered()
_UNOBSERVED = Unobserved()
_NO_PAGES_OF_OTHERS = Origins((), keys=True)

_log = structlog.get_logger("yangfan.http")


class Gateway:
    """Routes calls to handlers.

    Args:
        routes: Everything that is answered.
        authenticate: The hook that tells who calls.
        max_body_bytes: Largest request body.
        meter: Makes the meter of an inference call, for who calls.
        observer: Is told of every API call.
        origins: Web pages that may call from a browser.
        pages: ASGI application for what is no API: pages, assets, health.
        page_paths: First segments of the paths that are its own, such as ``/docs``.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        authenticate: Authenticate,
        max_body_bytes: int,
        meter: Callable[[Principal], Meter] = lambda _principal: _NO_METER,
        observer: Observer = _UNOBSERVED,
        origins: Origins = _NO_PAGES_OF_OTHERS,
        pages: ASGIApp | None = None,
        page_paths: Iterable[str] = (),
    ) -> None:
        """Index the routes and prepare their decoders."""
        listed = list(routes)
        self._table = RoutingTable(listed)
        self._decoders = {
            route.endpoint.name: BodyDecoder(route.endpoint.request)
            for route in listed
            if route.endpoint.request is not None and route.endpoint.request is not bytes
        }
        self._authenticate = authenticate
        self._max_body_bytes = max_body_bytes
        self._meter = meter
        self._observer = observer
        self._origins = origins
        self._checks_hosts = origins.checks_hosts
        self._pages = pages
        self._page_paths = tuple(page_paths)
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other scope types (there are none behind our listener) are ignored."""
        if scope["type"] != "http":
            return
        answering = Answering(scope, receive, send, self._encode)
        try:
            if self._checks_hosts:
                self._origins.check_host(scope)
            granted = self._origins.headers(scope) if b"origin" in answering.fields else ()
            if granted or scope["method"] == "OPTIONS":
                answering.headers = (*answering.headers, *granted)
                asked_first = self._origins.preflight(scope, granted)
                if asked_first is not None:
                    await answering.nothing(204, asked_first)
                    return
            match = self._table.find(scope["method"], scope["path"], scope["query_string"])
            if match is None:
                match = self._find_tidied(scope)
        except errors.RefusedError as error:
            await answering.refuse(error)
            return
        if match is None:
            if self._pages is not None and self._is_page(scope["path"]):
                if scope["method"] in _PAGE_METHODS:
                    # Nothing is granted here: metrics, say, are for this machine, not for whatever page its browser shows.
                    await self._pages(scope, receive, send)
                else:
                    await answering.refuse(WrongMethod(scope["method"], _PAGE_METHODS))
            else:
                await answering.refuse(
                    unknown_path(scope["method"], scope["path"], known=self._table.knows)
                )
            return
        await self._answer(match, answering)

    def _find_tidied(self, scope: Scope) -> Match | None:
        """The route of a path with slashes too many, which do no harm. The signed path is the raw one, which stays as it was sent."""
        path = scope["path"]
        if not path.endswith("/") and "//" not in path:
            return None
        scope["path"] = tidied(path)
        match = self._table.find(scope["method"], scope["path"], scope["query_string"])
        if match is None:
            scope["path"] = path
        return match

    def _is_page(self, path: str) -> bool:
        return path.startswith(self._page_paths) if self._page_paths else False

    async def _answer(self, match: Match, answering: Answering) -> None:
        endpoint = match.route.endpoint
        decoder = self._decoders.get(endpoint.name)
        answering.dialect = endpoint.dialect
        meter: Meter = _NO_METER
        principal, outcome = _ANONYMOUS, OK
        started_ns, started = time.time_ns(), time.perf_counter()
        asked = b"traceparent" in answering.fields
        parent = traceparent(answering.scope["headers"]) if asked else ""
        traced = self._observer.traces
        trace = trace_of(parent, traced=traced) if parent or traced else None
        CURRENT.set(trace)
        self._observer.began()
        try:
            if endpoint.auth != "none":
                principal = self._authenticate(answering.scope, endpoint.auth)
            if endpoint.auth == "inference":
                meter = answering.meter = self._meter(principal)
                answering.must_reserve = decoder is not None and endpoint.asks_models
            request: Any = None
            if decoder is not None:
                body = await answering.read_body(self._max_body_bytes)
                if match.route.body is not None:
                    body = match.route.body(body, answering.scope)
                request = decoder.decode(body)
            call: Call[Any] = Call(
                answering.scope,
                request,
                principal,
                match.params,
                answering.request_id,
                meter,
                answering.pieces() if endpoint.request is bytes else NOTHING,
            )
            await answering.run(match.route.handler(call))
        except errors.RefusedError as refused:
            error = _as_told(refused, principal)
            outcome = type(error).__name__
            await answering.refuse(error)
        except ClientGone:
            outcome = CLIENT_GONE
        except asyncio.CancelledError:
            outcome = CLIENT_GONE
            if not answering.client_gone:
                raise
        except Exception as error:  # noqa: BLE001 - the last line of defence: log it, say Internal error, stay up
            outcome = type(error).__name__
            _log.exception(
                "handler failed", endpoint=endpoint.name, request_id=answering.request_id
            )
            await answering.refuse(
                errors.InternalError(
                    f"Internal error; the server's log has it under {answering.request_id}"
                )
            )
        finally:
            first = answering.first_event_at
            prompt_tokens, completion_tokens = meter.used
            call_facts = Observed(
                endpoint.name,
                answering.request_id,
                outcome,
                started_ns,
                time.perf_counter() - started,
                None if first is None else first - started,
                principal.key_id,
                meter.model,
                meter.reserved,
                prompt_tokens,
                completion_tokens,
                parent,
                "" if trace is None or trace.traceparent == parent else trace.traceparent,
                () if trace is None else tuple(trace.stages),
            )
            meter.close()
            self._observer.ended(call_facts)


def _as_told(error: errors.RefusedError, principal: Principal) -> errors.RefusedError:
    """The refusal as whoever called knows it: jobs have no word preemptible to leave out."""
    if principal.kind != "job" or not isinstance(error, errors.PreemptibleLimited):
        return error
    return errors.OfflineLimited(
        "offline work has its turn when no other call waits, and none came in time; it is asked again until its batch expires",
        retry_after_seconds=error.retry_after_seconds,
    )
