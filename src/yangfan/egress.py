"""The one guard for every outbound fetch: which addresses this program may connect to, and how much it takes from them.

A name is resolved once, every address it has is checked, and the connection goes to a checked address (TLS still
verifies the name), so a name that changes its answer between check and connect gains nothing. Redirects are followed by
hand and each hop is checked again. `ipaddress.is_global` is not used: CPython 3.11.7 calls the NAT64 and 6to4 forms of
127.0.0.1, 192.88.99.1 and fec0::/10 global.

The tables follow the IANA registries of special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry) and the metadata services
of the large clouds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeVar, cast

import httpcore2
import httpx2

from yangfan.errors import ConfigurationError, EgressDenied, FetchError, SourceUnavailable

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) -> every address of the host, as text; raises OSError if it has none."""

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS: Final = 5
MAX_TUNNEL_HEAD_BYTES: Final = 8192
MAX_ADDRESSES: Final = 8
"""Addresses of one name that are tried, in the resolver's order."""

_DENIED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "shared carrier space"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local, where clouds keep metadata"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "anycast sinks"),
        ("192.52.193.0/24", "multicast tunnels"),
        ("192.88.99.0/24", "6to4 relays"),
        ("192.168.0.0/16", "a private network"),
        ("192.175.48.0/24", "anycast sinks"),
        ("198.18.0.0/15", "benchmarking, also used by local proxy programs that fake DNS answers"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved or broadcast"),
        ("2001::/23", "reserved for protocols (Teredo among them)"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "anycast sinks"),
        ("3fff::/20", "documentation"),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""The only IPv6 space handed out to the public; everything else is denied without a row above."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")


