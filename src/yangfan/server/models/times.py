"""Times as the wire of models shows them."""

from datetime import UTC, datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8))


def beijing(ms: int) -> str:
    """RFC 3339 at +08:00, for sets and versions."""
    return datetime.fromtimestamp(ms // 1000, BEIJING).isoformat()


def utc(ms: int) -> str:
    """``YYYY-MM-DDThh:mm:ssZ``, for tasks."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
