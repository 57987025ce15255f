"""A server of the S3 shape: lists, reads, writes, and uploads in parts; it checks every signature by its own reading of the rules."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.server
import re
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from yangfan.hub.s3 import S3Settings

KEY_ID, SECRET = "AKIDEXAMPLE", "s3cret+key"


@dataclass
class Store:
    """One bucket, ``models``.

    Attributes:
        objects: Content by key.
        uploads: Parts by upload id, begun and not finished.
        log: Method and target of every request.
        cuts: For each coming download, after how many bytes it breaks.
        failures: For each coming request, the status to fail with; 0 for none.
        page_size: Objects on one page of a listing.
    """

    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict[str, dict[int, bytes]])
    log: list[str] = field(default_factory=list[str])
    cuts: list[int] = field(default_factory=list[int])
    failures: list[int] = field(default_factory=list[int])
    page_size: int = 1000
    port: int = 0

    @property
    def settings(self) -> S3Settings:
        return S3Settings(
            endpoint=f"http://127.0.0.1:{self.port}",
            region="bj",
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        url = urlsplit(self.path)
        self.store.log.append(f"{self.command} {self.path}")
        failure = self.store.failures.pop(0) if self.store.failures else 0
        if failure:
            self._send(failure, b"<Error><Code>SlowDown</Code><Message>later</Message></Error>")
            return
        if self.command in {"PUT", "POST"} and "Content-Length" not in self.headers:
            self._send(411, b"<Error><Code>MissingContentLength</Code></Error>")
            return
        if not self._is_signed(url.path, url.query, body):
            self._send(
                403, b"<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>"
            )
            return
        bucket, _, key = unquote(url.path.removeprefix("/")).partition("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        if bucket != "models":
            self._send(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif self.command == "GET":
            self._list(query) if not key else self._get(key)
        else:
            self._write(key, query, body)

    def _is_signed(self, path: str, query: str, body: bytes) -> bool:
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,\s*SignedHeaders=([^,]+),\s*Signature=(\w+)",
            self.headers.get("Authorization", ""),
        )
        if (
            found is None
            or hashlib.sha256(body).hexdigest() != self.headers["x-amz-content-sha256"]
        ):
            return False
        who, day, region, names, signature = found.groups()
        pairs = sorted(parse_qsl(query, keep_blank_values=True))
        asked = "&".join(
            f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs
        )
        signed = "".join(f"{name}:{self.headers[name].strip()}\n" for name in names.split(";"))
        request = f"{self.command}\n{path}\n{asked}\n{signed}\n{names}\n{self.headers['x-amz-content-sha256']}"
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256",
                self.headers["x-amz-date"],
                f"{day}/{region}/s3/aws4_request",
                hashlib.sha256(request.encode()).hexdigest(),
            )
        )
        key = f"AWS4{SECRET}".encode()
        for step in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, step.encode(), "sha256").digest()
        return who == KEY_ID and hmac.new(key, text.encode(), "sha256").hexdigest() == signature

    def _list(self, query: dict[str, str]) -> None:
        keys = sorted(key for key in self.store.objects if key.startswith(query["prefix"]))
        first = int(query.get("continuation-token", "0"))
        page = keys[first : first + self.store.page_size]
        after = first + self.store.page_size
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><ETag>&quot;{_etag(self.store.objects[key])}&quot;</ETag>"
            f"<Size>{len(self.store.objects[key])}</Size></Contents>"
            for key in page
        )
        more = after < len(keys)
        token = f"<NextContinuationToken>{after}</NextContinuationToken>" if more else ""
        self._send(
            200,
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>".encode(),
        )

    def _get(self, key: str) -> None:
        if key not in self.store.objects:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        content = self.store.objects[key]
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        cut = self.store.cuts.pop(0) if self.store.cuts else None
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:] if cut is None else content[first : first + cut])
        self.close_connection = cut is not None

    def _write(self, key: str, query: dict[str, str], body: bytes) -> None:
        upload = query.get("uploadId")
        if self.command == "POST" and "uploads" in query:
            name = f"upload-{len(self.store.log)}"
            self.store.uploads[name] = {}
            self._send(200, f"<R><UploadId>{name}</UploadId></R>".encode())
        elif upload is not None and upload not in self.store.uploads:
            self._send(404, b"<Error><Code>NoSuchUpload</Code></Error>")
        elif upload is not None and self.command == "PUT":
            self.store.uploads[upload][int(query["partNumber"])] = body
            self._send(200, b"", {"ETag": f'"{_etag(body)}"'})
        elif upload is not None and self.command == "POST":
            parts = self.store.uploads.pop(upload)
            told = re.findall(rb"<PartNumber>(\d+)</PartNumber><ETag>\"(\w+)\"</ETag>", body)
            if told != [(str(n).encode(), _etag(parts[n]).encode()) for n in sorted(parts)]:
                self._send(200, b"<Error><Code>InvalidPart</Code><Message>other</Message></Error>")
                return
            self.store.objects[key] = b"".join(parts[number] for number in sorted(parts))
            self._send(200, b"<CompleteMultipartUploadResult/>")
        elif upload is not None:
            del self.store.uploads[upload]
            self._send(204, b"")
        else:
            self.store.objects[key] = body
            self._send(200, b"", {"ETag": f'"{_etag(body)}"'})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()


def _etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@contextlib.contextmanager
def serving() -> Generator[Store]:
    """Run such a server."""
    store = Store()
    handler = type("Handler", (_Handler,), {"store": store})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        store.port = server.server_address[1]
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()
