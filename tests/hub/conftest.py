"""A local imitation of the hubs' documented file APIs, with the accidents of a real network."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import json
import random
import ssl
import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from yangfan.egress import Egress
from yangfan.hub.progress import Progress
from yangfan.hub.sources.base import HubSettings, Workspace
from yangfan.hub.store import ModelStore


@dataclass
class Request:
    """What somebody asked of the imitation."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    """One repository, ``org/model``, on Hugging Face, ModelScope and plain HTTP at once.

    Attributes:
        files: Content by path.
        large: Paths kept by Git LFS, whose checksum Hugging Face tells.
        cuts: For each coming download, after how many bytes the connection breaks; None for never.
        failures: For each coming API call, the status to fail with.
        lies: Content to send in place of the real one.
        checksums: Checksums to tell in place of the real ones.
        ranges: Whether the CDN can continue a download.
        heads: Whether the CDN answers HEAD.
        etag: Entity tag of everything on the CDN.
        page_size: Entries on one page of a listing.
        stall: Downloads wait after their first half until this is set.
    """

    COMMIT: ClassVar = "0123456789abcdef0123456789abcdef01234567"
    GGUF: ClassVar = b"GGUF" + random.Random(0).randbytes(384_000)
    SAFETENSORS: ClassVar = (2).to_bytes(8, "little") + b"{}" + bytes(1000)

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    large: set[str] = field(default_factory=set[str])
    cuts: list[int | None] = field(default_factory=list[int | None])
    failures: list[int] = field(default_factory=list[int])
    lies: dict[str, bytes] = field(default_factory=dict[str, bytes])
    checksums: dict[str, str] = field(default_factory=dict[str, str])
    requests: list[Request] = field(default_factory=list[Request])
    ranges: bool = True
    heads: bool = True
    etag: str = '"1"'
    page_size: int = 1000
    stall: threading.Event | None = None
    port: int = 0
    cdn_port: int = 0

    @property
    def url(self) -> str:
        """Base of the hub's API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> HubSettings:
        """Settings that lead here, with hardly any pause between tries."""
        return HubSettings(self.url, None, self.url, retry_seconds=0.001)

    @property
    def downloads(self) -> list[Request]:
        """The requests that reached the CDN."""
        return [request for request in self.requests if request.path.startswith("/cdn/")]

    def add(self, path: str, content: bytes, *, large: bool = True) -> None:
        """Put a file into the repository."""
        self.files[path] = content
        if large:
            self.large.add(path)


