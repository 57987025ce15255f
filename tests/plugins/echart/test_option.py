"""ECharts options and pictures: what is made is valid, and what is invalid is refused."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from yangfan.errors import Invalid
from yangfan.plugins.echart.drawing import svg_of, ticks
from yangfan.plugins.echart.option import MAX_NODES, Data, Series, check, option_of

TWO = [Series("甲", [1.0, -2.0, 3.0]), Series("乙", [2.0, None, 1.0])]
NAMES = ["a", "b", "c"]
ONE = [Series("n", [5.0, 3.0, 2.0])]
ALL = {
    "bar": Data("bar", "柱<b>&", NAMES, TWO),
    "line": Data("line", "", NAMES, TWO),
    "pie": Data("pie", "饼", NAMES, ONE),
    "funnel": Data("funnel", "漏", NAMES, ONE),
    "radar": Data("radar", "雷", NAMES, ONE),
    "scatter": Data(
        "scatter", "散", ["x", "y"], [Series("x", [1.0, 2.0]), Series("y", [3.0, 4.0])]
    ),
    "tree": Data("tree", "树", links=[("r", "a"), ("r", "b"), ("a", "c")]),
}


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_has_a_valid_option_and_a_picture(kind: str) -> None:
    data = ALL[kind]
    option = option_of(data)
    check(option)
    assert {each["type"] for each in option["series"]} == {kind}
    assert option["title"]["text"] == data.title
    root = ET.fromstring(svg_of(data))
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert not data.title or data.title in texts
    for name in [*data.categories, *(child for _, child in data.links)]:
        assert any(name in text for text in texts), name
    assert not [each for each in root.iter() if each.tag.endswith(("script", "image", "a", "use"))]


def test_what_the_option_says() -> None:
    option = option_of(ALL["bar"])
    assert option["xAxis"] == {"type": "category", "data": NAMES}
    assert option["series"][0] == {"type": "bar", "name": "甲", "data": [1.0, -2.0, 3.0]}
    assert option["legend"]["data"] == ["甲", "乙"]
    assert option_of(ALL["scatter"])["series"][0]["data"] == [[1.0, 3.0], [2.0, 4.0]]
    assert option_of(ALL["radar"])["radar"]["indicator"][0] == {"name": "a", "max": 5.0}
    tree = option_of(ALL["tree"])["series"][0]["data"][0]
    assert tree == {
        "name": "r",
        "children": [{"name": "a", "children": [{"name": "c"}]}, {"name": "b"}],
    }


def broken(**changes: Any) -> dict[str, Any]:
    """A valid option with one thing changed, by path."""
    option = copy.deepcopy(option_of(ALL["bar"]))
    for path, value in changes.items():
        *outer, last = path.split("__")
        inner: Any = option
        for key in outer:
            inner = inner[int(key) if key.isdigit() else key]
        if value is ...:
            del inner[last]
        else:
            inner[int(last) if last.isdigit() else last] = value
    return option


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (broken(series=[]), "series"),
        (broken(series__0__type="gauge"), "series"),
        (broken(series__0__data=[1, 2]), "2 values for 3 categories"),
        (broken(series__0__data=[1, "2", 3]), "series"),
        (broken(series__0__data=[1.0, 2e15, 3.0]), "values lie between"),
        (broken(xAxis=...), "xAxis of categories"),
        (broken(xAxis__type="value"), "xAxis of categories"),
        (broken(title__link="javascript:alert(1)"), "title"),
        (broken(graphic=[{"type": "image"}]), "graphic"),
        (
            broken(series__1={"type": "pie", "data": [{"name": "a", "value": 1}]}),
            "do not stand in one chart",
        ),
        (broken(title=...), "title"),
    ],
)
def test_an_invalid_option_is_refused(option: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        check(option)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (Data("pie", "", NAMES, TWO), "one series"),
        (Data("pie", "", ["a"], ONE), "3 values for 1 categories"),
        (Data("funnel", "", NAMES, [Series("", [0.0, 0.0, 0.0])]), "not all are 0"),
        (Data("pie", "", NAMES, [Series("", [5.0, -1.0, 1.0])]), "0 or above 0"),
        (Data("radar", "", ["a", "b"], [Series("", [1.0, 2.0])]), "indicator"),
        (Data("scatter", "", [], ONE), "two columns"),
        (Data("tree", "", links=[("a", "b"), ("b", "a")]), "one root"),
        (Data("tree", "", links=[(f"n{n}", f"n{n + 1}") for n in range(9)]), "6 levels"),
        (
            Data(
                "tree",
                "",
                links=[("r", f"{n}") for n in range(20)]
                + [(f"{n}", f"x{m}") for n in range(20) for m in range(9)],
            ),
            f"{MAX_NODES} names",
        ),
        (Data("bar", "", NAMES, [Series("", [1e300, 1.0, 1.0])]), "values lie between"),
    ],
)
def test_data_that_make_no_such_chart_are_refused(data: Data, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        option_of(data)


def test_ticks_are_round_and_enclose() -> None:
    assert ticks(0, 143) == [0, 50, 100, 150]
    assert ticks(-2, 3) == [-2, -1, 0, 1, 2, 3]
    assert ticks(7, 7)[0] <= 7 <= ticks(7, 7)[-1]
