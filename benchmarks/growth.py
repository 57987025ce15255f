"""Whether a row costs the same in a file of ten million as in one of ten thousand: imports, and cleaning with duplicates looked for.

Rows are short, so that ten million of them are a gigabyte: a number and eight words of a vocabulary of 50,000, so that no row is near
another and everything that looks for duplicates has all rows to look through. Each run is a process of its own; loading the libraries
is not timed. Small files are done several times, and the median is told. Growth is that of processor time, which neighbours on the
machine change less than they change the time on the clock; that is told, too.
"""

from __future__ import annotations

import random
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
    begun, busy = time.perf_counter(), time.process_time()
    rows = run.Run(wanted, file, scratch / "out.jsonl")().entity_count
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
    with tempfile.TemporaryDirectory(prefix="yangfan-growth-") as name:
        file = Path(name) / "rows.jsonl"
        each: dict[str, list[imports.Ran]] = {side: [] for side in SIDES}
        for rows in size.rows:
            write_short(file, rows)
            for side, code in SIDES.items():
                each[side].append(_median(side, code, file, rows, size))
    for side, found in each.items():
        report.tables.append(_table(side, found))
        report.check(
            f"{side}: time for a row among {size.rows[-1]:,}, against the least of the smaller files",
            _busy(found[-1]) / min(map(_busy, found[:-1])),
            form="{:.2f} x",
            at_most=1.25,
        )
    lost = sum(
        rows - one.rows
        for found in each.values()
        for rows, one in zip(size.rows, found, strict=True)
    )
    report.check("rows lost", lost, form="{:.0f}", at_most=0)
    report.notes.append(
        "One process. Cleaning is three filters and the search for near-duplicates among all rows before, which next to no row is."
        f" Files of up to {FEW_ROWS:,} rows: medians of {size.rounds} runs."
    )
    return report


def _median(side: str, code: str, file: Path, rows: int, size: Size) -> imports.Ran:
    """One of several runs with a file: the one in the middle."""
    ran = [
        imports.run(code, file, file.with_name("scratch"))
        for _ in range(size.rounds if rows <= FEW_ROWS else 1)
    ]
    for one in ran:
        if one.why:
            raise SystemExit(f"growth: {side} of {rows} rows: {one.why}")
    found = sorted(ran, key=_busy)[len(ran) // 2]
    say(f"growth: {side}, {' '.join(_cells(found, found))}")
    return found


def _busy(ran: imports.Ran) -> float:
    """Processor time for a row, µs."""
    return ran.busy_seconds / max(ran.rows, 1) * 1e6


def _cells(ran: imports.Ran, first: imports.Ran) -> tuple[str, ...]:
    return (
        f"{ran.rows:,} rows",
        f"{_busy(ran):.1f}",
        f"{_busy(ran) / _busy(first):.2f}",
        f"{ran.seconds / max(ran.rows, 1) * 1e6:.1f}",
        f"{ran.peak_bytes / 1e6:.0f}",
    )


def _table(side: str, found: list[imports.Ran]) -> Table:
    heads = ("processor µs/row", "times the first", "µs/row on the clock", "peak RSS MB")
    return Table((side, *heads), [_cells(one, found[0]) for one in found])


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
