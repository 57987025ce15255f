"""A dataset version of a million rows: pages at both ends, a row by its id, searches, edits, differences.

In one process, without HTTP: what the server does for `entity/list` and DescribeSamples, database included. Rows are small
conversations, so that their number is what is measured. (Not called `datasets`: that is Hugging Face's library.)
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from report import Report, Table, say

from yangfan.datasets.formats import DataFormat, Sample, Turn
from yangfan.datasets.shards import RowIds, ShardWriter
from yangfan.server.datasets import Datasets, Samples
from yangfan.server.datasets.samples import Window
from yangfan.server.db import Database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yangfan.datasets.manifest import Manifest

PAGE = 30
"""Most that v1 lists at once."""
PAGE_TARGET_MS = 100.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rows: int
    rounds: int


SIZES = {"full": Size(1_000_000, 21), "quick": Size(100_000, 7), "smoke": Size(3_000, 2)}


def measure(size: Size) -> Report:
    """Measure one version."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(size, Path(folder)))


async def _measure(size: Size, folder: Path) -> Report:
    database = Database(folder / "yangfan.db")
    await database.migrate()
    datasets = Datasets(database, folder / "datasets")
    samples = Samples(datasets)
    say(f"datasets: writing {size.rows:,} rows")
    began = time.perf_counter()
    manifest = await asyncio.to_thread(_write, datasets, size.rows)
    rows_per_second = size.rows / (time.perf_counter() - began)
    made = await datasets.create("large", DataFormat.PROMPT_RESPONSE)
    async with database.write() as connection:
        one = await datasets.publish_rows(connection, made.id, manifest, {"kind": "import"})
    second = await datasets.create_version("large", source=one.id)
    await samples.delete(second.id, ["b-0000000001"])
    last, middle = size.rows - PAGE, f"b-{size.rows // 2:010d}"
    window = Window(text=f"question {size.rows - 7}")
    steps: list[tuple[str, int, Callable[[], Awaitable[object]]]] = [
        ("first page of 30", size.rounds, lambda: samples.page(one.id, 0, PAGE)),
        ("last page of 30", size.rounds, lambda: samples.page(one.id, last, PAGE)),
        (
            "last page of 30, above an edit",
            size.rounds,
            lambda: samples.page(second.id, last, PAGE),
        ),
        ("a row by its id", size.rounds, lambda: samples.get(one.id, middle)),
        ("a search through all rows", 1, lambda: samples.page(one.id, 0, PAGE, window)),
        ("the next page of it", size.rounds, lambda: samples.page(one.id, 0, PAGE, window)),
        (
            "a label on a row",
            size.rounds,
            lambda: samples.annotate(second.id, middle, labels=["seen"]),
        ),
        (
            "what is different from a version before",
            3,
            lambda: samples.differences(one.id, second.id, 0, 20),
        ),
    ]
    await samples.page(one.id, 0, 1)  # pyarrow is imported once
    rows: list[tuple[str, str, str]] = []
    medians: dict[str, float] = {}
    for name, rounds, step in steps:
        say(f"datasets: {name}")
        times: list[float] = []
        for _ in range(rounds):
            started = time.perf_counter()
            await step()
            times.append((time.perf_counter() - started) * 1000)
        medians[name] = median(times)
        rows.append((name, f"{median(times):.1f} ms", f"{max(times):.1f} ms"))
    await database.close()
    report = Report()
    report.tables.append(Table(("what", "median", "most"), rows))
    pages = [medians["first page of 30"], medians["last page of 30"]]
    report.check("page of 30 at either end", max(pages), form="{:.1f} ms", at_most=PAGE_TARGET_MS)
    report.notes.append(
        f"{size.rows:,} conversations of one turn, {manifest.size_bytes / 2**20:.1f} MiB in {len(manifest.shards)} shards,"
        f" written by one process at {rows_per_second:,.0f} rows a second; in SQLite, one call after another, without HTTP."
    )
    return report


def _write(datasets: Datasets, rows: int) -> Manifest:
    ids = RowIds("b")
    with ShardWriter(datasets.blobs, DataFormat.PROMPT_RESPONSE) as writer:
        for number in range(rows):
            writer.add(ids(), Sample(turns=(Turn(f"question {number}", (f"answer {number}",)),)))
        return writer.finish()
