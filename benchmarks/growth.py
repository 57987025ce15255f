"""Whether a row costs the same in a file of ten million as in one of ten thousand: imports, and cleaning with duplicates looked for.

Rows are short, so that ten million of them are a gigabyte: a number and eight words of a vocabulary of 50,000, so that no row is near
another and everything that looks for duplicates has all rows to look through. Each run is a process of its own; loading the libraries
is not timed. Small files are done several times, and the median is told.
"""

from __future__ import annotations

import random
import statistics
import string
import tempfile
from dataclasses import dataclass
from pathlib import Path

import imports
from report import Report, Table, say

WORDS, OF_A_ROW = 50_000, 8
FEW_ROWS = 100_000
"""Files of no more rows are done `Size.rounds` times."""
RECIPE = {
    "field": "response",
    "language": "en",
    "operationsV2": {
        "filter": [
            "filter_check_number_words",
            "filter_check_character_repetition_removal",
            "filter_check_special_characters",
        ],
        "deduplication": ["deduplication_simhash"],
    },
}

_CLEAN = f"""
    import yangfan.operators.pipeline.chain
    from yangfan.operators.pipeline import recipe, run
    wanted = recipe.parse({RECIPE!r})
    begun = time.perf_counter()
    rows = run.Run(wanted, file, scratch / "out.jsonl")().remaining_entity
"""
SIDES = {"import": imports.OURS, "cleaning": _CLEAN}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rows: tuple[int, ...]
    rounds: int


SIZES = {
    "full": Size((10_000, 100_000, 1_000_000, 10_000_000), 5),
    "quick": Size((10_000, 100_000, 1_000_000), 3),
    "smoke": Size((300, 600), 1),
}


def measure(size: Size) -> Report:
    """Measure both at every size."""
    report = Report()
    each: dict[str, list[float]] = {side: [] for side in SIDES}
    table: list[tuple[str, ...]] = []
    lost = 0
    with tempfile.TemporaryDirectory(prefix="yangfan-growth-") as name:
        folder = Path(name)
        file = folder / "rows.jsonl"
        for rows in size.rows:
            write_short(file, rows)
            cells = [f"{rows:,}", f"{file.stat().st_size / 1e6:,.0f}"]
            for side, code in SIDES.items():
                found: list[float] = []
                peak = 0.0
                for _ in range(size.rounds if rows <= FEW_ROWS else 1):
                    ran = imports.run(code, file, folder / "scratch")
                    if ran.why:
                        raise SystemExit(f"growth: {side} of {rows} rows: {ran.why}")
                    lost += rows - ran.rows
                    peak = max(peak, ran.peak_bytes)
                    found.append(ran.seconds / rows * 1e6)
                each[side].append(statistics.median(found))
                cells += [
                    f"{each[side][-1]:.1f}",
                    f"{each[side][-1] / each[side][0]:.2f}",
                    f"{peak / 1e6:.0f}",
                ]
                say(f"growth: {side} of {rows} rows, {each[side][-1]:.1f} µs each")
            table.append(tuple(cells))
    heads = [
        f"{side}: {what}" for side in SIDES for what in ("µs/row", "times the first", "peak RSS MB")
    ]
    report.tables.append(Table(("rows", "MB", *heads), table))
    for side, found in each.items():
        report.check(
            f"{side}: time for a row, {size.rows[-1]:,} rows against {size.rows[0]:,}",
            found[-1] / found[0],
            form="{:.2f} x",
            at_most=1.25,
        )
    report.check("rows lost", lost, form="{:.0f}", at_most=0)
    report.notes.append(
        "One process. Cleaning is three filters and the search for near-duplicates among all rows before; no row is one."
        f" Files of up to {FEW_ROWS:,} rows: medians of {size.rounds} runs."
    )
    return report


def write_short(file: Path, rows: int) -> None:
    """Write so many rows of about 100 bytes, no two of them alike."""
    made = random.Random(29)
    words = [
        "".join(made.choices(string.ascii_lowercase, k=made.randrange(3, 10))) for _ in range(WORDS)
    ]
    with file.open("w", encoding="utf-8") as out:
        for begin in range(0, rows, 10_000):
            number = min(10_000, rows - begin)
            chosen = made.choices(words, k=number * OF_A_ROW)
            out.writelines(
                f'{{"prompt": "{begin + row}", "response": "{" ".join(chosen[row * OF_A_ROW : (row + 1) * OF_A_ROW])}"}}\n'
                for row in range(number)
            )
