"""What compression costs and saves: `python benchmarks/compression.py FOLDER` (a Hugging Face folder) prints a table in Markdown."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from report import Report, Table, machine, say

from yangfan.hub import convert_decoder
from yangfan.weights import child, gguf

if TYPE_CHECKING:
    from collections.abc import Callable


def measure(folder: Path) -> Report:
    """Convert a model, compress it, and measure perplexity of each file."""
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole.gguf"
        seconds = _timed(lambda: convert_decoder.convert(folder, whole))
        kept = gguf.FILE_TYPES[gguf.read(whole).number("general.file_type") or 0]
        rows = [_row(f"{kept}, converted from the folder", whole, seconds)]
        for quantization in ("Q8_0", "Q4_K_M"):
            target = Path(name) / f"{quantization}.gguf"
            seconds = _timed(
                lambda to=target, how=quantization: child.quantize(whole, to, how, _ignore)
            )
            rows.append(_row(quantization, target, seconds))
    columns = ("file", "MB", "made in", "perplexity", "standard error", "measured in")
    report.tables.append(Table(columns, rows))
    report.notes.append(
        f"{folder.name}. Perplexity on {child.TEXT_SOURCE}, windows of {child.WINDOW_TOKENS} tokens, the second half scored."
    )
    return report


def _row(what: str, path: Path, made_seconds: float) -> tuple[str, ...]:
    say(f"compression: {what}")
    started = perf_counter()
    found = child.perplexity(path, _ignore)
    seconds = perf_counter() - started
    size = f"{path.stat().st_size / 1e6:.1f}"
    return (
        what,
        size,
        f"{made_seconds:.1f} s",
        f"{found.value:.2f}",
        f"{found.error:.2f}",
        f"{seconds:.1f} s",
    )


def _timed(work: Callable[[], None]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def _ignore(done: float, total: float) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    print(measure(Path(sys.argv[1])).markdown(machine()))
