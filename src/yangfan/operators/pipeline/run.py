"""One pass over a file: read, clean, write, explain; saved every few seconds, so that a run goes on where it was stopped."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.errors import ConfigurationError
from yangfan.operators import base
from yangfan.operators.pipeline import formats
from yangfan.operators.pipeline.chain import Chain, Cleaned, Tally
from yangfan.operators.pipeline.rows import Bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from yangfan.operators.pipeline.recipe import Recipe
    from yangfan.operators.pipeline.rows import Batch, Reader

SAVE_EVERY_SECONDS = 5.0
WORTH_BYTES = 8 << 20
"""Smaller files are done before more processes have begun."""
MOST_PROCESSES = 16
"""One process reads, writes and looks for duplicates; more hands than this would wait for it."""
READ = "read"
"""Stands in place of an operator where a row could not be read."""


class Dropped(msgspec.Struct, frozen=True):
    """A line of the file of dropped rows."""

    row: int
    """Number in the file, from 0."""
    operator: str
    value: float | None
    reason: str
    source: Any
    """The row as it came; of Parquet its text, of a row that is too long its beginning."""


class Stage(msgspec.Struct, frozen=True):
    """What one stage did, as Qianfan tells it."""

    status: str
    operator_count: int
    entity_match_count: int
    each_operator_result: list[Tally]


class Report(msgspec.Struct, frozen=True):
    """What a run did: `pipeline_stage_result` and the counts of Qianfan's ETL result (qianfan_api D.9)."""

    pipeline_stage_result: dict[str, Stage]
    entity_count: int
    """Rows read."""
    remaining_entity: int
    """Rows written."""
    unreadable_entity: int
    """Rows without a text that could be read; they are among those dropped."""
    seconds: float
    """Working time, that of earlier starts included."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done_bytes: int
    total_bytes: int
    rows: int
    dropped: int


class _Checkpoint(msgspec.Struct, frozen=True):
    """Everything that is needed to go on."""

    run: dict[str, Any]
    """Which recipe over which file; a run goes on only with the same."""
    place: dict[str, int]
    written: dict[str, int]
    dropped: dict[str, int]
    chain: dict[str, Any]
    rows: int
    unreadable: int
    seconds: float


class Sample(msgspec.Struct, frozen=True):
    """A row before and after, for a preview."""

    row: int
    before: str
    after: str | None
    """None where the row is dropped."""
    operator: str
    """Which operator dropped it, or nothing."""
    reason: str


class Preview(msgspec.Struct, frozen=True):
    """What a recipe does to the first rows of a file."""

    report: Report
    samples: list[Sample]
    """Rows that are changed or dropped."""


def _no_progress(progress: Progress) -> None:
    del progress


class Run:
    """A recipe over a file.

    Args:
        recipe: What to do.
        file: What to read: .jsonl, .ndjson, .csv, .tsv, .txt or .parquet.
        out: What to write, in the same format; beside it come ``OUT.dropped.jsonl``, ``OUT.report.json`` and, while it
            runs, the folder ``OUT.work``.
        progress: Told after every few batches. What it raises stops the run, which can go on later.
        operators: Folder of operators that are one file.
        processes: How many processes run the operators, 1 for this one alone; 0 for what suits the file and the machine.
        cluster: Address of a Ray cluster that runs them instead; "" for none.

    Raises:
        ConfigurationError: The recipe, the file or the place to write is not right.
    """

    def __init__(
        self,
        recipe: Recipe,
        file: Path,
        out: Path,
        progress: Callable[[Progress], None] = _no_progress,
        *,
        operators: Path | None = None,
        processes: int = 1,
        cluster: str = "",
    ) -> None:
        self.out = out
        self.dropped = out.with_name(f"{out.name}.dropped.jsonl")
        self.report = out.with_name(f"{out.name}.report.json")
        self.work = out.with_name(f"{out.name}.work")
        self.kind = formats.format_of(file)
        if formats.format_of(out) != self.kind:
            raise ConfigurationError(
                f"{out.name} must be of the format of {file.name}: .{self.kind}"
            )
        if not out.parent.is_dir():
            raise ConfigurationError(f"there is no folder {out.parent}")
        if out.exists() and out.samefile(file):
            raise ConfigurationError("the output must not be the input, which never changes")
        self.recipe = recipe
        self.reader = formats.reader(file, recipe.field, recipe.max_row_bytes)
        self.progress = progress
        self.operators, self.cluster = operators, cluster
        stat = file.stat()
        self.processes = processes or suiting(stat.st_size)
        self.identity = {
            "recipe": msgspec.to_builtins(recipe),
            "file": str(file.resolve()),
            "size_bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
        }

    @property
    def can_go_on(self) -> bool:
        """Whether an earlier run was stopped before its end."""
        return self.checkpoint_file.is_file()

    def forget(self) -> None:
        """Take away what an earlier run left; its output, if it came to one, stays."""
        shutil.rmtree(self.work, ignore_errors=True)

    def __call__(self) -> Report:
        """Run to the end, from where an earlier run with the same recipe over the same file was stopped.

        Raises:
            ConfigurationError: What an earlier run left is of another recipe or file.
        """
        checkpoint = self._found()
        if checkpoint is None:
            self.forget()
        self.work.mkdir(exist_ok=True)
        return _Pass(self, checkpoint).run()

    @property
    def checkpoint_file(self) -> Path:
        """Where a stopped run says how to go on."""
        return self.work / "checkpoint.json"

    def _found(self) -> _Checkpoint | None:
        if not self.can_go_on:
            return None
        try:
            found = msgspec.json.decode(self.checkpoint_file.read_bytes(), type=_Checkpoint)
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f"{self.checkpoint_file} is damaged ({error}); start again with --restart"
            ) from None
        if found.run != self.identity:
            raise ConfigurationError(
                f"{self.work} is of a run with another recipe or another input; start again with --restart"
            )
        return found


class _Pass:
    """The state of a run while it runs."""

    def __init__(self, run: Run, checkpoint: _Checkpoint | None) -> None:
        self._run = run
        self._started = time.monotonic()
        self._rows = self._unreadable = 0
        self._seconds_before = 0.0
        self._place: dict[str, int] = {}
        written: dict[str, int] = {}
        dropped: dict[str, int] = {}
        self._chain = Chain(
            run.recipe,
            run.work,
            operators=run.operators,
            processes=run.processes,
            cluster=run.cluster,
        )
        if checkpoint is not None:
            self._place = checkpoint.place
            written, dropped = checkpoint.written, checkpoint.dropped
            self._rows, self._unreadable = checkpoint.rows, checkpoint.unreadable
            self._seconds_before = checkpoint.seconds
            self._chain.restore(checkpoint.chain)
        part = run.work / f"output{run.out.suffix}"
        self._writer = formats.writer(run.reader, run.kind, part, written)
        encoder = msgspec.json.Encoder()
        self._dropped = Bytes(
            run.work / "dropped.jsonl", dropped, lambda line, _: encoder.encode(line), b""
        )

    def run(self) -> Report:
        saved = time.monotonic()
        try:
            batches = self._run.reader.batches(self._place)
            for group in self._chain.over(batches):
                for batch, cleaned in group:
                    self._do(batch, cleaned)
                if time.monotonic() - saved >= SAVE_EVERY_SECONDS:
                    self._save()
                    saved = time.monotonic()
                self._tell(group[-1][0])
            self._save()
            return self._finish()
        finally:
            self._leave()

    def _do(self, batch: Batch, cleaned: Cleaned) -> None:
        self._writer.write(batch.payloads, cleaned.positions.tolist(), cleaned.texts)
        lines = explained(self._run.reader, batch, cleaned)
        self._dropped.write(lines, range(len(lines)), [""] * len(lines))
        self._rows += len(batch.texts) + len(batch.faults)
        self._unreadable += len(batch.faults)
        self._place = batch.place

    def _tell(self, batch: Batch) -> None:
        dropped = self._unreadable + sum(tally.drop_count for tally in self._chain.tallies)
        total = self._run.reader.total_bytes
        try:
            self._run.progress(Progress(batch.done_bytes, total, self._rows, dropped))
        except BaseException:
            # Whoever stops the run here loses nothing; elsewhere, what was done since the last save is done again.
            self._save()
            raise

    def _save(self) -> None:
        checkpoint = _Checkpoint(
            self._run.identity,
            self._place,
            self._writer.save(),
            self._dropped.save(),
            self._chain.save(),
            self._rows,
            self._unreadable,
            self._seconds(),
        )
        replace_file(self._run.checkpoint_file, msgspec.json.encode(checkpoint))

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _leave(self) -> None:
        self._writer.close()
        self._dropped.close()
        self._chain.close()

    def _finish(self) -> Report:
        report = result(self._chain.tallies, self._rows, self._unreadable, self._seconds())
        self._dropped.finish(self._run.dropped)
        replace_file(self._run.report, msgspec.json.format(msgspec.json.encode(report)))
        self._writer.finish(self._run.out)
        self._chain.close()
        self._run.forget()
        return report


def suiting(size_bytes: int) -> int:
    """How many processes are worth their start for so many bytes."""
    return min(os.cpu_count() or 1, MOST_PROCESSES) if size_bytes >= WORTH_BYTES else 1


def preview(recipe: Recipe, file: Path, rows: int, *, operators: Path | None = None) -> Preview:
    """What a recipe does to the first rows of a file; nothing is written.

    Raises:
        ConfigurationError: The recipe or the file is not right.
    """
    source = formats.reader(file, recipe.field, recipe.max_row_bytes)
    chain = Chain(recipe, operators=operators)
    started = time.monotonic()
    done = unreadable = 0
    samples: list[Sample] = []
    try:
        for batch in source.batches({}):
            faults = [fault for fault in batch.faults if fault.row < rows]
            texts = [text for row, text in zip(batch.rows, batch.texts, strict=True) if row < rows]
            cleaned = chain(texts)
            done += len(texts) + len(faults)
            unreadable += len(faults)
            samples += [Sample(fault.row, "", None, READ, fault.reason) for fault in faults]
            samples += changed_and_dropped(batch.rows, texts, cleaned)
            if done >= rows:
                break
    finally:
        chain.close()
    samples.sort(key=lambda sample: sample.row)
    return Preview(result(chain.tallies, done, unreadable, time.monotonic() - started), samples)


def changed_and_dropped(numbers: list[int], texts: list[str], cleaned: Cleaned) -> list[Sample]:
    """The rows that are not as they were, those that stay first.

    Args:
        numbers: Of the rows.
        texts: What each said before.
        cleaned: What became of them, with one text for each row that stays.
    """
    positions: list[int] = cleaned.positions.tolist()
    kept = zip(positions, cleaned.texts, strict=True)
    changed = [
        Sample(numbers[position], texts[position], after, "", "")
        for position, after in kept
        if after != texts[position]
    ]
    dropped = [
        Sample(numbers[drop.position], texts[drop.position], None, drop.operator, drop.reason)
        for drop in cleaned.drops
    ]
    return changed + dropped


def explained(source: Reader, batch: Batch, cleaned: Cleaned) -> list[Dropped]:
    """The lines of the file of dropped rows for a batch, by row."""
    lines = [Dropped(fault.row, READ, None, fault.reason, fault.source) for fault in batch.faults]
    lines += [
        Dropped(
            batch.rows[drop.position],
            drop.operator,
            drop.value,
            drop.reason,
            source.source(batch.payloads, drop.position),
        )
        for drop in cleaned.drops
    ]
    return sorted(lines, key=lambda line: line.row)


def result(tallies: list[Tally], rows: int, unreadable: int, seconds: float) -> Report:
    """The report of a run."""
    stages: dict[str, Stage] = {}
    for stage in base.STAGES:
        of_stage = [tally for tally in tallies if tally.stage == stage]
        if of_stage:
            matched = sum(tally.entity_match_count for tally in of_stage)
            stages[stage] = Stage("finished", len(of_stage), matched, of_stage)
    dropped = sum(tally.drop_count for tally in tallies)
    return Report(stages, rows, rows - unreadable - dropped, unreadable, round(seconds, 3))


def replace_file(file: Path, content: bytes) -> None:
    """Write a file at one stroke: after a crash there is the old one or the new one."""
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(file)
