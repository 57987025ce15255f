"""v2: the platform's own Action on usage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from yangfan.errors import Invalid
from yangfan.protocol.v2.batches import PRICE_SHARE
from yangfan.protocol.v2.usage import DESCRIBE_USAGE, DescribeUsage, UsageItem, UsageList
from yangfan.server.http import Call, Reply, Route
from yangfan.server.http.actions import success

if TYPE_CHECKING:
    from yangfan.server.usage.logic import Usage

DEFAULT_DAYS = 30
BATCH_KEYS = "batches-of-"
"""What the ids begin with under which batches' usage is booked."""

_EPOCH = date(1970, 1, 1)


def routes(usage: Usage) -> list[Route]:
    """What this file answers."""

    async def describe(call: Call[DescribeUsage]) -> Reply:
        wanted = call.request
        last = _date(wanted.endDate, "endDate") or datetime.now(UTC).date()
        first = _date(wanted.startDate, "startDate") or _back(last, DEFAULT_DAYS - 1)
        if first > last:
            raise Invalid(
                f"startDate must not be after endDate, {first} is after {last}", param="startDate"
            )
        counts = await usage.ledger.counts(
            (first - _EPOCH).days, (last - _EPOCH).days, wanted.keyId, wanted.model
        )
        items = [
            UsageItem(
                date=(_EPOCH + timedelta(days=key.day)).isoformat(),
                keyId=key.key_id,
                model=key.model,
                requests=count.requests,
                promptTokens=count.prompt_tokens,
                completionTokens=count.completion_tokens,
                totalTokens=count.total_tokens,
                priceShare=PRICE_SHARE if key.key_id.startswith(BATCH_KEYS) else 1.0,
            )
            for key, count in sorted(counts.items())
        ]
        return success(UsageList(items))

    return [Route(DESCRIBE_USAGE, describe, body=lambda body, _scope: body or b"{}")]


def _date(text: str | None, param: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{param} must be a day such as 2026-01-31, got {text!r}", param=param
        ) from None


def _back(day: date, days: int) -> date:
    """So many days before; the calendar begins in the year 1."""
    return date.fromordinal(max(day.toordinal() - days, 1))
