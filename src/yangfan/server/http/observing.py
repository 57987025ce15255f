"""What whoever watches the server is told about each API call: once at its end, never with a word of what was said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yangfan.server.http.call import Principal
    from yangfan.server.http.metering import Meter

OK = "ok"
CLIENT_GONE = "client_gone"
"""The caller left before its answer was complete."""


class Observed(msgspec.Struct, frozen=True):
    """One finished call.

    Attributes:
        endpoint: Name of the Endpoint, such as ``v1.chat``.
        request_id: As in X-Baidu-Request-Id.
        outcome: ``ok``, ``client_gone``, or the name of the error class that refused it.
        started_ns: `time.time_ns` when its head was read.
        seconds: From then to its end.
        first_event_seconds: From then to the first event of a stream; None if none was sent.
        key_id: Id of the key that called; "" if nobody was asked.
        model: Served model that it reserved; "" if none.
        admitted: Whether the limits let it in.
        prompt_tokens: Booked so far.
        completion_tokens: Booked so far.
        traceparent: The caller's W3C trace context, "" if it sent none.
    """

    endpoint: str
    request_id: str
    outcome: str
    started_ns: int
    seconds: float
    first_event_seconds: float | None
    key_id: str
    model: str
    admitted: bool
    prompt_tokens: int
    completion_tokens: int
    traceparent: str = ""


class Observer(Protocol):
    """Is told of calls; must be fast and must not raise."""

    def began(self) -> None:
        """An API call was found its route."""
        ...

    def ended(self, call: Observed) -> None:
        """It is over, however it ended."""
        ...


class Unobserved:
    """Watches nothing."""

    __slots__ = ()

    def began(self) -> None:
        """Do nothing."""

    def ended(self, call: Observed) -> None:
        """Do nothing."""


_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's W3C trace context (https://www.w3.org/TR/trace-context), "" if there is none or it is malformed."""
    for name, value in headers:
        if name == b"traceparent" and _TRACEPARENT.fullmatch(value):
            return value.decode("ascii")
    return ""


def observed(  # noqa: PLR0913 - every argument is a fact about the call
    endpoint: str,
    request_id: str,
    outcome: str,
    *,
    started_ns: int,
    seconds: float,
    first_event_seconds: float | None,
    principal: Principal,
    meter: Meter,
    traceparent: str,
) -> Observed:
    """The facts of a call, with what its meter knows."""
    prompt_tokens, completion_tokens = meter.used
    return Observed(
        endpoint,
        request_id,
        outcome,
        started_ns,
        seconds,
        first_event_seconds,
        principal.key_id,
        meter.model,
        meter.reserved,
        prompt_tokens,
        completion_tokens,
        traceparent,
    )
