"""Which place a question means: the longest name of the gazetteer that stands in it."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib import resources
from typing import NamedTuple


class Place(NamedTuple):
    """A place: its names, and where it is in degrees."""

    chinese: str
    english: str
    latitude: float
    longitude: float


class Facts(NamedTuple):
    """What `facts.toml` holds: places, and what codes of weather mean in Chinese and English."""

    places: tuple[Place, ...]
    codes: dict[int, tuple[str, str]]


@functools.cache
def facts() -> Facts:
    """The data file, read once."""
    text = resources.files(__package__ or __name__).joinpath("facts.toml").read_text("utf-8")
    data = tomllib.loads(text)
    return Facts(
        tuple(Place(*item) for item in data["places"]),
        {int(code): tuple(names) for code, names in data["codes"].items()},
    )


def place_in(question: str) -> Place | None:
    """The place that a question names; None if it names none that is known."""
    best: tuple[int, Place] | None = None
    for place in facts().places:
        if place.chinese in question:
            length = 2 * len(place.chinese)
        elif re.search(rf"\b{re.escape(place.english)}\b", question, re.IGNORECASE):
            length = len(place.english)
        else:
            continue
        if best is None or length > best[0]:
            best = (length, place)
    return None if best is None else best[1]
