"""The listening side: uvicorn with httptools and uvloop, hardened against slow and oversized request heads."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
import msgspec
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from yangfan.errors import ConfigurationError, HeadersTooLarge
from yangfan.protocol.v2 import errors as v2_errors
from yangfan.server.http.call import new_id
from yangfan.server.http.cycle import Cycle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from uvicorn.server import ServerState

BACKLOG = 2048
IDLE_SECONDS = 75
"""How long a connection stays open without a request."""

_ASGI: Any = {"version": "3.0", "spec_version": "2.3"}


class ReadLimits:
    """How large a request head may be, and how long a client may be silent in the middle of a request."""

    def __init__(self, max_head_bytes: int, timeout_seconds: float) -> None:
        self.max_head_bytes = max_head_bytes
        self.timeout_seconds = timeout_seconds


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself collects a head of any size for any time.

    What every request passes is written out here instead of left to uvicorn, with nothing in it that few requests need: no event
    to wait for a body that is there, no task and no timer for each answer, no second parser for a plain path.
    """

    limits: ReadLimits

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], **more: Any
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, **more)
        self._in_head = True
        self._in_request = False
        self._refused = False
        self._upgrading = False
        self._request_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._worker: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[Cycle | None] | None = None
        self._answered: Cycle | None = None
        self._next: Cycle | None = None
        self._idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's own
        super().connection_made(transport)
        self._start_timer(self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._answered is not None:
            self._answered.lost()
        self._hand_over(None)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._request_bytes += len(data)
        self._parse(data)
        if self._in_head:
            # The parser reports a header only when its line is complete, so an endless line has to be counted here.
            if self._request_bytes > self.limits.max_head_bytes:
                self._refuse_head()
            elif self._timer is None:
                # Not restarted by more data: a head has to be complete in time.
                self._start_timer(self._refuse_slow)
        elif self._in_request:
            self._stop_timer()
            self._start_timer(self._refuse_slow)

    def _parse(self, data: bytes) -> None:
        """Feed the parser; an offer to change protocols is read again without the offer.

        Java's HTTP client offers h2c with every request. A server may stay with HTTP/1.1, but the parser stops behind the head of such
        a request and takes its body for the other protocol.
        """
        while data and not self._refused:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                if not self._upgrading:
                    return  # CONNECT, which is refused; read again, it would stop here again
                at: int = stopped.args[0]
                data = self._head_without_upgrade() + data[at:]
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The head that was read just now, for a fresh parser."""
        old: Any = self.parser
        lines = [b"%b %b HTTP/%b" % (old.get_method(), self.url, old.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._upgrading = False
        return b"\r\n".join((*lines, b"", b""))

    def on_message_begin(self) -> None:
        self._in_head = self._in_request = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {  # pyright: ignore[reportAttributeAccessIssue] - the rest follows with the end of the head
            "type": "http",
            "asgi": _ASGI,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "root_path": self.root_path,
            "headers": self.headers,
            "state": {},
        }

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._timer is not None:
            self._stop_timer()
        if self._request_bytes > self.limits.max_head_bytes < self._head_bytes():
            self._refuse_head()
            return
        parser: Any = self.parser
        if parser.get_method() == b"CONNECT":
            self._refuse(
                400, b"Bad Request", "CONNECT is for proxies, and this is none; ask it for paths"
            )
            return
        if parser.should_upgrade():
            self._upgrading = True
            return
        self._fill_scope(parser)
        uvicorns: Any = self  # whose word for its application is not fully typed
        app = uvicorns.app
        previous = self.cycle
        cycle = self.cycle = Cycle(
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.server_state.default_headers,
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.scope["http_version"] != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if previous is None or previous.response_complete:  # pyright: ignore[reportUnnecessaryComparison] - None before the first request
            self._start_asgi_task(cycle, app)
        else:
            # Sent ahead of the answer to the one before: it has to wait its turn.
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Hand a request to the connection's task, which may have to leave the one before first."""
        if self._worker is None:
            self._next = cycle
            self._worker = self.loop.create_task(self._answer_all(app))
        else:
            self._hand_over(cycle)

    def _hand_over(self, cycle: Cycle | None) -> None:
        """Give the connection's task its next request, or None when it has to end."""
        idle, self._idle = self._idle, None
        if idle is None:
            self._next = cycle
        elif not idle.done():
            idle.set_result(cycle)

    async def _answer_all(self, app: Any) -> None:
        """Answer the requests of this connection, one after the other.

        A task of its own for each costs as much as all checks of its limits. What is left of one for the next is nothing but the
        context, and the gateway sets what it keeps there.
        """
        worker, cycle = asyncio.current_task(), self._next
        assert worker is not None
        while cycle is not None:
            self._answered, self._next = cycle, None
            cycle.task = worker
            self.tasks.add(worker)  # uvicorn waits for those in it before it ends
            await cycle.run_asgi(app)
            self.tasks.discard(worker)
            self._answered, cycle = None, self._next
            if cycle is None and not self.transport.is_closing():
                self._idle = self.loop.create_future()
                cycle = await self._idle

    def _fill_scope(self, parser: Any) -> None:
        """What uvicorn puts into the scope once the head is complete."""
        scope = self.scope
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = parser.get_http_version()
        if self.url.startswith(b"/") and b"#" not in self.url:
            raw_path, _, query = self.url.partition(b"?")
        else:
            url = httptools.parse_url(self.url)
            raw_path, query = url.path or b"/", url.query or b""
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        cycle: Any = self.cycle
        if self._refused or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.tell()

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._in_request = False
        self._request_bytes = 0
        if self._timer is not None:
            self._stop_timer()
        cycle: Any = self.cycle
        if not self._refused and not cycle.response_complete:
            cycle.more_body = False
            cycle.tell()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_for_silence(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is idle for too long; one timer stays on its way while requests come and go."""
        self.timeout_keep_alive_task = None
        cycle: Any = self.cycle
        if self.transport.is_closing() or self._in_request or not cycle.response_complete:
            return  # the next answer starts the timer anew
        left_seconds = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_seconds > 0:
            self._wait_for_silence(left_seconds)
        else:
            self.transport.close()

    def _wait_for_silence(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def send_400_response(self, msg: str) -> None:
        if not self._refused:
            reason = sys.exception() or msg
            self._refuse(
                400,
                b"Bad Request",
                f"this is not proper HTTP: {reason}. Speak HTTP/1.1, and percent-encode the URL",
            )

    def _start_timer(self, action: Callable[[], object]) -> None:
        self._timer = self.loop.call_later(self.limits.timeout_seconds, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse_head(self) -> None:
        self._refuse(
            431,
            b"Request Header Fields Too Large",
            f"the request head is larger than {self.limits.max_head_bytes} bytes; send fewer or shorter headers",
        )

    def _refuse_slow(self) -> None:
        self._refuse(
            408,
            b"Request Timeout",
            f"the request was not complete after {self.limits.timeout_seconds:g} s of silence; send it faster",
        )

    def _refuse(self, status: int, reason: bytes, message: str) -> None:
        self._refused = True
        if not self._answer_begun():
            _, refusal = v2_errors.to_body(HeadersTooLarge(message), new_id())
            body = msgspec.json.encode(refusal)
            self.transport.write(
                b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nX-Baidu-Request-Id: %b\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
                % (status, reason, new_id("req-", 16).encode(), len(body), body)
            )
        self.transport.close()

    def _answer_begun(self) -> bool:
        """Whether a refusal would land inside another answer, or behind the answer to the same request."""
        cycle = self.cycle
        if not cycle or not cycle.response_started:
            return False
        return not cycle.response_complete or (self._in_request and not self._in_head)


class Listener(uvicorn.Server):
    """uvicorn's server without its signal handling: the program that starts it decides when it ends."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and say so."""
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the process's signal handlers alone."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Raises:
        ConfigurationError: The port is taken, the address is not this machine's, or a low port needs more rights.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port N (0 picks a free one)"
        ) from None
    listener.listen(BACKLOG)
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener


def listener_for(app: Any, limits: ReadLimits) -> Listener:
    """A listener for `app` that leaves signals and logs to its caller."""
    protocol = type("Protocol", (BoundedProtocol,), {"limits": limits})
    config = Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=10,
        backlog=BACKLOG,
    )
    return Listener(config)
