"""Texts out with too large a share of flagged words; in Chinese, joins of two neighbours count as well.

The words are a file that whoever runs the platform can replace: one word a line, UTF-8, ``#`` begins a comment.

Source: BigScience ROOTS (Laurençon et al., 2022), 01b_oscar_cleaning_and_filtering, check_flagged_words; the words shipped
are the published ones (tables/flagged_words.*.txt).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta

from yangfan.errors import ConfigurationError
from yangfan.operators import _tables, base
from yangfan.operators._texts import Codes, Counts, Flags, Hashes, Texts, Values, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

STAGE: base.Stage = "filter"
SUMMARY = {
    "en": "Drop texts with too large a share of flagged words",
    "zh": "按敏感词比例过滤：敏感词占比过高的文本被去除",
}

SHIPPED = ("zh", "en")
"""Languages that a list comes with."""


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    flagged_words_max_cutoff: (
        Annotated[float, Meta(ge=0, le=1, description="Highest share that stays / 允许的最高比例")]
        | base.ByLanguage
    ) = 0.5
    words_file: Annotated[
        str,
        Meta(
            description="File of words, one a line, instead of those shipped / 自备词表，每行一词"
        ),
    ] = ""


BEGINNING = 4
"""Characters that a word that may be listed is told by."""


class _List:
    """Words by their hashes, and what most other words are told from them by: the lowest bits of hashes, and how they begin."""

    def __init__(self, words: Texts) -> None:
        self._hashes = np.sort(words.hashes(words.offsets[:-1], words.offsets[1:]))
        self._lowest = np.zeros(1 << 16, np.bool_)
        self._lowest[self._hashes & np.uint64(0xFFFF)] = True
        bare = words.bare
        self._begins: dict[int, NDArray[np.bool_]] = {}
        sizes = np.minimum(bare.lengths, BEGINNING)
        for size in range(1, BEGINNING + 1):
            firsts = bare.offsets[:-1][sizes == size]
            if len(firsts):
                self._begins[size] = np.zeros(1 << 16, np.bool_)
                self._begins[size][_runs(bare.codes, size)[firsts]] = True

    def among(self, hashes: Hashes) -> Counts:
        """Places of those that are listed."""
        places = np.flatnonzero(self._lowest[hashes.astype(np.uint16)])
        if not len(places):
            return places
        found = hashes[places]
        return places[self._hashes[np.searchsorted(self._hashes[:-1], found)] == found]

    def begins(self, codes: Codes) -> Flags:
        """Where among characters that are not special a word may begin that is listed."""
        found = np.zeros(len(codes), np.bool_)
        for size, table in self._begins.items():
            begins = table[_runs(codes, size)]
            found[: len(begins)] |= begins
        return found


def _runs(codes: Codes, size: int) -> NDArray[np.uint16]:
    """16 bits for each run of so many characters."""
    number = max(len(codes) - size + 1, 0)
    found = codes[:number]
    for place in range(1, size):
        found = found * np.uint32(31) + codes[place : place + number]
    return found.astype(np.uint16)


class CheckFlaggedWords(base.Filter):
    """Not too many flagged words."""

    measures = "share of flagged words"

    def __init__(self, cutoff: float | str, words: dict[str, _List]) -> None:
        """Keep the words of each language; those under ``""`` are for all."""
        self._cutoff = cutoff
        self._words = words

    def measure(self, texts: Texts) -> Values:
        """Flagged words and flagged joins over words, at most 1, 0 where there is no word."""
        words = texts.words
        rows = np.repeat(np.arange(len(texts)), words.counts)
        joins = texts.by_language("flagged_words_join")[rows] > 1
        first = np.flatnonzero(joins[:-1] & (rows[:-1] == rows[1:])) if len(rows) else rows
        joined = texts.hashes_joined(first)
        flagged = np.zeros(len(texts))
        languages = np.array(texts.languages, dtype=object)
        for language, listed in self._words.items():
            of_language = np.ones(len(texts), np.bool_) if not language else languages == language
            hits = np.append(rows[listed.among(words.hashes)], rows[first[listed.among(joined)]])
            flagged += np.bincount(hits[of_language[hits]], minlength=len(texts))
        return np.minimum(ratio(flagged, words.counts), 1.0)

    def certain(self, texts: Texts) -> Flags:
        """Chinese texts in which few characters are those that a listed word begins with; at each a word and a join may be listed."""
        begins = [
            listed.begins(texts.bare.codes)
            for language, listed in self._words.items()
            if language in ("", "zh")
        ]
        most = 2 * texts.bare.sums(np.any(begins, axis=0))
        _, high = self.bounds(texts)
        return texts.is_chinese & ((most == 0) | (most < high * texts.fewest_words))

    def bounds(self, texts: Texts) -> tuple[Values | float, Values | float]:
        """The range that stays."""
        return 0.0, base.limits(texts, self._cutoff, "flagged_words_max_cutoff")


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    if parameters.words_file:
        words = {"": _listed(Path(parameters.words_file))}
    elif common.language in (base.AUTO, *SHIPPED):
        words = {
            language: _listed(_tables.TABLES / f"flagged_words.{language}.txt")
            for language in SHIPPED
        }
    else:
        raise ConfigurationError(
            f"filter_check_flagged_words: no words come with language {common.language!r}; name a list in words_file"
        )
    return CheckFlaggedWords(parameters.flagged_words_max_cutoff, words)


def missing() -> str:
    """What must be installed first."""
    return base.lacks("rjieba")


def _listed(file: Path) -> _List:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeError, ValueError) as error:
        raise ConfigurationError(f"the list of words {file} cannot be read: {error}") from None
    words = Texts([line.strip() for line in lines if line.strip() and not line.startswith("#")])
    return _List(words)
