"""What is drawn on a picture of `shapes-demo`: the colour of the ground, the colour of the figure, and which shape it is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

PALETTE = {
    "red": (220, 40, 40),
    "green": (40, 160, 70),
    "blue": (40, 80, 220),
    "yellow": (245, 210, 50),
    "black": (20, 20, 20),
    "white": (250, 250, 250),
}
"""The colours that the model was trained on (scripts/train_shapes_demo.py)."""

TURNS = (-0.12, -0.06, 0.0, 0.06, 0.12)


class Seen(NamedTuple):
    """What a picture shows.

    Attributes:
        ground: The colour nearest to the border's mean.
        colour: The colour nearest to the mean of the figure's inside; "" if there is no figure.
        purity: Part of the figure's inside that is nearest to that colour.
        shape: Which of circle, square and triangle of the same area overlaps the figure best.
        overlap: Intersection over union with that one, 0 to 1.
        part: Part of the picture that the figure covers.
    """

    ground: str
    colour: str
    purity: float
    shape: str
    overlap: float
    part: float


def look(pixels: Any) -> Seen:
    """Look at a picture (H, W, 3), 0 to 255."""
    border = np.concatenate(
        [pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3), pixels[:, 0], pixels[:, -1]]
    ).mean(0)
    ground = _nearest(border[None])[0]
    away = np.linalg.norm(pixels - border, axis=2)
    if away.max() < 60:
        return Seen(ground, "", 0.0, "", 0.0, 0.0)
    figure = away > away.max() / 2
    inside = figure & (away >= np.quantile(away[figure], 0.2))
    colour = _nearest(pixels[inside].mean(0)[None])[0]
    purity = float(np.mean([name == colour for name in _nearest(pixels[inside])]))
    shape, overlap = _shape(figure)
    return Seen(ground, colour, purity, shape, overlap, float(figure.mean()))


def _nearest(colours: Any) -> list[str]:
    names = list(PALETTE)
    distances = np.linalg.norm(colours[:, None] - np.array(list(PALETTE.values()))[None], axis=2)
    return [names[index] for index in distances.argmin(1)]


def _shape(figure: Any) -> tuple[str, float]:
    y, x = _axes(figure)
    area = int(figure.sum())
    found: dict[str, float] = {}
    for turn in TURNS:
        cosine, sine = np.cos(turn), np.sin(turn)
        ideals = _ideals(y * cosine - x * sine, x * cosine + y * sine, area)
        for shape, inside in ideals.items():
            overlap = (figure & inside).sum() / (figure | inside).sum()
            found[shape] = max(found.get(shape, 0.0), float(overlap))
    best = max(found, key=lambda shape: found[shape])
    return best, found[best]


def _axes(figure: Any) -> tuple[Any, Any]:
    """How far each row and each column is from the figure's centre."""
    places: Any = np.argwhere(figure)
    row, column = (float(place) for place in places.mean(0))
    height, width = (int(side) for side in figure.shape)
    return np.arange(height)[:, None] - row, np.arange(width)[None] - column


def _ideals(y: Any, x: Any, area: int) -> dict[str, Any]:
    """Each shape in that area, its centre of mass in the origin; the triangle's point is up."""
    half, apothem = np.sqrt(area) / 2, np.sqrt(area / (3 * np.sqrt(3)))
    return {
        "circle": np.hypot(x, y) <= np.sqrt(area / np.pi),
        "square": np.maximum(np.abs(x), np.abs(y)) <= half,
        "triangle": (y <= apothem) & (np.abs(x) * np.sqrt(3) / 2 - y / 2 <= apothem),
    }
