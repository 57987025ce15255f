"""What a chart shows, from the words at its axes and the colours between them.

Bars and lines: the numbers along the vertical axis say what a height means, the words below the horizontal axis name the categories, the
patches beside the words of a legend name the series. A printed number that agrees with a measured height is taken instead of it. Pies:
each share goes with the label in its direction, or with the legend's patch of its colour.

Only the process that reads pictures imports this.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yangfan.plugins.image_questions.layout import rows_of
from yangfan.plugins.image_questions.words import Chart, Values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yangfan.plugins.image_questions.words import Word

    Pixels = NDArray[np.int16]

_NUMBER = re.compile(r"^[-−]?\d[\d,]*(?:\.\d+)?$")
_SHARE = re.compile(r"^(\d+(?:\.\d+)?)\s*[%％]$")

_COLOURED = 40
"""A pixel whose channels differ by this is coloured; text, axes and grids are grey."""
_NEAR = 36
"""Two colours are one if no channel differs by more."""
_FIT = 0.02
"""Largest distance of a number along an axis from a straight scale, as a share of the axis."""
_PRINTED = 0.06
"""Largest distance of a printed number from what was measured, as a share of the axis."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """value = slope * y + offset; the words that say so."""

    slope: float
    offset: float
    words: tuple[Word, ...]

    @property
    def span(self) -> float:
        """Of its values."""
        return abs(self.slope) * (self.words[-1].middle - self.words[0].middle)

    def value(self, y: float) -> float:
        return self.slope * y + self.offset

    def y(self, value: float) -> float:
        return (value - self.offset) / self.slope


def chart_in(pixels: Pixels, words: Sequence[Word]) -> Chart | None:
    """The chart in a picture; None if it shows none that can be read.

    Args:
        pixels: Of the picture: height, width, 3.
        words: What was recognised in it.
    """
    axis = _axis(words)
    if axis is None:
        return _pie(pixels, words)
    categories = _categories(words, axis)
    if len(categories) < 2:
        return None
    legend = _legend(pixels, words, axis, categories)
    plot = _Plot(_without(pixels, [word for word, _ in legend]), axis, categories)
    colours = [(word.text, colour) for word, colour in legend]
    if not colours:
        only = plot.main_colour()
        if only is None:
            return None
        colours = [("", only)]
    kind = "bar" if plot.has_bars([colour for _, colour in colours]) else "line"
    used = {id(word) for word in (*axis.words, *categories)}
    numbers = [
        (value, word)
        for word in words
        if id(word) not in used and (value := number(word.text)) is not None
    ]
    series: list[Values] = []
    printed = 0
    for name, colour in colours:
        values: list[float | None] = []
        for place in range(len(categories)):
            measured = plot.measure(place, colour, kind)
            said = None if measured is None else _said(measured, place, plot, numbers)
            printed += said is not None
            values.append(_rounded(measured, axis.span) if said is None else said)
        series.append(Values(name, values))
    if all(value is None for each in series for value in each.values):
        return None
    return Chart(
        kind,
        _title(words, axis, categories),
        [word.text for word in categories],
        series,
        printed == len(categories) * len(series),
    )


def number(text: str) -> float | None:
    """The number that a text is, and nothing but it."""
    clean = text.replace(" ", "").replace("，", ",")
    return float(clean.replace(",", "").replace("−", "-")) if _NUMBER.match(clean) else None


def _axis(words: Sequence[Word]) -> _Axis | None:
    """The longest column of numbers that lie on a straight scale, upwards."""
    numbers = [(value, word) for word in words if (value := number(word.text)) is not None]
    best: _Axis | None = None
    for _, first in numbers:
        column = sorted(
            (each for each in numbers if abs(each[1].right - first.right) < 0.6 * first.height),
            key=lambda each: each[1].middle,
        )
        found = _scale(column)
        if found is not None and (best is None or len(found.words) > len(best.words)):
            best = found
    return best


def _scale(column: Sequence[tuple[float, Word]]) -> _Axis | None:
    """A column of numbers as a scale; one of them may be misread."""
    for left_out in (None, *range(len(column))) if len(column) > 3 else (None,):
        kept = [each for place, each in enumerate(column) if place != left_out]
        if len(kept) < 3:
            continue
        values, heights = [each[0] for each in kept], [each[1].middle for each in kept]
        if len(set(heights)) < 3 or any(
            upper <= lower for upper, lower in itertools.pairwise(values)
        ):
            continue
        slope, offset = (float(each) for each in np.polyfit(heights, values, 1))
        span = values[0] - values[-1]
        if (
            max(abs(slope * y + offset - value) for y, value in zip(heights, values, strict=True))
            < _FIT * span
        ):
            return _Axis(slope, offset, tuple(word for _, word in kept))
    return None


def _categories(words: Sequence[Word], axis: _Axis) -> list[Word]:
    """The first row below the axis."""
    lowest = axis.words[-1]
    beside = max(word.right for word in axis.words)
    below = [
        word
        for word in words
        if word.left > beside - word.height and word.middle > lowest.middle + 0.4 * lowest.height
    ]
    for row in rows_of(below):
        if len(row) >= 2:
            return row
    return []


def _title(words: Sequence[Word], axis: _Axis, categories: Sequence[Word]) -> str:
    """The row above the chart that stands in its middle alone."""
    top = axis.words[0].middle
    middle = (categories[0].centre + categories[-1].centre) / 2
    reach = 0.3 * (categories[-1].right - axis.words[0].left)
    above = [word for word in words if word.bottom < top + axis.words[0].height]
    for row in rows_of(above):
        if len(row) == 1 and number(row[0].text) is None and abs(row[0].centre - middle) < reach:
            return row[0].text
    return ""


def _legend(
    pixels: Pixels, words: Sequence[Word], axis: _Axis, categories: Sequence[Word]
) -> list[tuple[Word, Pixels]]:
    """Words with a coloured patch to their left, and its colour."""
    below = min(word.top for word in categories)
    beside = max(word.right for word in axis.words)
    found: list[tuple[Word, Pixels]] = []
    for word in words:
        if word in categories or word in axis.words or number(word.text) is not None:
            continue
        if word.left < beside or (word.top < below < word.bottom):
            continue
        colour = _patch(pixels, word)
        if colour is not None and not any(_same(colour, other) for _, other in found):
            found.append((word, colour))
    return found


def _without(pixels: Pixels, legend: Sequence[Word]) -> Pixels:
    """The picture without its legend, whose patches have the colours of what is measured."""
    if not legend:
        return pixels
    clean = pixels.copy()
    for word in legend:
        left = max(0, int(word.left - 3.2 * word.height))
        clean[int(word.top) : math.ceil(word.bottom), left : math.ceil(word.right)] = 255
    return clean


def _patch(pixels: Pixels, word: Word) -> Pixels | None:
    """The colour of the patch to the left of a word."""
    left = max(0, int(word.left - 3.2 * word.height))
    area = pixels[int(word.top) : math.ceil(word.bottom), left : max(left, int(word.left - 1))]
    if not area.size:
        return None
    coloured = area[_colourful(area)]
    # A line of a legend is no more than two pixels high.
    if len(coloured) < 0.01 * area.shape[0] * area.shape[1]:
        return None
    return np.median(coloured, axis=0).astype(np.int16)


def _colourful(area: Pixels) -> Any:
    return (area.max(axis=-1) - area.min(axis=-1)) > _COLOURED


def _same(one: Pixels, other: Pixels) -> bool:
    return bool(np.abs(one - other).max() <= _NEAR)


class _Plot:
    """The part of a picture between its axes."""

    def __init__(self, pixels: Pixels, axis: _Axis, categories: Sequence[Word]) -> None:
        self.axis = axis
        self.centres = [word.centre for word in categories]
        self.pitch = (self.centres[-1] - self.centres[0]) / (len(categories) - 1)
        low = axis.value(axis.words[-1].middle)
        floor = (
            axis.y(0.0) if low <= 0 <= axis.value(axis.words[0].middle) else axis.words[-1].middle
        )
        self.floor = int(min(floor, min(word.top for word in categories)))
        self.top = max(0, int(axis.words[0].middle - axis.words[0].height))
        self._pixels = pixels

    def _strip(self, place: int) -> tuple[int, Pixels]:
        left = max(0, int(self.centres[place] - 0.49 * self.pitch))
        right = int(self.centres[place] + 0.49 * self.pitch) + 1
        return left, self._pixels[self.top : self.floor, left:right]

    def main_colour(self) -> Pixels | None:
        """The colour that most coloured pixels of the plot have."""
        left, right = self.centres[0] - 0.5 * self.pitch, self.centres[-1] + 0.5 * self.pitch
        area = self._pixels[self.top : self.floor, max(0, int(left)) : int(right) + 1]
        coloured = area[_colourful(area)]
        if len(coloured) < 20:
            return None
        bins, counts = np.unique(coloured // 24, axis=0, return_counts=True)
        inside = (coloured // 24 == bins[counts.argmax()]).all(axis=1)
        return np.median(coloured[inside], axis=0).astype(np.int16)

    def has_bars(self, colours: Sequence[Pixels]) -> bool:
        """Whether the colours stand on the floor, in most categories."""
        standing = sum(
            self._bar(place, colour) is not None
            for place in range(len(self.centres))
            for colour in colours
        )
        return 2 * standing > len(self.centres) * len(colours)

    def measure(self, place: int, colour: Pixels, kind: str) -> float | None:
        """The value of a series in a category."""
        y = self._bar(place, colour) if kind == "bar" else self._point(place, colour)
        return None if y is None else self.axis.value(y)

    def _mask(self, area: Pixels, colour: Pixels) -> Any:
        return (np.abs(area - colour) <= _NEAR).all(axis=-1)

    def _bar(self, place: int, colour: Pixels) -> float | None:
        """Where a bar that stands on the floor ends."""
        _, area = self._strip(place)
        mask = self._mask(area, colour)
        if mask.shape[0] < 12:
            return None
        near = mask[-12:-1].sum(axis=0) >= 2
        if near.sum() < 3:
            return None
        # Its top in each column, letters and lines that cross it aside.
        tops = [int(np.argmax(column)) for column in mask[:, near].T]
        return self.top + float(np.median(tops))

    def _point(self, place: int, colour: Pixels) -> float | None:
        """Where a line passes above the middle of a category."""
        left, area = self._strip(place)
        mask = self._mask(area, colour)
        middle = round(self.centres[place]) - left
        for reach in (1, 3, 6):
            near = mask[:, max(0, middle - reach) : middle + reach + 1]
            weights = near.sum(axis=1)
            rows = np.nonzero(weights)[0]
            if len(rows):
                # The line is the thickest of what is there; the rest is grain.
                runs = np.split(rows, np.nonzero(np.diff(rows) > 3)[0] + 1)
                line = max(runs, key=lambda run: int(weights[run].sum()))
                return self.top + float(np.average(line, weights=weights[line]))
        return None


def _said(
    measured: float, place: int, plot: _Plot, numbers: Sequence[tuple[float, Word]]
) -> float | None:
    """The number printed in a category's strip that agrees with what was measured."""
    near = [
        (abs(value - measured), value)
        for value, word in numbers
        if abs(word.centre - plot.centres[place]) < 0.5 * plot.pitch
        and word.bottom > plot.top - 2 * word.height
    ]
    return min(near)[1] if near and min(near)[0] <= _PRINTED * plot.axis.span else None


