"""What the plugin `eChart` does: the chat service says what is to be drawn, the rules check it or take its place, and the chart is made here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from yangfan.engines.base import Message, Sampling
from yangfan.errors import EngineFailed, Invalid, Overloaded
from yangfan.plugins._texts import filled, is_chinese
from yangfan.plugins.base import Outcome
from yangfan.plugins.echart.drawing import svg_of
from yangfan.plugins.echart.option import Data, option_of
from yangfan.plugins.echart.rules import as_table, data_in, named_kind, numbers_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.plugins.base import Host

MAX_ANSWER_TOKENS = 1200

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "title", "categories", "series"],
    "properties": {
        "type": {"enum": ["bar", "line", "pie", "radar", "scatter", "funnel"]},
        "title": {"type": "string", "maxLength": 60},
        "categories": {
            "type": "array",
            "maxItems": 50,
            "items": {"type": "string", "maxLength": 60},
        },
        "series": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "values"],
                "properties": {
                    "name": {"type": "string", "maxLength": 60},
                    "values": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 50,
                        "items": {"type": "number"},
                    },
                },
            },
        },
    },
}
"""What the chat service answers in."""

_EXTRACT = {
    True: "把下面请求中的数据整理成图表数据：图表类型、标题、类别和每个系列的数值。只使用请求里出现的名称和数字，不要编造。\n\n{question}",
    False: "Put the data of the request below into a chart: its type, a title, the categories, and the values of each series. Use the names and"
    " numbers of the request only.\n\n{question}",
}
_TELL = {
    True: "根据请求已生成{kind}。下面是图表数据，请用一两句话说明数据中最值得注意的地方，不要编造数字。\n\n{context}\n\n请求：{question}",
    False: "The chart ({kind}) for the request was drawn. Below are its data: say in one or two sentences what is most notable in them, and"
    " make no numbers up.\n\n{context}\n\nRequest: {question}",
}
_NOTHING = {
    True: "请求中没有可以画成图表的数据。请给出表格，或写出每一项的名称和数值，例如“柱状图：一月12，二月15”。",
    False: 'The request holds no data to draw. Give a table, or names with their numbers, such as "bar chart: Jan 12, Feb 15".',
}
_KINDS = {
    "bar": "柱状图",
    "line": "折线图",
    "pie": "饼图",
    "radar": "雷达图",
    "scatter": "散点图",
    "funnel": "漏斗图",
    "tree": "思维导图",
}


async def call(inputs: Mapping[str, Any], host: Host) -> Outcome:
    """The chart that `query` asks for.

    Raises:
        RefusedError: The platform refused to ask the chat service.
    """
    question = inputs["query"]
    chinese = is_chinese(question)
    request = {"query": question}
    by_rule = data_in(question)
    made = await _made(question, by_rule, host, chinese=chinese)
    if made is None:
        said = _NOTHING[chinese]
        return Outcome(said, answer=said, request=request, response={"errCode": 1, "errMsg": said})
    data, option, source = made
    table = as_table(data)
    response = {
        "errCode": 0,
        "errMsg": "success",
        "source": source,
        "option": option,
        "svg": svg_of(data),
    }
    kind = _KINDS[data.type] if chinese else data.type
    values = {**host.variables, "kind": kind, "context": table, "question": question}
    prompt = filled(host.prompt or _TELL[chinese], values)
    return Outcome(table, prompt=prompt, sources=(table,), request=request, response=response)


async def _made(
    question: str, by_rule: Data | None, host: Host, *, chinese: bool
) -> tuple[Data, dict[str, Any], str] | None:
    """Data, option, and who read the data: model or rules."""
    said = None
    if (by_rule is None or by_rule.type != "tree") and numbers_in(question):
        said = await _by_model(question, host, chinese=chinese)
    for data, source in ((said, "model"), (by_rule, "rules")):
        if data is None or (source == "model" and not _is_grounded(data, question, by_rule)):
            continue
        try:
            return data, option_of(data), source
        except Invalid:
            continue
    return None


async def _by_model(question: str, host: Host, *, chinese: bool) -> Data | None:
    """What the chat service reads; None if that is nothing."""
    asked = filled(_EXTRACT[chinese], {"question": question})
    sampling = Sampling(temperature=0.01, max_output_tokens=MAX_ANSWER_TOKENS)
    try:
        text = await host.chat([Message("user", asked)], sampling, schema=SCHEMA)
        return msgspec.json.decode(text, type=Data)
    except (msgspec.MsgspecError, EngineFailed, Overloaded, Invalid):
        return None


def _is_grounded(data: Data, question: str, by_rule: Data | None) -> bool:
    """Whether a model's data say nothing that the request does not: each name and number stands there, none is missing, and the kind is the named one."""
    kind = named_kind(question)
    if kind is not None and data.type != kind:
        return False
    folded = question.casefold()
    names = [*data.categories, *(each.name for each in data.series if each.name)]
    if data.type != "scatter" and any(name.casefold() not in folded for name in names):
        return False
    if len(set(data.categories)) < len(data.categories):
        return False
    values = [value for each in data.series for value in each.values]
    if any(value is None or value not in numbers_in(question) for value in values):
        return False
    # The rules read tables to the letter: where they found more or other values, they are right.
    return by_rule is None or sorted(map(repr, _values(by_rule))) == sorted(map(repr, values))


def _values(data: Data) -> list[float | None]:
    return [value for each in data.series for value in each.values]
