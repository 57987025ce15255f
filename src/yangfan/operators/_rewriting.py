"""Rules that are regular expressions: applied to the texts that may hold a match, until nothing changes any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yangfan.operators._texts import Flags, Texts

ROUNDS = 8
"""Taking a piece out can make another one of what stood around it; nobody writes that eight levels deep in good faith."""

Rewrite = Callable[[str], str]


def rewritten(texts: Texts, candidates: Flags, rewrite: Rewrite) -> Texts:
    """The texts, those flagged in `candidates` rewritten."""
    rows = candidates.nonzero()[0].tolist()
    strings = list(texts.strings)
    changed = False
    for row in rows:
        text = settled(strings[row], rewrite)
        changed |= text != strings[row]
        strings[row] = text
    return texts.replaced(strings) if changed else texts


def settled(text: str, rewrite: Rewrite) -> str:
    """`text` rewritten until it stays as it is."""
    for _ in range(ROUNDS):
        before, text = text, rewrite(text)
        if text == before:
            break
    return text
