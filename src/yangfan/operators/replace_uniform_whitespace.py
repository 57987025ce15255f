"""Every space of Unicode's becomes U+0020, U+3000 included; line breaks and tabs stay.

Source: Unicode's general category Zs (UAX #44).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yangfan.operators import _tables, base

if TYPE_CHECKING:
    from yangfan.operators._texts import Texts

STAGE: base.Stage = "clean"
SUMMARY = {
    "en": "Make every Unicode space (U+3000 included) a plain space; line breaks stay",
    "zh": "将各种 Unicode 空格（含全角空格）统一为半角空格，保留换行",
}


class Parameters(base.Parameters, frozen=True):
    """None."""


class ReplaceUniformWhitespace(base.Cleaner):
    """One kind of space."""

    def change(self, texts: Texts) -> Texts:
        """The texts with plain spaces."""
        spaces = _tables.flags("space_separator")[texts.codes] & (texts.codes != ord(" "))
        if not spaces.any():
            return texts
        return texts.mapped(np.where(spaces, np.uint32(ord(" ")), texts.codes))


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del parameters, common
    return ReplaceUniformWhitespace()
