"""Characters out that mean nothing: replacement characters, private use, lone surrogates, box drawing, runs of decoration.

Box drawing and block elements go wherever they stand. Geometric shapes and stars go in runs of three and more, rules of
one ASCII character (``=====``) in runs of ten and more: shorter ones are bullets, headings and emphasis.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from yangfan.operators import _tables, base
from yangfan.operators._rewriting import ROUNDS

if TYPE_CHECKING:
    from yangfan.operators._texts import Flags, Texts

STAGE: base.Stage = "clean"
SUMMARY = {
    "en": "Remove replacement characters, private use, lone surrogates, box drawing, runs of decoration",
    "zh": "去除无意义字符：替换符、私有区字符、孤立代理项、制表符线与装饰性连续符号",
}

MEANINGLESS = [(0xD800, 0xDFFF), (0xFFFC, 0xFFFD), (0x2500, 0x259F)]
DECORATIONS = [
    (0x25A0, 0x25FF),
    (0x2605, 0x2606),
    (0x2726, 0x2727),
    (0x2729, 0x274B),
    (0x203B, 0x203B),
]
RULES = "-=_*~#+"
LEAST_DECORATIONS, LEAST_RULES = 3, 10


class Parameters(base.Parameters, frozen=True):
    """None."""


class RemoveNonMeaningCharacters(base.Cleaner):
    """Characters that carry no meaning go."""

    def change(self, texts: Texts) -> Texts:
        """The texts without them."""
        texts = texts.without(_always()[texts.codes])
        for _ in range(ROUNDS):
            found = _in_runs(texts)
            if not found.any():
                break
            texts = texts.without(found)
        return texts


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del parameters, common
    return RemoveNonMeaningCharacters()


@functools.cache
def _always() -> Flags:
    return _tables.of_ranges(MEANINGLESS) | _tables.flags("private_use")


@functools.cache
def _decorations() -> Flags:
    return np.asarray(_tables.of_ranges(DECORATIONS))


@functools.cache
def _rules() -> Flags:
    table = np.zeros(_tables.CODES, np.bool_)
    table[[ord(rule) for rule in RULES]] = True
    return table


def _in_runs(texts: Texts) -> Flags:
    """Which characters are in a run that goes."""
    codes = texts.codes
    found = np.zeros(len(codes), np.bool_)
    for table, least, of_one in (
        (_decorations(), LEAST_DECORATIONS, False),
        (_rules(), LEAST_RULES, True),
    ):
        places = np.flatnonzero(table[codes])
        if len(places) < least:
            continue
        broken = np.diff(places) > 1
        if of_one:
            broken |= codes[places[1:]] != codes[places[:-1]]
        # A run does not go on from one text to the next.
        nexts = np.searchsorted(places, texts.offsets)
        broken[nexts[(nexts > 0) & (nexts < len(places))] - 1] = True
        edges = np.flatnonzero(np.concatenate(([True], broken, [True])))
        sizes = np.diff(edges)
        found[places[np.repeat(sizes >= least, sizes)]] = True
    return found
