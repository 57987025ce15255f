"""The nouns of usage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class UsageKey(NamedTuple):
    """What usage is counted by: the UTC day (days since 1970-01-01), the key's id, the served model's name."""

    day: int
    key_id: str
    model: str


@dataclass(slots=True)
class Count:
    """Calls, and tokens as the served model's tokenizer counts them."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def add(self, requests: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Count more."""
        self.requests += requests
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


Counts = dict[UsageKey, Count]


def add_all(counts: Counts, more: Counts) -> None:
    """Add `more` to `counts`."""
    for key, count in more.items():
        counts.setdefault(key, Count()).add(
            count.requests, count.prompt_tokens, count.completion_tokens
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use. None means: no limit.

    Attributes:
        models: Names that it may call, case folded.
        rpm: Requests a minute; `tpm` tokens a minute, prompt and answer together.
        daily_tokens: Tokens a UTC day; `total_tokens` tokens ever.
    """

    models: frozenset[str] | None = None
    rpm: int | None = None
    tpm: int | None = None
    daily_tokens: int | None = None
    total_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """Limits that hold where nothing narrower is said. None means: no limit.

    Attributes:
        rpm: Requests a minute of a key that has no limit of its own; `tpm` its tokens a minute.
        model_rpm: Requests a minute of each model; `model_tpm` its tokens a minute.
        app_qps: Requests a second of each application.
    """

    rpm: int | None = None
    tpm: int | None = None
    model_rpm: int | None = None
    model_tpm: int | None = None
    app_qps: int | None = None
