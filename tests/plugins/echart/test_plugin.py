"""Who reads the data: the chat service, held to the request, or the rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from yangfan.engines.base import Message, Sampling
from yangfan.errors import EngineFailed, QuotaExceeded
from yangfan.plugins.echart.plugin import SCHEMA, call

ASKED = "画饼图：苹果卖了12箱，梨卖了8箱"


class FakeHost:
    """A chat service that says one thing."""

    def __init__(self, said: Any = None, prompt: str = "") -> None:
        self.prompt, self._said = prompt, said
        self.variables = dict[str, str]()
        self.asked = 0

    async def chat(
        self, messages: Sequence[Message], sampling: Sampling, *, schema: Mapping[str, Any]
    ) -> str:
        assert schema is SCHEMA
        assert sampling.max_output_tokens
        assert str(messages[0].content).strip()
        self.asked += 1
        if isinstance(self._said, Exception):
            raise self._said
        return self._said if isinstance(self._said, str) else json.dumps(self._said)


def chart(
    kind: str = "pie", categories: Sequence[str] = ("苹果", "梨"), values: Sequence[float] = (12, 8)
) -> dict[str, Any]:
    return {
        "type": kind,
        "title": "水果",
        "categories": [*categories],
        "series": [{"name": "", "values": [*values]}],
    }


async def drawn(host: Any, question: str = ASKED) -> Any:
    return await call({"query": question}, host)


async def test_what_the_model_reads_is_drawn_if_the_request_says_the_same() -> None:
    outcome = await drawn(FakeHost(chart()))
    assert outcome.response["source"] == "model"
    assert outcome.response["option"]["title"]["text"] == "水果"
    assert outcome.response["option"]["series"][0]["data"] == [
        {"name": "苹果", "value": 12.0},
        {"name": "梨", "value": 8.0},
    ]
    assert outcome.response["svg"].startswith("<svg ")
    assert "| 苹果 | 12 |" in outcome.prompt
    assert outcome.prompt.endswith(ASKED)


@pytest.mark.parametrize(
    "said",
    [
        "no JSON",
        {},
        chart(values=(12, 9)),
        chart(categories=("苹果", "香蕉")),
        chart(kind="bar"),
        chart(values=(12,)),
        chart(categories=("苹果", "苹果"), values=(12, 8)),
        chart(categories=("苹果",), values=(12,)),
        EngineFailed("gone"),
    ],
)
async def test_what_is_made_up_or_broken_gives_way_to_the_rules(said: Any) -> None:
    host = FakeHost(said)
    outcome = await drawn(host)
    assert host.asked == 1
    assert outcome.response["source"] == "rules"
    # 卖了 stays with the name: rules know no words.
    assert [each["value"] for each in outcome.response["option"]["series"][0]["data"]] == [
        12.0,
        8.0,
    ]


async def test_a_model_may_read_what_rules_cannot() -> None:
    question = "画柱状图，数据如下 (甲 / 5) (乙 / 7)"
    outcome = await drawn(FakeHost(chart("bar", ("甲", "乙"), (5, 7))), question)
    assert outcome.response["source"] == "model"


async def test_without_data_nothing_is_drawn_and_nobody_asked() -> None:
    host = FakeHost(chart())
    outcome = await drawn(host, "画一个饼图")
    assert host.asked == 0
    assert outcome.answer.startswith("请求中没有可以画成图表的数据")
    assert outcome.response["errCode"] == 1
    assert (await drawn(host, "draw a chart")).answer.startswith("The request holds no data")


async def test_limits_of_the_caller_stay_limits() -> None:
    with pytest.raises(QuotaExceeded):
        await drawn(FakeHost(QuotaExceeded("used up")))
