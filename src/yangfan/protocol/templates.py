"""Rendering a prompt template: plain substitution, in one pass, the same on the server and in the SDK.

A variable stands between delimiters, one of six pairs (specification D.13). Only names that the template has are looked for, and
what a value brings is never looked at again: a value that holds ``{name}`` stays as it is. No template language on purpose.

A template may spell out a conversation, worked examples before the question: lines ``=== user ===`` and ``=== assistant ===`` begin its turns. They are found in the
template, before any value is put in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Identifier = Literal["{}", "{{}}", "[]", "[[]]", "()", "(())"]
"""What stands around a variable's name."""

IDENTIFIERS: tuple[Identifier, ...] = get_args(Identifier)

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{1,29}")
"""A variable's name: 2 to 30 characters."""

MAX_TEMPLATE_CHARACTERS = 100_000
"""Longest template."""

MAX_RENDERED_CHARACTERS = 1_000_000
"""Longest text that comes of one: a variable may stand in it a thousand times, and its value be long."""

MAX_VARIABLES = 200

Value = str | int | float | bool
"""What a variable may be. Booleans are written as in JSON."""


_TURN = re.compile(r"^=== (user|assistant) ===[ \t]*(?:\n|\Z)", re.MULTILINE)

Turn = tuple[str, str]
"""Who says it, user or assistant, and what."""


def turns_of(template: str) -> list[Turn]:
    """The turns that a template spells out, the user's first and last and in between by turns; any other text is one of the user's."""
    head, *rest = _TURN.split(template)
    roles, texts = rest[::2], rest[1::2]
    wanted = ["user", "assistant"] * (len(roles) // 2) + ["user"]
    if head.strip() or roles != wanted:
        return [("user", template)]
    return [(role, text.removesuffix("\n")) for role, text in zip(roles, texts, strict=True)]


def spelled_out(turns: Iterable[Turn]) -> str:
    """A template of those turns, the reverse of `turns_of`."""
    return "\n".join(f"=== {role} ===\n{text}" for role, text in turns)


def spells_turns(text: str) -> bool:
    """Whether a line of the text begins a turn."""
    return _TURN.search(text) is not None


class HyperParameters(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How a model is to answer the template; what is left out is the model's own."""

    modelName: Annotated[str, Meta(max_length=128)] | None = None  # noqa: N815 - the wire's spelling
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    topP: Annotated[float, Meta(ge=0, le=1)] | None = None  # noqa: N815 - the wire's spelling
    penaltyScore: Annotated[float, Meta(ge=1, le=2)] | None = None  # noqa: N815 - the wire's spelling
    system: Annotated[str, Meta(max_length=20_000)] | None = None
    stop: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=20)]], Meta(max_length=4)]
        | None
    ) = None
    disableSearch: bool | None = None  # noqa: N815 - the wire's spelling
    enableCitation: bool | None = None  # noqa: N815 - the wire's spelling


class Rendered(NamedTuple):
    """The text, and the variables in it that no value was given for, in the order of their first place."""

    text: str
    undefined: tuple[str, ...]


def variables_of(template: str, identifier: Identifier) -> tuple[str, ...]:
    """The names between the delimiters, each once, in the order of their first place.

    What is no name, such as the fields of an example in JSON, is text.
    """
    return tuple(dict.fromkeys(match[1] for match in _pattern(identifier).finditer(template)))


def checked_names(names: Iterable[str], *, param: str) -> tuple[str, ...]:
    """Names that a caller lists, each once and without the spaces around them.

    Raises:
        Invalid: One of them is no name of a variable, or there are too many; `param` is the field to blame.
    """
    found = tuple(dict.fromkeys(name for name in map(str.strip, names) if name))
    for name in found:
        if NAME.fullmatch(name) is None:
            raise Invalid(
                f"{name[:40]!r} is no name of a variable; use 2 to 30 letters, digits and underscores that begin with no digit",
                param=param,
            )
    if len(found) > MAX_VARIABLES:
        raise Invalid(
            f"a template has at most {MAX_VARIABLES} variables, this one {len(found)}", param=param
        )
    return found


def render(
    template: str,
    identifier: Identifier,
    values: Mapping[str, Value],
    names: Iterable[str] | None = None,
) -> Rendered:
    """Put values in the places of variables; a variable without a value stays as it stands.

    Args:
        template: The text with variables.
        identifier: Its delimiters.
        values: By name; those that it does not have are ignored.
        names: Its variables; None for all that it has.

    Raises:
        Invalid: The text would be longer than 1,000,000 characters.
    """
    wanted = None if names is None else frozenset(names)
    undefined: dict[str, None] = {}
    pieces: list[str] = []
    end, length = 0, 0
    for match in _pattern(identifier).finditer(template):
        name = match[1]
        if wanted is not None and name not in wanted:
            continue
        if name not in values:
            undefined[name] = None
            continue
        value = text_of(values[name])
        pieces += (template[end : match.start()], value)
        length += match.start() - end + len(value)
        end = match.end()
        if length > MAX_RENDERED_CHARACTERS:
            raise Invalid(
                f"the rendered text is longer than {MAX_RENDERED_CHARACTERS} characters; {name} brings it there:"
                " give a shorter value",
                param=name,
            )
    pieces.append(template[end:])
    return Rendered("".join(pieces), tuple(undefined))


def text_of(value: Value) -> str:
    """A value as it stands in the text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _pattern(identifier: Identifier) -> re.Pattern[str]:
    """A name between the delimiters; the module `re` keeps the six that there are."""
    half = len(identifier) // 2
    return re.compile(
        f"{re.escape(identifier[:half])}({NAME.pattern}){re.escape(identifier[half:])}"
    )
