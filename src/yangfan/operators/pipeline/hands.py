"""Several processes that run a chain's operators over batches at once; their answers come back in order."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from yangfan.errors import OperatorFailed
from yangfan.operators.pipeline import frames, trace
from yangfan.operators.pipeline.process import Died, Process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from yangfan.operators.pipeline.recipe import Recipe
    from yangfan.operators.pipeline.rows import Batch

ANSWER_SECONDS = 3600.0
"""A batch takes parts of a second; operators of third parties have limits of their own."""
AHEAD = 2
"""Batches in a process's hands and next to them."""
AHEAD_CHARACTERS = 4 << 20
"""No batch is begun ahead of so many characters: rows can be long."""


class Hands:
    """Processes that work on batches.

    Args:
        recipe: What to do.
        operators: Folder of operators that are one file.
        number: How many processes.

    Raises:
        OperatorFailed: A process could not begin.
    """

    def __init__(self, recipe: Recipe, operators: Path | None, number: int) -> None:
        start = frames.Start(
            recipe=msgspec.to_builtins(recipe),
            operators="" if operators is None else str(operators),
        )
        self._asked: SimpleQueue[tuple[Batch, Future[trace.Trace]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(start,), daemon=True) for _ in range(number)
        ]
        self._processes: list[Process] = []
        self._closed = False
        self._lock = threading.Lock()
        for thread in self._threads:
            thread.start()

    def over(self, batches: Iterable[Batch], group: int) -> Iterator[tuple[Batch, trace.Trace]]:
        """Every batch and what became of it, in order; a few are worked on ahead.

        Args:
            batches: What to work on.
            group: How many of them are taken before any is done with: so many more are worked on ahead, so that no process waits
                meanwhile.

        Raises:
            OperatorFailed: A process ended, or an operator of third parties failed.
        """
        ahead: deque[tuple[Batch, Future[trace.Trace]]] = deque()
        characters, most = 0, AHEAD * len(self._threads) + group - 1
        for batch in batches:
            found: Future[trace.Trace] = Future()
            self._asked.put((batch, found))
            ahead.append((batch, found))
            characters += batch.characters
            while len(ahead) > most or (characters > AHEAD_CHARACTERS and len(ahead) > 1):
                first, done = ahead.popleft()
                characters -= first.characters
                yield first, done.result()
        for first, done in ahead:
            yield first, done.result()

    def close(self) -> None:
        """End them, whatever they do."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        for process in processes:
            process.close()
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, start: frames.Start) -> None:
        process: Process | None = None
        while (item := self._asked.get()) is not None:
            batch, found = item
            try:
                if process is None:
                    process = self._begun(start)
                found.set_result(_traced(process, batch))
            except Exception as error:  # noqa: BLE001 - raised where the result is asked for
                found.set_exception(error)

    def _begun(self, start: frames.Start) -> Process:
        try:
            process = Process(start, ANSWER_SECONDS)
        except Died as died:
            raise OperatorFailed(f"a process that cleans could not begin: {died}") from None
        with self._lock:
            self._processes.append(process)
            closed = self._closed
        if closed:
            process.close()
        if process.ready.error:
            raise OperatorFailed(process.ready.error)
        return process


def _traced(process: Process, batch: Batch) -> trace.Trace:
    try:
        answer = process.ask(asked(batch))
    except (Died, ValueError) as died:
        raise OperatorFailed(
            f"a process that cleans ended: {died}; the same call goes on from the last saved place"
        ) from None
    if answer.error:
        raise OperatorFailed(answer.error)
    assert answer.traced is not None
    return unpacked(answer.traced, batch)


def asked(batch: Batch) -> frames.Ask:
    """The question what becomes of a batch."""
    sizes = None if batch.sizes is None else frames.packed(np.array(batch.sizes, np.int64))
    return frames.Ask("trace", frames.packed_strings(batch.texts), sizes)


def unpacked(traced: frames.Traced, batch: Batch) -> trace.Trace:
    """What became of a batch, out of the answer."""
    sizes = None if batch.sizes is None else np.array(batch.sizes, np.int64)
    return trace.unpacked(traced, batch.texts, sizes)


def answered(ask: frames.Ask, steps: Sequence[trace.Step], language: str) -> frames.Answer:
    """The answer to it."""
    assert ask.texts is not None
    sizes = None if ask.array is None else frames.unpacked(ask.array)
    found = trace.trace(steps, frames.unpacked_strings(ask.texts), language, sizes)
    return frames.Answer(traced=trace.packed(found, sizes))
