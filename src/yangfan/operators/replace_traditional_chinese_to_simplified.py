"""Traditional Chinese becomes simplified, by phrases: 乾燥 is 干燥, 乾坤 stays 乾坤.

Source: OpenCC's configuration `t2s`.
"""

from __future__ import annotations

import functools
import importlib
import re
from typing import TYPE_CHECKING, Any

from yangfan.operators import _tables, base

if TYPE_CHECKING:
    from collections.abc import Callable

    from yangfan.operators._texts import Texts

STAGE: base.Stage = "clean"
SUMMARY = {
    "en": "Turn traditional Chinese into simplified, by phrases (OpenCC t2s)",
    "zh": "繁体中文转简体中文（OpenCC t2s，词组级）",
}

_SURROGATES = re.compile("([\ud800-\udfff]+)")


class Parameters(base.Parameters, frozen=True):
    """None."""


class ReplaceTraditional(base.Cleaner):
    """Traditional Chinese becomes simplified."""

    def change(self, texts: Texts) -> Texts:
        """The texts in simplified Chinese."""
        han = (texts.sums(_tables.flags("han")[texts.codes]) > 0).tolist()
        strings = [
            _simplified(text) if has_han else text
            for text, has_han in zip(texts.strings, han, strict=True)
        ]
        return texts if strings == texts.strings else texts.replaced(strings)


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del parameters, common
    return ReplaceTraditional()


def missing() -> str:
    """What must be installed first."""
    return base.lacks("opencc")


@functools.cache
def _converter() -> Callable[[str], str]:
    # It comes without types.
    package: Any = importlib.import_module("opencc")
    return package.OpenCC("t2s").convert


def _simplified(text: str) -> str:
    try:
        return _converter()(text)
    except UnicodeEncodeError:
        # OpenCC takes UTF-8, which has no lone surrogates: they stay, the text around them is converted.
        pieces = _SURROGATES.split(text)
        return "".join(
            piece if index % 2 else _converter()(piece) for index, piece in enumerate(pieces)
        )
