"""How alike two texts are by ROUGE-L, and a pool that no text gets into that is too like one in it.

The F-measure of the longest common subsequence of words (Lin 2004, https://aclanthology.org/W04-1013), as Self-Instruct filters what it
makes (Wang et al. 2023, https://arxiv.org/abs/2212.10560, threshold 0.7). Chinese is compared by character, everything else by word, without
case and punctuation.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_WORD = re.compile(
    r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


class Nearest(NamedTuple):
    """The text of a pool that is most like another.

    Attributes:
        id: Its id; "" while the pool is empty.
        similarity: From 0 to 1.
    """

    id: str
    similarity: float


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(_WORD.findall(text.casefold()))


def rouge_l(one: str, other: str) -> float:
    """From 0, nothing in common, to 1."""
    own, theirs = words(one), words(other)
    return _measure(_Row(own).common(theirs), len(own), len(theirs))


class Pool:
    """Texts, each unlike the others."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, tuple[str, ...]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, id: str, text: str) -> None:
        """Put a text in, whatever it is like."""
        self._rows.append((id, words(text)))

    def nearest(self, text: str) -> Nearest:
        """What is most like a text, the first of several."""
        own = words(text)
        row = _Row(own)
        best = Nearest("", 0.0)
        for id, theirs in self._rows:
            # No subsequence is longer than the shorter text.
            if _measure(min(len(own), len(theirs)), len(own), len(theirs)) <= best.similarity:
                continue
            similarity = _measure(row.common(theirs), len(own), len(theirs))
            if similarity > best.similarity:
                best = Nearest(id, similarity)
        return best


class _Row:
    """The places of each word of a text, as bits (Hyyrö 2004)."""

    def __init__(self, own: tuple[str, ...]) -> None:
        self._places: dict[str, int] = {}
        for place, word in enumerate(own):
            self._places[word] = self._places.get(word, 0) | 1 << place
        self._size = len(own)
        self._every = (1 << self._size) - 1

    def common(self, theirs: tuple[str, ...]) -> int:
        """Length of the longest common subsequence."""
        row = self._every
        for word in theirs:
            match = row & self._places.get(word, 0)
            if match:
                row = ((row + match) | (row - match)) & self._every
        return self._size - row.bit_count()


def _measure(shared: int, own: int, theirs: int) -> float:
    return 2 * shared / (own + theirs) if shared else 0.0
