"""How large the grammar of a JSON Schema becomes, told from the schema alone.

What a grammar costs depends on the machine and on the vocabulary, and an answer should not: so schemas are refused by their size, before an
engine has them in hand. Three things make grammars dear. Counted repetitions in patterns multiply. A place where any character may stand
is dear where masks are computed ahead (xgrammar: 49,152 tokens, 10 ms of a core for each such place). Choices at one place are dear where
all are followed side by side (llama.cpp: the same tokens, 150 ms for each token of the answer at 1,000 choices).
"""

from __future__ import annotations

import re
from typing import NamedTuple, cast

MOST_PLACES = 1_000_000
"""To how many places a pattern's counted repetitions may unfold: ``(a{1,300}b){1,300}`` is 90,300."""

MOST_WIDE = 400
"""How many places there may be at which any character may stand: ``maxLength``, ``.{0,400}``. Equal lengths count once."""

MOST_CHOICES = 500
"""How many ways there may be to go on from one place: an enum, anyOf, properties that may be left out, parts of a pattern."""

_COUNTED = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_MOST_DIGITS = 9
_ANY = frozenset("DSW")
"""Classes, written behind a backslash, of nearly all characters."""

_UNIONS = ("anyOf", "oneOf")


class SchemaSize(NamedTuple):
    """The size of a schema's grammar.

    Attributes:
        places: Of the largest pattern, with its counted repetitions unfolded.
        wide: Places at which any character may stand.
        choices: The most ways to go on from one place.
    """

    places: int
    wide: int
    choices: int

    @property
    def unfolds(self) -> str | None:
        """Why no engine takes it."""
        if self.places <= MOST_PLACES:
            return None
        return (
            f"the repetitions in a pattern multiply to more than {MOST_PLACES:,} places, "
            "it takes too long or too much memory; lower the counts in {m,n}"
        )

    @property
    def too_wide(self) -> str | None:
        """Why an engine that computes masks ahead does not take it."""
        if self.wide <= MOST_WIDE:
            return None
        return (
            f"its strings may have {self.wide:,} characters of any kind and at most {MOST_WIDE} are taken, it takes too long or too much "
            "memory; lower maxLength, minLength and the counts in patterns, leave them out, or serve the model with engine llama_cpp"
        )

    @property
    def too_many_choices(self) -> str | None:
        """Why an engine that follows all choices side by side does not take it."""
        if self.choices <= MOST_CHOICES:
            return None
        return (
            f"at one place there are {self.choices:,} ways to go on and at most {MOST_CHOICES} are taken, it takes too long; shorten its "
            "enum or anyOf, make more of its properties required, or leave out what is optional in its patterns"
        )


class _Pattern(NamedTuple):
    """The size of a part of a pattern."""

    places: int = 0
    wide: int = 0
    choices: int = 0

    def times(self, count: int) -> _Pattern:
        return _Pattern(*(min(part * count, MOST_PLACES + 1) for part in self))

    def beside(self, other: _Pattern) -> _Pattern:
        return _Pattern(*(mine + others for mine, others in zip(self, other, strict=True)))


_CHOICE = _Pattern(choices=1)


def size_of(schema: object) -> SchemaSize:
    """How large the grammar of a schema becomes.

    Raises:
        RecursionError: It is nested too deeply.
    """
    places, lengths, patterns = 0, set[int](), set[str]()
    parts = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += cast("list[object]", part)
        elif isinstance(part, dict):
            inside = cast("dict[str, object]", part)
            parts += inside.values()
            lengths |= {
                value
                for name in ("minLength", "maxLength")
                if isinstance(value := inside.get(name), int) and value > 0
            }
            named = inside.get("patternProperties")
            patterns |= {*cast("dict[str, object]", named)} if isinstance(named, dict) else set()
            if isinstance(pattern := inside.get("pattern"), str):
                patterns.add(pattern)
    sizes = [pattern_size(pattern) for pattern in patterns]
    places = max((size.places for size in sizes), default=0)
    wide = sum(lengths) + sum(size.wide for size in sizes)
    choices = max(
        [_Choices(schema).most(), *(size.choices for size in sizes)],
    )
    return SchemaSize(places, wide, choices)


