"""Which documents a search may look into, by what is written on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yangfan.server.knowledge.types import Condition, Document, Filter

MAX_CONDITIONS: Final = 20

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: _ordered(a, b) and a > b,
    ">=": lambda a, b: _ordered(a, b) and a >= b,
    "<": lambda a, b: _ordered(a, b) and a < b,
    "<=": lambda a, b: _ordered(a, b) and a <= b,
    "in": lambda a, b: a in b,
    "not_in": lambda a, b: a not in b,
    "contains": lambda a, b: (
        (isinstance(a, str) and isinstance(b, str) and b in a)
        or (isinstance(a, list) and b in cast("list[Any]", a))
    ),
}
OPERATORS: Final = tuple(_COMPARE)


def check(wanted: Filter) -> None:
    """Refuse what no search could ask.

    Raises:
        Invalid: There are too many conditions, or one cannot be asked.
    """
    if len(wanted.conditions) > MAX_CONDITIONS:
        raise Invalid(
            f"a filter has at most {MAX_CONDITIONS} conditions, got {len(wanted.conditions)}",
            param="metadata_filters",
        )
    for condition in wanted.conditions:
        if condition.operator not in _COMPARE:
            raise Invalid(
                f"operator must be one of {', '.join(OPERATORS)}, got {condition.operator[:32]!r}",
                param="metadata_filters",
            )
        if condition.operator in {"in", "not_in"} and not isinstance(condition.value, list):
            raise Invalid(
                f"the value of {condition.operator} must be a list", param="metadata_filters"
            )


def passes(wanted: Filter, document: Document) -> bool:
    """Whether a document is let through."""
    if not wanted.conditions:
        return True
    held = (_holds(condition, document) for condition in wanted.conditions)
    return any(held) if wanted.any else all(held)


def _holds(condition: Condition, document: Document) -> bool:
    known = {"doc_id": document.id, "doc_name": document.name}
    value = known.get(condition.field, document.metadata.get(condition.field))
    if value is None and condition.operator not in {"!=", "not_in"}:
        return False
    return _COMPARE[condition.operator](value, condition.value)


def _ordered(a: object, b: object) -> bool:
    """Numbers go with numbers and texts with texts."""
    both = (a, b)
    return all(isinstance(x, int | float) and not isinstance(x, bool) for x in both) or all(
        isinstance(x, str) for x in both
    )
