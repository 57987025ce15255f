"""A batch of texts, and what several operators need of it, each computed once: code points, languages, words.

All texts of a batch lie one after another in one array of code points (UTF-32), so that a rule over characters is a look-up
in a table and a sum, not a loop. A hash of any run of characters comes from prefix sums: with S[i] the sum of
f(c[k]) * P**k over k < i, the run i..j has (S[j] - S[i]) * P**-i modulo 2**64 (Rabin and Karp, 1987).
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yangfan.operators import _tables

if TYPE_CHECKING:
    from collections.abc import Sequence

Codes = NDArray[np.uint32]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]
Hashes = NDArray[np.uint64]
Values = NDArray[np.float64]

AUTO = "auto"
HAN_SHARE = 0.3
"""A text is Chinese when at least this share of its letters is Han; ideographs say more than letters, so less than half."""

_BASE = 0x9E3779B97F4A7C15
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)
_LEAST_POWERS = (1 << 18) - 1
_BETWEEN = "\0"
_SEPARATING = "，。！？；：、（）《》“” \n\t"


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a batch, without special characters at their ends, empty ones left out.

    Attributes:
        starts: Where each begins in the batch's code points.
        ends: Where each ends.
        offsets: Words of text i are those from ``offsets[i]`` to ``offsets[i + 1]``.
        hashes: 64 bits for each, the same for the same word everywhere.
    """

    starts: Counts
    ends: Counts
    offsets: Counts
    hashes: Hashes

    @property
    def counts(self) -> Counts:
        """Words of each text."""
        return np.diff(self.offsets)