def _faces(address: Address) -> Iterator[Address]:
    """Every address that `address` may turn into on its way, one of which is where the packets end up."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        # DNS64 networks reach all of IPv4 by this prefix, so the form itself is harmless.
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address
        if address in _NAT64_LOCAL:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
        elif address.sixtofour is not None:
            yield address.sixtofour
        elif address.teredo is not None:
            yield from address.teredo


def _denial(address: Address) -> str | None:
    """Why `address`, taken as it is written, is no place for a public fetch; None if it is one."""
    for network, why in _DENIED:
        if address in network:
            return why
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "not public address space"
    return None


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the operating system for every address of `host`. Raises OSError if there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Allow:
    """The entries of the allow list: host names, and addresses as networks."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.hosts: set[str] = set()
        self.networks: list[Network] = []
        for entry in entries:
            text = entry.strip().strip("[]")
            try:
                self.networks.append(ip_network(text, strict=False))
            except ValueError:
                if not text or any(letter in "/:@*" or letter.isspace() for letter in text):
                    raise ConfigurationError(
                        f"egress allow entry {entry!r} is neither a host name, an address nor a CIDR such as 10.0.0.0/8"
                    ) from None
                self.hosts.add(text.lower().rstrip("."))

    def has_host(self, host: str) -> bool:
        return host.lower().rstrip(".") in self.hosts

    def has_address(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses that were checked, whatever name the connection pool asks for."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses[:MAX_ADDRESSES]
        # The package's fallback for installations without anyio hides the type.
        self._backend = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the name is what must not be resolved a second time
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        share = None if timeout is None else timeout / len(self._addresses)
        failure: Exception | None = None
        for address in self._addresses:
            try:
                return await self._backend.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        assert failure is not None, "a pinned connection has at least one address"
        raise failure


class Response:
    """An answer whose body is still on its way.

    Attributes:
        url: Where the answer came from, after redirects.
        name: The same without its query, for messages.
        status: HTTP status.
        headers: Header fields, names in lower case; the last of repeated fields wins.
    """

    def __init__(
        self, url: httpx2.URL, answer: httpcore2.Response, *, max_bytes: int, deadline: float
    ) -> None:
        """Keep the open answer; `deadline` is in the event loop's time."""
        self.url = str(url)
        self.status = answer.status
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in answer.headers
        }
        self.name = _shown(url)
        self._answer = answer
        self._max_bytes = max_bytes
        self._deadline = deadline
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes:
            raise self._too_large()

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            SourceUnavailable: The connection broke, stalled, or took longer than the whole fetch may.
            FetchError: The body is larger than `max_bytes`.
        """
        taken = 0
        stream = self._answer.aiter_stream()
        while True:
            with _translated(self.name):
                async with asyncio.timeout_at(self._deadline):
                    chunk = await anext(stream, None)
            if chunk is None:
                return
            taken += len(chunk)
            if taken > self._max_bytes:
                raise self._too_large()
            yield chunk

    async def read(self) -> bytes:
        """Return the whole body, at most `max_bytes`. Raises as `iter_bytes` does."""
        return b"".join([chunk async for chunk in self.iter_bytes()])

    def _too_large(self) -> FetchError:
        return FetchError(f"{self.name} is larger than the {self._max_bytes} bytes allowed")


class Egress:
    """Fetches from other machines, under one policy.

    Only https to public addresses is allowed, unless `allow` says otherwise. Proxies in the environment are ignored;
    give `proxy` where a network demands one.
    """

    def __init__(
        self,
        *,
        allow: Sequence[str] = (),
        proxy: str | None = None,
        connect_timeout_seconds: float = 10.0,
        read_timeout_seconds: float = 30.0,
        timeout_seconds: float = 300.0,
        resolve: Resolve = resolve,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Set the policy; nothing is opened.

        Args:
            allow: Host names, addresses and CIDRs that may be private, and may be spoken to by plain http.
            proxy: URL of an http or https proxy that every fetch goes through. The proxy then resolves names; a name
                that this machine can resolve is still checked here.
            connect_timeout_seconds: Longest wait for a connection, all addresses of the name together.
            read_timeout_seconds: Longest silence within an answer.
            timeout_seconds: Longest whole fetch, redirects and body included, unless `open` is told otherwise.
            resolve: Finds a host's addresses; the operating system's resolver by default.
            ssl_context: TLS settings; the system's certificates by default.

        Raises:
            ConfigurationError: An entry of `allow` is not a host, an address or a CIDR, or `proxy` is not a URL.
        """
        self._allow = _Allow(allow)
        self._proxy = _proxy(proxy)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds
        self._timeout_seconds = timeout_seconds
        self._resolve = resolve
        self._ssl_context = ssl_context

    @contextlib.asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        content: bytes | None = None,
        timeout_seconds: float | None = None,
        private: Iterable[str] = (),
    ) -> AsyncGenerator[Response]:
        """Send one request, follow its redirects, and hand out the answer, whatever its status.

        Redirects are followed for GET and HEAD only; `Authorization`, `Cookie` and what `private` names do not follow to another origin.

        Args:
            url: Absolute https URL (http where `allow` lists the host).
            max_bytes: Most bytes of body to take.
            headers: Further request header fields.
            method: HTTP method.
            content: Request body.
            timeout_seconds: Longest whole fetch; None for the `timeout_seconds` of this object.
            private: Names of header fields that are secrets, too.

        Raises:
            EgressDenied: The URL, an address behind it or a redirect is not allowed.
            SourceUnavailable: No usable answer: no such name, no connection, broken or too slow.
            FetchError: The body is larger than `max_bytes`.
        """
        limit = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        deadline = asyncio.get_running_loop().time() + limit
        target = _parse(url)
        fields = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "yangfan"}
        fields.update({name.lower(): value for name, value in (headers or {}).items()})
        # The length that HEAD tells is not the length of a body.
        limit_bytes = sys.maxsize if method == "HEAD" else max_bytes
        secrets = {"authorization", "cookie", *(name.lower() for name in private)}
        for _ in range(MAX_REDIRECTS + 1):
            async with self._exchange(target, method, fields, content, deadline) as answer:
                response = Response(target, answer, max_bytes=limit_bytes, deadline=deadline)
                location = response.headers.get("location")
                if answer.status not in REDIRECTS or not location or method not in {"GET", "HEAD"}:
                    yield response
                    return
            following = _parse(location, base=target)
            if _origin(following) != _origin(target):
                fields = {name: value for name, value in fields.items() if name not in secrets}
            target = following
        raise SourceUnavailable(f"{_shown(_parse(url))} redirects more than {MAX_REDIRECTS} times")

    async def connect(
        self, url: str, protocol: Callable[[], ProtocolT]
    ) -> tuple[asyncio.BaseTransport, ProtocolT]:
        """Open one connection to the server of `url`, for callers that speak HTTP/1.1 themselves and keep it open.

        The host is resolved and checked anew for each connection, TLS verifies its name, and a proxy is asked for a tunnel.

        Args:
            url: Absolute https URL (http where `allow` lists the host); only its scheme, host and port count.
            protocol: Makes what reads and writes the connection.

        Raises:
            EgressDenied: The URL or an address behind it is not allowed.
            SourceUnavailable: No such name, or no connection in time.
        """
        target = _parse(url)
        name = _shown(target.copy_with(path="/"))
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                addresses = await self._admit(target)
                connection = await self._open_socket(target, addresses)
                return await self._hand_over(target, connection, protocol)
        except TimeoutError as error:
            raise SourceUnavailable(f"{name} did not answer in time") from error
        except OSError as error:
            raise SourceUnavailable(f"{name} cannot be reached: {_reason(error)}") from error

    async def _open_socket(self, url: httpx2.URL, addresses: Sequence[str]) -> socket.socket:
        """A connected socket: to the first checked address that answers, or through the proxy."""
        if self._proxy is not None:
            return await self._tunnel(url, self._proxy)
        loop = asyncio.get_running_loop()
        port = _port(url)
        share = self._connect_timeout_seconds / min(len(addresses), MAX_ADDRESSES)
        failure: OSError | None = None
        for address in addresses[:MAX_ADDRESSES]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            opened = socket.socket(family, socket.SOCK_STREAM)
            opened.settimeout(0)
            try:
                async with asyncio.timeout(share):
                    await loop.sock_connect(opened, (address, port))
            except OSError as error:  # TimeoutError is one
                opened.close()
                failure = error
            except BaseException:
                opened.close()
                raise
            else:
                return opened
        assert failure is not None, "an admitted host has at least one address"
        raise failure

    async def _tunnel(self, url: httpx2.URL, proxy: httpcore2.Proxy) -> socket.socket:
        """Ask the proxy for a connection to the host (RFC 9110, section 9.3.6)."""
        if proxy.url.scheme != b"http":
            raise SourceUnavailable(
                "an upstream can be reached through an http proxy only; give egress_proxy as http://…"
            )
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            proxy.url.host.decode("ascii"), proxy.url.port or 80, type=socket.SOCK_STREAM
        )
        family, kind, number, _, address = found[0]
        opened = socket.socket(family, kind, number)
        opened.settimeout(0)
        try:
            await loop.sock_connect(opened, address)
            host = f"{url.raw_host.decode('ascii')}:{_port(url)}"
            if ":" in url.host:
                host = f"[{url.host}]:{_port(url)}"
            fields = b"".join(b"%b: %b\r\n" % field for field in proxy.headers)
            asking = f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n".encode() + fields + b"\r\n"
            await loop.sock_sendall(opened, asking)
            await _read_consent(opened, url.host)
        except BaseException:
            opened.close()
            raise
        return opened

    async def _hand_over(
        self, url: httpx2.URL, connection: socket.socket, protocol: Callable[[], ProtocolT]
    ) -> tuple[asyncio.BaseTransport, ProtocolT]:
        secure = url.scheme == "https"
        if secure and self._ssl_context is None:
            self._ssl_context = httpx2.create_ssl_context()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return await asyncio.get_running_loop().create_connection(
                protocol,
                sock=connection,
                ssl=self._ssl_context if secure else None,
                server_hostname=url.raw_host.decode("ascii") if secure else None,
            )
        except BaseException:
            connection.close()
            raise

    @contextlib.asynccontextmanager
    async def _exchange(
        self,
        url: httpx2.URL,
        method: str,
        headers: Mapping[str, str],
        content: bytes | None,
        deadline: float,
    ) -> AsyncGenerator[httpcore2.Response]:
        """One request to one checked host, on a connection of its own."""
        name = _shown(url)
        with _translated(name):
            async with asyncio.timeout_at(deadline):
                addresses = await self._admit(url)
        if self._ssl_context is None and url.scheme == "https":
            # Reading the system's certificates takes 50 ms, so it is put off.
            self._ssl_context = httpx2.create_ssl_context()
        timeouts = {
            "connect": self._connect_timeout_seconds,
            "read": self._read_timeout_seconds,
            "write": self._read_timeout_seconds,
            "pool": self._connect_timeout_seconds,
        }
        # A pool for each request: no connection outlives its check.
        async with httpcore2.AsyncConnectionPool(
            ssl_context=self._ssl_context,
            proxy=self._proxy,
            network_backend=None if self._proxy else _Pinned(addresses),
        ) as pool:
            fields = {"host": url.netloc.decode("ascii"), **headers}
            request = httpcore2.Request(
                method,
                _wire_url(url),
                headers=[(key.encode(), value.encode("latin-1")) for key, value in fields.items()]
                + ([(b"content-length", str(len(content)).encode())] if content else []),
                content=content,
                extensions={"timeout": timeouts},
            )
            with _translated(name):
                async with asyncio.timeout_at(deadline):
                    answer = await pool.handle_async_request(request)
            try:
                yield answer
            finally:
                await answer.aclose()

    async def _admit(self, url: httpx2.URL) -> Sequence[str]:
        """Check the scheme, resolve the host once, check every address, and return them."""
        host = url.host
        listed = self._allow.has_host(host)
        if url.scheme not in {"https", "http"}:
            raise EgressDenied(f"{url.scheme}: URLs are not fetched; use https:")
        addresses = await self._addresses(url)
        trusted = listed or bool(addresses)
        for text in addresses:
            for face in _faces(ip_address(text)):
                if listed or self._allow.has_address(face):
                    continue
                trusted = False
                why = _denial(face)
                if why is not None:
                    raise EgressDenied(
                        f"{host} is not a public address ({why}): "
                        f"list {host!r} or its network in egress_allow (--allow) if that is intended"
                    )
        if url.scheme == "http" and not trusted:
            raise EgressDenied(
                f"plain http to {host} is not allowed: use https, or list {host!r} in egress_allow (--allow)"
            )
        return addresses

    async def _addresses(self, url: httpx2.URL) -> Sequence[str]:
        host = url.host.replace("%25", "%")
        with contextlib.suppress(ValueError):
            ip_address(host)
            return [host]
        port = _port(url)
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                found = await self._resolve(url.raw_host.decode("ascii"), port)
        except (OSError, UnicodeError) as error:
            if self._proxy is not None:
                return []
            reason = "timed out" if isinstance(error, TimeoutError) else "failed"
            raise SourceUnavailable(
                f"looking up the address of {url.host} {reason}: check the name and this machine's network"
            ) from error
        if not found:
            raise SourceUnavailable(f"{url.host} has no address")
        return found


