"""Tokens that are statements: who, until when, signed by us. No row in the database, any number valid at once.

Access tokens look like Baidu's (``24.<hex>.2592000.<expiry>.282335-<application>``), short-lived bearers too
(``bce-v3/ALTAK-<22 characters>/<40 hex>``). Revoking the key that they were issued for ends them (docs/decisions/0009).
"""

from __future__ import annotations

import hmac
import os
import re
import string
from typing import NamedTuple

_ACCESS_TOKEN = re.compile(
    r"24\.([0-9a-f]{16})([0-9a-f]{32})\.(\d{1,10})\.(\d{1,12})\.282335-(\d{1,10})"
)
_BEARER = re.compile(r"bce-v3/ALTAK-([0-9A-Za-z]{22})/([0-9a-f]{40})")
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BASE62_VALUE = {character: value for value, character in enumerate(_BASE62)}


class Statement(NamedTuple):
    """What a genuine token says: the number of its key, and when it ends (seconds since the epoch)."""

    key_number: int
    expires_seconds: int


class TokenMint:
    """Issues and reads tokens under one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        """No secrets."""
        return "TokenMint()"

    def access_token(self, key_number: int, *, now_seconds: int, lifetime_seconds: int) -> str:
        """A new access token; no two are equal."""
        nonce, expires = os.urandom(8).hex(), now_seconds + lifetime_seconds
        mac = self._mac(b"access", f"{nonce}.{lifetime_seconds}.{expires}.{key_number}".encode())[
            :16
        ].hex()
        return f"24.{nonce}{mac}.{lifetime_seconds}.{expires}.282335-{key_number}"

    def read_access_token(self, token: str) -> Statement | None:
        """What the token says, expired or not; None if it is not one of ours."""
        match = _ACCESS_TOKEN.fullmatch(token)
        if match is None:
            return None
        nonce, mac, lifetime, expires, number = match.groups()
        expected = self._mac(b"access", f"{nonce}.{lifetime}.{expires}.{number}".encode())[
            :16
        ].hex()
        if not hmac.compare_digest(mac, expected):
            return None
        return Statement(int(number), int(expires))

    def bearer(self, key_number: int, *, expires_seconds: int) -> str:
        """A new short-lived bearer token."""
        head = expires_seconds.to_bytes(5, "big") + key_number.to_bytes(4, "big") + os.urandom(7)
        return f"bce-v3/ALTAK-{_to_base62(head)}/{self._mac(b'bearer', head)[:20].hex()}"

    def read_bearer(self, token: str) -> Statement | None:
        """What the token says, expired or not; None if it is not one of ours."""
        match = _BEARER.fullmatch(token)
        if match is None:
            return None
        head = _from_base62(match[1])
        if head is None or not hmac.compare_digest(match[2], self._mac(b"bearer", head)[:20].hex()):
            return None
        return Statement(int.from_bytes(head[5:9], "big"), int.from_bytes(head[:5], "big"))

    def _mac(self, use: bytes, text: bytes) -> bytes:
        return hmac.digest(self._key, use + b"\0" + text, "sha256")


def _to_base62(data: bytes) -> str:
    number, digits = int.from_bytes(data, "big"), ""
    for _ in range(22):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def _from_base62(text: str) -> bytes | None:
    number = 0
    for character in text:
        number = number * 62 + _BASE62_VALUE[character]
    return number.to_bytes(16, "big") if number < 1 << 128 else None
