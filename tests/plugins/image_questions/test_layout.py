"""From words with places to text: reading order, tables, columns of prose, charts."""

from __future__ import annotations

from yangfan.plugins.image_questions.layout import chart_text, pointed, rows_of, text_blocks, told
from yangfan.plugins.image_questions.words import Chart, Values, Word


def word(text: str, left: float, top: float, width: float = 0, height: float = 20) -> Word:
    return Word(text, left, top, left + (width or 12 * len(text)), top + height)


def test_rows_from_the_top_and_words_from_the_left() -> None:
    rows = rows_of([word("d", 300, 52), word("b", 200, 3), word("c", 10, 50), word("a", 10, 0)])
    assert [[each.text for each in row] for row in rows] == [["a", "b"], ["c", "d"]]


def test_aligned_rows_are_a_table_with_its_blanks() -> None:
    words = [
        word("Prices", 150, 0),
        *(word(text, 10 + 120 * x, 40) for x, text in enumerate(["City", "2024", "2025"])),
        *(word(text, 10 + 120 * x, 80) for x, text in enumerate(["Rome", "12", "13|5"])),
        *(word(text, 10 + 120 * x, 120) for x, text in enumerate(["Oslo", "", "9"]) if text),
        word("All in euros.", 10, 220),
    ]
    assert text_blocks(words) == [
        "Prices",
        "| City | 2024 | 2025 |\n| --- | --- | --- |\n| Rome | 12 | 13\\|5 |\n| Oslo |  | 9 |",
        "All in euros.",
    ]


def test_full_columns_are_prose_read_one_after_another() -> None:
    words = [
        word(f"{side} line {line} of the text", 20 + 320 * (side == "right"), 30 * line, 280)
        for line in range(4)
        for side in ("left", "right")
    ]
    left, right = text_blocks(words)
    assert left.splitlines()[0] == "left line 0 of the text"
    assert right.splitlines()[-1] == "right line 3 of the text"


def test_a_chart_is_told_with_its_extremes_and_the_words_beside_it() -> None:
    chart = Chart(
        "bar",
        "销量",
        ["一月", "二月"],
        [Values("北京", [3.0, 5.5]), Values("上海", [None, 2.0])],
        printed=True,
    )
    text = told([word("40", 0, 0), word("来源：统计局", 0, 50)], chart, chinese=True)
    assert "柱状图（数值为图中标注）：销量" in text
    assert "| 一月 | 3 |  |" in text
    assert "北京：最高是二月（5.5），最低是一月（3）" in text
    assert text.endswith("图片中的文字：\n来源：统计局")
    english = chart_text(
        Chart("line", "", ["a", "b"], [Values("", [1.0, 2.0])], printed=False), chinese=False
    )
    assert english.startswith(
        "A line chart (values measured against the axis, about)\n| category | value |"
    )
    assert english.endswith("highest is b (2), lowest is a (1)")


def test_nothing_is_nothing() -> None:
    assert told([], None, chinese=True) == ""


def test_the_cells_that_a_question_names_are_said_outright() -> None:
    text = "Prices\n\n| City | 2024 | 2025 |\n| --- | --- | --- |\n| Rome | 12 | 13 |\n| Oslo |  | 9 |\n\nOslo 2025"
    assert pointed(text, "And Rome in 2025?", chinese=False) == "\n\nAsked for:\nRome 2025: 13"
    assert pointed(text, "Rome?", chinese=False) == ""
    assert pointed(text, "Oslo 2024?", chinese=False) == ""
    lone = "| 类别 | 数值 |\n| --- | --- |\n| 一月 | 3 |"
    assert pointed(lone, "一月是多少？", chinese=True) == "\n\n问题所指：\n一月 数值: 3"
