"""Characters out that show nothing: controls, zero-width, bidirectional controls, byte order marks, soft hyphens, unassigned.

Line feeds and tabs stay, and so do the line and paragraph separators, which are line breaks. A zero-width joiner or
non-joiner stays behind a letter of a script that needs it, a joiner also inside an emoji; a variation selector stays behind
the emoji that it belongs to, tags inside the flag that they spell.

Source: Unicode's general categories Cc, Cf and Cn, and Default_Ignorable_Code_Point (UAX #44).
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from yangfan.operators import _tables, base
from yangfan.operators._emoji import sequence
from yangfan.operators._rewriting import rewritten

if TYPE_CHECKING:
    from yangfan.operators._texts import Flags, Texts

STAGE: base.Stage = "clean"
SUMMARY = {
    "en": "Remove invisible characters: controls, zero-width, bidi controls, BOM, soft hyphen, unassigned",
    "zh": "去除不可见字符：控制符、零宽字符、双向控制符、BOM、软连字符、未分配码位",
}

VISIBLE_FORMAT = [(0x600, 0x605), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2)]
"""Format characters that draw something: number signs of Arabic and Syriac."""
BLANK_LETTERS = [
    (0x34F, 0x34F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x3164, 0x3164),
    (0xFFA0, 0xFFA0),
]
"""Ignorable by default though no format characters: the grapheme joiner and fillers."""
SELECTORS = [(0xFE00, 0xFE0F), (0xE0100, 0xE01EF)]
IN_CONTEXT = [(0x200C, 0x200D), (0xFE0E, 0xFE0F), (0xE0020, 0xE007F)]
"""What an emoji or a script may need: looked at in its place."""


class Parameters(base.Parameters, frozen=True):
    """None."""


class RemoveInvisibleCharacter(base.Cleaner):
    """Characters that show nothing go."""

    def change(self, texts: Texts) -> Texts:
        """The texts without invisible characters."""
        texts = texts.without(_always()[texts.codes])
        candidates = texts.sums(_in_context()[texts.codes]) > 0
        return rewritten(texts, candidates, _without_lone)


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del parameters, common
    return RemoveInvisibleCharacter()


@functools.cache
def _always() -> Flags:
    table = _tables.flags("control") | _tables.flags("format") | _tables.flags("unassigned")
    table |= _tables.of_ranges(BLANK_LETTERS) | _tables.of_ranges(SELECTORS)
    table &= ~(_tables.of_ranges(VISIBLE_FORMAT) | _in_context())
    table[[ord("\n"), ord("\t")]] = False
    return table


@functools.cache
def _in_context() -> Flags:
    return np.asarray(_tables.of_ranges(IN_CONTEXT))


@functools.cache
def _needed() -> re.Pattern[str]:
    scripts = _tables.characters("joiner_scripts")
    symbols = _tables.characters("extended_pictographic")
    return re.compile(
        rf"(?P<keep>{sequence().pattern}|[{scripts}][\u200c\u200d]|[0-9#*{symbols}]\ufe0e)"
        rf"|[{_tables.class_of(IN_CONTEXT)}]"
    )


def _without_lone(text: str) -> str:
    return _needed().sub(lambda match: match["keep"] or "", text)
