"""The data of a chart, its ECharts option, and what a valid option is."""

from __future__ import annotations

import functools
import math
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yangfan.errors import Invalid
from yangfan.plugins._schema import Inputs

Kind = Literal["bar", "line", "pie", "radar", "scatter", "funnel", "tree"]

MAX_CATEGORIES = 50
MAX_SERIES = 10
MAX_DEPTH = 6
MAX_NODES = 200
LARGEST = 1e15

Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Series(msgspec.Struct, frozen=True):
    """Numbers that belong together, one for each category."""

    name: Annotated[str, Meta(max_length=200)]
    values: Annotated[list[float | None], Meta(min_length=1, max_length=MAX_CATEGORIES)]


class Data(msgspec.Struct, frozen=True):
    """What is to be drawn.

    Attributes:
        type: Of the chart.
        title: Above it.
        categories: What the values are of; of a scatter chart the names of the two axes; of a tree nothing.
        series: Of a scatter chart the two columns.
        links: Of a tree: parent and child.
    """

    type: Kind
    title: Annotated[str, Meta(max_length=200)] = ""
    categories: Annotated[list[Name], Meta(max_length=MAX_CATEGORIES)] = []
    series: Annotated[list[Series], Meta(max_length=MAX_SERIES)] = []
    links: Annotated[list[tuple[Name, Name]], Meta(max_length=200)] = []


def option_of(data: Data) -> dict[str, Any]:
    """The ECharts option, checked.

    Raises:
        Invalid: The data make no such chart; the text says why.
    """
    option: dict[str, Any] = {
        "title": {"text": data.title, "left": "center"},
        "tooltip": {"trigger": "axis" if data.type in {"bar", "line"} else "item"},
        **_BUILDERS[data.type](data),
    }
    check(option)
    return option


def _axes(data: Data) -> dict[str, Any]:
    return {
        "xAxis": {"type": "category", "data": data.categories},
        "yAxis": {"type": "value"},
        "series": [
            {"type": data.type, "name": each.name, "data": each.values} for each in data.series
        ],
        **_legend([each.name for each in data.series]),
    }


def _shares(data: Data) -> dict[str, Any]:
    if len(data.series) != 1:
        raise Invalid(f"a {data.type} chart shows one series, got {len(data.series)}")
    _same_length(data)
    values = [value or 0.0 for value in data.series[0].values]
    if min(values) < 0 or not sum(values):
        raise Invalid(f"the values of a {data.type} chart are 0 or above 0, and not all are 0")
    parts = [
        {"name": name, "value": value}
        for name, value in zip(data.categories, data.series[0].values, strict=True)
        if value is not None
    ]
    legend = {"legend": {"data": data.categories, "bottom": 0}}
    return {"series": [{"type": data.type, "name": data.series[0].name, "data": parts}], **legend}


def _radar(data: Data) -> dict[str, Any]:
    _same_length(data)
    values = [[value or 0.0 for value in each.values] for each in data.series]
    most = [max(column) for column in zip(*values, strict=True)]
    # One scale for all directions where they are alike, so that shapes can be compared.
    top = max(most, default=0.0)
    if top <= 0:
        raise Invalid("a radar chart needs values above 0")
    limits = [top if 10 * each >= top else each or 1.0 for each in most]
    indicator = [
        {"name": name, "max": limit} for name, limit in zip(data.categories, limits, strict=True)
    ]
    shapes = [
        {"name": each.name, "value": row} for each, row in zip(data.series, values, strict=True)
    ]
    return {
        "radar": {"indicator": indicator},
        "series": [{"type": "radar", "data": shapes}],
        **_legend([each.name for each in data.series]),
    }


def _scatter(data: Data) -> dict[str, Any]:
    if len(data.series) != 2:
        raise Invalid(f"a scatter chart needs two columns of numbers, got {len(data.series)}")
    across, upwards = data.series
    points = [
        [x, y]
        for x, y in zip(across.values, upwards.values, strict=False)
        if x is not None and y is not None
    ]
    return {
        "xAxis": {"type": "value", "name": across.name},
        "yAxis": {"type": "value", "name": upwards.name},
        "series": [{"type": "scatter", "data": points}],
    }


def _tree(data: Data) -> dict[str, Any]:
    children: dict[str, list[str]] = {}
    for parent, child in data.links:
        children.setdefault(parent, []).append(child)
    below = {child for _, child in data.links}
    roots = [parent for parent in children if parent not in below]
    if len(roots) != 1:
        raise Invalid(f"a tree has one root, got {len(roots)}")

    seen: list[str] = []

    def node(name: str, depth: int) -> dict[str, Any]:
        # A name that stands in two places brings what is below it twice.
        seen.append(name)
        if depth > MAX_DEPTH or len(seen) > MAX_NODES:
            raise Invalid(f"a tree has at most {MAX_DEPTH} levels and {MAX_NODES} names")
        under = [node(each, depth + 1) for each in children.get(name, ())]
        return {"name": name, "children": under} if under else {"name": name}

    return {"series": [{"type": "tree", "data": [node(roots[0], 1)]}]}


_BUILDERS = {
    "bar": _axes,
    "line": _axes,
    "pie": _shares,
    "funnel": _shares,
    "radar": _radar,
    "scatter": _scatter,
    "tree": _tree,
}


def _legend(names: list[str]) -> dict[str, Any]:
    return {"legend": {"data": names, "bottom": 0}} if len(names) > 1 else {}


def _same_length(data: Data) -> None:
    for each in data.series:
        if len(each.values) != len(data.categories):
            raise Invalid(
                f"series {each.name!r} has {len(each.values)} values for {len(data.categories)} categories"
            )


@functools.cache
def _schema() -> Inputs:
    text = resources.files(__package__ or __name__).joinpath("option.schema.json").read_bytes()
    return Inputs(msgspec.json.decode(text))


def check(option: dict[str, Any]) -> None:
    """Say what is wrong with an ECharts option: kinds, axes, and lengths of the data against those of the axes.

    Raises:
        Invalid: Something is.
    """
    _schema().check(option, "option")
    kinds = {each["type"] for each in option["series"]}
    if len(kinds) > 1 and kinds - {"bar", "line"}:
        raise Invalid(f"option: {', '.join(sorted(kinds))} do not stand in one chart")
    if kinds & {"bar", "line"}:
        axis = option.get("xAxis", {})
        if axis.get("type") != "category" or "data" not in axis or "yAxis" not in option:
            raise Invalid("option: bars and lines need an xAxis of categories and a yAxis")
        for number, each in enumerate(option["series"]):
            if len(each["data"]) != len(axis["data"]):
                raise Invalid(
                    f"option: series.{number}.data has {len(each['data'])} values for {len(axis['data'])} categories"
                )
    if "scatter" in kinds and not {"xAxis", "yAxis"} <= option.keys():
        raise Invalid("option: scatter charts need an xAxis and a yAxis")
    if "radar" in kinds:
        wanted = len(option.get("radar", {}).get("indicator", ()))
        for shape in (shape for each in option["series"] for shape in each["data"]):
            if len(shape["value"]) != wanted:
                raise Invalid(
                    f"option: radar {shape['name']!r} has {len(shape['value'])} values for {wanted} indicators"
                )
    for value in _numbers(option):
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise Invalid(f"option: values lie between -{LARGEST:g} and {LARGEST:g}, got {value:g}")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in _numbers(inner)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [each for inner in value for each in _numbers(inner)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [value] if isinstance(value, float) else []
