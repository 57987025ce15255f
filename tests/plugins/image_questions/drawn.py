"""Pictures with questions whose answers are known: texts, tables and charts in Chinese and English, drawn from a seed."""

from __future__ import annotations

import importlib.util
import io
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

Kind = Literal["text", "table", "bar", "line", "pie"]
KINDS: tuple[Kind, ...] = ("text", "table", "bar", "line", "pie")
TOLERANCE = 0.02
"""How far a value may lie from the true one, as a share of the longest axis' value, where only an axis tells it."""

_WORDS: dict[str, dict[str, list[str]]] = {
    "zh": {
        "keys": ["会议时间", "会议地点", "主持人", "联系电话", "截止日期", "报名费用", "订单编号", "收货地址"],
        "values": [
            "三月十五日下午两点", "北京市海淀区中关村", "张晓明", "13800138000", "二〇二六年六月三十日",
            "一百二十元", "编号二零四八", "上海市浦东新区",
        ],
        "titles": ["培训通知", "订单详情", "活动安排", "采购说明"],
        "rows": ["北京", "上海", "广州", "深圳", "成都", "杭州", "武汉", "西安"],
        "columns": ["人口", "面积", "销量", "产值", "门店", "员工"],
        "corner": ["城市"],
        "series": ["去年", "今年"],
        "charts": ["各地销量", "季度客流", "设备产量", "用户增长"],
        "categories": ["一月", "二月", "三月", "四月", "五月", "六月"],
        "parts": ["研发", "市场", "生产", "客服", "财务"],
    },
    "en": {
        "keys": ["Meeting time", "Location", "Chair", "Telephone", "Deadline", "Fee", "Order number", "Address"],
        "values": [
            "14:30 on 15 March", "Room 204 North Building", "Margaret Hill", "020-5550-1234", "30 June 2026",
            "120 euros", "AX-20487", "17 Harbour Street",
        ],
        "titles": ["Training notice", "Order details", "Event schedule", "Purchase note"],
        "rows": ["London", "Paris", "Berlin", "Madrid", "Rome", "Vienna", "Oslo", "Dublin"],
        "columns": ["People", "Area", "Sales", "Output", "Shops", "Staff"],
        "corner": ["City"],
        "series": ["Last year", "This year"],
        "charts": ["Sales by month", "Visitors", "Output of machines", "New users"],
        "categories": ["Jan", "Feb", "Mar", "Apr", "May", "Jun"],
        "parts": ["Research", "Marketing", "Production", "Support", "Finance"],
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, and what is asked about it.

    Attributes:
        key: What the question names: a line, a row, a category.
        field: Which column or series; "" if there is one only.
        answer: What is right.
        most_off: How far a measured number may be off; 0 where it is printed.
    """

    name: str
    kind: Kind
    language: str
    data: bytes
    question: str
    key: str
    field: str
    answer: str
    most_off: float = 0.0

    def is_told(self, told: str) -> bool:
        """Whether the answer stands where it belongs in what a model is told of the picture."""
        if self.kind == "text":
            return any(
                _plain(self.key) in line and _plain(self.answer) in line for line in _lines(told)
            )
        rows = [
            [_plain(cell) for cell in line.strip("|").split("|")]
            for line in told.splitlines()
            if line.startswith("|")
        ]
        if not rows:
            return False
        head = rows[0]
        column = head.index(_plain(self.field)) if self.field and _plain(self.field) in head else 1
        return any(
            row[0] == _plain(self.key) and column < len(row) and self._agrees(row[column])
            for row in rows
        )

    def is_answered(self, text: str) -> bool:
        """Whether an answer holds what is right."""
        if self.most_off:
            return any(self._agrees(each) for each in re.findall(r"\d+(?:\.\d+)?", text))
        return _plain(self.answer) in _plain(text)

    def _agrees(self, cell: str) -> bool:
        if not self.most_off:
            return cell.removesuffix("%") == _plain(self.answer)
        try:
            return abs(float(cell) - float(self.answer)) <= self.most_off
        except ValueError:
            return False


def _plain(text: str) -> str:
    return re.sub(r"[\s,，:：]", "", text).casefold()


def _lines(text: str) -> list[str]:
    return [_plain(line) for line in text.splitlines()]


def font() -> Path:
    """A font with Chinese and Latin letters, from a package of fonts."""
    spec = importlib.util.find_spec("zhplot")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "fonts" / "NotoSansSC-Regular.ttf"


def drawn(count: int, seed: int, *, worn: bool = False) -> list[Drawn]:
    """`count` pictures: each kind in each language in turn.

    Args:
        count: How many.
        seed: The same one gives the same pictures.
        worn: As a scanner or a messenger leaves them: turned by up to 1.5 degrees, grainy, and JPEG of quality 50.
    """
    chance = random.Random(seed)
    found: list[Drawn] = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        language = ("zh", "en")[number // len(KINDS) % 2]
        make = {"text": _text, "table": _table, "pie": _pie}.get(kind, _axes)
        made = make(f"{kind}-{language}-{number}", kind, language, chance)
        found.append(replace(made, data=_worn(made.data, chance)) if worn else made)
    return found


def _worn(data: bytes, chance: random.Random) -> bytes:
    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(data)).convert("RGB")
    turned = image.rotate(
        chance.uniform(-1.5, 1.5), Image.Resampling.BICUBIC, expand=True, fillcolor="white"
    )
    grain = np.random.default_rng(chance.randrange(2**32)).normal(
        0, 8, (turned.height, turned.width, 1)
    )
    pixels = np.clip(np.asarray(turned).astype(float) + grain, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=50)
    return stream.getvalue()


def _canvas(width: int, height: int, size: int) -> tuple[Image, Any, Any]:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, height), "white")
    return image, ImageDraw.Draw(image), ImageFont.truetype(str(font()), size)


def _png(image: Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _text(name: str, kind: Kind, language: str, chance: random.Random) -> Drawn:
    words = _WORDS[language]
    places = chance.sample(range(len(words["keys"])), 5)
    size = chance.choice([18, 22, 26])
    image, draw, letters = _canvas(560, 60 + 6 * 2 * size, size)
    draw.text((180, 16), chance.choice(words["titles"]), fill="black", font=letters)
    sign = "：" if language == "zh" else ": "
    for line, place in enumerate(places, 1):
        text = f"{words['keys'][place]}{sign}{words['values'][place]}"
        draw.text(
            (40, 20 + 2 * size * line), text, fill=chance.choice(["black", "#223355"]), font=letters
        )
    asked = chance.choice(places)
    key, answer = words["keys"][asked], words["values"][asked]
    question = f"{key}是什么？" if language == "zh" else f"What is the {key.lower()}?"
    return Drawn(name, kind, language, _png(image), question, key, "", answer)


def _table(name: str, kind: Kind, language: str, chance: random.Random) -> Drawn:
    words = _WORDS[language]
    rows, columns = chance.sample(words["rows"], 4), chance.sample(words["columns"], 3)
    values = [[chance.randint(10, 9999) for _ in columns] for _ in rows]
    size, ruled, right = chance.choice([18, 22]), chance.random() < 0.5, chance.random() < 0.5
    width, height = 140, 2 * size
    image, draw, letters = _canvas(40 + width * 4, 40 + height * 5, size)
    table = [
        [words["corner"][0], *columns],
        *([row, *map(str, line)] for row, line in zip(rows, values, strict=True)),
    ]
    for y, line in enumerate(table):
        for x, cell in enumerate(line):
            left, top = 20 + width * x, 20 + height * y
            shift = width - 12 - draw.textlength(cell, font=letters) if right and x else 10
            draw.text((left + shift, top + size // 3), cell, fill="black", font=letters)
            if ruled:
                draw.rectangle((left, top, left + width, top + height), outline="#888888")
    y, x = chance.randrange(len(rows)), chance.randrange(len(columns))
    key, field = rows[y], columns[x]
    question = f"{key}的{field}是多少？" if language == "zh" else f"What is the {field} of {key}?"
    return Drawn(name, kind, language, _png(image), question, key, field, str(values[y][x]))


def _plotted() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import font_manager, pyplot

    manager: Any = font_manager.fontManager
    manager.addfont(str(font()))
    pyplot.rcParams["font.family"] = "Noto Sans SC"
    return pyplot


def _axes(name: str, kind: Kind, language: str, chance: random.Random) -> Drawn:
    words, pyplot = _WORDS[language], _plotted()
    count, several, labelled = chance.randint(3, 6), chance.random() < 0.5, chance.random() < 0.4
    categories, names = words["categories"][:count], words["series"] if several else [""]
    top = chance.choice([20, 80, 300, 1000])
    values = [[chance.randint(top // 10, top) for _ in categories] for _ in names]
    figure, axes = pyplot.subplots(figsize=(5.2, 3.4))
    for number, (each, heights) in enumerate(zip(names, values, strict=True)):
        if kind == "bar":
            wide = 0.8 / len(names)
            places = [place - 0.4 + wide * (number + 0.5) for place in range(count)]
            bars = axes.bar(places, heights, wide, label=each)
            if labelled:
                axes.bar_label(bars)
        else:
            axes.plot(range(count), heights, marker=chance.choice(["o", None]), label=each)
    axes.set_xticks(range(count), categories)
    axes.set_ylim(0, top * 1.3)
    axes.set_title(chance.choice(words["charts"]))
    if several:
        axes.legend(loc=chance.choice(["upper left", "upper right"]))
    png = _figure(figure, pyplot)
    line, place = chance.randrange(len(names)), chance.randrange(count)
    key, field = categories[place], names[line]
    if language == "zh":
        question = f"{field}{key}的数值大约是多少？"
    else:
        question = f"About how much is {f'{field} in ' if field else 'the value of '}{key}?"
    return Drawn(
        name,
        kind,
        language,
        png,
        question,
        key,
        field,
        str(values[line][place]),
        1.3 * top * TOLERANCE,
    )


def _pie(name: str, kind: Kind, language: str, chance: random.Random) -> Drawn:
    words, pyplot = _WORDS[language], _plotted()
    parts = chance.sample(words["parts"], chance.randint(3, 4))
    cuts = sorted(chance.sample(range(3, 18), len(parts) - 1))
    shares = [5 * (high - low) for low, high in zip([0, *cuts], [*cuts, 20], strict=True)]
    figure, axes = pyplot.subplots(figsize=(4.2, 3.4))
    axes.pie(shares, labels=parts, autopct="%.0f%%", startangle=chance.choice([0, 90]))
    png = _figure(figure, pyplot)
    place = chance.randrange(len(parts))
    question = (
        f"{parts[place]}占百分之多少？" if language == "zh" else f"Which share has {parts[place]}?"
    )
    return Drawn(name, kind, language, png, question, parts[place], "", str(shares[place]))


def _figure(figure: Any, pyplot: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    pyplot.close(figure)
    return stream.getvalue()


def rates(results: Sequence[tuple[Drawn, bool]]) -> dict[str, str]:
    """How many are right, by kind and in all, such as ``12/12``."""
    groups: dict[str, list[bool]] = {}
    for each, right in results:
        for name in (each.kind, each.language, "all"):
            groups.setdefault(name, []).append(right)
    return {name: f"{sum(each)}/{len(each)}" for name, each in sorted(groups.items())}
