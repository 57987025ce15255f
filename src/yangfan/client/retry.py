"""Whether to call again and after how long. Pure: no clock, no randomness, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from yangfan.errors import ConnectionFailed, RefusedError, YangfanError
from yangfan.protocol.v1.errors import RETRYABLE
from yangfan.protocol.v2.errors import RETRYABLE_STATUS


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter.

    Attributes:
        max_retries: How often to call again.
        first_wait_seconds: Upper bound of the first wait; each further bound is twice the one before.
        max_wait_seconds: Upper bound of every wait. A server that asks for more is not waited for.
    """

    max_retries: int = 2
    first_wait_seconds: float = 0.5
    max_wait_seconds: float = 60.0

    def wait_seconds(self, failures: int, error: YangfanError, jitter: float) -> float | None:
        """How long to wait before the next try.

        Args:
            failures: How many tries have failed, this one included; at least 1.
            error: What the last one ended with.
            jitter: A random number in [0, 1).

        Returns:
            Seconds, at least what the server's Retry-After asks for; None to give up.
        """
        if failures > self.max_retries or not is_passing(error):
            return None
        bound = min(self.max_wait_seconds, self.first_wait_seconds * 2 ** min(failures - 1, 32))
        asked = error.retry_after_seconds if isinstance(error, RefusedError) else None
        if asked is None:
            return bound * jitter
        return None if asked > self.max_wait_seconds else asked + self.first_wait_seconds * jitter


def is_passing(error: YangfanError) -> bool:
    """Whether the same call may succeed a moment later.

    A deadline that passed is none of these: the caller has waited long enough.
    """
    if isinstance(error, ConnectionFailed):
        return True
    if not isinstance(error, RefusedError):
        return False
    if isinstance(error.code, int):
        return error.code in RETRYABLE
    return error.status in RETRYABLE_STATUS