def _rounded(value: float | None, span: float) -> float | None:
    """To 1, 2 or 5 times a power of ten that is at most a hundredth of the axis, which is about what a pixel is worth."""
    if value is None:
        return None
    power = 10.0 ** math.floor(math.log10(span / 100))
    step = max(each * power for each in (1, 2, 5) if each * power <= span / 100)
    return round(round(value / step) * step, 10)


def _pie(pixels: Pixels, words: Sequence[Word]) -> Chart | None:
    """A pie whose shares are printed, with labels around it or a legend beside it."""
    shares = [(float(match[1]), word) for word in words if (match := _SHARE.match(word.text))]
    if len(shares) < 2 or not 98 <= sum(share for share, _ in shares) <= 102:
        return None
    others = [word for word in words if all(word is not used for _, used in shares)]
    wedges = [each for _, word in shares if (each := _around(pixels, word)) is not None]
    legend = [(word, colour) for word in others if (colour := _patch(pixels, word)) is not None]
    names: list[str] | None = None
    if len(legend) >= len(shares) == len(wedges):
        names = [
            min(legend, key=lambda each: int(np.abs(each[1] - wedge).max()))[0].text
            for wedge in wedges
        ]
    if names is None or len(set(names)) < len(names):
        names = _by_direction(shares, others)
    if names is None:
        return None
    rows = rows_of([word for word in others if word.text not in names])
    title = rows[0][0].text if rows and len(rows[0]) == 1 else ""
    values: list[float | None] = [share for share, _ in shares]
    return Chart("pie", title, names, [Values("%", values)], printed=True)


