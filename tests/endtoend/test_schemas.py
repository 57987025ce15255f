"""Schemas of every kind against the real engine: what it answers fits, what it cannot do is refused, and it lives on."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

import yangfan

if TYPE_CHECKING:
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages

pytestmark = [pytest.mark.model, pytest.mark.slow]

SCHEMAS = 40
LEAVES: list[Any] = [
    {"type": "string"},
    {"type": "string", "minLength": 3, "maxLength": 5},
    {"type": "string", "pattern": r"^\d{2}-(red|green)$"},
    {"type": "string", "format": "date"},
    {"type": "integer", "minimum": -3, "maximum": 12},
    {"type": ["boolean", "null"]},
    {"enum": ["a", 'quote"', "中文", 2.5, None, {"x": [1]}]},
    {"const": {"a": []}},
    # What must not reach an engine.
    {"type": "string", "pattern": "^(?=a)"},
    {"type": "string", "maxLength": 10**9},
    {"type": "array", "minItems": 5, "maxItems": 2},
    {"type": "integer", "minimum": 5, "maximum": 3},
    {"$ref": "#/$defs/none"},
    {"type": "nonsense"},
    {"enum": []},
]
NAMES = ["a", "b c", 'q"', "back\\slash", "名", "$ref"]


def grow(seed: random.Random, levels: int, leaves: list[Any]) -> Any:
    """A schema of at most so many levels."""
    if levels == 0:
        return seed.choice(leaves)
    kind = seed.choice(["object", "array", "choice", "leaf"])
    if kind == "object":
        names = seed.sample(NAMES, seed.randint(1, 3))
        properties = {name: grow(seed, levels - 1, leaves) for name in names}
        return {"type": "object", "properties": properties, "required": names[:1]}
    if kind == "array":
        items = grow(seed, levels - 1, leaves)
        return {"type": "array", "items": items, "minItems": 1, "maxItems": seed.randint(1, 3)}
    if kind == "choice":
        return {"anyOf": [grow(seed, levels - 1, leaves) for _ in range(2)]}
    return seed.choice(leaves)


def fits(value: Any, schema: Any) -> bool:
    """Whether `value` is as `schema` says, for the words used above."""
    if "anyOf" in schema:
        return any(fits(value, branch) for branch in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return any(FITS[name](value, schema) for name in names)


def fits_string(value: Any, schema: Any) -> bool:
    return isinstance(value, str) and (
        schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**6)
        and re.search(schema.get("pattern", ""), value) is not None
        and ("format" not in schema or re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None)
    )


def fits_array(value: Any, schema: Any) -> bool:
    return (
        isinstance(value, list)
        and schema["minItems"] <= len(cast("list[Any]", value)) <= schema["maxItems"]
        and all(fits(item, schema["items"]) for item in cast("list[Any]", value))
    )


def fits_object(value: Any, schema: Any) -> bool:
    if not isinstance(value, dict):
        return False
    fields = cast("dict[str, Any]", value)
    known: dict[str, Any] = schema["properties"]
    named = set(fields)
    allowed: bool = set[str](schema["required"]) <= named <= set(known)
    return allowed and all(fits(item, known[name]) for name, item in fields.items())


FITS: dict[str, Callable[[Any, Any], bool]] = {
    "null": lambda value, _: value is None,
    "boolean": lambda value, _: isinstance(value, bool),
    "integer": lambda value, schema: (
        isinstance(value, int) and schema["minimum"] <= value <= schema["maximum"]
    ),
    "string": fits_string,
    "array": fits_array,
    "object": fits_object,
}


def ask(client: yangfan.Client, schema: Any, *, max_output_tokens: int) -> yangfan.ChatResult:
    return client.chat(
        "Answer in JSON.",
        model="smollm2-135m-instruct",
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        max_output_tokens=max_output_tokens,
    )


def test_every_whole_answer_fits_its_schema(model_server: Server) -> None:
    seed = random.Random(7)
    fitting = LEAVES[:8]
    whole = 0
    with yangfan.Client(model_server.base_url, bearer=model_server.bearer) as client:
        for _ in range(SCHEMAS // 10):
            schema = grow(seed, 2, fitting)
            answer = ask(client, schema, max_output_tokens=40)
            if answer.finish_reason == "stop":
                whole += 1
                assert fits(json.loads(answer.text), schema), (answer.text, schema)
    assert whole >= 1


def test_hostile_schemas_are_refused_and_the_engine_lives_on(model_server: Server) -> None:
    seed = random.Random(11)
    refused = 0
    with yangfan.Client(model_server.base_url, bearer=model_server.bearer) as client:
        for _ in range(SCHEMAS):
            try:
                ask(client, grow(seed, 3, LEAVES), max_output_tokens=4)
            except yangfan.Invalid as refusal:
                assert "response_format" in str(refusal)  # noqa: PT017 - answers are as welcome
                refused += 1
        assert client.chat("Hi", model="ernie_speed", max_output_tokens=4).text
    assert refused >= SCHEMAS // 4
