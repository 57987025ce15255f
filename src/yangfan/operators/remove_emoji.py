"""Emoji out: whole sequences (ZWJ, skin tones, flags, keycaps); digits, © and ® as text stay.

Source: UTS #51 "Unicode Emoji" and Unicode's emoji-data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yangfan.operators import base
from yangfan.operators._emoji import without_emoji

if TYPE_CHECKING:
    from yangfan.operators._texts import Texts

STAGE: base.Stage = "clean"
SUMMARY = {
    "en": "Remove emoji: whole sequences with joiners, skin tones, flags and keycaps",
    "zh": "去除表情符号：含组合、肤色、旗帜、键帽等完整序列",
}


class Parameters(base.Parameters, frozen=True):
    """None."""


class RemoveEmoji(base.Cleaner):
    """Emoji sequences go, text stays."""

    def change(self, texts: Texts) -> Texts:
        """The texts without emoji."""
        return without_emoji(texts)


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del parameters, common
    return RemoveEmoji()