def _around(pixels: Pixels, word: Word) -> Pixels | None:
    area = pixels[int(word.top) : math.ceil(word.bottom), int(word.left) : math.ceil(word.right)]
    coloured = area[_colourful(area)]
    return None if len(coloured) < 10 else np.median(coloured, axis=0).astype(np.int16)


def _by_direction(shares: Sequence[tuple[float, Word]], others: Sequence[Word]) -> list[str] | None:
    """The label in the direction of each share, seen from the middle of all shares."""
    x = sum(word.centre for _, word in shares) / len(shares)
    y = sum(word.middle for _, word in shares) / len(shares)
    reach = 3 * max(math.hypot(word.centre - x, word.middle - y) for _, word in shares)
    labels = [word for word in others if math.hypot(word.centre - x, word.middle - y) < reach]
    pairs = sorted(
        (_between(_angle(share, x, y), _angle(label, x, y)), place, number)
        for place, (_, share) in enumerate(shares)
        for number, label in enumerate(labels)
    )
    found: dict[int, int] = {}
    for angle, place, label in pairs:
        if angle < math.pi / 4 and place not in found and label not in found.values():
            found[place] = label
    if len(found) < len(shares):
        return None
    return [labels[found[place]].text for place in range(len(shares))]


def _angle(word: Word, x: float, y: float) -> float:
    return math.atan2(word.middle - y, word.centre - x)


def _between(one: float, other: float) -> float:
    return abs((one - other + math.pi) % (2 * math.pi) - math.pi)