def _name(path: str) -> str:
    return unquote(urlsplit(path).path.removeprefix("/cdn/"))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def do_HEAD(self) -> None:
        self._note()
        if self.hub.heads:
            content = self.hub.files[_name(self.path)]
            self._send(200, content, headers={"ETag": self.hub.etag}, body=False)
        else:
            self._send(405, b"", body=False)

    def do_GET(self) -> None:
        self._note()
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.startswith("/cdn/"):
            self._download(_name(url.path))
        elif self.hub.failures and "/api/" in url.path:
            self._send(self.hub.failures.pop(0), b"{}")
        elif url.path.startswith("/api/v1/models/org/model/repo"):
            self._modelscope(url.path, query)
        elif url.path.startswith("/api/models/org/model/"):
            self._hf_api(url.path.removeprefix("/api/models/org/model/"), query)
        elif url.path.startswith(f"/org/model/resolve/{Hub.COMMIT}/"):
            self._redirect(url.path.removeprefix(f"/org/model/resolve/{Hub.COMMIT}/"))
        else:
            self._send(404, b"{}")

    def _note(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(self.command, self.path, headers))

    def _hf_api(self, what: str, query: dict[str, str]) -> None:
        if what in {"revision/main", "revision/refs%2Fpr%2F1"}:
            self._json({"sha": Hub.COMMIT, "siblings": []})
        elif what == f"tree/{Hub.COMMIT}" and query.get("recursive") == "1":
            first = int(query.get("cursor", "0"))
            entries = [self._hf_entry(path) for path in self.hub.files]
            page = entries[first : first + self.hub.page_size]
            after = first + self.hub.page_size
            link = f'<https://other.example/api/tree?cursor={after}>; rel="next"'
            self._json(page, {"Link": link} if after < len(entries) else {})
        else:
            self._send(404, b"{}")

    def _hf_entry(self, path: str) -> dict[str, Any]:
        content = self.hub.files[path]
        entry: dict[str, Any] = {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": "0" * 40,
        }
        if path in self.hub.large:
            digest = self.hub.checksums.get(path) or hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
        return entry

    def _modelscope(self, path: str, query: dict[str, str]) -> None:
        if query.get("Revision") != "master":
            self._json({"Code": 10010205001, "Success": False, "Message": "no such revision"})
        elif path.endswith("/files"):
            files = [
                {
                    "Path": name,
                    "Name": name.rpartition("/")[2],
                    "Type": "blob",
                    "Size": len(content),
                    "Sha256": hashlib.sha256(content).hexdigest(),
                    "Revision": Hub.COMMIT,
                }
                for name, content in self.hub.files.items()
            ]
            files.append({"Path": "folder", "Name": "folder", "Type": "tree", "Size": 0})
            self._json({"Code": 200, "Success": True, "Data": {"Files": files}})
        else:
            self._redirect(query["FilePath"])

    def _redirect(self, path: str) -> None:
        self.send_response(302)
        cdn = f"http://127.0.0.1:{self.hub.cdn_port}/cdn"
        self.send_header("Location", f"{cdn}/{quote(unquote(path))}?signature=s3cret")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _download(self, path: str) -> None:
        content = self.hub.lies.get(path, self.hub.files[path])
        cut = self.hub.cuts.pop(0) if self.hub.cuts else None
        first = 0
        same = self.headers.get("If-Range", self.hub.etag) == self.hub.etag
        if self.hub.ranges and same and (asked := self.headers.get("Range")):
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first >= len(content) > 0:
            self._send(416, b"")
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        rest = content[first:] if cut is None else content[first : first + cut]
        if self.hub.stall is not None:
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            self.hub.stall.wait(20)
            rest = rest[len(rest) // 2 :]
        self.wfile.write(rest)
        if cut is not None:
            self.close_connection = True

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), headers=headers)

    def _send(
        self,
        status: int,
        content: bytes,
        *,
        headers: dict[str, str] | None = None,
        body: bool = True,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()


@contextlib.contextmanager
def _listening(hub: Hub, context: ssl.SSLContext | None = None) -> Generator[int]:
    handler = type("Handler", (_Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hub() -> Generator[Hub]:
    """A hub and, on another port, its CDN."""
    hub = Hub()
    with _listening(hub) as hub.port, _listening(hub) as hub.cdn_port:
        yield hub


@pytest.fixture
def secure_hub(tmp_path: Path) -> Generator[Hub]:
    """A hub behind TLS, with a certificate for 127.0.0.1 that only `secure_egress` trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path / "certificate.pem"))
    hub = Hub()
    with _listening(hub, context) as hub.port:
        yield hub


@pytest.fixture
def secure_egress(secure_hub: Hub, tmp_path: Path) -> Egress:
    """A guard that trusts the certificate of `secure_hub`."""
    context = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    return Egress(allow=["127.0.0.1"], ssl_context=context)


def _certificate(pem: Path) -> Path:
    """Write a key and a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return pem


@pytest.fixture(scope="session")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small random models that Transformers wrote (`random_models`)."""
    folder = tmp_path_factory.mktemp("random")
    program = Path(__file__).with_name("random_models.py")
    subprocess.run([sys.executable, str(program), str(folder)], check=True)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


@pytest.fixture
def egress() -> Egress:
    """A guard that may reach the imitation."""
    return Egress(allow=["127.0.0.1"])


@pytest.fixture
def workspace(hub: Hub, egress: Egress, tmp_path: Path) -> Workspace:
    """What a source is given."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def report(progress: Progress) -> None:
        assert progress.done_bytes >= 0

    return Workspace(egress, scratch, hub.settings, report)