def _parse(url: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """Read a URL strictly: absolute, with a host, without a user, and no characters that parsers disagree on."""
    if any(letter in '\\"<>' or ord(letter) < 0x21 or ord(letter) == 0x7F for letter in url):
        raise EgressDenied(f"not a URL that is safe to fetch: {url[:200]!r}")
    try:
        parsed = httpx2.URL(url) if base is None else base.join(url)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise EgressDenied(f"not a URL that is safe to fetch: {url[:200]!r}") from error
    if (
        not parsed.is_absolute_url
        or not parsed.host
        or parsed.userinfo
        or "%" in parsed.raw_host.decode()
    ):
        raise EgressDenied("a URL to fetch needs a scheme and a plain host, and no user name")
    return parsed.copy_with(fragment=None)


def _proxy(url: str | None) -> httpcore2.Proxy | None:
    if url is None:
        return None
    try:
        proxy = httpx2.Proxy(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigurationError(
            "proxy must be an http or https URL such as http://proxy.example:3128"
        ) from error
    if proxy.url.scheme not in {"http", "https"}:
        raise ConfigurationError(
            "proxy must be an http or https URL such as http://proxy.example:3128"
        )
    return httpcore2.Proxy(_wire_url(proxy.url), auth=proxy.raw_auth)


def _wire_url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


async def _read_consent(proxy: socket.socket, host: str) -> None:
    """Read what a proxy answers to CONNECT, byte by byte: what follows belongs to the host."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = await asyncio.get_running_loop().sock_recv(proxy, 1)
        head += piece
        if not piece or len(head) > MAX_TUNNEL_HEAD_BYTES:
            raise SourceUnavailable("the proxy closed the connection; check egress_proxy")
    status = head.split(b" ", 2)[1][:3].decode("ascii", "replace") if b" " in head else "?"
    if status != "200":
        raise SourceUnavailable(f"the proxy refused a tunnel to {host} (HTTP status {status})")


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _reason(error: OSError) -> str:
    """What went wrong, in words that an operator can act on."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it ({error.reason or 'handshake failed'})"
    return error.strerror or "no connection"


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _shown(url: httpx2.URL) -> str:
    """The URL as messages may show it: the query of a signed CDN address is a secret."""
    return str(url.copy_with(query=None, fragment=None))


@contextlib.contextmanager
def _translated(name: str) -> Generator[None]:
    """Raise the transport's errors as ours."""
    try:
        yield
    except (TimeoutError, httpcore2.TimeoutException) as error:
        raise SourceUnavailable(f"{name} did not answer in time") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError) as error:
        raise SourceUnavailable(f"{name} could not be read: {error or 'no connection'}") from error
