"""JSON Schema on its way to an engine: checked, bounded, and reduced to what grammars guarantee.

An engine turns a schema into a grammar. A bad one can hang it (`minItems` above `maxItems` did), cost it seconds for every token,
or be ignored in part without a word. So what reaches an engine is written here, from keywords that are understood; every output
that fits the reduced schema fits the original one.

The words are those of https://json-schema.org/draft/2020-12/json-schema-validation.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import msgspec

from yangfan.errors import Invalid
from yangfan.server.chat.pattern import portable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_DEPTH = 24
"""Schemas inside each other, references followed."""

MAX_NODES = 1000
"""Schemas in one request, references followed."""

MAX_ALTERNATIVES = 256
"""Values of `enum` and branches of `anyOf` in one request: each is tried at every token."""

MAX_REPETITIONS = 256
"""Highest bound of a length or a count of items: what an engine keeps track of at every token grows with it."""

MAX_TOTAL_REPETITIONS = 4096
"""All those bounds in one request together."""

MAX_OPTIONAL = 128
"""Properties of one object that may be left out: each may come next, so each is tried at every token."""

MAX_NAME_CHARS = 256
MAX_VALUE_BYTES = 1024
MAX_INTEGER = 10**15

Schema = dict[str, Any]

_TYPES = ("string", "integer", "number", "boolean", "null", "array", "object")
_FORMATS = frozenset({"date", "time", "date-time", "uuid"})
_NOTES = ("title", "description")
_UNSUPPORTED = (
    *("not", "if", "then", "else", "multipleOf", "$dynamicRef", "$recursiveRef"),
    *("contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties"),
    *("patternProperties", "propertyNames", "minProperties", "maxProperties"),
    *("dependencies", "dependentRequired", "dependentSchemas"),
)
_TYPE_OF_KEYWORD = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "maxItems": "array",
    "minLength": "string",
    "maxLength": "string",
    "pattern": "string",
}


class Reducer:
    """Reduces the schemas of one request, which share its limits.

    Args:
        exact: What grammars cannot guarantee is refused. Otherwise, as for the arguments of functions, it is left out.
    """

    def __init__(self, *, exact: bool) -> None:
        self._exact = exact
        self._nodes = 0
        self._alternatives = 0
        self._repetitions = 0
        self._where = ""
        self._root: Any = None
        self._open: dict[str, int] = {}
        self._recursive: set[str] = set()
        self._definitions: dict[str, Schema] = {}
        self._nesting = 0
        self._readers: dict[str, Callable[[Mapping[str, Any], str, int], Schema]] = {
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "array": self._array,
            "object": self._object,
        }

    def reduce(self, schema: object, where: str) -> Schema:
        """The schema in words that engines guarantee.

        Args:
            schema: As the caller sent it.
            where: Its place in the request, for the text of errors.

        Raises:
            Invalid: It is no schema, is too large, or (if `exact`) says what no grammar can; the text has the JSON pointer.
        """
        self._where, self._root = where, schema
        self._open.clear()
        self._recursive.clear()
        self._definitions.clear()
        reduced = self._follow("#", schema, "", 0)
        if self._definitions:
            reduced = {**reduced, "$defs": dict(self._definitions)}
        return reduced

    # Any schema

    def _read(self, schema: object, pointer: str, depth: int) -> Schema:
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise self._wrong(pointer, "a schema must be an object")
        if depth > MAX_DEPTH:
            raise self._wrong(pointer, f"schemas are nested more than {MAX_DEPTH} deep; flatten it")
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._wrong(
                pointer, f"more than {MAX_NODES} schemas in a request; make it smaller"
            )
        given = cast("Schema", schema)
        for keyword in _UNSUPPORTED:
            if keyword in given:
                self._cannot(f"{pointer}/{keyword}", f"{keyword} is not supported; leave it out")
        if given.get("uniqueItems"):
            self._cannot(f"{pointer}/uniqueItems", "uniqueItems is not supported; leave it out")
        notes = {word: given[word] for word in _NOTES if isinstance(given.get(word), str)}
        return {**notes, **self._meaning(given, pointer, depth)}

    def _meaning(self, given: Schema, pointer: str, depth: int) -> Schema:
        for keyword, read in (
            ("$ref", self._reference),
            ("const", self._const),
            ("enum", self._enum),
            ("anyOf", self._any_of),
            ("oneOf", self._any_of),
            ("allOf", self._all_of),
        ):
            if keyword in given:
                return read(given, f"{pointer}/{keyword}", depth)
        return self._typed(given, pointer, depth)

    def _typed(self, given: Schema, pointer: str, depth: int) -> Schema:
        types = self._types(given, pointer)
        if not types:
            return {}
        branches: list[Schema] = []
        for name in types:
            read = self._readers.get(name)
            rest = read(given, pointer, depth) if read is not None else {}
            branches.append({"type": name, **rest})
        if len(branches) == 1:
            return branches[0]
        self._add_alternatives(len(branches), pointer)
        return {"anyOf": branches}

    def _types(self, given: Schema, pointer: str) -> list[str]:
        wanted = given.get("type")
        if wanted is None:
            # Without a type the keywords of one say nothing about values of another: taking theirs is narrower, so it fits.
            guesses = {_TYPE_OF_KEYWORD[word] for word in given if word in _TYPE_OF_KEYWORD}
            return sorted(guesses)[:1]
        names = cast("list[object]", wanted) if isinstance(wanted, list) else [wanted]
        known = [name for name in _TYPES if name in names]
        if not known or len(known) != len(names):
            raise self._wrong(f"{pointer}/type", f"must be one or several of {', '.join(_TYPES)}")
        return known

    # Values and choices

    def _const(self, given: Schema, pointer: str, depth: int) -> Schema:
        return self._enum({**given, "enum": [given["const"]]}, pointer, depth)

    def _enum(self, given: Schema, pointer: str, depth: int) -> Schema:  # noqa: ARG002 - all readers take a depth
        values = given["enum"]
        if not isinstance(values, list) or not values:
            raise self._wrong(pointer, "enum must be a list of at least one value")
        types = self._types(given, pointer) if "type" in given else _TYPES
        fitting = [value for value in cast("list[object]", values) if _is_of(value, types)]
        if not fitting:
            raise self._wrong(pointer, "no value is of the type that is asked for")
        self._add_alternatives(len(fitting), pointer)
        for value in fitting:
            if len(msgspec.json.encode(value)) > MAX_VALUE_BYTES:
                raise self._wrong(pointer, f"a value is longer than {MAX_VALUE_BYTES} bytes")
        return {"enum": fitting}

    def _any_of(self, given: Schema, pointer: str, depth: int) -> Schema:
        branches = given[pointer.rpartition("/")[2]]
        if not isinstance(branches, list) or not branches:
            raise self._wrong(pointer, "must be a list of at least one schema")
        branches = cast("list[object]", branches)
        self._refuse_company(given, pointer)
        self._add_alternatives(len(branches), pointer)
        return {
            "anyOf": [
                self._read(branch, f"{pointer}/{position}", depth + 1)
                for position, branch in enumerate(branches)
            ]
        }

    def _all_of(self, given: Schema, pointer: str, depth: int) -> Schema:
        parts = given["allOf"]
        if not isinstance(parts, list) or not parts:
            raise self._wrong(pointer, "must be a list of at least one schema")
        parts = cast("list[object]", parts)
        self._refuse_company(given, pointer)
        if len(parts) > 1:
            self._cannot(pointer, "allOf of several schemas is not supported; merge them")
            return {}
        return self._read(parts[0], f"{pointer}/0", depth + 1)

    def _refuse_company(self, given: Schema, pointer: str) -> None:
        """`anyOf` beside other demands means both, which no grammar says."""
        for word in given:
            if word in _TYPE_OF_KEYWORD or word in {"anyOf", "oneOf", "allOf"} - {_last(pointer)}:
                self._cannot(
                    pointer, f"is not supported beside {word}; write {word} into each branch"
                )

    # References

    def _reference(self, given: Schema, pointer: str, depth: int) -> Schema:
        address = given["$ref"]
        if not isinstance(address, str) or not address.startswith("#"):
            raise self._wrong(pointer, "only references into the same schema, such as #/$defs/name")
        for word in given:
            if word in _TYPE_OF_KEYWORD or word in {"anyOf", "oneOf", "allOf", "enum", "const"}:
                self._cannot(pointer, f"is not supported beside {word}")
        return self._follow(address, self._resolve(address, pointer), pointer, depth + 1)

    def _follow(self, address: str, target: object, pointer: str, depth: int) -> Schema:
        if address in self._open:
            if self._nesting == self._open[address]:
                raise self._wrong(pointer, "refers to itself with nothing in between")
            if not self._exact:
                return {}
            self._recursive.add(address)
            return {"$ref": self._name_of(address)}
        self._open[address] = self._nesting
        reduced = self._read(target, pointer, depth)
        del self._open[address]
        if address not in self._recursive:
            return reduced
        name = self._name_of(address)
        self._definitions[name.rpartition("/")[2]] = reduced
        return {"$ref": name}

    def _name_of(self, address: str) -> str:
        plain = "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in address[1:])
        return f"#/$defs/{plain.strip('-') or 'root'}-{len(address)}"

    def _resolve(self, address: str, pointer: str) -> object:
        node: object = self._root
        for token in unquote(address).split("/")[1:]:
            word = token.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and word in node:
                node = cast("Schema", node)[word]
            elif isinstance(node, list) and word.isascii() and word.isdigit() and len(word) < 6:
                items = cast("list[object]", node)
                node = items[int(word)] if int(word) < len(items) else None
            else:
                node = None
            if node is None:
                raise self._wrong(pointer, f"{address[:MAX_NAME_CHARS]} does not exist")
        return node

    # Types

    def _string(self, given: Mapping[str, Any], pointer: str, depth: int) -> Schema:  # noqa: ARG002 - all readers take a depth
        bounds = self._bounds(given, pointer, "minLength", "maxLength")
        if "pattern" in given:
            return self._pattern(given["pattern"], f"{pointer}/pattern", bounds)
        wanted = given.get("format")
        if wanted in _FORMATS:
            if bounds:
                self._cannot(f"{pointer}/format", "is not supported beside a length")
            return {"format": wanted}
        return bounds

    def _pattern(self, pattern: object, pointer: str, bounds: Schema) -> Schema:
        if not isinstance(pattern, str):
            raise self._wrong(pointer, "must be a string")
        plain = portable(pattern)
        if plain is None:
            self._cannot(
                pointer,
                "must be ^…$ of plain characters, classes such as [a-z] or \\d, groups, | and small counts",
            )
            return bounds
        if bounds:
            self._cannot(pointer, "is not supported beside a length; count in the pattern")
        return {"pattern": plain}

    def _integer(self, given: Mapping[str, Any], pointer: str, depth: int) -> Schema:  # noqa: ARG002 - all readers take a depth
        least = self._limit(given, pointer, "minimum", "exclusiveMinimum", up=True)
        most = self._limit(given, pointer, "maximum", "exclusiveMaximum", up=False)
        if least is not None and most is not None and least > most:
            raise self._wrong(pointer, "no integer is between minimum and maximum")
        bounds = {"minimum": least, "maximum": most}
        return {word: value for word, value in bounds.items() if value is not None}

    def _limit(
        self, given: Mapping[str, Any], pointer: str, word: str, exclusive: str, *, up: bool
    ) -> int | None:
        """The bound as an integer that is itself allowed."""
        found: list[int] = []
        for name in (word, exclusive):
            value = given.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self._wrong(f"{pointer}/{name}", "must be a number")
            if abs(value) > MAX_INTEGER:
                raise self._wrong(f"{pointer}/{name}", f"must be in ±{MAX_INTEGER}")
            bound = math.ceil(value) if up else math.floor(value)
            if name == exclusive and bound == value:
                bound += 1 if up else -1
            found.append(bound)
        return (max(found) if up else min(found)) if found else None

    def _number(self, given: Mapping[str, Any], pointer: str, depth: int) -> Schema:  # noqa: ARG002 - all readers take a depth
        for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if word in given:
                self._cannot(f"{pointer}/{word}", "is supported for type integer only")
        return {}

    def _array(self, given: Mapping[str, Any], pointer: str, depth: int) -> Schema:
        bounds = self._bounds(given, pointer, "minItems", "maxItems")
        items: object = given.get("items", True)
        leading: object = items if isinstance(items, list) else given.get("prefixItems")  # pyright: ignore[reportUnknownVariableType] - JSON
        if leading is not None:
            return self._tuple(cast("object", leading), bounds, pointer, depth)
        self._nesting += 1
        inner = self._read(cast("object", items), f"{pointer}/items", depth + 1)
        self._nesting -= 1
        return {**({"items": inner} if inner else {}), **bounds}

    def _tuple(self, leading: object, bounds: Schema, pointer: str, depth: int) -> Schema:
        """Exactly the leading items: more may be allowed, but need not come."""
        if not isinstance(leading, list) or not leading:
            raise self._wrong(f"{pointer}/prefixItems", "must be a list of at least one schema")
        items = cast("list[object]", leading)
        if not bounds.get("minItems", 0) <= len(items) <= bounds.get("maxItems", len(items)):
            self._cannot(f"{pointer}/prefixItems", "must be as many as minItems and maxItems allow")
            return {}
        self._nesting += 1
        inner = [
            self._read(item, f"{pointer}/prefixItems/{position}", depth + 1)
            for position, item in enumerate(items)
        ]
        self._nesting -= 1
        return {"prefixItems": inner}

    def _object(self, given: Mapping[str, Any], pointer: str, depth: int) -> Schema:
        properties = given.get("properties", {})
        if not isinstance(properties, dict):
            raise self._wrong(f"{pointer}/properties", "must be an object of schemas")
        required = self._required(given, pointer)
        reduced: dict[str, Schema] = {}
        self._nesting += 1
        for name, schema in cast("dict[str, object]", properties).items():
            where = f"{pointer}/properties/{name[:MAX_NAME_CHARS]}"
            self._check_name(name, where)
            reduced[name] = self._read(schema, where, depth + 1)
        further = given.get("additionalProperties", True)
        others = (
            further
            if further is False
            else self._read(further, f"{pointer}/additionalProperties", depth + 1)
        )
        self._nesting -= 1
        if len(reduced.keys() - set(required)) > MAX_OPTIONAL:
            raise self._wrong(
                f"{pointer}/properties", f"more than {MAX_OPTIONAL} are optional; require some"
            )
        absent = [name for name in required if name not in reduced]
        if absent and further is False:
            raise self._wrong(f"{pointer}/required", f"{absent[0]!r} is required and not allowed")
        reduced.update(dict.fromkeys(absent, others or {}))
        if not reduced:
            closed = "properties" in given and "additionalProperties" not in given
            allowed = False if closed else others
            return {} if allowed == {} else {"additionalProperties": allowed}
        return {
            "properties": reduced,
            **({"required": required} if required else {}),
            # What is allowed but not named need not come, and grammars fail to keep it from some names.
            "additionalProperties": False,
        }

    def _required(self, given: Mapping[str, Any], pointer: str) -> list[str]:
        names = given.get("required", [])
        if not isinstance(names, list):
            raise self._wrong(f"{pointer}/required", "must be a list of names")
        for name in cast("list[object]", names):
            if not isinstance(name, str):
                raise self._wrong(f"{pointer}/required", "must be a list of names")
            self._check_name(name, f"{pointer}/required")
        return list(dict.fromkeys(cast("list[str]", names)))

    # Limits

    def _check_name(self, name: str, pointer: str) -> None:
        if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
            raise self._wrong(pointer, f"names have 1 to {MAX_NAME_CHARS} printable characters")

    def _bounds(self, given: Mapping[str, Any], pointer: str, low: str, high: str) -> Schema:
        bounds: Schema = {}
        for word in (low, high):
            value = given.get(word)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise self._wrong(f"{pointer}/{word}", "must be an integer of at least 0")
            if value > MAX_REPETITIONS:
                self._cannot(f"{pointer}/{word}", f"must be at most {MAX_REPETITIONS}")
                continue
            bounds[word] = value
        if bounds.get(low, 0) > bounds.get(high, MAX_REPETITIONS):
            raise self._wrong(f"{pointer}/{low}", f"is above {high}")
        self._repetitions += max(bounds.values(), default=0)
        if self._repetitions > MAX_TOTAL_REPETITIONS:
            raise self._wrong(
                pointer, f"all bounds together pass {MAX_TOTAL_REPETITIONS}; lower some"
            )
        return {word: value for word, value in bounds.items() if (word, value) != (low, 0)}

    def _add_alternatives(self, count: int, pointer: str) -> None:
        self._alternatives += count
        if self._alternatives > MAX_ALTERNATIVES:
            raise self._wrong(
                pointer, f"more than {MAX_ALTERNATIVES} values and branches in a request; use fewer"
            )

    def _cannot(self, pointer: str, text: str) -> None:
        if self._exact:
            raise self._wrong(pointer, text)

    def _wrong(self, pointer: str, text: str) -> Invalid:
        place = pointer if len(pointer) <= 2 * MAX_NAME_CHARS else f"…{pointer[-MAX_NAME_CHARS:]}"
        return Invalid(
            f"{self._where}{place or '/'}: {text}", param=re.split(r"[.\[]", self._where)[0]
        )


def _last(pointer: str) -> str:
    return pointer.rpartition("/")[2]


def _is_of(value: object, types: Sequence[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in types
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "number" in types or "integer" in types
    if isinstance(value, str):
        return "string" in types
    if value is None:
        return "null" in types
    if isinstance(value, float):
        return "number" in types
    return ("array" if isinstance(value, list) else "object") in types
