"""What compression costs and saves: a Hugging Face folder becomes a GGUF file, that smaller ones, and each is asked how well it foretells a text.

Perplexity is taken on the same text for each file, so the differences mean more than the standard errors.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from processes import folder_of, model_store
from report import ROOT, Report, Table, say

from yangfan.egress import Egress
from yangfan.engines import transformers
from yangfan.hub import convert_decoder
from yangfan.hub.pull import pull
from yangfan.hub.store import ModelStore
from yangfan.weights import child, gguf

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "smollm2-135m-instruct"
MOST_LOST = {"Q8_0": 1.02, "Q4_K_M": 1.10}
"""Perplexity of each kind of file, at most so many times that of the whole one."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is compressed: the embedded model, or one that is made up here."""

    made_up: bool = False


SIZES = {"full": Size(), "quick": Size(), "smoke": Size(made_up=True)}


def measure(size: Size) -> Report:
    """Convert a model, compress it, and measure perplexity of each file."""
    report = Report()
    if (advice := transformers.missing()) is not None:
        report.notes.append(f"Skipped, because Transformers makes the folder: {advice}")
        return report
    with tempfile.TemporaryDirectory() as name:
        folder = _made_up(Path(name) / "tiny") if size.made_up else _embedded()
        whole = Path(name) / "whole.gguf"
        seconds = _timed(lambda: convert_decoder.convert(folder, whole))
        kept = gguf.FILE_TYPES[gguf.read(whole).number("general.file_type") or 0]
        row, before = _row(f"{kept}, converted from the folder", whole, seconds)
        rows = [row]
        for quantization, most in MOST_LOST.items():
            target = Path(name) / f"{quantization}.gguf"
            seconds = _timed(
                lambda to=target, how=quantization: child.quantize(whole, to, how, _ignore)
            )
            row, after = _row(quantization, target, seconds)
            rows.append(row)
            what = f"perplexity of {quantization}, times that of {kept}"
            report.check(what, after / before, form="{:.3f}", at_most=most)
    columns = ("file", "MB", "made in", "perplexity", "standard error", "measured in")
    report.tables.append(Table(columns, rows))
    report.notes.append(
        f"{folder.name}. Perplexity on {child.TEXT_SOURCE}, windows of {child.WINDOW_TOKENS} tokens, the second half scored."
    )
    return report


def _embedded() -> Path:
    stored = asyncio.run(pull(MODEL, store=ModelStore(model_store()), egress=Egress()))
    return folder_of(stored.path)


def _made_up(folder: Path) -> Path:
    argv = [sys.executable, str(ROOT / "tests/tiny_model.py"), str(folder)]
    subprocess.run(argv, check=True, stdout=sys.stderr)
    return folder


def _row(what: str, path: Path, made_seconds: float) -> tuple[tuple[str, ...], float]:
    """The row of a file, and its perplexity."""
    say(f"compression: {what}")
    started = perf_counter()
    found = child.perplexity(path, _ignore)
    seconds = perf_counter() - started
    size = f"{path.stat().st_size / 1e6:.1f}"
    row = (
        what,
        size,
        f"{made_seconds:.1f} s",
        f"{found.value:.2f}",
        f"{found.error:.2f}",
        f"{seconds:.1f} s",
    )
    return row, found.value


def _timed(work: Callable[[], None]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def _ignore(done: float, total: float) -> None:
    """Nobody watches."""
