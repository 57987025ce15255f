"""A small client of S3-compatible stores (Amazon S3, Baidu's BOS, MinIO, Ceph), through the guard of outbound fetches.

It lists, reads and writes objects, large ones in parts, and addresses buckets by path, which all of them understand. The
operations: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html. Requests are
signed with Signature Version 4: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
from datetime import UTC, datetime
from html import unescape
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from yangfan.errors import ConfigurationError, FetchError, SourceUnavailable
from yangfan.hub.disk import size_bytes
from yangfan.hub.http import Gone, download

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from yangfan.egress import Egress

MAX_LIST_BYTES: Final = 8 * 1024 * 1024
MAX_PAGES: Final = 100
PART_BYTES: Final = 16 * 1024 * 1024
"""Of a large object; the store wants 5 MiB at least, and 10,000 parts at most."""
PUT_SECONDS: Final = 600.0

_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


class S3Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store is, and whose requests it gets.

    Attributes:
        endpoint: Base URL, such as https://s3.bj.bcebos.com (Baidu's BOS) or http://minio:9000.
        region: Region that requests are signed for.
        access_key_id: Whose requests they are; None for buckets that are open to all.
        secret_access_key: Signs them.
    """

    endpoint: str = "https://s3.amazonaws.com"
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = None

    def __repr__(self) -> str:
        """Show everything but the keys."""
        return f"S3Settings(endpoint={self.endpoint!r}, region={self.region!r})"


class S3Object(NamedTuple):
    """One object: its key, size and entity tag."""

    key: str
    size_bytes: int
    etag: str


