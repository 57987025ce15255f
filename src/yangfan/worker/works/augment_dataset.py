"""Make more samples out of those of a dataset: self-instruct or evolution of prompts by one of the platform's models (specification D.10).

Spec: ``blobs`` (folder of shards), ``manifest`` (of the source), ``prefix`` (what new rows' ids begin with), ``requests_per_minute`` (0 for as
many as there is room for), and the fields of `yangfan.worker.augmentation.making.Settings`. Result: ``manifest`` of the new samples, and
``counts``. Every new row says in its field ``provenance`` which rows and which model it comes from.

The models are asked over HTTP like everybody's calls, for the account whose job it is; live traffic goes first. Each answer is on disk before
anything follows from it.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from yangfan.datasets.formats import DataFormat, Message, Sample, Turn
from yangfan.datasets.manifest import Manifest  # noqa: TC001 - msgspec reads the fields of `Spec`
from yangfan.datasets.shards import BlobFolder, ShardWriter, read_rows
from yangfan.errors import ContentRefused, Invalid, RateLimited
from yangfan.worker.augmentation.journal import Journal
from yangfan.worker.augmentation.making import Made, Maker, Seed, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.worker.task import Task

MAX_SEEDS = 2000
"""Rows of the source that examples are drawn from, evenly spread; each new prompt is compared with all of them."""
FORMATS = (DataFormat.PROMPT_RESPONSE, DataFormat.ROLE, DataFormat.PROMPT, DataFormat.SORTED)
SLICE_SECONDS = 0.2
FULL_SECONDS = 5.0
"""How long to wait where a limit is reached and nobody says for how long."""


class Spec(Settings, frozen=True, kw_only=True):
    """What the work takes."""

    blobs: str
    manifest: Manifest
    prefix: str
    requests_per_minute: Annotated[int, msgspec.Meta(ge=0)] = 0


def run(task: Task) -> dict[str, Any]:
    """Make samples.

    Raises:
        Invalid: The spec is not of this kind, or the source has no prompts.
        RefusedError: The model refused, for good.
        ConfigurationError: A shard is gone.
    """
    try:
        spec = msgspec.convert(task.spec, Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no augmentation: {error}") from error
    data_format = spec.manifest.format
    if data_format not in FORMATS:
        known = ", ".join(item.value for item in FORMATS)
        raise Invalid(
            f"datasets of these formats can grow: {known}; this one is {data_format.value}"
        )
    blobs = BlobFolder(Path(spec.blobs))
    seeds = list(_seeds(blobs, spec.manifest))
    if not seeds:
        raise Invalid("the source has no prompts to begin with; import some first")
    journal = Journal(task.folder / "answers.jsonl")
    if len(journal):
        task.log(f"going on with {len(journal)} answers")
    if data_format is DataFormat.PROMPT:
        spec = msgspec.structs.replace(spec, with_responses=False)
    now_ms = time.time_ns() // 1_000_000
    pace = _Pace(spec.requests_per_minute, task.check)

    def ask(prompt: str, temperature: float | None) -> str:
        return _asked(task, spec.model, pace, prompt, temperature)

    maker = Maker(spec, seeds, ask, journal, spec.prefix)
    total = sum(spec.evolution.values()) * spec.iterations if spec.evolution else spec.number
    try:
        with ShardWriter(blobs, data_format, created_ms=now_ms) as writer:
            for made in maker:
                writer.add(made.id, _sample(data_format, made))
                counts = maker.counts
                task.progress(counts.made, total, "samples", f"{counts.rejected} too alike")
            manifest = writer.finish()
    finally:
        journal.close()
    counts = maker.counts
    task.log(
        f"{counts.made} samples out of {counts.asked} answers, {counts.rejected} too like another"
        + ("; gave up, because nothing new came" if counts.gave_up else "")
    )
    return {"manifest": msgspec.to_builtins(manifest), "counts": msgspec.to_builtins(counts)}


def _seeds(blobs: BlobFolder, manifest: Manifest) -> list[Seed]:
    step = max(1, -(-manifest.rows // MAX_SEEDS))
    found: list[Seed] = []
    for place, row in enumerate(read_rows(blobs, manifest)):
        if place % step == 0 and (prompt := _prompt(row.sample)):
            found.append(Seed(row.row_id, prompt))
    return found


def _prompt(sample: Sample) -> str:
    if sample.turns:
        return sample.turns[0].prompt
    return next((item.content for item in sample.messages if item.role == "user"), "")


def _sample(data_format: DataFormat, made: Made) -> Sample:
    extra = {"provenance": made.provenance}
    if data_format is DataFormat.ROLE:
        said = (Message("user", made.prompt), Message("assistant", made.response))
        return Sample(messages=said if made.response else said[:1], extra=extra)
    responses = (made.response,) if made.response else ()
    return Sample(turns=(Turn(made.prompt, responses),), extra=extra)


def _asked(task: Task, model: str, pace: _Pace, prompt: str, temperature: float | None) -> str:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "preemptible": True,
    }
    if temperature is not None:
        body["temperature"] = temperature
    while True:
        pace.wait()
        try:
            answer = task.ask("/v2/chat/completions", body)
        except RateLimited as error:
            pace.pause(error.retry_after_seconds or FULL_SECONDS)
        except ContentRefused as error:
            task.log(f"one question was refused: {error.message}")
            return ""
        else:
            return str(answer["choices"][0]["message"].get("content") or "")


class _Pace:
    """Lets so many questions a minute through; several threads wait here."""

    def __init__(self, per_minute: int, check: Callable[[], None]) -> None:
        self._gap_seconds = 60 / per_minute if per_minute else 0.0
        self._check = check
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is this question's turn; raises what `Task.check` raises."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._gap_seconds
        self._until(turn)

    def pause(self, seconds: float) -> None:
        """Nobody asks for so long: a limit is reached."""
        # Not all at the same moment again.
        seconds += random.random() * SLICE_SECONDS  # noqa: S311 - no secret
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _until(self, moment: float) -> None:
        self._check()
        while (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, SLICE_SECONDS))
            self._check()
