"""The way to the server: what fails there becomes one of our errors, whatever the HTTP library calls it."""

from __future__ import annotations

import contextlib
import datetime
import gzip
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from yangfan import Client, errors
from yangfan.client import transport
from yangfan.client.settings import Given, load

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.client.conftest import Connect, Playback


def library_errors() -> list[type[Exception]]:
    """Every exception class of the HTTP library that a transport can raise."""
    roots = (httpx2.RequestError, httpx2.StreamError, httpx2.InvalidURL)
    return [
        value
        for value in vars(httpx2).values()
        if isinstance(value, type) and issubclass(value, roots)
    ]


@pytest.mark.parametrize("kind", library_errors())
def test_no_error_of_the_http_library_escapes(kind: type[Exception]):
    try:
        error = kind("what happened")
    except TypeError:
        error = kind()
    with (
        pytest.raises((errors.UnreachableError, errors.ConfigurationError)) as caught,
        transport._mapped("http://host:1/path?access_token=secret"),  # pyright: ignore[reportPrivateUsage] - the unit under test
    ):
        raise error
    assert caught.value.__cause__ is error
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        (httpx2.ConnectError, errors.ConnectionFailed),
        (httpx2.ConnectTimeout, errors.ConnectionFailed),
        (httpx2.ReadTimeout, errors.DeadlineExceeded),
        (httpx2.WriteTimeout, errors.DeadlineExceeded),
        (httpx2.PoolTimeout, errors.DeadlineExceeded),
        (httpx2.ReadError, errors.ConnectionFailed),
        (httpx2.RemoteProtocolError, errors.ConnectionFailed),
        (httpx2.ProxyError, errors.ConnectionFailed),
        (httpx2.DecodingError, errors.BadReply),
        (httpx2.InvalidURL, errors.ConfigurationError),
        (httpx2.LocalProtocolError, errors.ConfigurationError),
    ],
)
def test_each_kind_of_failure_has_its_class(kind: type[Exception], ours: type[errors.YangfanError]):
    with pytest.raises(ours), transport._mapped("http://host:1"):  # pyright: ignore[reportPrivateUsage] - as above
        raise kind("what happened")


async def test_a_server_that_is_not_there_is_named(connect: Connect):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    client = connect(f"http://127.0.0.1:{port}", max_retries=1)
    with pytest.raises(errors.ConnectionFailed, match=f"cannot reach http://127.0.0.1:{port}"):
        await client.chat()
    assert len(client.waits) == 1


@pytest.mark.parametrize("where", ["client", "call"])
async def test_a_silent_server_passes_the_deadline_and_is_not_asked_again(
    connect: Connect, playback: Playback, where: str
):
    playback.raw(b"{", playback.gate)
    client = connect(timeout_seconds=0.2 if where == "client" else 100)
    with pytest.raises(errors.DeadlineExceeded, match="timeout_seconds"):
        await client.chat(timeout_seconds=0.2 if where == "call" else None)
    assert len(playback.calls) == 1


async def test_a_reply_that_is_cut_off_is_a_failed_connection(connect: Connect, playback: Playback):
    playback.raw(b'{"id": "as-', is_cut=True)
    with pytest.raises(errors.ConnectionFailed, match="closed the connection early"):
        await connect(max_retries=0).chat()


async def test_a_reply_that_is_too_large_is_not_read_to_its_end(
    connect: Connect, playback: Playback, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transport, "MAX_REPLY_BYTES", 1000)
    playback.raw(b"x" * 600, b"x" * 600, playback.gate)
    with pytest.raises(errors.BadReply, match="larger than 1000 bytes"):
        await connect().chat()


async def test_an_event_that_is_too_large_is_a_bad_reply(connect: Connect, playback: Playback):
    piece = b"x" * 1024 * 1024
    playback.raw(b"data: ", *[piece] * 17, headers={"content-type": "text/event-stream"})
    with pytest.raises(errors.BadReply, match="larger than"):
        await connect().chat(stream=True)


