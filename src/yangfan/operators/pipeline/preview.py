"""What a recipe would do to a few texts, as a program: a server asks it and loads no operator itself.

    python -m yangfan.operators.pipeline.preview < '{"recipe": …, "operators": "", "texts": […]}'

The answer is one JSON document: `Preview`, or ``{"error": …}``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from yangfan.errors import YangfanError
from yangfan.operators.pipeline.chain import Chain
from yangfan.operators.pipeline.recipe import Recipe
from yangfan.operators.pipeline.rows import Batch
from yangfan.operators.pipeline.run import Preview, changed_and_dropped, result

if TYPE_CHECKING:
    from collections.abc import Sequence


class Order(msgspec.Struct):
    """What to show."""

    recipe: Recipe
    texts: list[str]
    operators: str = ""


class Refusal(msgspec.Struct):
    """Why nothing is shown."""

    error: str


def preview(recipe: Recipe, texts: Sequence[str], operators: Path | None = None) -> Preview:
    """What becomes of texts; nothing is written.

    Raises:
        ConfigurationError: The recipe is not right.
        OperatorFailed: An operator of third parties failed.
    """
    started = time.monotonic()
    chain = Chain(recipe, operators=operators)
    try:
        batch = Batch(list(texts), list(range(len(texts))))
        cleaned = chain(batch.texts)
    finally:
        chain.close()
    samples = sorted(
        changed_and_dropped(batch, batch.texts, cleaned), key=lambda sample: sample.row
    )
    return Preview(result(chain.tallies, len(texts), 0, time.monotonic() - started), samples)


def main() -> None:
    """Answer once."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever an operator prints is no answer
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        folder = Path(order.operators) if order.operators else None
        answer = msgspec.json.encode(preview(order.recipe, order.texts, folder))
    except YangfanError as error:
        answer = msgspec.json.encode(Refusal(error.message))
    out.write(answer)
    out.close()


if __name__ == "__main__":
    main()
