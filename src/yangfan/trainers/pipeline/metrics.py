"""metrics.jsonl: a line for each logged step, cut back to a checkpoint when a run goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.hub.disk import write_atomically
from yangfan.trainers.base import MetricRow

if TYPE_CHECKING:
    from pathlib import Path

FILE = "metrics.jsonl"
MOST = 2000


def append(output: Path, row: MetricRow) -> None:
    """Add a line."""
    with (output / FILE).open("ab") as file:
        file.write(msgspec.json.encode(row) + b"\n")


def read(output: Path) -> list[MetricRow]:
    """All whole lines."""
    try:
        lines = (output / FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found: list[MetricRow] = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=MetricRow))
        except msgspec.MsgspecError:
            continue  # empty, or half written when the process was killed
    return found


def cut(output: Path, step: int) -> None:
    """Leave lines up to a step alone."""
    kept = [row for row in read(output) if row.step <= step]
    write_atomically(output / FILE, b"".join(msgspec.json.encode(row) + b"\n" for row in kept))


def thinned(rows: list[MetricRow], most: int = MOST) -> tuple[dict[str, Any], ...]:
    """At most about `most` of them, evenly, the last and all with an `eval_loss` among them."""
    stride = -(-len(rows) // most) if rows else 1
    return tuple(
        msgspec.to_builtins(row)
        for number, row in enumerate(rows)
        if number % stride == 0 or number == len(rows) - 1 or row.eval_loss is not None
    )
