"""Operators of third parties, each in a process of its own with limits: a crash or a hang is told, and stops nothing else.

What an answer must be is checked here; what the code does inside of its process is up to the operating system: it has the rights
of the user who runs the pipeline, less the environment, and the limits of `recipe.Custom`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from yangfan.errors import ConfigurationError, OperatorFailed
from yangfan.operators import base
from yangfan.operators.pipeline import frames
from yangfan.operators.pipeline.process import Died, Process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yangfan.operators._texts import Flags, Texts, Values
    from yangfan.operators.pipeline.recipe import Custom, Step

GIVE_UP_AFTER = 3
"""Failed batches in a row after which an operator that may be skipped is left out of the rest of the run."""


class Isolated:
    """An operator in a process of its own.

    Args:
        found: Where it is.
        step: Its name and arguments.
        common: What operators share.
        custom: Limits, and what to do where it fails.

    Attributes:
        stage: What its module says.
        remembers: Whether it has a memory.

    Raises:
        ConfigurationError: It is no operator, or does not take the arguments.
    """

    def __init__(
        self, found: base.Foreign, step: Step, common: base.Common, custom: Custom
    ) -> None:
        self._name, self._custom = step.name, custom
        self._start = frames.Start(
            name=step.name,
            args=step.args,
            file=str(found.file or ""),
            module=found.module,
            language=common.language,
            folder=str(common.folder or ""),
            memory_bytes=custom.memory_bytes,
            cpu_seconds=custom.timeout_seconds,
        )
        self._reasons: dict[float, str] = {}
        self._failed_in_a_row = 0
        self._process: Process | None = None
        try:
            ready = self._running().ready
        except Died as died:
            raise ConfigurationError(f"{step.name} cannot be started: {died}") from None
        if ready.error:
            self.close()
            raise ConfigurationError(
                ready.error
                if ready.error.startswith(step.name)
                else f"{step.name} cannot be used: {ready.error}"
            )
        self.stage, self.remembers = ready.stage, ready.remembers

    def __call__(self, texts: Texts) -> base.Outcome:
        """Its answer, or the texts as they are where it fails and may be skipped.

        Raises:
            OperatorFailed: It failed, and the run is to stop then.
        """
        try:
            return self._outcome(texts)
        except OperatorFailed as error:
            self.close()
            if self._custom.on_failure == "stop":
                raise
            self._failed_in_a_row += 1
            return base.Outcome(texts, failure=error.message)

    def reason(self, value: float) -> str:
        """What it said of a value of the last batch."""
        return self._reasons.get(value, "")

    def close(self) -> None:
        """End its process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _outcome(self, texts: Texts) -> base.Outcome:
        if self._failed_in_a_row >= GIVE_UP_AFTER:
            raise self._failed(f"left out after {GIVE_UP_AFTER} failures in a row")
        answer = self.ask(frames.Ask("call", frames.packed_strings(texts.strings)))
        try:
            after = texts
            if answer.texts is not None:
                after = texts.replaced(frames.unpacked_strings(answer.texts))
            keep, values = self.kept(answer, len(texts))
        except ValueError as error:
            raise self._failed(f"its answer cannot be read: {error}") from None
        if len(after) != len(texts):
            raise self._failed(f"it gave {len(after)} texts for {len(texts)}")
        self._failed_in_a_row = 0
        return base.Outcome(after, keep, values)

    def kept(self, answer: frames.Answer, size: int) -> tuple[Flags | None, Values | None]:
        """Flags and values of an answer."""
        keep = None if answer.keep is None else frames.unpacked(answer.keep).astype(np.bool_)
        values = None if answer.values is None else frames.unpacked(answer.values)
        for array in (keep, values):
            if array is not None and array.shape != (size,):
                raise self._failed(f"it gave {array.shape} flags or values for {size} texts")
        self._reasons = dict(answer.reasons)
        return keep, values

    def ask(self, ask: frames.Ask) -> frames.Answer:
        """An answer that is no error."""
        try:
            answer = self._running().ask(ask)
        except Died as died:
            raise self._failed(str(died)) from None
        except msgspec.MsgspecError as error:
            raise self._failed(f"its answer cannot be read: {error}") from None
        if answer.error:
            raise self._failed(answer.error)
        return answer

    def _running(self) -> Process:
        if self._process is None:
            self._process = Process(self._start, self._custom.timeout_seconds)
        return self._process

    def _failed(self, why: str) -> OperatorFailed:
        return OperatorFailed(
            f"the operator {self._name} failed: {why}; mend it, take it out of the recipe, "
            "or set custom.on_failure to skip"
        )


class IsolatedMemory(Isolated):
    """One that remembers earlier texts. Where it fails the run stops: what it knew is gone."""

    def prepare(self, texts: Texts) -> NDArray[np.uint64]:
        """What it needs of each text."""
        answer = self.ask(frames.Ask("prepare", frames.packed_strings(texts.strings)))
        if answer.array is None or not answer.array.shape or answer.array.shape[0] != len(texts):
            raise self._failed(f"it did not prepare one row for each of {len(texts)} texts")
        return frames.unpacked(answer.array)

    def decide(self, prepared: NDArray[np.uint64]) -> tuple[Flags, Values]:
        """Which stay."""
        answer = self.ask(frames.Ask("decide", array=frames.packed(prepared)))
        keep, values = self.kept(answer, len(prepared))
        if keep is None or values is None:
            raise self._failed("it decided nothing")
        return keep, values

    def save(self) -> dict[str, Any]:
        """Where it stands."""
        return self.ask(frames.Ask("save")).state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back there."""
        self.ask(frames.Ask("restore", state=dict(state)))


def isolated(
    found: base.Foreign, step: Step, common: base.Common, custom: Custom
) -> Isolated | IsolatedMemory:
    """The operator, of the class that has what it has."""
    operator = Isolated(found, step, common, custom)
    if not operator.remembers:
        return operator
    operator.close()
    return IsolatedMemory(found, step, common, custom)
