# Generated from _async by scripts/unasync.py; edit there.
"""`client.usage`: what was used (Yangfan servers)."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from yangfan import errors
from yangfan.client.types import JSON, KeyUsage
from yangfan.protocol.v2.usage import DESCRIBE_USAGE

if TYPE_CHECKING:
    from yangfan.client._sync.session import Session
    from yangfan.protocol.v2 import usage as wire


class Usage:
    """Requests and tokens of every key. Every call is signed: the client needs access_key and secret_access_key."""

    def __init__(self, session: Session) -> None:
        """Made by the client."""
        self._session = session

    def list(
        self,
        *,
        first: date | None = None,
        last: date | None = None,
        key_id: str | None = None,
        model: str | None = None,
    ) -> tuple[KeyUsage, ...]:
        """What was used, by day, then key, then model, up to this moment.

        Args:
            first: First UTC day; by default the last 30 days are shown.
            last: Last UTC day; today by default.
            key_id: One key's usage only.
            model: One served model's usage only.

        Raises:
            Invalid: `first` is after `last`.
        """
        body: JSON = {}
        if first is not None:
            body["startDate"] = first.isoformat()
        if last is not None:
            body["endDate"] = last.isoformat()
        if key_id is not None:
            body["keyId"] = key_id
        if model is not None:
            body["model"] = model
        call = self._session.management_call(DESCRIBE_USAGE, body)
        reply = self._session.fetch(call, DESCRIBE_USAGE.reply)
        return tuple(map(_usage, reply.result.items))


def _usage(item: wire.UsageItem) -> KeyUsage:
    try:
        day = date.fromisoformat(item.date)
    except ValueError:
        raise errors.BadReply(f"{item.date!r} is not a day") from None
    return KeyUsage(
        day,
        item.keyId,
        item.model,
        item.requests,
        item.promptTokens,
        item.completionTokens,
        item.priceShare,
    )
