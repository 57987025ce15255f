"""E-mail addresses become a placeholder, those written against Chinese text or with a full-width ＠ as well.

Source: the addresses that WHATWG's HTML standard calls valid (4.10.5.1.5), with a top-level domain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from yangfan.operators import base
from yangfan.operators._rewriting import rewritten

if TYPE_CHECKING:
    from yangfan.operators._texts import Texts

STAGE: base.Stage = "desensitization"
SUMMARY = {
    "en": "Replace e-mail addresses by a placeholder",
    "zh": "将电子邮箱地址替换为占位符",
}

_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9.!#$%&'*+/=?^_`{|}~-])[A-Za-z0-9!#$%&'*+/=?^_`{|}~-][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{0,63}[@＠]"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    placeholder: Annotated[
        str, Meta(max_length=64, description="What an address becomes / 替换后的占位符")
    ] = "[EMAIL]"


class ReplaceEmails(base.Cleaner):
    """No e-mail address stays."""

    def __init__(self, placeholder: str) -> None:
        self._placeholder = placeholder

    def change(self, texts: Texts) -> Texts:
        """The texts without addresses."""
        candidates = texts.sums((texts.codes == ord("@")) | (texts.codes == ord("＠"))) > 0
        return rewritten(
            texts, candidates, lambda text: _ADDRESS.sub(lambda _: self._placeholder, text)
        )


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del common
    return ReplaceEmails(parameters.placeholder)
