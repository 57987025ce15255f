"""Texts out with too large a share of flagged words; in Chinese, joins of two neighbours count as well.

The words are a file that whoever runs the platform can replace: one word a line, UTF-8, ``#`` begins a comment.

Source: BigScience ROOTS (Laurençon et al., 2022), 01b_oscar_cleaning_and_filtering, check_flagged_words; the words shipped
are the published ones (tables/flagged_words.*.txt).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from yangfan.errors import ConfigurationError
from yangfan.operators import _tables, base
from yangfan.operators._texts import Counts, Hashes, Texts, Values, ratio

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


class _List:
    """Hashes, and which of their lowest bits occur among them: most words are told apart by those alone."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = np.sort(hashes)
        self._lowest = np.zeros(1 << 16, np.bool_)
        self._lowest[self._hashes & np.uint64(0xFFFF)] = True

    def among(self, hashes: Hashes) -> Counts:
        """Places of those that are listed."""
        places = np.flatnonzero(self._lowest[hashes.astype(np.uint16)])
        if not len(places):
            return places
        found = hashes[places]
        return places[self._hashes[np.searchsorted(self._hashes[:-1], found)] == found]


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
    return _List(words.hashes(words.offsets[:-1], words.offsets[1:]))
