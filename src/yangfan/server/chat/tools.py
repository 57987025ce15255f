"""Functions on offer, in either dialect, checked before an engine sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yangfan.engines.base import Tool
from yangfan.errors import Invalid
from yangfan.server.chat.schema import Reducer

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TOOLS = 128
MAX_NAME_CHARS = 64

_OTHERWISE = frozenset({"anyOf", "enum", "$ref", "$defs"})


class OfferedFunction(NamedTuple):
    """A function as the caller describes it.

    Attributes:
        name: Its name.
        description: What it is for.
        parameters: A JSON Schema object, or None if it takes nothing.
        strict: Whether a schema that engines cannot follow to the letter is refused instead of followed in part.
    """

    name: str
    description: str
    parameters: object
    strict: bool = False


def read_tools(functions: Sequence[OfferedFunction], *, param: str) -> tuple[Tool, ...]:
    """The tools for an engine; their order is kept.

    Raises:
        Invalid: A name or a schema is none; `param` is the request's field for the text.
    """
    if not functions:
        return ()
    if len(functions) > MAX_TOOLS:
        raise Invalid(f"{param} has {len(functions)} functions; at most {MAX_TOOLS}", param=param)
    reducers = {strict: Reducer(exact=strict) for strict in (False, True)}
    tools: dict[str, Tool] = {}
    for position, function in enumerate(functions):
        name = function.name
        if not name.isprintable() or len(name) > MAX_NAME_CHARS or set(name) & set(' "\\'):
            raise Invalid(
                f"{param}[{position}]: a function's name has at most {MAX_NAME_CHARS} letters, digits, _ and -; "
                f"got {name[:MAX_NAME_CHARS]!r}",
                param=param,
            )
        if name in tools:
            raise Invalid(f"{param}[{position}]: two functions have the name {name!r}", param=param)
        where = f"{param}[{position}].parameters"
        tools[name] = Tool(
            name, function.description, _parameters(function, reducers[function.strict], where)
        )
    return tuple(tools.values())


def _parameters(function: OfferedFunction, reducer: Reducer, where: str) -> dict[str, object]:
    if not function.parameters:
        return {"type": "object", "additionalProperties": False}
    reduced = reducer.reduce(function.parameters, where)
    if reduced.get("type", "object") != "object" or _OTHERWISE & reduced.keys():
        raise Invalid(
            f"{where}: must be of type object and not refer to itself",
            param=where.partition("[")[0],
        )
    return {"type": "object", **reduced}
