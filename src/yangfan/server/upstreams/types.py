"""Upstreams as the platform keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Dialect = Literal["openai", "qianfan"]
RemoteKind = Literal["chat", "embeddings", "rerank", "images"]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Somebody else's server.

    Attributes:
        name: For people and for ``NAME/model`` in calls.
        base_url: What paths such as ``/chat/completions`` are appended to.
        dialect: How it speaks.
        secret: Its key; "" for none. Never in the repr.
        models: Names to offer; None for all that it lists.
        kinds: What a model is for, where that is said.
        rename: Name in calls, case folded, to name there.
        presets: Whether it answers Qianfan's names.
        first_byte_timeout_seconds: Longest wait for an answer to begin.
        idle_timeout_seconds: Longest silence within an answer.
        created_ms: When it was added, milliseconds since the epoch.
        managed: Whether it is kept in the database; otherwise it is in the settings.
        ca_file: Certificates to trust instead of the system's.
        seen: Models that it listed last, with their types.
    """

    name: str
    base_url: str
    dialect: Dialect = "openai"
    secret: str = field(default="", repr=False)
    models: tuple[str, ...] | None = None
    kinds: Mapping[str, RemoteKind] = field(default_factory=dict[str, RemoteKind])
    rename: Mapping[str, str] = field(default_factory=dict[str, str])
    presets: bool = True
    first_byte_timeout_seconds: float = 120.0
    idle_timeout_seconds: float = 120.0
    created_ms: int = 0
    managed: bool = True
    ca_file: str | None = None
    seen: tuple[tuple[str, str], ...] = ()

    @property
    def masked(self) -> str:
        """The key as it may be shown."""
        if not self.secret:
            return ""
        return f"…{self.secret[-4:]}" if len(self.secret) >= 16 else "…"
