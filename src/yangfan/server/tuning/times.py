"""Times as /v2/finetuning writes them (specification C.7)."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(ms: int) -> str:
    """``2026-11-26T08:00:00Z``."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
