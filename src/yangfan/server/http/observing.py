"""What whoever watches the server is told about each API call: once at its end, never with a word of what was said."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from yangfan.engines.wire.trace import Stage, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable

OK = "ok"
CLIENT_GONE = "client_gone"
"""The caller left before its answer was complete."""


class Observed(msgspec.Struct, frozen=True, omit_defaults=True):
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
        span: Trace context under which others were asked on behalf of the call, "" if nobody traces.
        stages: What the call spent its time on, where it is traced.
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
    span: str = ""
    stages: tuple[Stage, ...] = ()


class Observer(Protocol):
    """Is told of calls; must be fast and must not raise."""

    @property
    def traces(self) -> bool:
        """Whether calls need a span of their own."""
        ...

    def began(self) -> None:
        """An API call was found its route."""
        ...

    def ended(self, call: Observed) -> None:
        """It is over, however it ended."""
        ...


class Unobserved:
    """Watches nothing."""

    __slots__ = ()
    traces = False

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


def trace_of(parent: str, *, traced: bool) -> Trace | None:
    """The trace of a call whose caller sent `parent`: with a span of its own if calls are `traced`, else what the caller sent."""
    if not traced:
        return Trace(parent) if parent else None
    trace_id = parent[3:35] if parent else f"{random.getrandbits(128):032x}"
    return Trace(f"00-{trace_id}-{random.getrandbits(64):016x}-{parent[-2:] or '01'}")
