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

BUCKET_BITS = 18
"""Keys are looked for among those with the same highest bits: hardly ever more than one."""

Keys = NDArray[np.uint32]
Packed = NDArray[np.uint8]


class Facts(msgspec.Struct, frozen=True):
    """How a model was calibrated."""

    characters_per_token: float
    """So many characters make one token of the perplexity."""


class _AllFacts(msgspec.Struct, frozen=True):
    models: dict[str, Facts]


class _Known:
    """The n-grams of one length."""

    def __init__(self, keys: Keys, cost: Packed, back: Packed) -> None:
        self._keys = keys
        # One more of each at the end: the place of what is not known.
        self._costs = np.append(cost.astype(np.int64), 0)
        self._backs = np.append(back.astype(np.int64), 0)
        tops = keys >> np.uint32(32 - BUCKET_BITS)
        self._starts = np.searchsorted(tops, np.arange((1 << BUCKET_BITS) + 1)).astype(np.int64)
        self._fullest = int(np.diff(self._starts).max(initial=0))

    def costs(self, found: Keys) -> tuple[Flags, Counts, Counts]:
        """Which of them are known, their costs, and the costs of backing off from them, in steps."""
        tops = found >> np.uint32(32 - BUCKET_BITS)
        place = self._starts[tops]
        end = self._starts[tops + np.uint32(1)]
        places = np.full(len(found), len(self._keys), np.int64)
        left = np.flatnonzero(place < end)
        for further in range(self._fullest):
            at = place[left] + further
            hit = self._keys[at] == found[left]
            places[left[hit]] = at[hit]
            left = left[~hit & (at + 1 < end[left])]
        return places < len(self._keys), self._costs[places], self._backs[places]


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
        codes = texts.codes
        before = np.arange(len(codes)) - np.repeat(texts.offsets[:-1], texts.lengths)
        # Whole numbers of steps, whose sum does not depend on what else is in the batch.
        costs = np.full(len(codes), self._floor, np.int64)
        back = np.zeros(len(codes) + 1, np.int64)
        for length, grams in enumerate(self._orders, 1):
            # The n-grams that end in the text that they begin in, by their last characters.
            fits = before[length - 1 :] >= length - 1
            last = np.flatnonzero(fits) + length - 1
            known, cost, back_off = grams.costs(short(texts.windows(length)[fits]))
            # A context that the model does not know costs nothing to back off from.
            costs[last] = np.where(known, cost, costs[last] + back[last])
            back = np.zeros(len(codes) + 1, np.int64)
            # The n-gram that ends here is the context of the next character.
            back[last + 1] = back_off
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
