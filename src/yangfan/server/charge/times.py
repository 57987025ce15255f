"""Times and billing on the wire, of capacity and of compute units."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from yangfan.protocol.v2.charge import Billing

UNIT_SECONDS = {"Hour": 3600, "Day": 86_400, "Month": 30 * 86_400}


def lifetime_seconds(billing: Billing) -> int | None:
    """How long what is bought lasts; None for ever."""
    reservation = billing.reservation
    if billing.paymentTiming == "Postpaid" or reservation is None:
        return None
    return UNIT_SECONDS[reservation.reservationTimeUnit] * reservation.reservationLength


def release_ms(text: str | None, instead: str) -> int | None:
    """A `releaseTime` in ms since the epoch.

    Args:
        text: As it was sent.
        instead: The Action that releases now.

    Raises:
        Invalid: It is no time, or over.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"releaseTime must be a time such as 2026-01-31T00:00:00Z, got {text!r}",
            param="releaseTime",
        ) from None
    if moment <= datetime.now(UTC):
        raise Invalid(
            f"releaseTime must lie ahead, {text} is over; {instead} releases now",
            param="releaseTime",
        )
    return int(moment.timestamp() * 1000)
