"""The envelope of v1's management calls on models and services (specification D): ``{log_id, result}``."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

Id = int | str
"""An integer id, the same in digits, or the string id: since 2024 all three are taken everywhere (specification D)."""


class ConsoleReply(msgspec.Struct, Generic[T]):
    """A success. `log_id` names the call for support."""

    log_id: str
    result: T


class Nothing(msgspec.Struct):
    """A body without a word."""