async def test_compressed_replies_are_understood_and_broken_ones_told(
    connect: Connect, playback: Playback, v2_answer: Any
):
    import json

    packed = gzip.compress(json.dumps(v2_answer).encode())
    playback.raw(packed, headers={"content-encoding": "gzip"})
    playback.raw(b"no gzip", headers={"content-encoding": "gzip"})
    client = connect()
    assert (await client.chat()).text
    with pytest.raises(errors.BadReply, match="broken encoding"):
        await client.chat()


async def test_something_that_speaks_no_http_is_a_failed_connection(connect: Connect):
    def greet(peer: socket.socket) -> None:
        peer.sendall(b"220 smtp ready\r\n")

    with _listening(greet) as port, pytest.raises(errors.ConnectionFailed):
        await connect(f"http://127.0.0.1:{port}", max_retries=0).chat()


async def test_calls_go_through_the_proxy(connect: Connect, playback: Playback, v2_answer: Any):
    playback.json(v2_answer)
    proxy = playback.url.replace("http://", "http://user:pass@")
    client = connect("http://qianfan.invalid", proxy=proxy)
    assert (await client.chat()).text
    (call,) = playback.received
    assert call.header("Host") == "qianfan.invalid"
    assert call.header("Proxy-Authorization") == "Basic dXNlcjpwYXNz"


@pytest.mark.parametrize(
    "extra",
    [{"extra_headers": {"X-A": "ü"}}, {"extra_headers": {"X-A": "a\nb"}}, {"request_id": "编号"}],
)
async def test_a_header_that_cannot_be_sent_is_refused(connect: Connect, extra: dict[str, Any]):
    with pytest.raises(errors.ConfigurationError, match="printable ASCII"):
        await connect().chat(**extra)


async def test_a_model_name_of_any_characters_can_be_sent(
    connect: Connect, playback: Playback, v1_answer: Any
):
    playback.json(v1_answer)
    client = connect(version=1)
    await client.chat(model="我的/服务?x=1")
    assert playback.calls[0].path.endswith("/chat/%E6%88%91%E7%9A%84%2F%E6%9C%8D%E5%8A%A1%3Fx%3D1")
    with pytest.raises(
        errors.ConfigurationError, match="not an address that can be called: URL too long"
    ):
        await client.chat(model="x" * 100_000)


async def test_certificates_are_checked_unless_told_otherwise(connect: Connect, tmp_path: Path):
    with _tls_listening(tmp_path) as port:
        with pytest.raises(errors.ConnectionFailed, match=r"(?i)certificate"):
            await connect(f"https://localhost:{port}", max_retries=0, proxy=None).chat()
        client = connect(f"https://localhost:{port}", max_retries=0, verify_tls=False)
        with pytest.raises(errors.Forbidden, match="seen over TLS"):
            await client.chat()


async def test_waits_are_real_waits():
    settings = load(Given(), {})
    start = time.monotonic()
    transport.Transport(settings).sleep(0.02)
    await transport.AsyncTransport(settings).sleep(0.02)
    assert time.monotonic() - start >= 0.04


def test_one_client_serves_many_threads(playback: Playback, v2_answer: Any):
    playback.json(*[v2_answer] * 32)
    texts: list[str] = []
    with Client(playback.url) as client:

        def ask() -> None:
            texts.extend(client.chat("?", model="m").text for _ in range(4))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["因为 1+1=2。"] * 32


@contextlib.contextmanager
def _listening(answer: Callable[[socket.socket], None]) -> Generator[int]:
    """A listener that gives every connection to `answer` and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), peer:
                    answer(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _read_request(peer: socket.socket) -> None:
    """Read head and body: closing with something unread resets the connection before the answer is seen."""
    with peer.makefile("rb") as request:
        size = 0
        while (line := request.readline()) not in {b"\r\n", b""}:
            if line.lower().startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        request.read(size)


@contextlib.contextmanager
def _tls_listening(folder: Path) -> Generator[int]:
    """A listener with a certificate that nobody knows; it refuses every call."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def answer(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as secure:
            _read_request(secure)
            secure.sendall(
                b"HTTP/1.1 403 No\r\nContent-Length: 13\r\nConnection: close\r\n\r\nseen over TLS"
            )

    with _listening(answer) as port:
        yield port