class Texts:
    """A batch of texts. Never changes; what is computed from it stays with it.

    Args:
        strings: The texts. Lone surrogates are taken.
        language: ISO 639-1 code of all of them, or ``"auto"`` for Chinese and English told apart by their letters.
    """

    def __init__(self, strings: Sequence[str], language: str = AUTO) -> None:
        found = strings if isinstance(strings, list) else list(strings)
        self._strings: list[str] | None = found
        self.language = language
        self.offsets: Counts = np.zeros(len(found) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, found), np.int64, len(found)), out=self.offsets[1:])
        self._codes: Codes | None = None
        self._words: Words | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def strings(self) -> list[str]:
        """The texts."""
        if self._strings is None:
            joined = self.codes.tobytes().decode("utf-32-le", "surrogatepass")
            ends = self.offsets.tolist()
            self._strings = [joined[start:end] for start, end in itertools.pairwise(ends)]
        return self._strings

    @property
    def lengths(self) -> Counts:
        """Characters of each text."""
        return np.diff(self.offsets)

    @property
    def codes(self) -> Codes:
        """The code points of all texts."""
        if self._codes is None:
            joined = "".join(self.strings).encode("utf-32-le", "surrogatepass")
            self._codes = np.frombuffer(joined, np.uint32)
        return self._codes

    def sums(self, of_characters: Flags | Counts | NDArray[np.int16]) -> Counts:
        """The sum over each text of something given for each code point."""
        if of_characters.dtype == np.bool_:
            # Hardly ever are many flagged.
            return np.diff(np.searchsorted(np.flatnonzero(of_characters), self.offsets))
        total = np.zeros(len(self.codes) + 1, np.int64)
        np.cumsum(of_characters, out=total[1:])
        return total[self.offsets[1:]] - total[self.offsets[:-1]]

    def have(self, places: Counts) -> Flags:
        """Which texts have any of these places, which ascend."""
        return np.diff(np.searchsorted(places, self.offsets)) > 0

    def replaced(self, strings: list[str]) -> Texts:
        """As many other texts in the same language setting."""
        return Texts(strings, self.language)

    def without(self, characters: Flags) -> Texts:
        """These texts without the code points that are flagged."""
        if not characters.any():
            return self
        lengths = self.lengths - self.sums(characters)
        return self._of_codes(self.codes[~characters], lengths)

    def mapped(self, codes: Codes) -> Texts:
        """These texts with every code point exchanged for another."""
        return self._of_codes(codes, self.lengths)

    def _of_codes(self, codes: Codes, lengths: Counts) -> Texts:
        texts = Texts([], self.language)
        texts._codes, texts._strings = codes, None
        texts.offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=texts.offsets[1:])
        return texts

    def kept(self, keep: Flags) -> Texts:
        """The texts that are flagged, with all that is known of them."""
        if keep.all():
            return self
        texts = Texts([], self.language)
        texts.offsets = np.append(0, np.cumsum(self.lengths[keep]))
        if self._codes is not None:
            texts._codes = self._codes[np.repeat(keep, self.lengths)]
        if self._strings is None:
            texts._strings = None
        else:
            texts._strings = list(itertools.compress(self._strings, keep.tolist()))
        if self._words is not None:
            words = self._words
            moved = np.repeat((self.offsets[:-1][keep] - texts.offsets[:-1]), words.counts[keep])
            of_kept = np.repeat(keep, words.counts)
            offsets = np.zeros(len(texts) + 1, np.int64)
            np.cumsum(words.counts[keep], out=offsets[1:])
            texts._words = Words(
                words.starts[of_kept] - moved,
                words.ends[of_kept] - moved,
                offsets,
                words.hashes[of_kept],
            )
        return texts

    @functools.cached_property
    def is_chinese(self) -> Flags:
        """Which texts are Chinese."""
        if self.language != AUTO:
            return np.full(len(self), self.language == "zh")
        han = self.sums(_tables.flags("han")[self.codes])
        letters = self.sums(_tables.flags("letter")[self.codes])
        return (han > 0) & (han >= HAN_SHARE * letters)

    @property
    def languages(self) -> list[str]:
        """The language of each text: ``"zh"`` or ``"en"`` where it was told by the letters."""
        if self.language != AUTO:
            return [self.language] * len(self)
        return ["zh" if chinese else "en" for chinese in self.is_chinese]

    def by_language(self, field: str) -> Values:
        """What the table of languages says in `field`, for each text."""
        if self.language != AUTO:
            value = getattr(_tables.language(self.language), field)
            return np.full(len(self), value, np.float64)
        chinese, english = (getattr(_tables.language(code), field) for code in ("zh", "en"))
        return np.where(self.is_chinese, float(chinese), float(english))

    @functools.cached_property
    def special(self) -> Flags:
        """Which code points are special characters."""
        return _tables.special()[self.codes]

    @functools.cached_property
    def _prefix_sums(self) -> Hashes:
        sums = np.zeros(len(self.codes) + 1, np.uint64)
        np.cumsum(
            _mixed(self.codes.astype(np.uint64)) * _powers(len(self.codes))[:-1], out=sums[1:]
        )
        return sums

    def hashes(self, starts: Counts, ends: Counts) -> Hashes:
        """64 bits for each run of code points from a start to its end."""
        sums = self._prefix_sums
        return _mixed((sums[ends] - sums[starts]) * _inverse_powers(len(self.codes))[starts])

    def windows(self, length: int) -> Hashes:
        """64 bits for each run of so many code points, by its start, those that begin in one text and end in another as well."""
        return _mixed(self._plain_windows(length))

    def _plain_windows(self, length: int) -> Hashes:
        """The same, of whose bits only the higher ones are spread well."""
        sums = self._prefix_sums
        count = max(len(self.codes) - length + 1, 0)
        return (sums[length:] - sums[:count]) * _inverse_powers(len(self.codes))[:count]

    def windows_within(self, length: int, wanted: Flags) -> tuple[Counts, Hashes]:
        """Those of these runs that lie within one text, of the texts that are wanted.

        Returns:
            How many each text has, and the hashes of all, text by text; their lowest bits are worth little, for `tallies` leaves them out.
        """
        counts = np.where(wanted, np.maximum(self.lengths - (length - 1), 0), 0)
        # One more begins where a text's runs begin, and one less behind them.
        edges = np.zeros(len(self.codes) + 1, np.int8)
        has = counts > 0
        begins = self.offsets[:-1][has]
        edges[begins] = 1
        edges[begins + counts[has]] -= 1
        found = self._plain_windows(length)
        return counts, found[np.cumsum(edges, dtype=np.int8)[: len(found)].view(np.bool_)]

    def hashes_joined(self, first: Counts) -> Hashes:
        """64 bits for each pair of a word of `first` and the next one, written as one word."""
        words, sums = self.words, self._prefix_sums
        raw = (sums[words.ends] - sums[words.starts]) * _inverse_powers(len(self.codes))[
            words.starts
        ]
        lengths = words.ends[first] - words.starts[first]
        return _mixed(raw[first] + raw[first + 1] * _powers(len(self.codes))[lengths])

    @functools.cached_property
    def bare(self) -> Texts:
        """These texts without special characters."""
        return self.without(self.special)

    @functools.cached_property
    def fewest_words(self) -> Counts:
        """No Chinese text has fewer words: one begins where the text does, and behind each of some signs, with what is not special."""
        begins = np.zeros(len(self.codes) + 1, np.bool_)
        begins[1:] = _separating()[self.codes]
        begins[self.offsets] = True
        return self.sums(begins[:-1] & ~self.special)

    @property
    def has_words(self) -> bool:
        """Whether the words are there already."""
        return self._words is not None

    @property
    def words(self) -> Words:
        """The words: segments of jieba's in Chinese texts, else what stands between spaces, tabs and line feeds."""
        if self._words is None:
            self._words = self._segmented()
        return self._words

    def _segmented(self) -> Words:
        codes = self.codes
        begins = np.zeros(len(codes) + 1, np.bool_)
        begins[self.offsets] = True
        separators = (codes == ord(" ")) | (codes == ord("\n")) | (codes == ord("\t"))
        # A separator is special, so it is taken off the end of the word that it ends.
        begins[1:] |= separators
        if self.is_chinese.any():
            chinese = np.repeat(self.is_chinese, self.lengths)
            begins[:-1][chinese] = _cuts(list(itertools.compress(self.strings, self.is_chinese)))
        starts = np.flatnonzero(begins[:-1]).astype(np.int64)
        ends = np.append(starts[1:], len(codes))
        plain = np.flatnonzero(~self.special)
        # How many plain ones stand before each place.
        before = np.zeros(len(codes) + 1, np.int32)
        np.cumsum(~self.special, out=before[1:])
        first, last = before[starts], before[ends]
        filled = first < last
        starts, ends = plain[first[filled]], plain[last[filled] - 1] + 1
        return Words(starts, ends, np.searchsorted(starts, self.offsets), self.hashes(starts, ends))


