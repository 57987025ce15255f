"""Clean a version of a dataset: the operators of a recipe over its texts, into the shards of another version (specification D.9).

Spec: ``blobs`` (folder of shards), ``manifest`` (of the source), ``recipe`` (`yangfan.operators.pipeline.recipe.Recipe`), ``out`` (folder where
the files of reasons go), ``operators`` (folder of operators that are one file, "" for none), ``processes`` (0 for what suits the data), ``save_seconds`` (between two saved
places), ``memory_bytes`` (for looking for duplicates), ``cluster`` (address of a Ray
cluster that runs the operators, "" for none). Result:
``manifest`` of what stays, ``report`` (counts of each operator), ``dropped`` and ``changed``: files with a line for each row that went, with
operator, value and reason, and for each that was changed, with the operators that changed it; what it was before stands in the source.

Of any format: operators that change texts get each text of a row (prompts, responses, messages, what a picture shows), those that measure
get them under one another, as `text_of` says them. A row that is left without one of its texts goes; plain texts may become empty, which
the filter of words is for.

A row keeps its id, so two versions can be compared. What is saved every few seconds is where to go on in the source: a killed job loses the
work since then and nothing else, and its end is that of one that was never killed. On another machine, where the memory of the operators is
missing, it begins again.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from yangfan.datasets.formats import DataFormat, Sample, text_of, texts_of, with_texts
from yangfan.datasets.manifest import Manifest, Row
from yangfan.datasets.shards import BlobFolder, ShardWriter, read_rows
from yangfan.errors import Invalid
from yangfan.operators import base
from yangfan.operators.pipeline import recipe as recipes
from yangfan.operators.pipeline import run as runs
from yangfan.operators.pipeline.chain import Chain, Cleaned
from yangfan.operators.pipeline.rows import Batch, Bytes, Place, closed, is_full
from yangfan.operators.pipeline.trace import grouped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yangfan.worker.task import Task

SAVE_SECONDS = 10.0
"""Between two saved places; each ends a shard, so more often would make many small ones."""


class _Spec(msgspec.Struct, frozen=True):
    blobs: str
    manifest: Manifest
    recipe: recipes.Recipe
    out: str
    operators: str = ""
    processes: int = 0
    save_seconds: float = SAVE_SECONDS
    memory_bytes: int = base.MEMORY_BYTES
    cluster: str = ""


class Gone(msgspec.Struct, frozen=True):
    """A line of the file of dropped rows."""

    row: int
    """Its place in the source, from 0."""
    row_id: str
    operator: str
    value: float | None
    reason: str
    text: str


class Changed(msgspec.Struct, frozen=True):
    """A line of the file of changed rows."""

    row: int
    row_id: str
    operators: list[str]


class _State(msgspec.Struct):
    """Where a job stands."""

    rows: int = 0
    shards: dict[str, Any] = {}
    dropped: Place = {}
    changed: Place = {}
    chain: dict[str, Any] = {}
    seconds: float = 0.0


def run(task: Task) -> dict[str, Any]:
    """Clean.

    Raises:
        Invalid: The spec is not of this kind.
        ConfigurationError: The recipe is not right, or a shard is gone.
        OperatorFailed: An operator of third parties failed.
    """
    try:
        spec = msgspec.convert(task.spec, _Spec)
        state = msgspec.convert(task.state, _State)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no cleaning: {error}") from error
    return _Cleaning(task, spec, state).run()


class _Cleaning:
    """One attempt."""

    def __init__(self, task: Task, spec: _Spec, state: _State) -> None:
        self._task, self._spec = task, spec
        self._blobs = BlobFolder(Path(spec.blobs))
        self._folder = task.folder
        if state.rows and not self._can_go_on(state):
            task.log("what earlier attempts remembered is not on this machine: from the beginning")
            state = _State()
        if not state.rows:
            for name in ("memory", "dropped.jsonl", "changed.jsonl"):
                _remove(self._folder / name)
        self._state = state
        self._seconds_before = state.seconds

    def run(self) -> dict[str, Any]:
        spec, state = self._spec, self._state
        self._started = time.monotonic()
        encoder = msgspec.json.Encoder()

        def encode(line: Any, _: str) -> bytes:
            return encoder.encode(line)

        self._dropped = Bytes(self._folder / "dropped.jsonl", state.dropped, encode, b"")
        self._changed = Bytes(self._folder / "changed.jsonl", state.changed, encode, b"")
        operators = Path(spec.operators) if spec.operators else None
        self._chain = Chain(
            spec.recipe,
            self._folder / "memory",
            operators=operators,
            processes=spec.processes or runs.suiting(spec.manifest.characters),
            memory_bytes=spec.memory_bytes,
            cluster=spec.cluster,
        )
        self._writer = ShardWriter(self._blobs, spec.manifest.format, start=state.shards)
        try:
            if state.chain:
                self._chain.restore(state.chain)
            self._pass()
            return self._finish()
        finally:
            self._writer.close()
            self._dropped.close()
            self._changed.close()
            self._chain.close()

    def _pass(self) -> None:
        saved = time.monotonic()
        total = self._spec.manifest.rows
        for group in self._chain.over(self._batches(self._state.rows)):
            for batch, cleaned in group:
                self._do(batch, cleaned)
            gone = sum(tally.drop_count for tally in self._chain.tallies)
            self._task.progress(self._state.rows, total, "rows", f"{gone} dropped")
            if time.monotonic() - saved >= self._spec.save_seconds:
                self._save()
                saved = time.monotonic()

    def _batches(self, offset: int) -> Iterator[Batch]:
        plain = self._spec.manifest.format is DataFormat.TEXT
        batch, characters = _batch(plain), 0
        number = offset
        for number, row in enumerate(
            read_rows(self._blobs, self._spec.manifest, offset), offset + 1
        ):
            texts = [row.sample.text] if plain else texts_of(row.sample)
            batch.texts += texts
            if batch.sizes is not None:
                batch.sizes.append(len(texts))
            batch.rows.append(number - 1)
            batch.payloads.append(row)
            characters += sum(map(len, texts))
            if is_full(batch, characters):
                yield closed(batch, {"row": number}, 0)
                batch, characters = _batch(plain), 0
        if batch.rows:
            yield closed(batch, {"row": number}, 0)

    def _do(self, batch: Batch, cleaned: Cleaned) -> None:
        rows = cast("list[Row]", batch.payloads)
        changed: list[Changed] = []
        positions: list[int] = cleaned.positions.tolist()
        sizes = [1 if batch.sizes is None else batch.sizes[position] for position in positions]
        for position, texts in zip(positions, grouped(cleaned.texts, sizes), strict=True):
            row: Row = rows[position]
            sample = _said(row.sample, texts, plain=batch.sizes is None)
            if sample is not row.sample:
                row = Row(row.row_id, sample, row.labels, row.created_ms, row.annotated_ms)
                by = [name for name, flags in cleaned.changes if flags[position]]
                changed.append(Changed(batch.rows[position], row.row_id, by))
            self._writer.add_row(row)
        gone = [
            Gone(
                batch.rows[drop.position],
                rows[drop.position].row_id,
                drop.operator,
                drop.value,
                drop.reason,
                text_of(rows[drop.position].sample),
            )
            for drop in cleaned.drops
        ]
        for file, lines in ((self._dropped, gone), (self._changed, changed)):
            file.write(lines, range(len(lines)), [""] * len(lines))
        self._state.rows = batch.place["row"]

    def _save(self) -> None:
        self._writer.flush()
        self._state = _State(
            self._state.rows,
            self._writer.state,
            self._dropped.save(),
            self._changed.save(),
            self._chain.save(),
            self._seconds(),
        )
        self._task.save(msgspec.to_builtins(self._state))

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _finish(self) -> dict[str, Any]:
        manifest = self._writer.finish()
        out = Path(self._spec.out)
        out.mkdir(parents=True, exist_ok=True)
        files: dict[str, str] = {}
        for name, file in (("dropped", self._dropped), ("changed", self._changed)):
            file.save()
            files[name] = f"{self._task.id}.{name}.jsonl"
            # A copy: an attempt that is killed here finds its own files where they were.
            part = out / f"{files[name]}.part"
            shutil.copyfile(self._folder / f"{name}.jsonl", part)
            with part.open("rb+") as opened:
                os.fsync(opened.fileno())
            part.replace(out / files[name])
        report = runs.result(self._chain.tallies, self._state.rows, 0, self._seconds())
        self._task.log(f"{report.entity_count} rows read, {report.remaining_entity} stay")
        return {
            "manifest": msgspec.to_builtins(manifest),
            "report": msgspec.to_builtins(report),
            **files,
        }

    def _can_go_on(self, state: _State) -> bool:
        """Whether everything that was saved is still here."""
        shards: list[dict[str, Any]] = state.shards.get("shards", [])
        files = [self._folder / "dropped.jsonl", self._folder / "changed.jsonl"]
        return all(file.is_file() for file in files) and all(
            self._blobs.has(shard["sha256"]) for shard in shards
        )


def _batch(plain: bool) -> Batch:
    return Batch(sizes=None if plain else [])


def _said(sample: Sample, texts: Sequence[str], *, plain: bool) -> Sample:
    """The sample with these texts; itself where they are its own."""
    # An operator of third parties may leave half of a pair of surrogates.
    whole = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if plain:
        (text,) = whole
        return sample if text == sample.text else msgspec.structs.replace(sample, text=text)
    return sample if whole == texts_of(sample) else with_texts(sample, whole)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
