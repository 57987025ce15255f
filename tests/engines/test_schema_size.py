"""Which schemas are too large for an engine, told from the schema alone."""

from typing import Any

import pytest

from yangfan.engines._schema_size import MOST_CHOICES, MOST_WIDE, size_of


@pytest.mark.parametrize(
    "pattern",
    [
        "(a{1,30000}b{1,30000}){1,30000}",
        "((([a-z]{9}\\\\){99}){99}){99}",
        "(a{1000}){1000}b",
        "((a{1,99999999999999999999}))",
        "[]x]{1000}[^]\\]]{1000001}",
        "(" * 500 + "a" + "{999999999})" * 500,
    ],
)
@pytest.mark.parametrize("place", ["pattern", "items", "patternProperties", "list"])
def test_a_pattern_that_unfolds_too_far_is_found_wherever_it_stands(
    pattern: str, place: str
) -> None:
    string = {"type": "string", "pattern": pattern}
    schemas: dict[str, object] = {
        "pattern": string,
        "items": {"type": "array", "items": {"anyOf": [{"type": "null"}, string]}},
        "patternProperties": {"type": "object", "patternProperties": {pattern: {}}},
        "list": [[string]],
    }
    assert size_of(schemas[place]).unfolds


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "(a{1,900}b{0}){0,1000}"},
        {"pattern": "[(a{1000}){1000}){1000}]{1000}"},
        {"pattern": r"\(a{1000}\){1000}"},
        {"pattern": "a{1000}" * 900},
        {"pattern": "))](a{,5}{"},
        {"pattern": "\\"},
        {"pattern": "[a"},
        {"properties": {"pattern": {"type": "string"}}, "patternProperties": 7},
        {"type": "array", "maxItems": 2_000_000},
        "a text",
        None,
    ],
)
def test_what_does_not_multiply_is_left_to_the_library(schema: object) -> None:
    size = size_of(schema)
    assert size.unfolds is size.too_wide is size.too_many_choices is None


def text(**limits: int | str) -> dict[str, Any]:
    return {"type": "string", **limits}


@pytest.mark.parametrize(
    ("schema", "wide"),
    [
        (text(maxLength=3000), 3000),
        (text(minLength=30, maxLength=40), 70),
        (text(minLength=-(10**9), maxLength=40), 40),
        ({"properties": {"a": text(maxLength=100), "b": text(maxLength=100)}}, 100),
        ({"properties": {"a": text(maxLength=100), "b": text(maxLength=101)}}, 201),
        ({"type": "array", "maxItems": 100, "items": text(maxLength=50)}, 50),
        (text(pattern=r"^.{0,300}[^a]{2}\S{10}$"), 312),
        (text(pattern="(.{20}a){20}"), 400),
        (text(pattern="[a-z.]{0,4000}[.]"), 0),
        ({"properties": {"maxLength": {"type": "integer"}}}, 0),
    ],
)
def test_places_for_any_character_are_counted(schema: object, wide: int) -> None:
    size = size_of(schema)
    assert size.wide == wide
    assert (size.too_wide is not None) == (wide > MOST_WIDE)
    assert wide <= MOST_WIDE or f"{wide:,} characters" in str(size.too_wide)


WORDS: dict[str, Any] = {"enum": [f"word {number}" for number in range(400)]}


MANY: dict[str, Any] = {f"p{number}": {} for number in range(600)}


@pytest.mark.parametrize(
    ("schema", "choices"),
    [
        (WORDS, 400),
        ({"anyOf": [WORDS, WORDS, {"type": "null"}]}, 801),
        ({"properties": {"a": WORDS, "b": WORDS}}, 400),
        ({"$defs": {"w": WORDS}, "oneOf": [{"$ref": "#/$defs/w"}] * 3}, 1200),
        ({"$defs": {"s": {"anyOf": [{"$ref": "#/$defs/s"}] * 2}}, "$ref": "#/$defs/s"}, 2),
        ({"properties": MANY}, 600),
        ({"properties": MANY, "required": ["p1", 7]}, 599),
        (text(pattern="|".join(f"a{n}" for n in range(600))), 599),
        (text(pattern="((a?b?c?){0,100}){0,100}"), 30_000),
        (text(pattern="a?" * 700), 700),
        (text(maxLength=3000), 1),
        ({"type": "array", "maxItems": 3000, "items": {"type": "integer"}}, 1),
        ({"$ref": "#/nowhere/at/all"}, 1),
    ],
)
def test_ways_to_go_on_from_one_place_are_counted(schema: object, choices: int) -> None:
    size = size_of(schema)
    assert size.choices == choices
    assert (size.too_many_choices is not None) == (choices > MOST_CHOICES)
    assert choices <= MOST_CHOICES or f"{choices:,} ways" in str(size.too_many_choices)