class S3:
    """One store, with the keys of one account."""

    def __init__(
        self,
        egress: Egress,
        settings: S3Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Remember where it is.

        Args:
            egress: Guard for every request.
            settings: The store's address, region and keys.
            now: The time that requests are signed for.
        """
        self._egress = egress
        self._endpoint = settings.endpoint.rstrip("/")
        self._region = settings.region
        self._key_id = settings.access_key_id
        self._secret = settings.secret_access_key
        self._now = now

    async def list(self, bucket: str, prefix: str) -> list[S3Object]:
        """Every object whose key begins with `prefix`.

        Raises:
            SourceUnavailable: The store did not answer, or has no such bucket for us (`Gone`).
            FetchError: It answered nonsense, or lists too much.
        """
        found: list[S3Object] = []
        token = ""
        for _ in range(MAX_PAGES):
            query = {"list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            text = (await self._send("GET", bucket, "", query)).decode("utf-8", "replace")
            found += [
                _object(entry)
                for entry in re.findall(r"<Contents>(.*?)</Contents>", text, re.DOTALL)
            ]
            token = _field(text, "NextContinuationToken")
            if _field(text, "IsTruncated") != "true" or not token:
                return found
        raise FetchError(f"the bucket {bucket} lists too many objects below {prefix!r}")

    async def get(
        self, bucket: str, item: S3Object, part: Path, progress: Callable[[int], None]
    ) -> None:
        """Fetch an object into a file, behind the bytes that are there already. Raises what `yangfan.hub.http.download` raises."""
        url = self._url(bucket, item.key, {})
        await download(
            self._egress,
            url,
            part,
            progress,
            size=item.size_bytes,
            etag=item.etag or None,
            headers=self.signed("GET", url, _EMPTY),
        )

    async def put(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object of at most a few parts' size in one go."""
        await self._send("PUT", bucket, key, {}, content)

    async def begin(self, bucket: str, key: str) -> str:
        """Begin an object in parts and return the id of the upload."""
        answer = await self._send("POST", bucket, key, {"uploads": ""})
        upload = _field(answer.decode("utf-8", "replace"), "UploadId")
        if not upload:
            raise FetchError(f"the store began no upload of {key}")
        return upload

    async def put_part(
        self, bucket: str, key: str, upload: str, number: int, content: bytes
    ) -> str:
        """Write one part, counted from 1, and return its entity tag."""
        query = {"partNumber": str(number), "uploadId": upload}
        etag = (await self._exchange("PUT", bucket, key, query, content))[1].get("etag", "")
        if not etag:
            raise FetchError(f"the store took part {number} of {key} without an entity tag")
        return etag

    async def finish(self, bucket: str, key: str, upload: str, etags: Sequence[str]) -> None:
        """Make the parts one object."""
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        answer = await self._send("POST", bucket, key, {"uploadId": upload}, body)
        if b"<Error>" in answer:  # the store answers 200 before it knows
            raise SourceUnavailable(f"the store could not put {key} together: {_said(answer)}")

    async def abandon(self, bucket: str, key: str, upload: str) -> None:
        """Forget the parts of an upload."""
        await self._send("DELETE", bucket, key, {"uploadId": upload})

    async def send_file(
        self, bucket: str, key: str, file: Path, progress: Callable[[int], None]
    ) -> None:
        """Write a file as one object, in parts if it is large; a killed upload begins anew.

        Args:
            bucket: Where to.
            key: Of the object.
            file: What to write.
            progress: Told the bytes that are there; whatever it raises ends the upload.

        Raises:
            SourceUnavailable: The store did not answer, or refuses (`Gone`).
        """
        size = size_bytes(file) or 0
        if size <= PART_BYTES:
            await self.put(bucket, key, await asyncio.to_thread(file.read_bytes))
            progress(size)
            return
        part_bytes = max(PART_BYTES, -(-size // 9_000))
        upload, etags, done = await self.begin(bucket, key), list[str](), 0
        try:
            with file.open("rb") as stream:
                while content := await asyncio.to_thread(stream.read, part_bytes):
                    etags.append(await self.put_part(bucket, key, upload, len(etags) + 1, content))
                    done += len(content)
                    progress(done)
            await self.finish(bucket, key, upload, etags)
        except BaseException:
            with contextlib.suppress(Exception):
                await self.abandon(bucket, key, upload)
            raise

    async def _send(
        self, method: str, bucket: str, key: str, query: Mapping[str, str], content: bytes = b""
    ) -> bytes:
        return (await self._exchange(method, bucket, key, query, content))[0]

    async def _exchange(
        self, method: str, bucket: str, key: str, query: Mapping[str, str], content: bytes
    ) -> tuple[bytes, Mapping[str, str]]:
        url = self._url(bucket, key, query)
        headers = self.signed(method, url, hashlib.sha256(content).hexdigest())
        if method in {"PUT", "POST"}:
            headers["content-length"] = str(len(content))
        async with self._egress.open(
            url,
            method=method,
            max_bytes=MAX_LIST_BYTES,
            headers=headers,
            content=content or None,
            timeout_seconds=PUT_SECONDS,
        ) as response:
            body = await response.read()
        status = response.status
        if 200 <= status < 300:
            return body, response.headers
        what = f"{method} {bucket}/{key}: HTTP {status} {_said(body)}".rstrip()
        if status == 429 or status >= 500:  # Too Many Requests, or the store's own trouble
            raise SourceUnavailable(f"the S3 store does not do it now: {what}")
        raise Gone(f"the S3 store refuses; check bucket, keys and region: {what}")

    def _url(self, bucket: str, key: str, query: Mapping[str, str]) -> str:
        if not _BUCKET.fullmatch(bucket):
            raise ConfigurationError(f"{bucket[:80]!r} cannot be the name of a bucket")
        asked = "&".join(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
            for name, value in sorted(query.items())
        )
        path = f"{self._endpoint}/{bucket}/{quote(key, safe='/-_.~')}".rstrip("/")
        return f"{path}?{asked}" if asked else path

    def signed(
        self, method: str, url: str, payload_sha256: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Header fields that sign a request; none where there is no key.

        Args:
            method: HTTP method.
            url: Its query sorted and encoded as `_url` does.
            payload_sha256: Of the body, in hexadecimal.
            headers: Further fields to sign.
        """
        if self._key_id is None or self._secret is None:
            return {}
        parts = urlsplit(url)
        moment = self._now().strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        fields = {
            **{name.lower(): value for name, value in (headers or {}).items()},
            "x-amz-content-sha256": payload_sha256,
            "x-amz-date": moment,
        }
        signing = dict(sorted({**fields, "host": parts.netloc}.items()))
        names = ";".join(signing)
        lines = "".join(f"{name}:{value}\n" for name, value in signing.items())
        canonical = (
            f"{method}\n{parts.path or '/'}\n{parts.query}\n{lines}\n{names}\n{payload_sha256}"
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self._secret}".encode()
        for step in scope.split("/"):
            key = hmac.digest(key, step.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        fields["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._key_id}/{scope},SignedHeaders={names},Signature={signature}"
        )
        return fields


def split(path: str) -> tuple[str, str]:
    """Bucket and key of ``bucket/key`` (or ``//bucket/key``, as other programs write it)."""
    bucket, _, key = path.removeprefix("//").partition("/")
    return bucket, key


def _object(entry: str) -> S3Object:
    size = _field(entry, "Size")
    if not size.isdecimal():
        raise FetchError("the store lists an object without a size")
    return S3Object(_field(entry, "Key"), int(size), _field(entry, "ETag"))


def _field(text: str, name: str) -> str:
    """Text of the first element of a name. The answers' XML is flat and has no attributes below its root, so no parser is needed."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return unescape(found[1]) if found else ""


def _said(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return f"{_field(text, 'Code')} {_field(text, 'Message')}".strip()[:300]
