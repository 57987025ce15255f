"""Putting material into a judge's prompt: plain substitution, once."""

from __future__ import annotations


def fill(template: str, values: dict[str, str]) -> str:
    """Put each value where its name stands in braces, once: what a value holds is never looked at again."""
    parts: list[str] = []
    rest = template
    while True:
        before, brace, after = rest.partition("{")
        parts.append(before)
        if not brace:
            return "".join(parts)
        name, end, behind = after.partition("}")
        if end and name in values:
            parts.append(values[name])
            rest = behind
        else:
            parts.append("{")
            rest = after
