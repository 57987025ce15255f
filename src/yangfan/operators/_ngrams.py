"""Character n-gram models with back-off, scored for a whole batch at once.

A model has, for each length, the sorted hashes of its n-grams, their costs (negative logarithms of the probability of the last
character after the others) and the costs of backing off from them. A character's cost is that of the longest n-gram known
that ends with it, plus the back-off costs of the longer contexts: what ARPA files and KenLM mean.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from yangfan.operators import _tables
from yangfan.operators._texts import Codes, Counts, Flags, Texts, Values, ratio

if TYPE_CHECKING:
    from pathlib import Path

CHARACTERS = 20_000
"""Characters among which the probability of those never seen is shared."""
STEP = 1 / 16
"""Nats between two costs that can be told apart in a model's file."""
FACTS = _tables.TABLES / "ngrams.json"

MOST_BUCKET_BITS = 18
_CELL = np.dtype([("back", "u1"), ("cost", "u1"), ("more", "u1"), ("", "u1"), ("key", "<u4")])

Steps = NDArray[np.int16]
Keys = NDArray[np.uint32]
Packed = NDArray[np.uint8]


class Facts(msgspec.Struct, frozen=True):
    """How a model was calibrated."""

    characters_per_token: float
    """So many characters make one token of the perplexity."""


class _AllFacts(msgspec.Struct, frozen=True):
    models: dict[str, Facts]


class _Known:
    """The n-grams of one length, in buckets by the highest bits of their keys.

    A bucket hardly ever has more than one, so the first of each stands in one table, the second in the next, and so on.
    """

    def __init__(self, keys: Keys, cost: Packed, back: Packed) -> None:
        bits = min(len(keys).bit_length() + 1, MOST_BUCKET_BITS)
        self._shift = np.uint32(32 - bits)
        tops = keys >> self._shift
        depths = np.arange(len(keys)) - np.searchsorted(tops, tops)
        # What is in no bucket has a key of another one, and is found by nobody.
        empty = np.zeros(1 << bits, _CELL)
        empty["key"] = ~(np.arange(1 << bits, dtype=np.uint32) << self._shift)
        self._tables: list[NDArray[np.uint64]] = []
        for depth in range(int(depths.max(initial=0)) + 1):
            table, at = empty.copy(), depths == depth
            table["key"][tops[at]] = keys[at]
            table["cost"][tops[at]], table["back"][tops[at]] = cost[at], back[at]
            # Whether a further table may have more.
            table["more"][tops[depths == depth + 1]] = 1
            self._tables.append(table.view(np.uint64))

    def costs(self, hashes: NDArray[np.uint64]) -> tuple[Flags, Steps, Steps]:
        """Which of them are known, their costs, and the costs of backing off from them, in steps."""
        asked = hashes.view(np.uint32)[1::2]
        tops = (asked >> self._shift).astype(np.intp)
        cells = self._tables[0].take(tops).view(_CELL)
        known = cells["key"] == asked
        cost, back = cells["cost"].astype(np.int16), cells["back"] * known
        left = np.flatnonzero(cells["more"] > known)
        for table in self._tables[1:]:
            cells = table[tops[left]].view(_CELL)
            hit = cells["key"] == asked[left]
            at = left[hit]
            known[at], cost[at], back[at] = True, cells["cost"][hit], cells["back"][hit]
            left = left[~hit & (cells["more"] > 0)]
        return known, cost, back.astype(np.int16)


class Model:
    """A model in a file that `scripts/perplexity_models.py` writes."""

    def __init__(self, file: Path) -> None:
        with np.load(file, allow_pickle=False) as arrays:
            self._floor = round(float(arrays["floor"]) / STEP)
            order = sum(name.startswith("keys") for name in arrays.files)
            self._orders = [
                _Known(arrays[f"keys{length}"], arrays[f"cost{length}"], arrays[f"back{length}"])
                for length in range(1, order + 1)
            ]

    def nats(self, texts: Texts) -> Values:
        """The mean cost of a character of each text, 0 for a text without any."""
        texts = plain(texts)
        size = len(texts.codes)
        # Whole numbers of steps, whose sum does not depend on what else is in the batch.
        costs: Steps = np.full(size, self._floor, np.int16)
        back: Steps = np.zeros(size, np.int16)
        beyond: Counts = np.zeros(0, np.int64)
        for length, grams in enumerate(self._orders, 1):
            if length > size:
                break
            # By the first characters of the n-grams; their last ones are those whose cost is told.
            known, told, back_off = grams.costs(texts.windows(length))
            of_last = costs[length - 1 :]
            # N-grams that begin in one text and end in another tell nothing.
            crossing = texts.offsets[1:][texts.lengths >= length - 1] - (length - 1)
            beyond = np.append(beyond, crossing) if length > 1 else beyond
            beyond = beyond[beyond < len(told)]
            untold = of_last[beyond]
            # A context that the model does not know costs nothing to back off from.
            of_last[:] = np.where(known, told, of_last + back[: len(told)])
            of_last[beyond] = untold
            # The n-gram that ends before a character is its context.
            back = back_off
        return ratio(texts.sums(costs), texts.lengths) * STEP


def file_of(language: str) -> Path:
    """The file of a language's model."""
    return _tables.TABLES / f"ngrams.{language}.npz"


@functools.cache
def facts() -> dict[str, Facts]:
    """How the models were calibrated, by language."""
    return msgspec.json.decode(FACTS.read_bytes(), type=_AllFacts).models


@functools.cache
def model(language: str) -> Model:
    """The model of a language that has one."""
    return Model(file_of(language))


def normal(text: str) -> str:
    """One text as the models read it."""
    return plain(Texts([text])).strings[0]


def plain(texts: Texts) -> Texts:
    """Texts as the models read them: lower case, every digit a 0, white space one space."""
    folded = texts.mapped(_folding()[texts.codes])
    spaces = folded.codes == ord(" ")
    repeated: Flags = np.zeros(len(spaces), np.bool_)
    repeated[1:] = spaces[1:] & spaces[:-1]
    # The first character of a text has no space before it, whatever the text before ends with.
    repeated[folded.offsets[:-1][folded.lengths > 0]] = False
    return folded.without(repeated)


def keys_of(grams: list[str]) -> Keys:
    """The hashes of n-grams as a model's file has them."""
    texts = Texts(grams)
    return short(texts.hashes(texts.offsets[:-1], texts.offsets[1:]))


def short(hashes: NDArray[np.uint64]) -> Keys:
    """32 bits of each hash: of 300,000 n-grams, one character in 14,000 takes another one for its own."""
    return (hashes >> np.uint64(32)).astype(np.uint32)


def packed(costs: Values) -> Packed:
    """Costs as a model's file has them."""
    return np.clip(np.round(costs / STEP), 0, 255).astype(np.uint8)


@functools.cache
def _folding() -> Codes:
    table = np.arange(_tables.CODES, dtype=np.uint32)
    for code in range(0x10000):
        character = chr(code)
        lower = character.lower()
        if character.isspace():
            table[code] = ord(" ")
        elif character.isdecimal():
            table[code] = ord("0")
        elif len(lower) == 1:
            table[code] = ord(lower)
    return table
