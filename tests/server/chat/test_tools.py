"""Functions on offer."""

from __future__ import annotations

import pytest

from yangfan.engines.base import Tool
from yangfan.errors import Invalid
from yangfan.server.chat.tools import MAX_TOOLS, OfferedFunction, read_tools

TREE = {"type": "object", "properties": {"child": {"$ref": "#"}}}


def test_functions_keep_their_order_and_words() -> None:
    offered = [OfferedFunction("查询天气", "天气", None), OfferedFunction("get-time", "", {})]
    none = {"type": "object", "additionalProperties": False}
    assert read_tools(offered, param="tools") == (
        Tool("查询天气", "天气", none),
        Tool("get-time", "", none),
    )


@pytest.mark.parametrize("name", ["a b", 'a"', "a\\", "a\n", "x" * 65])
def test_names_that_no_grammar_can_hold_are_refused(name: str) -> None:
    with pytest.raises(Invalid, match=r"functions\[0\]: a function's name"):
        read_tools([OfferedFunction(name, "", None)], param="functions")


def test_two_functions_of_one_name_are_refused() -> None:
    twice = [OfferedFunction("f", "", None)] * 2
    with pytest.raises(Invalid, match=r"tools\[1\]: two functions have the name 'f'"):
        read_tools(twice, param="tools")


def test_too_many_functions_are_refused() -> None:
    many = [OfferedFunction(f"f{number}", "", None) for number in range(MAX_TOOLS + 1)]
    with pytest.raises(Invalid, match=f"at most {MAX_TOOLS}"):
        read_tools(many, param="tools")


@pytest.mark.parametrize(
    "parameters", [{"type": "string"}, {"anyOf": [{"type": "object"}]}, {"enum": [{"a": 1}]}]
)
def test_parameters_that_are_no_object_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(Invalid, match=r"tools\[0\].parameters: must be of type object"):
        read_tools([OfferedFunction("f", "", parameters)], param="tools")


def test_strict_functions_are_refused_what_others_are_forgiven() -> None:
    assert read_tools([OfferedFunction("f", "", TREE)], param="tools")[0].parameters == {
        "type": "object",
        "properties": {"child": {}},
        "additionalProperties": False,
    }
    with pytest.raises(Invalid, match="not refer to itself"):
        read_tools([OfferedFunction("f", "", TREE, strict=True)], param="tools")
