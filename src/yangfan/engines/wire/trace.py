"""The trace of the call that is being answered: what goes along to child processes and servers elsewhere, and what it spent its time on.

It holds ids, names of stages and times, never a word of what was said.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Stage(msgspec.Struct, frozen=True):
    """A part of a call.

    Attributes:
        name: ``queue`` or ``engine``.
        started_ns: `time.time_ns` at its beginning.
        seconds: How long it took.
    """

    name: str
    started_ns: int
    seconds: float


class Trace:
    """One call's.

    Attributes:
        traceparent: W3C trace context (https://www.w3.org/TR/trace-context) for whoever is asked on behalf of the call.
        stages: Those that are over.
    """

    __slots__ = ("stages", "traceparent")

    def __init__(self, traceparent: str) -> None:
        """Nothing has happened yet."""
        self.traceparent = traceparent
        self.stages: list[Stage] = []


CURRENT: ContextVar[Trace | None] = ContextVar("yangfan_trace", default=None)
"""The trace of the call in whose task this runs; None where nobody traces."""


@contextmanager
def stage(name: str) -> Generator[None]:
    """Note how long the block takes, if the call is traced."""
    trace = CURRENT.get()
    if trace is None:
        yield
        return
    started_ns, began = time.time_ns(), time.perf_counter()
    try:
        yield
    finally:
        trace.stages.append(Stage(name, started_ns, time.perf_counter() - began))


def staged(name: str, step: Callable[_P, Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
    """`step` as a stage of the call, for calls that are traced."""

    async def timed(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with stage(name):
            return await step(*args, **kwargs)

    return timed
