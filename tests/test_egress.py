"""The egress guard: what it refuses, in every disguise, and that what it allows is the address that it checked."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import tomllib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from yangfan.egress import Egress, Resolve
from yangfan.errors import ConfigurationError, EgressDenied, FetchError, SourceUnavailable

TABLE = tomllib.loads(Path(__file__).with_name("ssrf.toml").read_text("utf-8"))
REFUSED_ADDRESSES: list[str] = TABLE["addresses"]
REFUSED_URLS: list[str] = TABLE["urls"]

PUBLIC_ADDRESSES = [
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2606:4700::1111",
    "2a00:1450::1",
]

REAL_BACKEND = cast("Callable[[], httpcore2.AsyncNetworkBackend]", httpcore2.AnyIOBackend)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Resolver:
    """Answers from a list, one entry for each question, and remembers the questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.questions.append(host)
        return self.answers.pop(0)


class Wire:
    """Stands in for the internet: every connection ends at one local server, and its intended address is kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.addresses: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(httpcore2, "AnyIOBackend", lambda: _Rewired(self))


class _Rewired(httpcore2.AsyncNetworkBackend):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._backend = REAL_BACKEND()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self._wire.addresses.append(host)
        return await self._backend.connect_tcp("127.0.0.1", self._wire.port, timeout)


class Server:
    """A server on 127.0.0.1 that keeps the head of each request and answers as it is told, by path."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Answer] = {}
        self.heads: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def head(self, index: int = -1) -> Mapping[str, str]:
        lines = self.heads[index].splitlines()[1:]
        return {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head.strip())
            answer = self.answers[head.split(" ")[1]]
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                await answer(reader, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncGenerator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    async with serving() as running:
        yield running


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


async def fetch(
    egress: Egress, url: str, *, max_bytes: int = 1000, headers: Mapping[str, str] | None = None
) -> bytes:
    async with egress.open(url, max_bytes=max_bytes, headers=headers) as response:
        return await response.read()


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_a_name_with_a_private_address_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    wire = Wire(server.port)
    wire.install(monkeypatch)
    egress = Egress(resolve=Resolver([address]))
    with pytest.raises(EgressDenied, match="egress_allow"):
        await fetch(egress, "https://models.example/")
    assert wire.addresses == []


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_one_private_address_among_public_ones_is_refused(address: str) -> None:
    egress = Egress(resolve=Resolver(["8.8.8.8", "2606:4700::1111", address]))
    with pytest.raises(EgressDenied):
        await fetch(egress, "https://models.example/")


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_a_disguised_or_foreign_url_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    wire = Wire(server.port)
    wire.install(monkeypatch)
    with pytest.raises(EgressDenied):
        await fetch(Egress(), url)
    assert wire.addresses == []


@pytest.mark.parametrize("name", TABLE["names"])
async def test_a_name_that_leads_to_such_an_address_is_refused(name: str) -> None:
    with pytest.raises(EgressDenied, match="not a public address"):
        await fetch(Egress(resolve=Resolver(TABLE["names"][name])), f"https://{name}/")


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(TABLE["urls"]) + len(TABLE["names"]) >= 60
    assert len(TABLE["addresses"]) >= 50


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
async def test_public_addresses_are_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as deaf:
        # Bound but not listening, so that every connection is refused at once.
        deaf.bind(("127.0.0.1", 0))
        wire = Wire(deaf.getsockname()[1])
        wire.install(monkeypatch)
        egress = Egress(resolve=Resolver([address]))
        with pytest.raises(SourceUnavailable):
            await fetch(egress, "https://models.example/")
    assert wire.addresses == [address]


async def test_a_rebinding_name_is_resolved_once_and_the_checked_address_is_used(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    wire = Wire(server.port)
    wire.install(monkeypatch)
    resolver = Resolver(["93.184.216.34"], ["127.0.0.1"])
    server.answers["/file"] = ok(b"hello")
    egress = Egress(allow=["rebind.example"], resolve=resolver)
    assert await fetch(egress, "http://rebind.example/file") == b"hello"
    assert resolver.questions == ["rebind.example"]
    assert wire.addresses == ["93.184.216.34"]
    assert server.head()["host"] == "rebind.example"


async def test_a_redirect_to_a_private_address_is_refused(server: Server) -> None:
    server.answers["/file"] = redirect("https://10.0.0.1/secret")
    with pytest.raises(EgressDenied, match=r"10\.0\.0\.1"):
        await fetch(Egress(allow=["127.0.0.1"]), f"{server.url}/file")


@pytest.mark.parametrize(
    "location",
    [
        "http://8.8.8.8/",
        "https://169.254.169.254/latest",
        "ftp://x/",
        "file:///etc/passwd",
        "https://a@b/",
        "//[::1]/",
    ],
)
async def test_each_hop_of_a_redirect_is_checked(server: Server, location: str) -> None:
    server.answers["/a"] = redirect("/b")
    server.answers["/b"] = redirect(location)
    with pytest.raises(EgressDenied):
        await fetch(Egress(allow=["127.0.0.1"]), f"{server.url}/a")


async def test_redirects_are_followed_only_so_far(server: Server) -> None:
    server.answers["/loop"] = redirect("/loop")
    with pytest.raises(SourceUnavailable, match="redirects more than 5 times"):
        await fetch(Egress(allow=["127.0.0.1"]), f"{server.url}/loop")
    assert len(server.heads) == 6


async def test_credentials_follow_a_redirect_only_within_an_origin(server: Server) -> None:
    async with serving() as other:
        server.answers["/a"] = redirect("/b")
        server.answers["/b"] = redirect(f"{other.url}/c")
        other.answers["/c"] = ok(b"done")
        secrets = {"Authorization": "Bearer secret", "Cookie": "a=b", "Range": "bytes=1-"}
        egress = Egress(allow=["127.0.0.0/8"])
        assert await fetch(egress, f"{server.url}/a", headers=secrets) == b"done"
        assert server.head(1)["authorization"] == "Bearer secret"
        assert "authorization" not in other.head()
        assert "cookie" not in other.head()
        assert other.head()["range"] == "bytes=1-"


@pytest.mark.parametrize("allow", ["127.0.0.1", "127.0.0.0/8", "intra.example", " Intra.Example. "])
async def test_listed_hosts_and_networks_may_be_private_and_plain(
    server: Server, allow: str
) -> None:
    server.answers["/file"] = ok(b"hello")
    egress = Egress(allow=[allow], resolve=Resolver(["127.0.0.1"]))
    assert await fetch(egress, f"http://intra.example:{server.port}/file") == b"hello"


async def test_plain_http_needs_every_address_to_be_listed() -> None:
    egress = Egress(allow=["127.0.0.1"], resolve=Resolver(["127.0.0.1", "8.8.8.8"]))
    with pytest.raises(EgressDenied, match="plain http"):
        await fetch(egress, "http://intra.example/")


@pytest.mark.parametrize("address", ["2002:7f00:1::", "64:ff9b:1::7f00:1", "2001:0:7f00:1::1"])
async def test_listing_an_address_does_not_list_its_tunnels(address: str) -> None:
    egress = Egress(allow=["127.0.0.1"], resolve=Resolver([address]))
    with pytest.raises(EgressDenied):
        await fetch(egress, "https://intra.example/")


@pytest.mark.parametrize("entry", ["", "http://host", "host:80", "*.example", "10.0.0.0/99", "a b"])
def test_a_malformed_allow_entry_is_refused_at_once(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="CIDR"):
        Egress(allow=[entry])


async def test_an_unknown_host_is_named() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(SourceUnavailable, match=r"nowhere\.example failed"):
        await fetch(Egress(resolve=nowhere), "https://nowhere.example/")


async def test_a_dead_address_does_not_hide_a_living_one(server: Server) -> None:
    server.answers["/file"] = ok(b"hello")
    # Nothing listens on 127.0.0.2.
    resolver = Resolver(["127.0.0.2", "127.0.0.1"])
    egress = Egress(allow=["intra.example"], resolve=resolver)
    assert await fetch(egress, f"http://intra.example:{server.port}/file") == b"hello"


@pytest.mark.parametrize("headers", [b"Content-Length: 11\r\n", b"Connection: close\r\n"])
async def test_more_bytes_than_allowed_are_refused(server: Server, headers: bytes) -> None:
    server.answers["/file"] = b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n" + b"x" * 11
    egress = Egress(allow=["127.0.0.1"])
    with pytest.raises(FetchError, match="10 bytes allowed"):
        await fetch(egress, f"{server.url}/file", max_bytes=10)
    assert await fetch(egress, f"{server.url}/file", max_bytes=11) == b"x" * 11


async def test_a_head_may_tell_of_more_bytes_than_would_be_taken(server: Server) -> None:
    server.answers["/file"] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    egress = Egress(allow=["127.0.0.1"])
    async with egress.open(f"{server.url}/file", method="HEAD", max_bytes=0) as response:
        assert response.headers["content-length"] == "1000"
        assert await response.read() == b""


async def test_a_body_is_sent_and_its_redirect_is_left_to_the_caller(server: Server) -> None:
    bodies: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(5))
        writer.write(redirect("/elsewhere"))

    server.answers["/file"] = take
    egress = Egress(allow=["127.0.0.1"])
    async with egress.open(
        f"{server.url}/file", method="POST", content=b"hello", max_bytes=0
    ) as response:
        assert response.status == 302
    assert bodies == [b"hello"]


async def test_an_endless_dribble_ends_at_the_time_allowed(server: Server) -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.01)

    server.answers["/file"] = dribble
    egress = Egress(allow=["127.0.0.1"], timeout_seconds=0.3)
    with pytest.raises(SourceUnavailable, match="in time"):
        await fetch(egress, f"{server.url}/file", max_bytes=10**6)


