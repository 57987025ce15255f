"""Characters out that mean nothing: replacement characters, private use, lone surrogates, box drawing, runs of decoration.

Box drawing and block elements go wherever they stand. Geometric shapes and stars go in runs of three and more, rules of
one ASCII character (``=====``) in runs of ten and more: shorter ones are bullets, headings and emphasis.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from yangfan.operators import _tables, base
from yangfan.operators._rewriting import rewritten

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


class Parameters(base.Parameters, frozen=True):
    """None."""


class RemoveNonMeaningCharacters(base.Cleaner):
    """Characters that carry no meaning go."""

    def change(self, texts: Texts) -> Texts:
        """The texts without them."""
        texts = texts.without(_always()[texts.codes])
        return rewritten(texts, _have_runs(texts), lambda text: _run().sub("", text))


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


def _have_runs(texts: Texts) -> Flags:
    """Whether there is a run that goes; one from one text to the next is found as well, and looked at in vain."""
    codes = texts.codes
    signs = np.flatnonzero(_decorations()[codes])
    rules = np.flatnonzero(_rules()[codes])
    rows = signs[:-2][signs[2:] - signs[:-2] == 2]
    lines = rules[:-9][(rules[9:] - rules[:-9] == 9) & (codes[rules[9:]] == codes[rules[:-9]])]
    return texts.have(rows) | texts.have(lines)


@functools.cache
def _run() -> re.Pattern[str]:
    rules = "|".join(f"{re.escape(rule)}{{10,}}" for rule in RULES)
    return re.compile(f"[{_tables.class_of(DECORATIONS)}]{{3,}}|{rules}")
