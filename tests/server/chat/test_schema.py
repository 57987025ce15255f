"""What becomes of schemas on their way to an engine, and which never get there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yangfan.errors import Invalid
from yangfan.server.chat.pattern import portable
from yangfan.server.chat.schema import MAX_ALTERNATIVES, MAX_DEPTH, MAX_NODES, Reducer

STRING = {"type": "string"}


def exactly(schema: object) -> dict[str, Any]:
    return Reducer(exact=True).reduce(schema, "schema")


def loosely(schema: object) -> dict[str, Any]:
    return Reducer(exact=False).reduce(schema, "schema")


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = STRING
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


KEPT: list[tuple[str, Any, Any]] = [
    ("nothing", {}, {}),
    ("plain type", {"type": "boolean"}, {"type": "boolean"}),
    (
        "notes",
        {"type": "null", "title": "t", "description": "d", "default": 1},
        {"title": "t", "description": "d", "type": "null"},
    ),
    (
        "lengths",
        {"type": "string", "minLength": 1, "maxLength": 9},
        {"type": "string", "minLength": 1, "maxLength": 9},
    ),
    (
        "pattern",
        {"type": "string", "pattern": r"^\d{3}$"},
        {"type": "string", "pattern": "^[0-9]{3}$"},
    ),
    ("format", {"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
    ("format that only notes", {"type": "string", "format": "email"}, STRING),
    (
        "integer bounds",
        {"type": "integer", "exclusiveMinimum": 0, "maximum": 9.5},
        {"type": "integer", "minimum": 1, "maximum": 9},
    ),
    ("several types", {"type": ["string", "null"]}, {"anyOf": [STRING, {"type": "null"}]}),
    (
        "array",
        {"type": "array", "items": STRING, "maxItems": 3},
        {"type": "array", "items": STRING, "maxItems": 3},
    ),
    (
        "tuple",
        {"type": "array", "prefixItems": [STRING, {}]},
        {"type": "array", "prefixItems": [STRING, {}]},
    ),
    (
        "object is closed",
        {"type": "object", "properties": {"a": STRING}},
        {"type": "object", "properties": {"a": STRING}, "additionalProperties": False},
    ),
    (
        "no arguments",
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": False},
    ),
    ("any object", {"type": "object"}, {"type": "object"}),
    (
        "map",
        {"type": "object", "additionalProperties": STRING},
        {"type": "object", "additionalProperties": STRING},
    ),
    (
        "required without a schema",
        {"type": "object", "required": ["a"]},
        {
            "type": "object",
            "properties": {"a": {}},
            "required": ["a"],
            "additionalProperties": False,
        },
    ),
    ("type from its words", {"items": STRING}, {"type": "array", "items": STRING}),
    ("const", {"const": None}, {"enum": [None]}),
    ("enum of its type", {"type": "string", "enum": ["a", 1]}, {"enum": ["a"]}),
    ("oneOf", {"oneOf": [STRING, {"type": "null"}]}, {"anyOf": [STRING, {"type": "null"}]}),
    ("allOf of one", {"allOf": [STRING]}, STRING),
    ("reference", {"$ref": "#/$defs/a", "$defs": {"a": STRING}}, STRING),
    (
        "reference with notes",
        {"$ref": "#/definitions/a~1b", "definitions": {"a/b": STRING}},
        STRING,
    ),
]

REFUSED: list[tuple[str, Any, str]] = [
    ("no schema", 5, "^schema/: a schema must be an object"),
    ("false", False, "a schema must be an object"),
    ("unknown type", {"type": "text"}, "^schema/type: must be one or several of string"),
    ("no types", {"type": []}, "/type: must be one"),
    (
        "inner schema",
        {"type": "object", "properties": {"a": 5}},
        "^schema/properties/a: a schema must",
    ),
    ("properties list", {"type": "object", "properties": []}, "/properties: must be an object"),
    ("required text", {"type": "object", "required": "a"}, "/required: must be a list"),
    (
        "required but forbidden",
        {"type": "object", "required": ["a"], "additionalProperties": False},
        "'a' is required",
    ),
    ("name with a line feed", {"type": "object", "properties": {"a\n": {}}}, "printable"),
    ("empty enum", {"enum": []}, "^schema/enum: enum must be"),
    ("enum of another type", {"type": "string", "enum": [1]}, "no value is of the type"),
    ("empty anyOf", {"anyOf": []}, "^schema/anyOf: must be a list"),
    ("negative length", {"type": "string", "minLength": -1}, "/minLength: must be an integer"),
    (
        "lengths crossed",
        {"type": "string", "minLength": 5, "maxLength": 2},
        "minLength: is above maxLength",
    ),
    (
        "items crossed",
        {"type": "array", "minItems": 5, "maxItems": 2},
        "minItems: is above maxItems",
    ),
    ("numbers crossed", {"type": "integer", "minimum": 5, "maximum": 3}, "no integer is between"),
    ("number too large", {"type": "integer", "maximum": 10**30}, "/maximum: must be in"),
    ("minimum true", {"type": "integer", "minimum": True}, "/minimum: must be a number"),
    ("remote reference", {"$ref": "http://example.com/x"}, r"^schema/\$ref: only references into"),
    ("missing reference", {"$ref": "#/nope"}, "#/nope does not exist"),
    (
        "empty circle",
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        "refers to itself",
    ),
    ("circle of choices", {"anyOf": [STRING, {"$ref": "#"}]}, "refers to itself"),
    ("too deep", nested(MAX_DEPTH + 1), f"more than {MAX_DEPTH} deep"),
    (
        "too many schemas",
        {"type": "object", "properties": {f"p{n}": {} for n in range(MAX_NODES)}},
        f"more than {MAX_NODES} schemas",
    ),
    (
        "too many values",
        {"enum": list(range(MAX_ALTERNATIVES + 1))},
        f"more than {MAX_ALTERNATIVES} values",
    ),
    (
        "too many optional properties",
        {"type": "object", "properties": {f"p{n}": {} for n in range(129)}},
        "/properties: more than 128 are optional",
    ),
    ("long value", {"const": "x" * 2000}, "longer than 1024 bytes"),
]

LOOSE: list[tuple[str, Any, Any, str]] = [
    (
        "many items",
        {"type": "array", "maxItems": 10**9},
        {"type": "array"},
        "maxItems: must be at most 256",
    ),
    ("long text", {"type": "string", "minLength": 10**9}, STRING, "minLength: must be at most 256"),
    ("look-ahead", {"type": "string", "pattern": "^(?=a)b$"}, STRING, r"/pattern: must be \^…\$"),
    ("part of a line", {"type": "string", "pattern": "abc"}, STRING, "/pattern: must be"),
    (
        "number bounds",
        {"type": "number", "minimum": 0},
        {"type": "number"},
        "for type integer only",
    ),
    ("not", {"type": "string", "not": {"const": "a"}}, STRING, "^schema/not: not is not supported"),
    (
        "uniqueItems",
        {"type": "array", "uniqueItems": True},
        {"type": "array"},
        "uniqueItems is not",
    ),
    ("allOf of two", {"allOf": [STRING, STRING]}, {}, "allOf of several"),
    (
        "choice beside a type's words",
        {"minLength": 1, "anyOf": [STRING]},
        {"anyOf": [STRING]},
        "not supported beside minLength",
    ),
]


@pytest.mark.parametrize(
    ("schema", "reduced"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT]
)
def test_what_grammars_know_is_kept(schema: object, reduced: object) -> None:
    assert exactly(schema) == reduced
    assert loosely(schema) == reduced


@pytest.mark.parametrize(
    ("schema", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_is_no_schema_or_too_large_is_refused(schema: object, says: str) -> None:
    for reduce in (exactly, loosely):
        with pytest.raises(Invalid, match=says):
            reduce(schema)


@pytest.mark.parametrize(
    ("schema", "reduced", "says"), [row[1:] for row in LOOSE], ids=[row[0] for row in LOOSE]
)
def test_what_no_grammar_guarantees_is_refused_or_left_out(
    schema: object, reduced: object, says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        exactly(schema)
    assert loosely(schema) == reduced


def test_a_schema_that_refers_to_itself_keeps_its_definition() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    reduced = exactly(tree)
    ((name, definition),) = reduced["$defs"].items()
    assert reduced["$ref"] == f"#/$defs/{name}"
    assert definition["properties"]["children"]["items"] == {"$ref": f"#/$defs/{name}"}
    assert loosely(tree)["properties"]["children"] == {"type": "array"}


def test_references_cannot_multiply_without_end() -> None:
    definitions: dict[str, Any] = {"d0": STRING}
    for level in range(1, 12):
        twice = {"$ref": f"#/$defs/d{level - 1}"}
        definitions[f"d{level}"] = {"type": "object", "properties": {"a": twice, "b": twice}}
    with pytest.raises(Invalid, match="schemas in a request"):
        exactly({"$ref": "#/$defs/d11", "$defs": definitions})


def test_the_limits_hold_for_all_schemas_of_a_request() -> None:
    reducer = Reducer(exact=True)
    reducer.reduce({"enum": list(range(MAX_ALTERNATIVES))}, "schema")
    with pytest.raises(Invalid, match="in a request"):
        reducer.reduce({"const": 1}, "schema")


WORDS = [
    *("type", "properties", "required", "additionalProperties", "items", "prefixItems", "enum"),
    *("const", "anyOf", "oneOf", "allOf", "$ref", "$defs", "minLength", "maxLength", "pattern"),
    *("format", "minimum", "maximum", "exclusiveMinimum", "minItems", "maxItems", "not", "title"),
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["string", "object", "array", "integer", "#", "#/$defs/a", "^a+$", "date", "a"]
    ),
    st.text(max_size=5),
)
DOCUMENTS = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from([*WORDS, "a"]), inner, max_size=5),
    ),
    max_leaves=25,
)


@given(DOCUMENTS, st.booleans())
@settings(max_examples=300)
def test_any_document_is_refused_or_reduced_to_what_reduces_to_itself(
    document: object, exact: bool
) -> None:
    try:
        reduced = Reducer(exact=exact).reduce(document, "schema")
    except Invalid:
        return
    msgspec.json.encode(reduced)
    if "$defs" not in reduced:
        assert exactly(reduced) == reduced


@pytest.mark.parametrize(
    ("pattern", "same"),
    [
        ("^[a-z]+$", "^[a-z]+$"),
        (r"^\d{3}-\d{4}$", "^[0-9]{3}-[0-9]{4}$"),
        (r"^\w+\.txt$", "^[A-Za-z0-9_]+[.]txt$"),
        ("^(red|green){1,2}$", "^(red|green){1,2}$"),
        ("^[一-龥]{2,4}$", "^[一-龥]{2,4}$"),
        ("^.*$", None),
        ('^[^"]$', None),
        ("^[ -~]+$", None),
        ("^(?=a)b$", None),
        (r"^(a)\1$", None),
        (r"^\p{L}$", None),
        ("^a{0}$", None),
        ("^(a{99}){99}$", None),
        ("^(a$", None),
        ("a", None),
        ("^" + "a" * 300 + "$", None),
    ],
)
def test_patterns(pattern: str, same: str | None) -> None:
    assert portable(pattern) == same
