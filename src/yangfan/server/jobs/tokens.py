"""Short-lived tokens for workers: each opens one job at one fence, and inference calls on behalf of the job's account."""

from __future__ import annotations

import hmac
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from yangfan.errors import TokenExpired, TokenInvalid
from yangfan.protocol.worker import SCHEME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LIFETIME_SECONDS = 900
_TOKEN = re.compile(
    r"job\.(jb-[0-9a-f]{16})\.(\d{1,15})\.(\d{1,12})\.([a-z0-9_]*)\.((?:[0-9a-f]{2})*)\.([0-9a-f]{64})"
)


class Claimed(NamedTuple):
    """What a token opens: one job of a kind at one fence, and inference calls for the account whose job it is."""

    job_id: str
    fence: int
    account: str = ""
    kind: str = ""


class JobMint:
    """Issues and reads the tokens of workers.

    Args:
        key: Secret of this use alone.
        clock: Seconds since the epoch.
    """

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def __repr__(self) -> str:
        """No secrets."""
        return "JobMint()"

    def issue(self, job_id: str, fence: int, account: str = "", kind: str = "") -> str:
        """A token for a worker that has claimed a job; each beat brings the next one."""
        until = int(self._clock()) + LIFETIME_SECONDS
        text = f"job.{job_id}.{fence}.{until}.{kind}.{account.encode().hex()}"
        return f"{text}.{self._mac(text)}"

    def read(self, token: str) -> Claimed:
        """What a token opens.

        Raises:
            TokenInvalid: It is none of ours.
            TokenExpired: It was one.
        """
        match = _TOKEN.fullmatch(token)
        if match is None or not hmac.compare_digest(match[6], self._mac(token.rpartition(".")[0])):
            raise TokenInvalid("this is no worker's token")
        if int(match[3]) <= self._clock():
            raise TokenExpired("the worker's token has expired; its job is tried again")
        return Claimed(match[1], int(match[2]), bytes.fromhex(match[5]).decode(), match[4])

    def claimed(self, headers: Iterable[tuple[bytes, bytes]]) -> Claimed:
        """What the token in a call's headers opens.

        Raises:
            TokenInvalid: There is none, or it is none of ours.
            TokenExpired: It was one.
        """
        for name, value in headers:
            if name == b"authorization":
                return self.read(value.decode("latin-1").removeprefix(SCHEME))
        raise TokenInvalid("a worker's token is missing")

    def _mac(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()
