"""IPv4 and IPv6 addresses become a placeholder; version numbers, times and section numbers stay.

Source: RFC 791, RFC 4291 (2.2), as `ipaddress` reads them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta

from yangfan.operators import base
from yangfan.operators._rewriting import rewritten

if TYPE_CHECKING:
    from yangfan.operators._texts import Texts

STAGE: base.Stage = "desensitization"
SUMMARY = {
    "en": "Replace IPv4 and IPv6 addresses by a placeholder; version numbers stay",
    "zh": "将 IPv4、IPv6 地址替换为占位符，保留版本号",
}

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_V4 = re.compile(
    rf"(?<![0-9A-Za-z])(?<![0-9A-Za-z]\.)(?:{_OCTET}\.){{3}}{_OCTET}(?![0-9A-Za-z])(?!\.[0-9])"
)
_V6 = re.compile(
    r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:]{2,45}(?:(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![0-9A-Za-z:]|\.[0-9])"
)
_VERSION_BEFORE = re.compile(
    r"(?:(?<![a-z])(?:v|ver|version|versions|release|rev|build)\.?|版本号?|版)[ \t]*[:：=]?[ \t]*$",
    re.IGNORECASE,
)
_LOOK_BACK = 16
"""Characters before an address that may say it is a version."""


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    placeholder: Annotated[
        str, Meta(max_length=64, description="What an address becomes / 替换后的占位符")
    ] = "[IP]"


class ReplaceIp(base.Cleaner):
    """No IP address stays."""

    def __init__(self, placeholder: str) -> None:
        self._placeholder = placeholder

    def change(self, texts: Texts) -> Texts:
        """The texts without addresses."""
        codes = texts.codes
        dots = np.flatnonzero(codes == ord("."))
        colons = np.flatnonzero(codes == ord(":"))
        # Three digits at most stand between two dots of an address, four between two colons.
        near = (dots[2:] - dots[1:-1] <= 4) & (dots[1:-1] - dots[:-2] <= 4)
        dotted = dots[:-2][near & (dots[1:-1] - dots[:-2] > 1) & (dots[2:] - dots[1:-1] > 1)]
        paired = colons[:-1][np.diff(colons) <= 5]
        return rewritten(texts, texts.have(dotted) | texts.have(paired), self._without)

    def _without(self, text: str) -> str:
        if text.count(":") >= 2:
            text = _V6.sub(self._of_v6, text)
        return _V4.sub(self._of_v4, text)

    def _of_v4(self, match: re.Match[str]) -> str:
        before = match.string[max(match.start() - _LOOK_BACK, 0) : match.start()]
        return match[0] if _VERSION_BEFORE.search(before) else self._placeholder

    def _of_v6(self, match: re.Match[str]) -> str:
        found = match[0]
        bare = found.rstrip(":") if not found.endswith("::") else found
        # `a::b` is C++ as well as an address; one with a digit or four groups is not C++.
        if not any(character.isdigit() for character in bare) and bare.count(":") < 4:
            return found
        try:
            ipaddress.IPv6Address(bare)
        except ValueError:
            return found
        return self._placeholder + found[len(bare) :]


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del common
    return ReplaceIp(parameters.placeholder)