async def test_silence_ends_at_the_read_timeout(server: Server) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server.answers["/file"] = silence
    egress = Egress(allow=["127.0.0.1"], read_timeout_seconds=0.1)
    with pytest.raises(SourceUnavailable, match="in time"):
        await fetch(egress, f"{server.url}/file")


async def test_a_slow_resolver_ends_at_the_time_allowed() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    egress = Egress(resolve=never, timeout_seconds=0.1)
    with pytest.raises(SourceUnavailable):
        await fetch(egress, "https://models.example/")


async def test_a_cut_body_is_an_error_that_hides_the_query(server: Server) -> None:
    server.answers["/file?signature=secret"] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    with pytest.raises(SourceUnavailable) as caught:
        await fetch(Egress(allow=["127.0.0.1"]), f"{server.url}/file?signature=secret")
    assert "/file" in caught.value.message
    assert "secret" not in caught.value.message


async def test_leaving_an_answer_early_closes_the_connection(server: Server) -> None:
    closed = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
        await writer.drain()
        await reader.read()
        closed.set()

    server.answers["/file"] = endless
    egress = Egress(allow=["127.0.0.1"])
    async with egress.open(f"{server.url}/file", max_bytes=10**6) as response:
        assert response.status == 200
    await asyncio.wait_for(closed.wait(), 5)


