"""From words with places to text that a model can be told: reading order, columns of prose, tables in Markdown, charts.

Rows are found first: words whose vertical middles lie within each other. Rows one below the other whose words stand in the same columns
are a table, unless the columns are so full that they are columns of prose; those are read one after another.
"""

from __future__ import annotations

import itertools
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yangfan.plugins.image_questions.words import Chart, Word

MAX_CHARS = 12_000
"""Longest text that a model is told of one picture."""

_ROW_GAP = 2.5
"""Rows of a table are at most so many of their heights apart."""

_PROSE_FILL = 0.8
_PROSE_CHARS = 10
"""Columns whose words fill this share of the column and have so many characters are prose, not a table."""

Row = list["Word"]


def told(words: Sequence[Word], chart: Chart | None, *, chinese: bool) -> str:
    """A picture in words: its text and tables in reading order, then what its chart shows."""
    if chart is None:
        return "\n\n".join(text_blocks(words))[:MAX_CHARS]
    # What stands in a chart stands in no table, and its numbers were told.
    rest = [word for word in words if any(character.isalpha() for character in word.text)]
    head = "图片中的文字：" if chinese else "Text in the picture:"
    lines = "\n".join(map(_line, rows_of(rest)))
    return f"{chart_text(chart, chinese=chinese)}\n\n{head}\n{lines}"[:MAX_CHARS]


def text_blocks(words: Sequence[Word]) -> list[str]:
    """Blocks of text and tables, in the order in which they are read."""
    blocks: list[str] = []
    lines: list[str] = []

    def flush() -> None:
        if lines:
            blocks.append("\n".join(lines))
            lines.clear()

    rows = rows_of(words)
    place = 0
    while place < len(rows):
        end, columns = _aligned(rows, place)
        if end - place < 2:
            lines.append(_line(rows[place]))
            place += 1
            continue
        flush()
        block = rows[place:end]
        if _is_prose(block, columns):
            for column in columns:
                inside = [word for row in block for word in row if _inside(word, column)]
                blocks.append("\n".join(word.text for word in inside))
        else:
            blocks.append(_table(block, columns))
        place = end
    flush()
    return blocks


def rows_of(words: Sequence[Word]) -> list[Row]:
    """Words that stand beside each other, from the top; each row from the left."""
    rows: list[Row] = []
    for word in sorted(words, key=lambda each: each.middle):
        row = rows[-1] if rows else []
        if row and any(
            abs(word.middle - other.middle) < 0.5 * min(word.height, other.height) for other in row
        ):
            row.append(word)
        else:
            rows.append([word])
    for row in rows:
        row.sort(key=lambda each: each.left)
    return rows


def _line(row: Row) -> str:
    return "  ".join(word.text for word in row)


def _aligned(rows: Sequence[Row], start: int) -> tuple[int, list[tuple[float, float]]]:
    """How far rows from `start` on stand in the same columns, and the columns."""
    columns = [(word.left, word.right) for word in rows[start]]
    if len(columns) < 2:
        return start + 1, columns
    end = start + 1
    while end < len(rows):
        row, above = rows[end], rows[end - 1]
        gap = min(word.top for word in row) - max(word.bottom for word in above)
        if gap > _ROW_GAP * max(word.height for word in row) or len(row) < 2:
            break
        merged = _merged([*columns, *((word.left, word.right) for word in row)])
        if len(merged) < max(2, *(len(each) for each in rows[start : end + 1])):
            break
        columns = merged
        end += 1
    return end, columns


def _merged(intervals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Intervals that touch become one."""
    found: list[tuple[float, float]] = []
    for left, right in sorted(intervals):
        if found and left < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], right))
        else:
            found.append((left, right))
    return found


def _inside(word: Word, column: tuple[float, float]) -> bool:
    return column[0] <= word.centre <= column[1]


def _is_prose(rows: Sequence[Row], columns: Sequence[tuple[float, float]]) -> bool:
    if len(rows) < 3 or len(columns) > 3:
        return False
    fills: list[float] = []
    for left, right in columns:
        inside = [word for row in rows for word in row if _inside(word, (left, right))]
        fills.append(median((word.right - word.left) / (right - left) for word in inside))
    characters = median(len(word.text) for row in rows for word in row)
    return min(fills) > _PROSE_FILL and characters >= _PROSE_CHARS


def _table(rows: Sequence[Row], columns: Sequence[tuple[float, float]]) -> str:
    lines: list[str] = []
    for row in rows:
        cells = [
            " ".join(word.text for word in row if _inside(word, column)).replace("|", "\\|")
            for column in columns
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.insert(1, "|" + " --- |" * len(columns))
    return "\n".join(lines)


def chart_text(chart: Chart, *, chinese: bool) -> str:
    """A chart as a table of its values."""
    kinds = {
        "bar": ("柱状图", "bar chart"),
        "line": ("折线图", "line chart"),
        "pie": ("饼图", "pie chart"),
    }
    kind = kinds[chart.kind][not chinese]
    how = (
        ("数值为图中标注", "values as printed")
        if chart.printed
        else ("数值按坐标轴量取，为近似值", "values measured against the axis, about")
    )
    head = f"{kind}（{how[0]}）" if chinese else f"A {kind} ({how[1]})"
    if chart.title:
        head += f"：{chart.title}" if chinese else f": {chart.title}"
    lone = "数值" if chinese else "value"
    names = ["类别" if chinese else "category", *(each.name or lone for each in chart.series)]
    rows = [names]
    for place, category in enumerate(chart.categories):
        values = [series.values[place] for series in chart.series]
        rows.append([category, *("" if value is None else f"{value:g}" for value in values)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(names))
    extremes = [_extremes(chart, place, chinese=chinese) for place in range(len(chart.series))]
    return "\n".join(itertools.chain([head], lines, filter(None, extremes)))


def _extremes(chart: Chart, place: int, *, chinese: bool) -> str:
    """What is most often asked of a chart, said outright: small models compare numbers badly."""
    series = chart.series[place]
    seen = [
        (value, category)
        for value, category in zip(series.values, chart.categories, strict=True)
        if value is not None
    ]
    if len(seen) < 2:
        return ""
    most, least = max(seen), min(seen)
    name = (
        f"{series.name}：" if series.name and chinese else f"{series.name}: " if series.name else ""
    )
    if chinese:
        return f"{name}最高是{most[1]}（{most[0]:g}），最低是{least[1]}（{least[0]:g}）"
    return f"{name}highest is {most[1]} ({most[0]:g}), lowest is {least[1]} ({least[0]:g})"


def pointed(text: str, question: str, *, chinese: bool) -> str:
    """The cells of told tables whose row and column a question names, said outright: small models do not find them; "" if it names none."""
    folded = question.casefold()
    head: list[str] = []
    found: list[str] = []
    for line in text.splitlines():
        if not line.startswith("| "):
            if not line.startswith("|"):
                head = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not head:
            head = cells
        elif cells[0] and cells[0] != "---" and cells[0].casefold() in folded:
            columns = [n for n, name in enumerate(head) if n and name and name.casefold() in folded]
            found += [
                f"{cells[0]} {head[place]}: {cells[place]}"
                for place in columns or ([1] if len(head) == 2 else [])
                if place < len(cells) and cells[place]
            ]
    if not found:
        return ""
    lines = "\n".join(found[:10])
    return f"\n\n问题所指：\n{lines}" if chinese else f"\n\nAsked for:\n{lines}"
