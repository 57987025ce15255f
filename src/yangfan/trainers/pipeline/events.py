"""A trainer's side of the contract: one JSON event a line, and the wish to stop (`yangfan.trainers.base`)."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from types import FrameType

    from yangfan.trainers.base import CheckpointFacts, MetricRow, TrainResult


class Stopped(BaseException):
    """SIGTERM came. No Exception, so that nothing swallows it by accident."""


class Channel:
    """Where events go. What libraries print goes to standard error from here on.

    Args:
        is_heard: Whether this process tells; of several only the first does, apart from failures.

    Attributes:
        stop_wanted: Whether SIGTERM came.
    """

    def __init__(self, *, is_heard: bool = True) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        self._is_heard = is_heard
        self.stop_wanted = False
        signal.signal(signal.SIGTERM, self._stop)

    def mute(self) -> None:
        """Tell nothing but a failure: another process does."""
        self._is_heard = False

    def progress(self, row: MetricRow, steps: int) -> None:
        """A line of metrics."""
        told = msgspec.to_builtins(row)
        self._tell({"event": "progress", "step": row.step, "steps": steps, "row": told})

    def log(self, text: str) -> None:
        """Something for people."""
        self._tell({"event": "log", "text": text})

    def checkpoint(self, facts: CheckpointFacts) -> None:
        """A checkpoint is whole."""
        told = {"name": facts.name, "step": facts.step, "loss": facts.loss}
        self._tell({"event": "checkpoint", **told})

    def end(self, outcome: str, result: TrainResult) -> None:
        """The run is done, or stopped."""
        self._tell({"event": "end", "outcome": outcome, "result": msgspec.to_builtins(result)})

    def failed(self, kind: str, message: str, *, retryable: bool) -> None:
        """The run failed. Whichever process fails says so: what the others meet is only that it is gone."""
        self._is_heard = True
        told = {"kind": kind, "message": message, "retryable": retryable}
        self._tell({"event": "end", "outcome": "failed", **told})

    def _tell(self, event: dict[str, Any]) -> None:
        if not self._is_heard:
            return
        line = msgspec.json.encode(event) + b"\n"
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except BrokenPipeError:  # nobody listens any more: stop as if asked to
            self.stop_wanted = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.stop_wanted = True
        sys.stderr.write("yangfan trainer: stopping at the next edge\n")