async def test_a_proxy_of_the_environment_is_ignored_and_a_given_one_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        server.answers["/file"] = ok(b"direct")
        assert await fetch(Egress(allow=["127.0.0.1"]), f"{server.url}/file") == b"direct"
        assert proxy.heads == []

        proxy.answers[f"{server.url}/file"] = ok(b"by proxy")
        proxied = Egress(allow=["127.0.0.1"], proxy=proxy.url.replace("//", "//me:pw@"))
        assert await fetch(proxied, f"{server.url}/file") == b"by proxy"
        assert proxy.head()["proxy-authorization"].startswith("Basic ")


async def test_private_targets_are_refused_behind_a_proxy_too() -> None:
    egress = Egress(proxy="http://127.0.0.1:9", resolve=Resolver(["10.0.0.1"]))
    with pytest.raises(EgressDenied):
        await fetch(egress, "https://10.0.0.1/")
    with pytest.raises(EgressDenied):
        await fetch(egress, "https://intra.example/")


@pytest.mark.parametrize("proxy", ["ftp:proxy", "socks5://proxy:1080", "proxy:3128", ""])
def test_a_malformed_proxy_is_refused_at_once(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy must be an http or https URL"):
        Egress(proxy=proxy)


async def test_tls_verifies_the_name_and_not_the_address(tmp_path: Path) -> None:
    authority, server_context = certificate(tmp_path, "models.example")
    names: list[str | None] = []

    def remember(connection: object, name: str | None, context: object) -> None:
        names.append(name)

    server_context.sni_callback = remember
    async with serving(server_context) as server:
        server.answers["/file"] = ok(b"hello")
        resolver: Resolve = Resolver(["127.0.0.1"], ["127.0.0.1"])
        egress = Egress(allow=["127.0.0.1"], resolve=resolver, ssl_context=authority)
        assert await fetch(egress, f"https://models.example:{server.port}/file") == b"hello"
        assert names == ["models.example"]
        assert server.head()["host"] == f"models.example:{server.port}"
        with pytest.raises(SourceUnavailable, match="certificate"):
            await fetch(egress, f"https://other.example:{server.port}/file")


# One connection to keep


class Listener(asyncio.Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.over = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set_result(None)


async def spoken(egress: Egress, url: str, path: str = "/file") -> bytes:
    """What comes over a kept connection to one GET."""
    transport, listener = await egress.connect(url, Listener)
    assert isinstance(transport, asyncio.WriteTransport)
    transport.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(5):
        await listener.over
    transport.close()
    return listener.data


async def test_a_kept_connection_to_a_listed_host_is_plain_or_tls(tmp_path: Path) -> None:
    authority, server_context = certificate(tmp_path, "models.example")
    for context in (None, server_context):
        async with serving(context) as server:
            server.answers["/file"] = ok(b"hello")
            resolver = Resolver(["127.0.0.1"])
            egress = Egress(allow=["models.example"], resolve=resolver, ssl_context=authority)
            scheme = "http" if context is None else "https"
            data = await spoken(egress, f"{scheme}://models.example:{server.port}/v2?secret")
            assert data == ok(b"hello")
            assert resolver.questions == ["models.example"]


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
async def test_no_connection_is_kept_to_a_private_address(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> socket.socket:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("yangfan.egress.socket.socket", never)
    with pytest.raises(EgressDenied, match="egress_allow"):
        await Egress(resolve=Resolver([address])).connect("https://models.example/", Listener)
    mixed = Egress(resolve=Resolver(["8.8.8.8", address]))
    with pytest.raises(EgressDenied):
        await mixed.connect("https://models.example/", Listener)


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_no_connection_is_kept_to_a_disguised_or_foreign_url(url: str) -> None:
    with pytest.raises(EgressDenied):
        await Egress().connect(url, Listener)


async def test_every_kept_connection_resolves_and_checks_anew(server: Server) -> None:
    server.answers["/file"] = ok(b"hello")
    resolver = Resolver(["127.0.0.1"], ["10.0.0.1"])
    egress = Egress(allow=["127.0.0.1"], resolve=resolver)
    url = f"http://rebind.example:{server.port}/"
    assert await spoken(egress, url) == ok(b"hello")
    with pytest.raises(EgressDenied):
        await egress.connect(url, Listener)
    assert resolver.questions == ["rebind.example"] * 2


async def test_a_kept_connection_verifies_the_name(tmp_path: Path) -> None:
    authority, server_context = certificate(tmp_path, "models.example")
    async with serving(server_context) as server:
        resolver = Resolver(["127.0.0.1"])
        egress = Egress(allow=["127.0.0.1"], resolve=resolver, ssl_context=authority)
        with pytest.raises(SourceUnavailable, match=r"other\.example.*certificate"):
            await egress.connect(f"https://other.example:{server.port}/", Listener)


async def test_a_kept_connection_that_does_not_come_is_an_error_that_names_the_server() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # bound but not listening
        port = deaf.getsockname()[1]
        egress = Egress(allow=["127.0.0.1"])
        with pytest.raises(SourceUnavailable, match="cannot be reached") as refused:
            await egress.connect(f"http://127.0.0.1:{port}/path?secret", Listener)
    assert "secret" not in str(refused.value)

    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return [host]

    slow = Egress(resolve=never, connect_timeout_seconds=0.05)
    with pytest.raises(SourceUnavailable, match="did not answer in time"):
        await slow.connect("https://models.example/", Listener)


async def test_a_dead_address_does_not_hide_a_living_one_from_a_kept_connection(
    server: Server,
) -> None:
    server.answers["/file"] = ok(b"hello")
    egress = Egress(
        allow=["127.0.0.0/8"],
        resolve=Resolver(["127.0.0.2", "127.0.0.1"]),
        connect_timeout_seconds=4.0,
    )
    assert await spoken(egress, f"http://models.example:{server.port}/") == ok(b"hello")


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate for `name`; return a client's context that trusts it and a server's that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(pem)
    return ssl.create_default_context(cafile=str(pem)), server_context
