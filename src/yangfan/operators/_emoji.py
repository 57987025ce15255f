"""Emoji sequences, as UTS #51 defines them and Unicode's emoji data lists their characters."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from yangfan.operators import _tables
from yangfan.operators._rewriting import ROUNDS

if TYPE_CHECKING:
    from yangfan.operators._texts import Flags, Texts


@functools.cache
def sequence() -> re.Pattern[str]:
    """One emoji: flag, keycap, or elements joined by ZWJ, with skin tones, selectors and tags.

    A character that is text by default (©, ®, digits) is an emoji only with U+FE0F or a skin tone behind it, or in a
    sequence of joined elements; one that is an emoji by default is text with U+FE0E behind it.
    """
    by_default = _tables.characters("emoji_presentation")
    pictures = _tables.characters("extended_pictographic")
    tone = f"[{_tables.characters('emoji_modifier')}]"
    element = (
        rf"(?:[{pictures}{by_default}](?:{tone}|\ufe0f\u20e3?|(?!\ufe0e))"
        r"(?:[\U000e0020-\U000e007e]+\U000e007f)?)"
    )
    alone = rf"(?:[{by_default}](?:{tone}|\ufe0f)?(?!\ufe0e)|[{pictures}](?:{tone}|\ufe0f))"
    return re.compile(
        r"[\U0001f1e6-\U0001f1ff]{1,2}"
        r"|[0-9#*]\ufe0f?\u20e3"
        rf"|{element}(?:\u200d{element})+"
        rf"|{alone}(?:[\U000e0020-\U000e007e]+\U000e007f)?"
    )


def without_emoji(texts: Texts) -> Texts:
    """The texts without emoji; what an emoji's going away makes one of its neighbours goes as well."""
    for _ in range(ROUNDS):
        found = _found(texts)
        if not found.any():
            break
        texts = texts.without(found)
    return texts


def _found(texts: Texts) -> Flags:
    """Which code points belong to emoji.

    Emoji consist of few characters, so the pattern is tried on runs of these only, and only on runs with a picture.
    """
    found = np.zeros(len(texts.codes), np.bool_)
    drawn = texts.have(np.flatnonzero(_pictures()[texts.codes]))
    if not drawn.any():
        return found
    if not drawn.all():
        found[np.repeat(drawn, texts.lengths)] = _found(texts.kept(drawn))
        return found
    parts = np.flatnonzero(_parts()[texts.codes])
    # A run goes on from one code point to the next, but not from one text to the next.
    text_of = np.searchsorted(texts.offsets, parts, side="right")
    begins = np.append(True, (np.diff(parts) > 1) | (np.diff(text_of) > 0))
    starts = parts[begins]
    ends = parts[np.append(begins[1:], True)] + 1
    pictures = np.append(0, np.cumsum(_pictures()[texts.codes]))
    drawn = pictures[ends] > pictures[starts]
    pattern = sequence()
    for start, end in zip(starts[drawn].tolist(), ends[drawn].tolist(), strict=True):
        run = texts.codes[start:end].tobytes().decode("utf-32-le", "surrogatepass")
        for match in pattern.finditer(run):
            found[start + match.start() : start + match.end()] = True
    return found


@functools.cache
def _pictures() -> Flags:
    """Code points without which there is no emoji."""
    table = _tables.flags("emoji_presentation") | _tables.flags("extended_pictographic")
    table[0x20E3] = True
    table[0x1F1E6:0x1F200] = True
    return table


@functools.cache
def _parts() -> Flags:
    """Every code point that can be a part of an emoji, or say that it is none."""
    table = _pictures() | _tables.flags("emoji") | _tables.flags("emoji_modifier")
    table[[0x200D, 0xFE0E, 0xFE0F]] = True
    table[0xE0020:0xE0080] = True
    return table
