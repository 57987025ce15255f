"""What is recognised in a picture, whatever recognised it."""

from __future__ import annotations

import msgspec


class Word(msgspec.Struct, frozen=True, array_like=True):
    """A line of text without gaps, and where it stands: pixels from the upper left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    @property
    def middle(self) -> float:
        """Its vertical middle."""
        return (self.top + self.bottom) / 2

    @property
    def centre(self) -> float:
        """Its horizontal middle."""
        return (self.left + self.right) / 2

    @property
    def height(self) -> float:
        """Of its box."""
        return self.bottom - self.top


class Values(msgspec.Struct, frozen=True, array_like=True):
    """A series of a chart: what its legend calls it ("" without one), and a value for each category, None where none is seen."""

    name: str
    values: list[float | None]


class Chart(msgspec.Struct, frozen=True, array_like=True):
    """What the axes of a chart and its colours say.

    Attributes:
        kind: bar or line.
        title: Above it; "" if nothing stands there.
        categories: Along the horizontal axis, from the left.
        series: In the order of the legend.
        printed: Whether the values were printed in the chart, not measured.
    """

    kind: str
    title: str
    categories: list[str]
    series: list[Values]
    printed: bool


class Page(msgspec.Struct, frozen=True):
    """What stands in a picture.

    Attributes:
        width: Pixels of the picture.
        height: Likewise.
        words: What was recognised.
        chart: What a chart shows, if it is one whose axes can be read.
        error: Why nothing could be read; "" if it could.
    """

    width: int = 0
    height: int = 0
    words: list[Word] = []
    chart: Chart | None = None
    error: str = ""
