"""One meter for several answers of a model that one call needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yangfan.server.http import Meter, Metered
    from yangfan.server.http.metering import Header


class StepMeter:
    """`yangfan.server.http.Meter` that adds up: what each step settles comes on top of the steps before.

    Args:
        meter: The call's.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._before = (0, 0)

    @property
    def reserved(self) -> bool:
        """Whether something is."""
        return self._meter.reserved

    @property
    def key_id(self) -> str:
        """Id of the caller's key."""
        return self._meter.key_id

    @property
    def model(self) -> str:
        """Who works."""
        return self._meter.model

    @property
    def used(self) -> tuple[int, int]:
        """Tokens of all steps so far."""
        return self._meter.used

    def answer_tokens(self, target: Metered, prompt_tokens: int) -> int | None:
        """How long the next answer may become."""
        return self._meter.answer_tokens(target, prompt_tokens)

    def spares(self, target: Metered, tokens: int) -> bool:
        """Whether there is room for several steps of this size."""
        return self._meter.spares(target, tokens)

    def reserve(self, target: Metered, tokens: int) -> None:
        """Begin a step. Raises as the call's own meter does."""
        self._before = self._meter.used
        self._meter.reserve(target, tokens)

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Book what the step used so far."""
        self._meter.settle(self._before[0] + prompt_tokens, self._before[1] + completion_tokens)

    def close(self) -> None:
        """The gateway closes the call's meter."""

    def headers(self) -> tuple[Header, ...]:
        """As of the call."""
        return self._meter.headers()
