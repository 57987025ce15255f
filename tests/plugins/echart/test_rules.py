"""Data out of requests: tables, lists and sentences, in Chinese and English."""

from __future__ import annotations

import time

import pytest

from yangfan.plugins.echart.option import Data, Series
from yangfan.plugins.echart.rules import as_table, data_in, named_kind

SCHOOLS = (
    "请按照下面要求给我生成雷达图：学校教育质量: 维度：师资力量、设施、课程内容、学生满意度。对象：A,B,C三所学校。"
    "学校A的师资力量得分为10分，设施得分为8分，课程内容的得分为7分，学生满意度的得分为9分。\n"
    "* 学校B的师资力量得分为8分，设施得分为9分，课程内容的得分为8分，学生满意度的得分为7分。\n"
    "* 学校C的师资力量得分为7分，设施得分为7分，课程内容的得分为9分，学生满意度的得分为8分。"
)
"""The example of Qianfan's own documentation; so is the first pie below."""


@pytest.mark.parametrize(
    ("request_", "kind", "categories", "series"),
    [
        (
            "帮我画一个饼状图：8月的用户反馈中，BUG有100条，需求有100条，使用咨询100条，总共300条反馈",
            "pie",
            ["BUG", "需求", "使用咨询"],
            [("", [100, 100, 100])],
        ),
        (
            SCHOOLS,
            "radar",
            ["师资力量", "设施", "课程内容", "学生满意度"],
            [("学校A", [10, 8, 7, 9]), ("学校B", [8, 9, 8, 7]), ("学校C", [7, 7, 9, 8])],
        ),
        (
            "Draw a line chart of sales:\n| month | A | B |\n|---|:-:|---|\n| Jan | 1,200 | 3 |\n| Feb | 4 | -5.5 |\n| total | 1204 | 8 |",
            "line",
            ["Jan", "Feb"],
            [("A", [1200, 4]), ("B", [3, -5.5])],
        ),
        (
            "画柱状图\n城市,人口,面积\n北京,2184,16410\n上海,2487,6340",
            "bar",
            ["北京", "上海"],
            [("人口", [2184, 2487]), ("面积", [16410, 6340])],
        ),
        ("Plot: Q1 is 12, Q2 is 15, Q3 is 9.5", "bar", ["Q1", "Q2", "Q3"], [("", [12, 15, 9.5])]),
        (
            "Show a pie chart. Sales were 12 in January, 15 in February and 9 in March.",
            "pie",
            ["January", "February", "March"],
            [("", [12, 15, 9])],
        ),
        (
            "散点图\n身高\t体重\n170\t60\n180\t75\n165\t52",
            "scatter",
            ["身高", "体重"],
            [("身高", [170, 180, 165]), ("体重", [60, 75, 52])],
        ),
        ("漏斗图：浏览1000，加购 300，下单120", "funnel", ["浏览", "加购", "下单"], [("", [1000, 300, 120])]),
        ("按年画折线图\n2021,5\n2022,7\n2023,6", "line", ["2021", "2022", "2023"], [("", [5, 7, 6])]),
    ],
)  # fmt: skip
def test_data_are_read(
    request_: str, kind: str, categories: list[str], series: list[tuple[str, list[float]]]
) -> None:
    data = data_in(request_)
    assert data is not None
    assert data.type == kind
    assert data.categories == categories
    assert [(each.name, each.values) for each in data.series] == series


def test_a_nested_list_is_a_tree() -> None:
    data = data_in("用思维导图展示：\n项目计划\n- 设计\n  - 界面\n  - 接口\n- 开发\n1. 测试")
    assert data is not None
    assert data.links == [
        ("项目计划", "设计"),
        ("设计", "界面"),
        ("设计", "接口"),
        ("项目计划", "开发"),
        ("项目计划", "测试"),
    ]


@pytest.mark.parametrize(
    "request_", ["你好", "画一个饼图", "What is 7 times 8?", "雷达图：甲 1，乙 2", ""]
)
def test_where_no_data_stand_none_are_made_up(request_: str) -> None:
    assert data_in(request_) is None


def test_the_named_kind() -> None:
    assert named_kind("Sales as a trend") == "line"
    assert named_kind("各部门的占比") == "pie"
    assert named_kind("每月销量") is None


def test_hostile_requests_take_no_time() -> None:
    started = time.process_time()
    for text in (
        " " * 4800,
        "," * 4800,
        "1" * 4800,
        "a:" * 2400,
        "的" * 4800,
        "| " * 2400,
        "- a\n" * 1200,
    ):
        data_in(f"图 {text}")
    assert time.process_time() - started < 2


def test_data_as_a_table() -> None:
    data = Data("bar", "", ["a", "b"], [Series("x", [1.0, None]), Series("", [2.5, 3.0])])
    assert as_table(data) == "|  | x | - |\n| --- | --- | --- |\n| a | 1 | 2.5 |\n| b |  | 3 |"
