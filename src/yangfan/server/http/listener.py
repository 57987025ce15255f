"""The listening side: uvicorn with httptools and uvloop, hardened against slow and oversized request heads."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from yangfan.errors import ConfigurationError, HeadersTooLarge
from yangfan.protocol.v2 import errors as v2_errors
from yangfan.server.http.answering import ON_DISCONNECT
from yangfan.server.http.call import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from uvicorn.server import ServerState

BACKLOG = 2048


class ReadLimits:
    """How large a request head may be, and how long a client may be silent in the middle of a request."""

    def __init__(self, max_head_bytes: int, timeout_seconds: float) -> None:
        self.max_head_bytes = max_head_bytes
        self.timeout_seconds = timeout_seconds


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself collects a head of any size for any time.

    It also tells the application of a lost connection by the extension `ON_DISCONNECT`, without a task that waits for it.
    """

    limits: ReadLimits

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], **more: Any
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, **more)
        self._in_head = True
        self._in_request = False
        self._refused = False
        self._unparsed_bytes = 0
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._on_disconnect: Callable[[], object] | None = None
        self._extensions = {ON_DISCONNECT: self._set_on_disconnect}

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's own
        super().connection_made(transport)
        self._start_timer(self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._on_disconnect is not None:
            self._on_disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._in_head:
            # The parser reports a header only when its line is complete, so an endless line has to be counted here.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > self.limits.max_head_bytes:
                self._refuse_head()
            elif self._timer is None:
                # Not restarted by more data: a head has to be complete in time.
                self._start_timer(self._refuse_slow)
        elif self._in_request:
            self._stop_timer()
            self._start_timer(self._refuse_slow)

    def on_message_begin(self) -> None:
        self._in_head, self._in_request = True, True
        self._head_bytes = self._unparsed_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # pyright: ignore[reportGeneralTypeIssues] - any extension is allowed

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        if self._head_bytes > self.limits.max_head_bytes:
            self._refuse_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_request = False
        self._stop_timer()
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if not self._refused:
            reason = sys.exception() or msg
            self._refuse(
                400,
                b"Bad Request",
                f"this is not proper HTTP: {reason}. Speak HTTP/1.1, and percent-encode the URL",
            )

    def _set_on_disconnect(self, callback: Callable[[], object] | None) -> None:
        self._on_disconnect = callback

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
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
        backlog=BACKLOG,
    )
    return Listener(config)