def runs(hashes: Hashes, offsets: Counts, length: Counts) -> tuple[Counts, Hashes]:
    """Hashes of the runs of `length[i]` neighbours in each part i of `hashes`.

    Returns:
        How many runs each part has, and their hashes, part by part.
    """
    sizes = np.diff(offsets)
    counts = np.where(sizes >= length, sizes - length + 1, 0)
    # A run begins as far behind the first one of its part as it has runs before it.
    starts = np.arange(int(counts.sum())) + np.repeat(
        offsets[:-1] - (np.cumsum(counts) - counts), counts
    )
    ends = starts + np.repeat(length, counts)
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes * _powers(len(hashes))[:-1], out=sums[1:])
    return counts, _mixed((sums[ends] - sums[starts]) * _inverse_powers(len(hashes))[starts])


def repeated(counts: Counts, hashes: Hashes) -> tuple[Counts, Counts]:
    """The kinds of hashes that occur more than once in their part.

    The part's number takes the place of the hash's lowest bits: 53 bits of hash are left with 2,000 parts.

    Args:
        counts: How many of the hashes each part has.
        hashes: Those of one part after another.

    Returns:
        Part of each such kind, and how often it occurs there, in the order of parts.
    """
    bits = max(len(counts) - 1, 1).bit_length()
    parts = np.arange(len(counts), dtype=np.uint64) << np.uint64(64 - bits)
    keys = np.repeat(parts, counts)
    keys |= hashes >> np.uint64(bits)
    keys.sort()
    # Hardly ever is one as the one before, so that from here on there is little to do.
    again = np.flatnonzero(keys[1:] == keys[:-1])
    last = np.append(np.diff(again) > 1, True)[: len(again)]
    ends = np.flatnonzero(last)
    kinds = (keys[again[ends]] >> np.uint64(64 - bits)).astype(np.int64)
    return kinds, np.diff(ends, prepend=-1) + 1


def ratio(part: Counts | Values, whole: Counts | Values) -> Values:
    """Part over whole, 0 where there is no whole."""
    of = part.astype(np.float64)
    return np.divide(of, whole, out=np.zeros(len(of)), where=whole > 0)


@functools.cache
def _separating() -> Flags:
    """Signs that the segmenter never makes a part of a word, by code point."""
    table = np.zeros(_tables.CODES, np.bool_)
    table[[ord(sign) for sign in _SEPARATING]] = True
    return table


def _cuts(texts: list[str]) -> Flags:
    """At which of the characters of all of these Chinese texts a segment begins.

    They are cut in one go, for each call takes as long as some words. A character that is in no word stands between them, and is a
    segment of its own, as it is wherever it stands.
    """
    import rjieba

    joined = _BETWEEN.join(texts)
    try:
        segments = rjieba.cut(joined)
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; any special character of the same length keeps its place.
        segments = rjieba.cut(joined.encode("utf-8", "replace").decode("utf-8"))
    begins = np.zeros(len(joined) + 1, np.bool_)
    begins[np.cumsum(np.fromiter(map(len, segments), np.int64, len(segments)))] = True
    begins[0] = True
    between = np.cumsum([len(text) + 1 for text in texts]) - 1
    return np.delete(begins, between)


def _mixed(values: Hashes) -> Hashes:
    """Every bit of a value spread over all 64, in place (the finaliser of splitmix64, Steele, Lea and Flood, 2014)."""
    values += np.uint64(_BASE)
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= np.right_shift(values, np.uint64(27), out=shifted)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= np.right_shift(values, np.uint64(31), out=shifted)
    return values


def _powers(length: int) -> Hashes:
    return _powers_of(_BASE, 1 << max(length, _LEAST_POWERS).bit_length())[: length + 1]


def _inverse_powers(length: int) -> Hashes:
    return _powers_of(_BASE_INVERSE, 1 << max(length, _LEAST_POWERS).bit_length())[: length + 1]


# All usual batches, whatever their length, take the same two tables.
@functools.lru_cache(maxsize=4)
def _powers_of(base: int, length: int) -> Hashes:
    factors = np.full(length, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)
