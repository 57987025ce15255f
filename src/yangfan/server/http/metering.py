"""What every inference call is measured by: reserve before a model works, settle with what it used.

The gateway gives each inference call a meter and closes it at the end, whatever happened. An answer that nothing was reserved for
is a defect, and the gateway says so instead of sending it: no slice can forget its limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

Header = tuple[bytes, bytes]


class Metered(Protocol):
    """What a call wants to use."""

    @property
    def model(self) -> str:
        """Name of the served model; usage is booked under it."""
        ...

    @property
    def spellings(self) -> Collection[str]:
        """Every name for it that a list of allowed models may hold, case folded."""
        ...


class Meter(Protocol):
    """The limits and the usage of one call."""

    @property
    def reserved(self) -> bool:
        """Whether `reserve` succeeded."""
        ...

    @property
    def key_id(self) -> str:
        """Id of the caller's key, for turns in a queue."""
        ...

    @property
    def model(self) -> str:
        """Name of the served model that the call reserved; "" before."""
        ...

    @property
    def used(self) -> tuple[int, int]:
        """Tokens of the prompt and of the answer, as booked so far."""
        ...

    def answer_tokens(self, target: Metered, prompt_tokens: int) -> int | None:
        """How long answers may become where the caller does not say, so that others still fit; None while nothing limits them."""
        ...

    def spares(self, target: Metered, tokens: int) -> bool:
        """Whether every limit on tokens has room for several calls of this size, so that one may take a rough size."""
        ...

    def reserve(self, target: Metered, tokens: int) -> None:
        """Take one request and `tokens` (the prompt and the most that may be answered) from every limit, or from none.

        A later call takes the place of an earlier one, so a call can hold its place before it knows its size.

        Raises:
            ModelForbidden: The key may not use this model.
            RateLimited: A limit has no room now; `retry_after_seconds` tells when it has.
            QuotaExceeded: The key's tokens are used up.
        """
        ...

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Book what was used so far, and give back what was reserved beyond; a later call books what came on top."""
        ...

    def close(self) -> None:
        """The call is over. If nothing was settled, give back all that was reserved."""
        ...

    def headers(self) -> tuple[Header, ...]:
        """The X-Ratelimit headers as they stand now."""
        ...


class Unmetered:
    """Limits nothing and books nothing: for calls that use no model, and for tests.

    Args:
        headers: What `headers` says.
    """

    __slots__ = ("_headers",)
    reserved = True
    key_id = ""
    model = ""
    used = (0, 0)

    def __init__(self, headers: tuple[Header, ...] = ()) -> None:
        self._headers = headers

    def answer_tokens(self, target: Metered, prompt_tokens: int) -> int | None:
        """No limit."""
        del target, prompt_tokens

    def spares(self, target: Metered, tokens: int) -> bool:
        """Always."""
        del target, tokens
        return True

    def reserve(self, target: Metered, tokens: int) -> None:
        """Do nothing."""

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def headers(self) -> tuple[Header, ...]:
        """What was given."""
        return self._headers
