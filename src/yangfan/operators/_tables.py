"""The tables beside this file, read when they are first asked for: Unicode's properties, lengths and cut-offs by language."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLES = Path(__file__).resolve().parent / "tables"

CODES = 0x110000
"""How many code points Unicode has, lone surrogates included."""


class Language(msgspec.Struct, frozen=True):
    """What BigScience ROOTS and Baidu publish for one language; sizes in words or characters, cut-offs as shares."""

    character_repetition_length: int
    character_repetition_max_cutoff: float
    word_repetition_length: int
    word_repetition_max_cutoff: float
    special_characters_max_cutoff: float
    flagged_words_max_cutoff: float
    flagged_words_join: int
    """Neighbours that are also looked up joined: 2 where words are written without spaces, else 1."""
    number_words_min_cutoff: int
    number_words_max_cutoff: int


class _Languages(msgspec.Struct, frozen=True):
    languages: dict[str, Language]
    special_characters: list[int]


class _Unicode(msgspec.Struct, frozen=True):
    ranges: dict[str, list[tuple[int, int]]]


OTHER = Language(
    character_repetition_length=10,
    character_repetition_max_cutoff=0.2,
    word_repetition_length=5,
    word_repetition_max_cutoff=0.3,
    special_characters_max_cutoff=0.4,
    flagged_words_max_cutoff=0.1,
    flagged_words_join=1,
    number_words_min_cutoff=10,
    number_words_max_cutoff=100_000,
)
"""What the published operators take for a language without a row of its own."""


@functools.cache
def _languages() -> _Languages:
    return msgspec.json.decode((TABLES / "languages.json").read_bytes(), type=_Languages)


@functools.cache
def _unicode() -> _Unicode:
    return msgspec.json.decode((TABLES / "unicode.json").read_bytes(), type=_Unicode)


def languages() -> dict[str, Language]:
    """Every language with a row of its own, by its ISO 639-1 code."""
    return _languages().languages


def language(code: str) -> Language:
    """The row of a language."""
    return languages().get(code, OTHER)


def ranges(name: str) -> list[tuple[int, int]]:
    """First and last code point of each run of characters with a Unicode property, such as ``"emoji_modifier"``."""
    return _unicode().ranges[name]


@functools.cache
def flags(name: str) -> NDArray[np.bool_]:
    """Who has a Unicode property, by code point."""
    return of_ranges(ranges(name))


@functools.cache
def special() -> NDArray[np.bool_]:
    """The special characters of the published operators, by code point."""
    table = np.zeros(CODES, np.bool_)
    table[_languages().special_characters] = True
    table.flags.writeable = False
    return table


def of_ranges(runs: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """A table of flags by code point, set in `runs` (last code point included)."""
    table = np.zeros(CODES, np.bool_)
    for first, last in runs:
        table[first : last + 1] = True
    table.flags.writeable = False
    return table


def characters(name: str) -> str:
    """A Unicode property as the inside of a character class of `re`."""
    return class_of(ranges(name))


def class_of(runs: list[tuple[int, int]]) -> str:
    """Runs of code points as the inside of a character class of `re`."""
    return "".join(
        rf"\U{first:08x}" if first == last else rf"\U{first:08x}-\U{last:08x}"
        for first, last in runs
    )
