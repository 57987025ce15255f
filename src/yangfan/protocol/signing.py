"""bce-auth-v1: the request signature of Baidu's cloud, used by the SDK to sign and by the server to verify.

Specification A.3 (https://cloud.baidu.com/doc/Reference/s/njwvz1yfu). Every HMAC result is lower-case hex text, and the
signing key is used as the ASCII bytes of that text. Pure: no clock, no I/O; times are passed in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes, urlsplit

from yangfan.errors import SignatureInvalid

VERSION = "bce-auth-v1"
DEFAULT_SIGNED = frozenset({"host", "content-md5", "content-length", "content-type"})
"""Headers that are covered when the list of signed headers is empty; every x-bce-* header is covered as well."""

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ENCODED = [chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256)]
_ENCODED_KEEP_SLASH = [*_ENCODED[:47], "/", *_ENCODED[48:]]
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parsed Authorization header: who signed, when, for how long, what, and the signature."""

    access_key: str
    timestamp: str
    expiration_seconds: int
    signed_headers: tuple[str, ...]
    signature: str

    @property
    def prefix(self) -> str:
        """The part before the signed headers, which the signing key is derived from."""
        return f"{VERSION}/{self.access_key}/{self.timestamp}/{self.expiration_seconds}"

    def __str__(self) -> str:
        """The header's value."""
        return f"{self.prefix}/{';'.join(self.signed_headers)}/{self.signature}"


def encode(value: str | bytes, *, keep_slash: bool = False) -> str:
    """Percent-encode UTF-8 with upper-case hex; letters, digits and ``-._~`` stay (BCE's UriEncode)."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    table = _ENCODED_KEEP_SLASH if keep_slash else _ENCODED
    return "".join([table[byte] for byte in data])


def timestamp_of(moment: datetime) -> str:
    """A moment as the signature writes it, UTC to the second: ``2026-08-31T00:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical_query(raw_query: str) -> str:
    """Query items encoded, sorted and joined; `authorization` is left out and a key alone becomes ``key=``.

    Args:
        raw_query: The query as it is on the wire, percent-encoded, without the question mark.
    """
    items: list[str] = []
    for item in raw_query.split("&"):
        if not item:
            continue
        key, _, value = item.partition("=")
        key_bytes, value_bytes = unquote_to_bytes(key), unquote_to_bytes(value)
        if key_bytes.lower() == b"authorization":
            continue
        items.append(f"{encode(key_bytes)}={encode(value_bytes)}")
    return "&".join(sorted(items))


def canonical_headers(headers: Headers, signed: Iterable[str]) -> str:
    """The covered headers, encoded, sorted and joined by line feeds; headers with an empty value are skipped."""
    wanted = {name.strip().lower() for name in signed if name.strip()} or DEFAULT_SIGNED
    lines: list[str] = []
    for name, value in headers:
        lower, stripped = name.strip().lower(), value.strip()
        if stripped and (lower in wanted or lower.startswith("x-bce-")):
            lines.append(f"{encode(lower)}:{encode(stripped)}")
    return "\n".join(sorted(lines))


def canonical_request(method: str, path: str, query: str, headers: str) -> str:
    """The text that is signed. `path` is percent-encoded already; `query` and `headers` are canonical."""
    return f"{method.upper()}\n{path}\n{query}\n{headers}"


