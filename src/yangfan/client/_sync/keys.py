# Generated from _async by scripts/unasync.py; edit there.
"""`client.keys`: make, list and revoke the platform's keys (Yangfan servers)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import UNSET

from yangfan import errors
from yangfan.client.types import JSON, Key, NewKey
from yangfan.protocol.v2.keys import CREATE_KEY, LIST_KEYS, REVOKE_KEY

if TYPE_CHECKING:
    from yangfan.client._sync.session import Session
    from yangfan.protocol.v2 import keys as wire


class Keys:
    """Keys of the platform. Every call is signed: the client needs access_key and secret_access_key."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def create(
        self,
        *,
        kind: wire.KeyKind = "bearer",
        name: str = "",
        expires_in_seconds: int | None = None,
    ) -> NewKey:
        """Make a key; keep its secret, it is shown this once.

        Args:
            kind: bearer (v2), oauth (an api_key and secret_key pair, v1) or signature (an access_key and secret_access_key
                pair, both and management).
            name: For people, at most 64 characters.
            expires_in_seconds: How long it holds, at least 1; for ever by default.
        """
        body: JSON = {"kind": kind, "name": name}
        if expires_in_seconds is not None:
            body["expireInSeconds"] = expires_in_seconds
        reply = self._session.fetch(
            self._session.management_call(CREATE_KEY, body), CREATE_KEY.reply
        )
        made = reply.result
        return NewKey(made.keyId, made.kind, made.name, made.secret)

    def list(self) -> tuple[Key, ...]:
        """All keys without their secrets, oldest first."""
        reply = self._session.fetch(
            self._session.management_call(LIST_KEYS, {}), LIST_KEYS.reply
        )
        return tuple(_key(item) for item in reply.result.items)

    def revoke(self, key_id: str) -> None:
        """End a key at once and for good.

        Raises:
            NotFound: There is no such key.
        """
        call = self._session.management_call(REVOKE_KEY, {"keyId": key_id})
        self._session.fetch(call, REVOKE_KEY.reply)


def _key(item: wire.Key) -> Key:
    expires_at = None if item.expireTime is UNSET else _moment(item.expireTime)
    return Key(item.keyId, item.kind, item.name, item.status, _moment(item.createTime), expires_at)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise errors.BadReply(f"{text!r} is not a time") from None
