"""What plugins share about texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CJK: Final = (
    "\u3005\u3007\u3021-\u3029\u3040-\u309f\u30a0-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
"""Characters written without spaces between words, as a regular expression's set has them."""

LATIN_UNITS: Final = 0.25
"""Length of a character that is no Chinese one: four of them are about a token, as one Chinese character is."""

_CHINESE = re.compile(f"[{CJK}]")


def units(text: str) -> float:
    """Length of a text, about its tokens."""
    chinese = len(_CHINESE.findall(text))
    return chinese + (len(text) - chinese) * LATIN_UNITS


def is_chinese(text: str) -> bool:
    """Whether a text is to be answered in Chinese."""
    return units(text) > 0.4 * len(text)


def filled(template: str, values: Mapping[str, str]) -> str:
    """A template with ``{name}`` in it, filled once, from left to right; what a value says is never looked into."""
    pieces: list[str] = []
    while template:
        head, brace, rest = template.partition("{")
        name, end, tail = rest.partition("}")
        pieces.append(head)
        if brace and end and name in values:
            pieces.append(values[name])
            template = tail
        else:
            pieces.append(brace)
            template = rest
    return "".join(pieces)
