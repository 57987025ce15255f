# Generated from _async by scripts/unasync.py; edit there.
"""`client.keys`: make, list and revoke the platform's keys (Yangfan servers)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from yangfan import errors
from yangfan.client.types import JSON, Key, NewKey
from yangfan.protocol.v2.keys import CREATE_KEY, LIST_KEYS, REVOKE_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.client._sync.session import Session
    from yangfan.protocol.v2 import keys as wire


class Keys:
    """Keys of the platform. Every call is signed: the client needs access_key and secret_access_key."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def create(  # noqa: PLR0913 - what a key can be limited by, one argument each
        self,
        *,
        kind: wire.KeyKind = "bearer",
        name: str = "",
        expires_in_seconds: int | None = None,
        models: Sequence[str] | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        daily_tokens: int | None = None,
        total_tokens: int | None = None,
        lenient: bool = False,
        app_id: str | None = None,
    ) -> NewKey:
        """Make a key; keep its secret, it is shown this once.

        Args:
            kind: bearer (v2), oauth (an api_key and secret_key pair, v1) or signature (an access_key and secret_access_key
                pair, both and management).
            name: For people, at most 64 characters.
            expires_in_seconds: How long it holds, at least 1; for ever by default.
            models: Names that it may call, in any spelling of theirs; all by default.
            rpm: Requests a minute, at least 1; the server's default otherwise.
            tpm: Tokens a minute, prompt and answer together, at least 1; the server's default otherwise.
            daily_tokens: Tokens a UTC day, at least 1; no limit by default.
            total_tokens: Tokens ever, at least 1; no limit by default.
            lenient: Put its v1 messages right instead of refusing them.
            app_id: The application that it belongs to; a new one by default.

        Raises:
            NotFound: There is no such application.
        """
        body: JSON = {"kind": kind, "name": name}
        wanted: JSON = {
            "expireInSeconds": expires_in_seconds,
            "models": None if models is None else [*models],
            "rpm": rpm,
            "tpm": tpm,
            "dailyTokens": daily_tokens,
            "totalTokens": total_tokens,
            "lenient": lenient or None,
            "appId": app_id,
        }
        body.update((key, value) for key, value in wanted.items() if value is not None)
        reply = self._session.fetch(
            self._session.management_call(CREATE_KEY, body), CREATE_KEY.reply
        )
        made = reply.result
        return NewKey(made.keyId, made.kind, made.name, made.secret, made.appId)

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
    return Key(
        id=item.keyId,
        kind=item.kind,
        name=item.name,
        status=item.status,
        created_at=_moment(item.createTime),
        expires_at=None if item.expireTime is UNSET else _moment(item.expireTime),
        models=None if item.models is UNSET else tuple(item.models),
        rpm=_given(item.rpm),
        tpm=_given(item.tpm),
        daily_tokens=_given(item.dailyTokens),
        total_tokens=_given(item.totalTokens),
        lenient=item.lenient,
        app_id=item.appId,
    )


def _given(limit: int | UnsetType) -> int | None:
    return None if limit is UNSET else limit


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise errors.BadReply(f"{text!r} is not a time") from None
