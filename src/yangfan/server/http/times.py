"""Times as texts, one function for each form of the wire; that of Actions is `actions.moment`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8))


def console_time(ms: int | None) -> str:
    """As v1's console writes it: ``2026-01-31 08:00:00``, UTC; "" where the time has not come."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def beijing(ms: int) -> str:
    """As models' sets and versions have it: RFC 3339 at +08:00 (specification D.2)."""
    return datetime.fromtimestamp(ms // 1000, BEIJING).isoformat()
