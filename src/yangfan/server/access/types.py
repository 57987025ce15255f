"""The nouns of access."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from yangfan.server.usage import Limits

NO_LIMITS = Limits()
Kind = Literal["bearer", "oauth", "signature"]


@dataclass(frozen=True, slots=True)
class Key:
    """One credential. `id` is public; the secret is kept as a keyed hash, and sealed too where it must be read again.

    Attributes:
        number: Row number, which tokens carry.
        id: Bearer: ``ALTAK-…``; oauth: the API Key; signature: the access key.
        app_id: Application it belongs to, ``app-…``.
        secret_hash: HMAC-SHA-256 of the secret.
        secret_sealed: The secret under AES-GCM; None for keys that are shown once.
        builtin: Made at first start and shown by `yangfan serve`.
        created_ms: When it was made, ms since the epoch; `expires_ms` and `revoked_ms` likewise, None for never.
        limits: What it may use.
        lenient: Its v1 messages are put right instead of refused.
    """

    number: int
    id: str
    kind: Kind
    name: str
    app_id: str
    secret_hash: bytes = field(repr=False)
    secret_sealed: bytes | None = field(repr=False)
    builtin: bool
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None
    limits: Limits = NO_LIMITS
    lenient: bool = False

    def status(self, now_ms: int) -> Literal["enable", "revoked", "expired"]:
        """Whether it may be used at `now_ms`."""
        if self.revoked_ms is not None:
            return "revoked"
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return "expired"
        return "enable"


@dataclass(frozen=True, slots=True)
class App:
    """An application, which keys belong to.

    Attributes:
        id: ``app-…``.
        name: For people; not unique.
        builtin: Made at first start, for the built-in keys.
        created_ms: When it was made, ms since the epoch.
    """

    id: str
    name: str
    builtin: bool
    created_ms: int


@dataclass(frozen=True, slots=True)
class Credentials:
    """The built-in credentials, as `yangfan serve` hands them to its owner."""

    api_key: str
    secret_key: str = field(repr=False)
    access_key: str
    secret_access_key: str = field(repr=False)
    bearer: str = field(repr=False)
