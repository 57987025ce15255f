"""Tools of other people's servers, as they are kept: what a model sees of each, and how it is called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_TOOLS: Final = 128
"""Of one source; models get lost among fewer."""

MAX_NAME_CHARS: Final = 64
MAX_DESCRIPTION_CHARS: Final = 1024
MAX_SCHEMA_BYTES: Final = 64 * 1024
"""Of one tool's inputs."""


class Parameter(msgspec.Struct, frozen=True, array_like=True):
    """Where an input goes in a request.

    Attributes:
        input: Its name among the inputs.
        name: Its name there.
        place: path, query, header or body.
        style: How lists and objects are written: explode, comma, pipe, space, deep or json; of a body its media type.
    """

    input: str
    name: str
    place: Literal["path", "query", "header", "body"]
    style: str = "explode"


class Tool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool.

    Attributes:
        name: For models.
        description: For models.
        inputs: JSON Schema of an object.
        method: HTTP method of an operation; "" for a tool of an MCP server.
        path: Of the operation, with ``{name}`` in it; the tool's own name for one of an MCP server.
        parameters: Where the inputs of an operation go.
    """

    name: str
    description: str
    inputs: dict[str, Any]
    method: str = ""
    path: str = ""
    parameters: tuple[Parameter, ...] = ()


def tool_name(wanted: str, taken: Collection[str]) -> str:
    """A name that models and their grammars take, and that is not taken."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", wanted).strip("_")[:MAX_NAME_CHARS] or "tool"
    number = 2
    unique = name
    while unique in taken:
        unique = f"{name[: MAX_NAME_CHARS - 4]}_{number}"
        number += 1
    return unique