class _Choices:
    """Counts the ways to go on, following references within the schema."""

    def __init__(self, schema: object) -> None:
        self._root = schema
        self._known: dict[int, int] = {}

    def most(self) -> int:
        """The largest number at any place."""
        found, parts = 1, [self._root]
        while parts:
            part = parts.pop()
            if isinstance(part, list):
                parts += cast("list[object]", part)
            elif isinstance(part, dict):
                inside = cast("dict[str, object]", part)
                parts += inside.values()
                found = max(found, self._at(inside))
        return found

    def _at(self, part: object) -> int:
        if not isinstance(part, dict):
            return 1
        known = self._known.get(id(cast("object", part)))
        if known is not None:
            return known
        self._known[id(cast("object", part))] = 1  # of a reference to itself
        inside = cast("dict[str, object]", part)
        found = 1
        if isinstance(listed := inside.get("enum"), list):
            found = len(cast("list[object]", listed))
        for name in _UNIONS:
            if isinstance(union := inside.get(name), list):
                found = max(found, sum(map(self._at, cast("list[object]", union))))
        if isinstance(named := inside.get("properties"), dict):
            required = inside.get("required")
            must = cast("list[object]", required) if isinstance(required, list) else []
            may = len({*cast("dict[str, object]", named)}.difference(map(str, must)))
            found = max(found, may)
        if isinstance(reference := inside.get("$ref"), str) and reference.startswith("#"):
            found = max(found, self._at(self._resolved(reference)))
        self._known[id(cast("object", part))] = found
        return found

    def _resolved(self, reference: str) -> object:
        part = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            if not isinstance(part, dict):
                return None
            step = name.replace("~1", "/").replace("~0", "~")
            part = cast("dict[str, object]", part).get(step)
        return part


def pattern_size(pattern: str) -> _Pattern:
    """The size of a regular expression: a group's counted repetition multiplies what stands in the group."""
    groups, last, at = [_Pattern()], _Pattern(), 0
    while at < len(pattern):
        counted = _COUNTED.match(pattern, at)
        if counted is not None:
            groups[-1], last = _repeated(groups[-1], last, counted), _Pattern()
            at = counted.end()
            continue
        letter = pattern[at]
        at += 1
        if letter == "(":
            groups.append(_Pattern())
            continue
        if letter in "|?*":
            groups[-1] = groups[-1].beside(_CHOICE)
            continue
        if letter in "+^$":
            continue
        if letter == ")" and len(groups) > 1:
            last = groups.pop()
        else:
            wide = letter == "." or (letter == "\\" and pattern[at : at + 1] in _ANY)
            if letter == "\\":
                at += 1
            elif letter == "[":
                wide = pattern.startswith("^", at)
                at = _end_of_class(pattern, at)
            last = _Pattern(1, int(wide))
        groups[-1] = groups[-1].beside(last)
    whole = _Pattern()
    for group in groups:
        whole = whole.beside(group)
    return whole


def _repeated(group: _Pattern, last: _Pattern, counted: re.Match[str]) -> _Pattern:
    """The group so far, whose `last` part is repeated."""
    digits = (counted[2] or counted[1]).lstrip("0") or "1"
    times = int(digits) if len(digits) <= _MOST_DIGITS else MOST_PLACES + 1
    more = last.times(times)
    rest = _Pattern(*(max(new - old, 0) for new, old in zip(more, last, strict=True)))
    return group.beside(rest)


def _end_of_class(pattern: str, at: int) -> int:
    at += pattern.startswith("^", at)
    at += pattern.startswith("]", at)
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
