"""Rendering is plain substitution in one pass, in linear time, whatever stands in template and values."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yangfan.errors import Invalid
from yangfan.protocol import templates
from yangfan.protocol.templates import (
    IDENTIFIERS,
    MAX_RENDERED_CHARACTERS,
    MAX_VARIABLES,
    Identifier,
    checked_names,
    render,
    variables_of,
)

MAX_SECONDS = 5.0
"""Far above what linear work takes on a busy machine, far below what anything worse takes."""


def around(name: str, identifier: Identifier) -> str:
    half = len(identifier) // 2
    return f"{identifier[:half]}{name}{identifier[half:]}"


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_each_delimiter_finds_and_fills_its_variables(identifier: Identifier):
    template = f"a {around('one', identifier)} b {around('two_2', identifier)}{around('one', identifier)} c"
    assert variables_of(template, identifier) == ("one", "two_2")
    text, undefined = render(template, identifier, {"one": "1", "other": "x"})
    assert (text, undefined) == (f"a 1 b {around('two_2', identifier)}1 c", ("two_2",))


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_other_delimiters_are_text(identifier: Identifier):
    others: list[Identifier] = [other for other in IDENTIFIERS if other[0] != identifier[0]]
    template = " ".join(around("name", other) for other in others)
    assert variables_of(template, identifier) == ()
    assert render(template, identifier, {"name": "x"}) == (template, ())


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ('{"key": "{value}"}', ("value",)),
        ("{a} {1st} {with space} {姓名} {a-b} {} { ab }", ()),
        (f"{{{'n' * 30}}} {{{'n' * 31}}}", ("n" * 30,)),
        ("{{name}}", ("name",)),
        ("{__class__} {x.__init__} {x!r} {x:>10} %s $name ${name}", ("__class__", "name")),
    ],
)
def test_what_is_no_name_is_text(template: str, names: tuple[str, ...]):
    assert variables_of(template, "{}") == names


def test_no_template_language_is_understood():
    hostile = "{% for x in y %}{{ 7*7 }}{# c #}<%= 1 %>{x.__class__}{0}%(a)s\\1\\g<0>"
    assert render("{{input}}", "{{}}", {"input": hostile}).text == hostile
    assert render(hostile, "{}", {"x": "1"}) == (hostile, ())


def test_value_is_never_looked_at_again():
    values = {"one": "{two}", "two": "{one}", "three": "\\1 {three}"}
    assert render("{one} {two} {three}", "{}", values).text == "{two} {one} \\1 {three}"


@given(st.dictionaries(st.from_regex(r"\A[a-z_]\w{1,5}\Z"), st.text()), st.text())
def test_text_between_variables_stays(values: dict[str, str], text: str):
    safe = text.replace("[[", "").replace("]]", "").replace("[", "(")
    template = "".join(f"{safe}[[{name}]]" for name in values)
    ascii_values = {name: value for name, value in values.items() if name.isascii()}
    wanted = "".join(
        safe + (value if name.isascii() else f"[[{name}]]") for name, value in values.items()
    )
    assert render(template, "[[]]", ascii_values).text == wanted


def test_numbers_and_booleans_are_written_as_in_json():
    values = {"aa": 1, "bb": 0.5, "cc": True, "dd": False}
    assert render("{aa} {bb} {cc} {dd}", "{}", values).text == "1 0.5 true false"


def test_only_listed_variables_are_filled():
    text, undefined = render("{one} {two}", "{}", {"one": "1", "two": "2"}, names=["two", "six"])
    assert (text, undefined) == ("{one} 2", ())


@pytest.mark.parametrize("identifier", IDENTIFIERS)
@pytest.mark.parametrize(
    "pattern", ["{left}", "{left}aa", "{right}", "{left}{left}aa{right}", "{left}aa bb"]
)
def test_hostile_templates_take_linear_time(identifier: Identifier, pattern: str):
    half = len(identifier) // 2
    piece = pattern.format(left=identifier[:half], right=identifier[half:])
    template = piece * (1_000_000 // len(piece))
    began = time.perf_counter()
    render(template, identifier, {})
    variables_of(template, identifier)
    assert time.perf_counter() - began < MAX_SECONDS


def test_text_that_would_explode_is_refused_early():
    template = "{bomb}" * 16_000
    began = time.perf_counter()
    with pytest.raises(
        Invalid, match="longer than 1000000 characters; bomb brings it there"
    ) as caught:
        render(template, "{}", {"bomb": "x" * 1_000_000})
    assert (caught.value.param, time.perf_counter() - began < MAX_SECONDS) == ("bomb", True)
    assert (
        len(render("{bomb}", "{}", {"bomb": "x" * MAX_RENDERED_CHARACTERS}).text)
        == MAX_RENDERED_CHARACTERS
    )


def test_listed_names_are_checked():
    assert checked_names([" one", "two ", "", "one"], param="p") == ("one", "two")
    for name in ("1st", "a", "a b", "姓名", "n" * 31, "a-b"):
        with pytest.raises(Invalid, match="is no name of a variable; use 2 to 30 letters"):
            checked_names([name], param="p")
    with pytest.raises(Invalid, match="at most 200 variables, this one 201"):
        checked_names([f"n{number}" for number in range(MAX_VARIABLES + 1)], param="p")


@pytest.mark.parametrize(
    "text",
    [
        "=== user ===\n2?\n=== assistant ===\ntwo\n=== user ===\n{input}?",
        "=== user ===\na\n\nb\n=== assistant ===\n\n=== user ===\nc",
    ],
)
def test_conversation_is_turns_that_can_be_written_again(text: str):
    found = templates.turns_of(text)
    assert [role for role, _ in found] == ["user", "assistant", "user"]
    assert templates.spelled_out(found) == text
    assert templates.spells_turns(text)


@pytest.mark.parametrize(
    "text",
    [
        "Say {input}",
        "",
        "before\n=== user ===\na",
        "=== assistant ===\na\n=== user ===\nb",
        "=== user ===\na\n=== user ===\nb",
        "=== user ===\na\n=== assistant ===\nb",
        "a === user === b",
    ],
)
def test_what_is_no_conversation_is_one_turn_of_the_users(text: str):
    assert templates.turns_of(text) == [("user", text)]
