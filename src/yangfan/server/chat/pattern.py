"""Regular expressions that engines' grammars follow exactly: an anchored line of plain characters, classes, groups and counts.

What is beyond it (look-around, back-references, ".", "[^…]", Unicode classes) some engines ignore without a word, and some
answer with text that is no JSON.
"""

from __future__ import annotations

import re

MAX_LENGTH = 200
"""Longest pattern, in characters."""

MAX_REPETITIONS = 256
"""Most repetitions that all counts of a pattern allow together; `*` and `+` are free."""

_PLAIN = r"[A-Za-z0-9_ @#%&=,;:!~/<>'\-\u00a0-\uffff]"
_RANGE = r"(?:[a-z]-[a-z]|[A-Z]-[A-Z]|[0-9]-[0-9]|[\u4e00-\u9fff]-[\u4e00-\u9fff])"
_CLASS = rf"\[(?:{_RANGE}|[A-Za-z0-9_ @#%&=,;:!~/<>'.+*?(){{}}|$\u00a0-\uffff])+-?\]"
_COUNT = r"(?:[*+?]|\{[0-9]{1,3}(?:,[0-9]{0,3})?\})"
_NOTHING = re.compile(r"\{0+(?:,0+)?\}")
_SHAPE = re.compile(rf"\^(?:(?:{_PLAIN}|{_CLASS}|\((?!\?)|\))(?:(?<!\(){_COUNT})?|\|)*\$")
_ESCAPES = re.compile(r"\\(.)", re.DOTALL)
_KNOWN_ESCAPES = {"d": "[0-9]", "w": "[A-Za-z0-9_]"} | {sign: f"[{sign}]" for sign in ".+*?(){}|$"}
_COUNTS = re.compile(r"\{([0-9]+)(?:,([0-9]*))?\}")


def portable(pattern: str) -> str | None:
    r"""The same pattern without shorthands such as ``\d``; None if grammars cannot follow it."""
    if len(pattern) > MAX_LENGTH:
        return None
    spelled = _ESCAPES.sub(lambda found: _KNOWN_ESCAPES.get(found[1], "\\"), pattern)
    if _SHAPE.fullmatch(spelled) is None or _NOTHING.search(spelled) is not None:
        return None
    if _repetitions(spelled) > MAX_REPETITIONS:
        return None
    try:
        re.compile(spelled)
    except (re.error, OverflowError, RecursionError):
        return None
    return spelled


def _repetitions(pattern: str) -> int:
    """What the counts multiply to if they were nested, which bounds what they add up to if not."""
    total = 1
    for least, most in _COUNTS.findall(pattern):
        total *= max(int(least), int(most or 0), 1)
    return total
