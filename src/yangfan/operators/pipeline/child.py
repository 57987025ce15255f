"""A process that a pipeline starts: it runs the operators of a chain over batches, or one operator of third parties.

    python -m yangfan.operators.pipeline.child

Frames come on stdin and go out on what was stdout; whatever operators print goes to stderr. The process ends with its parent.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec
import numpy as np

from yangfan.errors import ConfigurationError
from yangfan.operators import base
from yangfan.operators._texts import Texts
from yangfan.operators.pipeline import frames, trace
from yangfan.operators.pipeline.hands import answered
from yangfan.operators.pipeline.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from yangfan.operators._texts import Flags, Values

MAX_FILE_BYTES = 8 << 30
"""The longest file that a limited process may write: what it prints, and what its operator remembers."""

Do = "Callable[[frames.Ask], frames.Answer]"


def main() -> int:
    """Answer until there is nobody to answer."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(asked,), daemon=True).start()
    start = msgspec.msgpack.decode(asked.get(), type=frames.Start)
    _limit(start)
    try:
        answer, do = _started(start)
    except Exception as error:  # noqa: BLE001 - whatever somebody's module raises is told to the parent
        _tell(out, frames.Answer(error=_told(error)))
        return 1
    _tell(out, answer)
    decoder = msgspec.msgpack.Decoder(frames.Ask)
    while True:
        ask = decoder.decode(asked.get())
        _allow(start.cpu_seconds)
        try:
            answer = do(ask)
        except Exception as error:  # noqa: BLE001 - likewise
            answer = frames.Answer(error=_told(error))
        _tell(out, answer)


def _hear(asked: queue.SimpleQueue[bytes]) -> None:
    stdin = os.fdopen(0, "rb")
    while (frame := frames.read(stdin)) is not None:
        asked.put(frame)
    # The parent has gone, or needs this process no more.
    os._exit(0)


def _tell(out: BinaryIO, answer: frames.Answer) -> None:
    frames.write(out, msgspec.msgpack.encode(answer))


def _told(error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return error.message
    return f"{type(error).__name__}: {error}"


def _limit(start: frames.Start) -> None:
    if not start.memory_bytes or sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (start.memory_bytes, start.memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow(seconds: float) -> None:
    """A process whose parent is gone, and whose operator holds the interpreter, ends by this."""
    if not seconds or sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    threads = os.cpu_count() or 1
    soft = int(time.process_time() + seconds * threads) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _started(start: frames.Start) -> tuple[frames.Answer, Callable[[frames.Ask], frames.Answer]]:
    if start.recipe is not None:
        from yangfan.operators.pipeline.steps import operators_of

        recipe = msgspec.convert(start.recipe, Recipe)
        folder = Path(start.operators) if start.operators else None
        steps = [(stage, operator) for _, stage, operator in operators_of(recipe, None, folder)]
        return frames.Answer(), lambda ask: answered(ask, steps, recipe.language)
    module = _module(start)
    common = base.Common(start.language, Path(start.folder) if start.folder else None)
    operator = base.made(module, start.name, start.args, common)
    stage: Any = getattr(module, "STAGE", None)
    if stage not in base.STAGES:
        raise ConfigurationError(f"STAGE is {stage!r}; there are: {', '.join(base.STAGES)}")
    answer = frames.Answer(stage=stage, remembers=trace.remembers(operator))
    return answer, _One(operator, start.language)


def _module(start: frames.Start) -> ModuleType:
    if not start.file:
        name, _, attribute = start.module.partition(":")
        point = importlib.metadata.EntryPoint(
            start.name, f"{name}:{attribute}" if attribute else name, base.PACKAGE
        )
        return point.load()
    spec = importlib.util.spec_from_file_location(start.name, start.file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[start.name] = module
    spec.loader.exec_module(module)
    return module


class _One:
    """One operator's answers."""

    def __init__(self, operator: base.Operator, language: str) -> None:
        self._operator, self._language = operator, language

    def __call__(self, ask: frames.Ask) -> frames.Answer:
        remembering = cast("base.Remembering", self._operator)
        if ask.do == "call":
            return self._called(self._texts(ask))
        if ask.do == "prepare":
            prepared = np.asarray(remembering.prepare(self._texts(ask)))
            return frames.Answer(array=frames.packed(prepared))
        if ask.do == "decide":
            assert ask.array is not None
            keep, values = remembering.decide(frames.unpacked(ask.array))
            return self._kept(np.asarray(keep, np.bool_), np.asarray(values, np.float64))
        if ask.do == "save":
            return frames.Answer(state=remembering.save())
        assert ask.do == "restore"
        remembering.restore(ask.state)
        return frames.Answer()

    def _texts(self, ask: frames.Ask) -> Texts:
        assert ask.texts is not None
        return Texts(frames.unpacked_strings(ask.texts), self._language)

    def _called(self, texts: Texts) -> frames.Answer:
        outcome = self._operator(texts)
        after = None if outcome.texts is texts else frames.packed_strings(outcome.texts.strings)
        if outcome.keep is None:
            return frames.Answer(texts=after)
        values = None if outcome.values is None else np.asarray(outcome.values, np.float64)
        return self._kept(np.asarray(outcome.keep, np.bool_), values, after)

    def _kept(
        self, keep: Flags, values: Values | None, texts: frames.Strings | None = None
    ) -> frames.Answer:
        if values is None:
            return frames.Answer(texts=texts, keep=frames.packed(keep))
        dropped: set[float] = set(values[~keep].tolist()) if len(values) == len(keep) else set()
        return frames.Answer(
            texts=texts,
            keep=frames.packed(keep),
            values=frames.packed(values),
            reasons=[(value, self._operator.reason(value)) for value in sorted(dropped)],
        )


if __name__ == "__main__":
    sys.exit(main())
