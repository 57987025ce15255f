"""What a recipe would do to a few texts, as a program: a server asks it and loads no operator itself.

    python -m yangfan.operators.pipeline.preview < '{"recipe": …, "operators": "", "rows": [["…"]]}'

The answer is one JSON document: `Preview`, or ``{"error": …}``.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import YangfanError
from yangfan.operators.pipeline.chain import Chain
from yangfan.operators.pipeline.recipe import Recipe
from yangfan.operators.pipeline.run import Preview, changed_and_dropped, result
from yangfan.operators.pipeline.trace import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence


class Order(msgspec.Struct):
    """What to show."""

    recipe: Recipe
    rows: list[list[str]]
    """The texts of each row."""
    operators: str = ""


class Refusal(msgspec.Struct):
    """Why nothing is shown."""

    error: str


def preview(
    recipe: Recipe, rows: Sequence[Sequence[str]], operators: Path | None = None
) -> Preview:
    """What becomes of rows; nothing is written. A row is shown as its texts under one another.

    Raises:
        ConfigurationError: The recipe is not right.
        OperatorFailed: An operator of third parties failed.
    """
    started = time.monotonic()
    chain = Chain(recipe, operators=operators)
    try:
        # Rows of one text each are what a dataset of plain texts has, and go the same way.
        sizes = list(map(len, rows))
        of_rows = None if set(sizes) <= {1} else sizes
        cleaned = chain([text for row in rows for text in row], of_rows)
    finally:
        chain.close()
    before = ["\n".join(row) for row in rows]
    if of_rows is not None:
        positions: list[int] = cleaned.positions.tolist()
        kept = [sizes[position] for position in positions]
        after = ["\n".join(row) for row in grouped(cleaned.texts, kept)]
        cleaned = replace(cleaned, texts=after)
    shown = changed_and_dropped(list(range(len(rows))), before, cleaned)
    samples = sorted(shown, key=lambda sample: sample.row)
    return Preview(result(chain.tallies, len(rows), 0, time.monotonic() - started), samples)


def main() -> None:
    """Answer once."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever an operator prints is no answer
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        folder = Path(order.operators) if order.operators else None
        answer = msgspec.json.encode(preview(order.recipe, order.rows, folder))
    except YangfanError as error:
        answer = msgspec.json.encode(Refusal(error.message))
    out.write(answer)
    out.close()


if __name__ == "__main__":
    main()
