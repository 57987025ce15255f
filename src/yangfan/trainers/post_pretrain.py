"""Going on with pre-training: learn plain text, every token of it (specification D.6, PostPretrain).

Texts longer than `max_seq_len` are cut into pieces. A row that is a conversation is rendered by the model's template first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.trainers.pipeline import rows
from yangfan.trainers.sft import Texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yangfan.trainers.base import HyperParameters
    from yangfan.trainers.pipeline.rows import Row
    from yangfan.trainers.pipeline.tokens import Example, Words

SUMMARY = "learns plain text"
METHODS = frozenset({"full", "lora", "prompt_tuning"})
SCORES = False
COMPARES = False
ANSWERS = False


def objective(given: Iterable[Row], words: Words, hyper: HyperParameters) -> Texts:
    """Read texts.

    Raises:
        Invalid: A row has none.
    """
    found: list[Example] = []
    for row in given:
        text = rows.text(row)
        if text is None:
            text = words.rendered(row, rows.conversation(row))
        found += words.texts(text, hyper.max_seq_len)
    return Texts(found, words, hyper)
