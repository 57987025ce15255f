"""Send requests over HTTP. The only file that knows the HTTP library, and none of its exceptions leaves it.

httpx2's transports are used without its client: no redirects to follow, no cookies, and no log line that would show the
access_token of a v1 address.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2

from yangfan import errors
from yangfan.client.exchange import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping

    from yangfan.client.exchange import Request
    from yangfan.client.settings import Settings

CONNECT_SECONDS = 5.0
"""Longest wait for a connection."""

MAX_REPLY_BYTES = 256 * 1024 * 1024
"""Longest reply to read into memory; images come as base64."""


class Incoming:
    """A reply that is still arriving."""

    def __init__(self, response: httpx2.Response, url: str) -> None:
        """Wrap a response whose body has not been read."""
        self.status = response.status_code
        self.headers = _lower(response.headers)
        self._response = response
        self._url = url
        self._chunks = response.iter_bytes()

    def chunk(self) -> bytes:
        """The next bytes; empty at the end."""
        with _mapped(self._url):
            return next(self._chunks, b"")

    def read(self) -> Reply:
        """The whole reply; closes it."""
        body = bytearray()
        try:
            while chunk := self.chunk():
                body += chunk
                _check_size(len(body))
        finally:
            self.close()
        return Reply(self.status, self.headers, bytes(body))

    def close(self) -> None:
        """Let go of the connection; if the body has not ended, the server sees the caller leave."""
        with contextlib.suppress(httpx2.HTTPError, OSError):
            self._response.close()


class Transport:
    """Sends requests and keeps connections. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet."""
        self._transport = httpx2.HTTPTransport(verify=_verify(settings), proxy=settings.proxy)

    def open(self, request: Request, *, timeout_seconds: float) -> Incoming:
        """Send `request`; return its reply as soon as the headers are there.

        Raises:
            UnreachableError: No reply came.
        """
        with _mapped(request.url):
            return Incoming(
                self._transport.handle_request(_outgoing(request, timeout_seconds)), request.url
            )

    def send(self, request: Request, *, timeout_seconds: float) -> Reply:
        """Send `request`; return its whole reply.

        Raises:
            UnreachableError: No reply came, or it did not end.
        """
        return self.open(request, timeout_seconds=timeout_seconds).read()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()


class AsyncIncoming:
    """A reply that is still arriving."""

    def __init__(self, response: httpx2.Response, url: str) -> None:
        """Wrap a response whose body has not been read."""
        self.status = response.status_code
        self.headers = _lower(response.headers)
        self._response = response
        self._url = url
        self._chunks: AsyncIterator[bytes] = response.aiter_bytes()

    async def chunk(self) -> bytes:
        """The next bytes; empty at the end."""
        with _mapped(self._url):
            return await anext(self._chunks, b"")

    async def read(self) -> Reply:
        """The whole reply; closes it."""
        body = bytearray()
        try:
            while chunk := await self.chunk():
                body += chunk
                _check_size(len(body))
        finally:
            await self.close()
        return Reply(self.status, self.headers, bytes(body))

    async def close(self) -> None:
        """Let go of the connection; if the body has not ended, the server sees the caller leave."""
        with contextlib.suppress(httpx2.HTTPError, OSError):
            await self._response.aclose()


class AsyncTransport:
    """Sends requests and keeps connections, for tasks of one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet."""
        self._transport = httpx2.AsyncHTTPTransport(verify=_verify(settings), proxy=settings.proxy)

    async def open(self, request: Request, *, timeout_seconds: float) -> AsyncIncoming:
        """Send `request`; return its reply as soon as the headers are there.

        Raises:
            UnreachableError: No reply came.
        """
        with _mapped(request.url):
            response = await self._transport.handle_async_request(
                _outgoing(request, timeout_seconds)
            )
        return AsyncIncoming(response, request.url)

    async def send(self, request: Request, *, timeout_seconds: float) -> Reply:
        """Send `request`; return its whole reply.

        Raises:
            UnreachableError: No reply came, or it did not end.
        """
        incoming = await self.open(request, timeout_seconds=timeout_seconds)
        return await incoming.read()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def _verify(settings: Settings) -> bool:
    """Whether to check certificates; reading the system's takes 50 ms and is left out where nothing speaks TLS."""
    addresses = (settings.v1_url, settings.v2_url, settings.iam_url, settings.proxy or "")
    return settings.verify_tls and any(address.startswith("https:") for address in addresses)


def _outgoing(request: Request, timeout_seconds: float) -> httpx2.Request:
    timeout = httpx2.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds))
    return httpx2.Request(
        request.method,
        request.url,
        headers=list(request.headers),
        content=request.body,
        extensions={"timeout": timeout.as_dict()},
    )


def _lower(headers: httpx2.Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_REPLY_BYTES:
        raise errors.BadReply(f"the reply is larger than {MAX_REPLY_BYTES} bytes")


@contextlib.contextmanager
def _mapped(url: str) -> Generator[None]:
    """Turn the library's exceptions into ours."""
    parts = urlsplit(url)
    server = f"{parts.scheme}://{parts.netloc}"
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        reason = str(error) or f"no connection within {CONNECT_SECONDS:g} s"
        raise errors.ConnectionFailed(
            f"cannot reach {server} ({reason}); is the server running, and is base_url right?"
        ) from error
    except httpx2.TimeoutException as error:
        raise errors.DeadlineExceeded(
            f"{server} was silent for longer than timeout_seconds; allow more, or ask for a stream"
        ) from error
    except httpx2.ProxyError as error:
        raise errors.ConnectionFailed(f"the proxy refused the way to {server}: {error}") from error
    except httpx2.LocalProtocolError as error:
        raise errors.ConfigurationError(f"this request cannot be sent: {error}") from error
    except httpx2.DecodingError as error:
        raise errors.BadReply(f"the reply of {server} has a broken encoding: {error}") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise errors.ConfigurationError(
            f"{server} is not an address that can be called: {error}"
        ) from error
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise errors.ConnectionFailed(f"{server} closed the connection early: {error}") from error
