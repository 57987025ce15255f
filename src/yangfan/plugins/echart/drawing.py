"""A chart as an SVG picture, drawn here: no browser, no font, no library. Texts are escaped; there is no script and no reference in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yangfan.plugins.echart.option import Data

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 616, 52, 330

COLOURS = (
    "#5470c6", "#91cc75", "#fac858", "#ee6666", "#73c0de",
    "#3ba272", "#fc8452", "#9a60b4", "#ea7ccc", "#5f6a7d",
)  # fmt: skip
"""ECharts' own, so that the picture looks as the option does."""


def svg_of(data: Data) -> str:
    """The picture, 640 by 400."""
    body = _DRAWERS[data.type](data)
    title = _text(WIDTH / 2, 28, data.title, size=18) if data.title else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{title}{"".join(body)}</svg>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "middle", size: int = 12) -> str:
    clean = escape("".join(character for character in text if character >= " "))
    short = clean if len(clean) <= 40 else clean[:39] + "…"
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#333">{short}</text>'


def _line(points: Iterable[tuple[float, float]], colour: str, width: float = 1) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _dot(x: float, y: float, colour: str, radius: float = 3) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _legend(names: Sequence[str]) -> list[str]:
    if len(names) < 2:
        return []
    step = (RIGHT - LEFT) / len(names)
    parts: list[str] = []
    for number, name in enumerate(names):
        x = LEFT + step * number
        parts += [
            _rect(x, HEIGHT - 22, 12, 12, _colour(number)),
            _text(x + 16, HEIGHT - 12, name, anchor="start"),
        ]
    return parts


def ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose a range, about five of them."""
    if high <= low:
        high = low + 1
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(each * power for each in (1, 2, 5, 10) if (high - low) / (each * power) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


class _Scale:
    """Values to heights."""

    def __init__(self, values: Sequence[float], low: int, high: int) -> None:
        self.ticks = ticks(min(values, default=0), max(values, default=1))
        self._low, self._high = low, high

    def __call__(self, value: float) -> float:
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return self._low + share * (self._high - self._low)


def _seen(data: Data) -> list[float]:
    return [value for each in data.series for value in each.values if value is not None]


def _grid(scale: _Scale) -> list[str]:
    parts: list[str] = []
    for value in scale.ticks:
        y = scale(value)
        parts += [
            _line([(LEFT, y), (RIGHT, y)], "#e0e6f1"),
            _text(LEFT - 8, y + 4, f"{value:g}", anchor="end"),
        ]
    return parts


def _categories(names: Sequence[str]) -> list[str]:
    step = (RIGHT - LEFT) / len(names)
    return [
        _text(LEFT + step * (place + 0.5), BOTTOM + 18, name) for place, name in enumerate(names)
    ]


def _bars(data: Data) -> list[str]:
    scale = _Scale([0.0, *_seen(data)], BOTTOM, TOP)
    step = (RIGHT - LEFT) / len(data.categories)
    wide = 0.7 * step / len(data.series)
    parts = [
        *_grid(scale),
        *_categories(data.categories),
        *_legend([each.name for each in data.series]),
    ]
    for number, series in enumerate(data.series):
        for place, value in enumerate(series.values):
            if value is None:
                continue
            x = LEFT + step * (place + 0.15) + wide * number
            y, floor = scale(value), scale(0)
            parts += [
                _rect(x, min(y, floor), wide, abs(floor - y), _colour(number)),
                _text(x + wide / 2, min(y, floor) - 4, f"{value:g}", size=10),
            ]
    return parts


def _lines(data: Data) -> list[str]:
    scale = _Scale(_seen(data), BOTTOM, TOP)
    step = (RIGHT - LEFT) / len(data.categories)
    parts = [
        *_grid(scale),
        *_categories(data.categories),
        *_legend([each.name for each in data.series]),
    ]
    for number, series in enumerate(data.series):
        points = [
            (LEFT + step * (place + 0.5), scale(value))
            for place, value in enumerate(series.values)
            if value is not None
        ]
        parts += [
            _line(points, _colour(number), 2),
            *(_dot(x, y, _colour(number)) for x, y in points),
        ]
    return parts


def _scatter(data: Data) -> list[str]:
    pairs = [
        (x, y)
        for x, y in zip(data.series[0].values, data.series[1].values, strict=False)
        if x is not None and y is not None
    ]
    across = _Scale([x for x, _ in pairs], LEFT, RIGHT)
    upwards = _Scale([y for _, y in pairs], BOTTOM, TOP)
    names = [
        _text((LEFT + RIGHT) / 2, BOTTOM + 38, data.series[0].name),
        _text(LEFT, TOP - 8, data.series[1].name),
    ]
    below = [_text(across(value), BOTTOM + 18, f"{value:g}") for value in across.ticks]
    return [
        *_grid(upwards),
        *below,
        *names,
        *(_dot(across(x), upwards(y), COLOURS[0], 5) for x, y in pairs),
    ]


def _parts(data: Data) -> list[tuple[str, float]]:
    values = data.series[0].values
    return [(name, value) for name, value in zip(data.categories, values, strict=True) if value]


def _pie(data: Data) -> list[str]:
    parts, total, x, y, radius = (
        _parts(data),
        sum(value for _, value in _parts(data)),
        320.0,
        195.0,
        120.0,
    )
    drawn: list[str] = []
    turn = -math.pi / 2
    for number, (name, value) in enumerate(parts):
        end = turn + 2 * math.pi * value / total
        if len(parts) == 1:
            drawn.append(_dot(x, y, _colour(0), radius))
        else:
            large = int(end - turn > math.pi)
            drawn.append(
                f'<path d="M{x:.1f} {y:.1f} L{x + radius * math.cos(turn):.1f} {y + radius * math.sin(turn):.1f} '
                f'A{radius:.1f} {radius:.1f} 0 {large} 1 {x + radius * math.cos(end):.1f} {y + radius * math.sin(end):.1f} Z" '
                f'fill="{_colour(number)}"/>'
            )
        middle = (turn + end) / 2
        across, down = x + 1.15 * radius * math.cos(middle), y + 1.15 * radius * math.sin(middle)
        anchor = "start" if math.cos(middle) >= 0 else "end"
        drawn.append(_text(across, down + 4, f"{name} {100 * value / total:.1f}%", anchor=anchor))
        turn = end
    return [*drawn, *_legend([name for name, _ in parts])]


def _funnel(data: Data) -> list[str]:
    parts = sorted(_parts(data), key=lambda each: -each[1])
    most, step = parts[0][1], (BOTTOM - TOP) / len(parts)
    drawn: list[str] = []
    for number, (name, value) in enumerate(parts):
        below = parts[number + 1][1] if number + 1 < len(parts) else value / 2
        wide, narrow, y = 220 * value / most, 220 * below / most, TOP + step * number
        drawn += [
            f'<polygon points="{320 - wide:.1f},{y:.1f} {320 + wide:.1f},{y:.1f} {320 + narrow:.1f},{y + step - 2:.1f} {320 - narrow:.1f},{y + step - 2:.1f}" fill="{_colour(number)}"/>',
            _text(320, y + step / 2 + 4, f"{name} {value:g}"),
        ]
    return [*drawn, *_legend([name for name, _ in parts])]


def _radar(data: Data) -> list[str]:
    count, x, y, radius = len(data.categories), 320.0, 195.0, 125.0
    most = max(_seen(data), default=1.0) or 1.0

    def at(place: int, share: float) -> tuple[float, float]:
        angle = 2 * math.pi * place / count - math.pi / 2
        return x + radius * share * math.cos(angle), y + radius * share * math.sin(angle)

    drawn = [
        _line([at(place, share) for place in range(count + 1)], "#e0e6f1")
        for share in (0.25, 0.5, 0.75, 1)
    ]
    for place, name in enumerate(data.categories):
        drawn += [_line([(x, y), at(place, 1)], "#e0e6f1"), _text(*at(place, 1.15), name)]
    for number, series in enumerate(data.series):
        shares = [max(value or 0.0, 0.0) / most for value in series.values]
        points = [at(place, share) for place, share in enumerate([*shares, shares[0]])]
        drawn.append(_line(points, _colour(number), 2))
    return [*drawn, *_legend([each.name for each in data.series])]


def _tree(data: Data) -> list[str]:
    children: dict[str, list[str]] = {}
    for parent, child in data.links:
        children.setdefault(parent, []).append(child)
    below = {child for _, child in data.links}
    root = next(parent for parent in children if parent not in below)
    rows: list[tuple[str, int]] = []
    places: dict[str, tuple[float, float]] = {}

    def walk(name: str, depth: int) -> None:
        rows.append((name, depth))
        for each in children.get(name, ()):
            walk(each, depth + 1)

    walk(root, 0)
    step = min(28.0, (HEIGHT - 80) / len(rows))
    for number, (name, depth) in enumerate(rows):
        places[name] = (40 + 130 * depth, 60 + step * number)
    drawn: list[str] = []
    for parent, child in data.links:
        (x, y), (across, down) = places[parent], places[child]
        drawn.append(_line([(x, y), (x, down), (across, down)], "#aab"))
    for number, (name, (x, y)) in enumerate(places.items()):
        drawn += [_dot(x, y, _colour(number), 4), _text(x + 8, y + 4, name, anchor="start")]
    return drawn


_DRAWERS = {
    "bar": _bars,
    "line": _lines,
    "scatter": _scatter,
    "pie": _pie,
    "funnel": _funnel,
    "radar": _radar,
    "tree": _tree,
}