def signature_of(secret: str, prefix: str, canonical: str) -> str:
    """Sign a canonical request with the key derived from `secret` and the authorization prefix."""
    key = hmac.new(secret.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    return hmac.new(key.encode(), canonical.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed request: the headers to add, and how the signature came about (for people who debug)."""

    headers: dict[str, str]
    canonical: str
    authorization: Authorization


def sign(
    access_key: str,
    secret_access_key: str,
    *,
    method: str,
    url: str,
    now: datetime,
    headers: Headers = (),
    expiration_seconds: int = 1800,
) -> Signed:
    """Sign a request; covers `headers`, Host and x-bce-date.

    Args:
        access_key: Access key id, such as ``ALTAK-…``.
        secret_access_key: Its secret.
        method: HTTP method.
        url: Absolute URL, its path and query percent-encoded as they will be sent.
        now: Time of signing; aware.
        headers: Further headers to cover. They must be sent exactly so.
        expiration_seconds: How long the signature holds, 1 to 129600.

    Returns:
        The headers Authorization, Host and x-bce-date, the canonical request, and the parts of the header.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    stamp = timestamp_of(now)
    covered = [
        (n, v) for n, v in headers if n.lower() not in {"host", "x-bce-date", "authorization"}
    ]
    covered += [("host", host), ("x-bce-date", stamp)]
    names = tuple(sorted({name.lower() for name, _ in covered}))
    unsigned = Authorization(access_key, stamp, expiration_seconds, names, "")
    canonical = canonical_request(
        method,
        encode(unquote_to_bytes(parts.path or "/"), keep_slash=True),
        canonical_query(parts.query),
        canonical_headers(covered, names),
    )
    signature = signature_of(secret_access_key, unsigned.prefix, canonical)
    authorization = Authorization(access_key, stamp, expiration_seconds, names, signature)
    added = {"Authorization": str(authorization), "Host": host, "x-bce-date": stamp}
    return Signed(added, canonical, authorization)


def parse(header: str) -> Authorization:
    """Parse an Authorization header.

    Raises:
        SignatureInvalid: It is not of the form ``bce-auth-v1/{ak}/{timestamp}/{seconds}/{headers}/{signature}``.
    """
    pieces = header.strip().split("/")
    if len(pieces) != 6 or pieces[0] != VERSION:
        raise SignatureInvalid(
            "Authorization must be bce-auth-v1/{accessKeyId}/{timestamp}/{expirationSeconds}/{signedHeaders}/{signature}",
            reason="InvalidAuthorization",
        )
    _, access_key, stamp, seconds, names, signature = pieces
    if not _TIMESTAMP.fullmatch(stamp):
        raise SignatureInvalid(
            "the timestamp in Authorization must be UTC like 2026-08-31T00:00:00Z",
            reason="InvalidAuthorization",
        )
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 9):
        raise SignatureInvalid(
            "the expiration in Authorization must be a number of seconds",
            reason="InvalidAuthorization",
        )
    signed = tuple(name for name in names.split(";") if name)
    return Authorization(access_key, stamp, int(seconds), signed, signature.strip().lower())


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it arrived, raw: `path` and `query` percent-encoded, `headers` with their names and values untouched."""

    method: str
    path: str
    query: str
    headers: Headers


def verify(
    request: SignedRequest,
    authorization: Authorization,
    secret_access_key: str,
    *,
    now: datetime,
    skew_seconds: int = 300,
    hosts: Sequence[str] = (),
) -> None:
    """Check a signature in every form that the official SDKs produce.

    Python and JavaScript sign the host with its port, Java and Go without; Go puts the query into the path (specification
    A.3). Any match is accepted.

    Args:
        request: What arrived.
        authorization: Its parsed Authorization header.
        secret_access_key: The secret of `authorization.access_key`.
        now: The server's time; aware.
        skew_seconds: How far ahead of us the caller's clock may be.
        hosts: Further host names to try, such as X-Forwarded-Host behind a trusted proxy.

    Raises:
        SignatureInvalid: With reason RequestExpired, MissingAuthenticationHeader or SignatureDoesNotMatch.
    """
    _check_window(authorization, now, skew_seconds)
    if authorization.signed_headers and "host" not in authorization.signed_headers:
        raise SignatureInvalid(
            "the Host header must be among the signed headers", reason="MissingAuthenticationHeader"
        )
    for canonical in _candidates(request, authorization, hosts):
        expected = signature_of(secret_access_key, authorization.prefix, canonical)
        if hmac.compare_digest(
            expected.encode(), authorization.signature.encode("utf-8", "surrogateescape")
        ):
            return
    raise SignatureInvalid("Signature does not match")


def _check_window(authorization: Authorization, now: datetime, skew_seconds: int) -> None:
    try:
        signed_at = datetime.strptime(authorization.timestamp, "%Y-%m-%dT%H:%M:%SZ").replace(
            tzinfo=UTC
        )
    except ValueError:
        raise SignatureInvalid(
            "the timestamp in Authorization is not a date", reason="InvalidAuthorization"
        ) from None
    age_seconds = (now - signed_at).total_seconds()
    if age_seconds < -skew_seconds:
        raise SignatureInvalid(
            f"signed {-age_seconds:.0f} s in the future; set this machine's clock",
            reason="RequestExpired",
        )
    if age_seconds > authorization.expiration_seconds:
        raise SignatureInvalid(
            f"signed {age_seconds:.0f} s ago but valid for {authorization.expiration_seconds} s; sign again or set the clock",
            reason="RequestExpired",
        )


def _candidates(
    request: SignedRequest, authorization: Authorization, hosts: Sequence[str]
) -> Iterator[str]:
    whole = request.path + ("?" + request.query if request.query else "")
    spellings = [
        (encode(unquote_to_bytes(request.path), keep_slash=True), canonical_query(request.query)),
        (encode(whole, keep_slash=True), ""),
    ]
    if request.path != spellings[0][0]:
        spellings.append((request.path, spellings[0][1]))
    own = next((value.strip() for name, value in request.headers if name.lower() == "host"), "")
    names: list[str] = []
    for host in (own, *hosts):
        for name in (host, _without_port(host)):
            if name and name not in names:
                names.append(name)
    for host in names:
        headers = [(n, host if n.lower() == "host" else v) for n, v in request.headers]
        covered = canonical_headers(headers, authorization.signed_headers)
        for path, query in spellings:
            yield canonical_request(request.method, path, query, covered)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
