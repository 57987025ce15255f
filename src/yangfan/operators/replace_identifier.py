"""Numbers that name a person or a firm become placeholders, told by their checksums where they have one.

Resident identity numbers (GB 11643-1999, ISO 7064 MOD 11-2), unified social credit codes (GB 32100-2015, MOD 31), bank
cards (ISO/IEC 7812-1, Luhn), mobile numbers, passports and travel permits, number plates (GA 36-2018).
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta

from yangfan.operators import _tables, base
from yangfan.operators._rewriting import rewritten

if TYPE_CHECKING:
    from yangfan.operators._texts import Flags, Texts

STAGE: base.Stage = "desensitization"
SUMMARY = {
    "en": "Replace resident IDs, mobile numbers, bank cards, credit codes, passports and plates by placeholders",
    "zh": "将身份证号、手机号、银行卡号、统一社会信用代码、护照号、车牌号替换为占位符",
}

PROVINCES = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "21",
        "22",
        "23",
        "31",
        "32",
        "33",
        "34",
        "35",
        "36",
        "37",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "50",
        "51",
        "52",
        "53",
        "54",
        "61",
        "62",
        "63",
        "64",
        "65",
        "71",
        "81",
        "82",
        "83",
        "91",
    ]
)
"""First two digits of a division of China's (GB/T 2260)."""

_BEFORE, _AFTER = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"
_RESIDENT = re.compile(rf"{_BEFORE}[1-9][0-9]{{16}}[0-9Xx]{_AFTER}")
_CREDIT = re.compile(rf"{_BEFORE}[1-9ANY][1-59][0-9]{{6}}[0-9A-HJ-NPQRTUWXY]{{10}}{_AFTER}")
_CARD = re.compile(
    rf"{_BEFORE}(?:[3-6][0-9]{{12,18}}|[3-6][0-9]{{3}}(?:[ -][0-9]{{4}}){{3}}(?:[ -]?[0-9]{{1,3}})?){_AFTER}"
)
_MOBILE = re.compile(
    rf"(?:(?<![0-9A-Za-z+])(?:\+|00)86[ -]?|{_BEFORE}(?:86[ -])?)"
    rf"1[3-9][0-9](?:[0-9]{{8}}|[ -][0-9]{{4}}[ -][0-9]{{4}}){_AFTER}"
)
_PASSPORT = re.compile(
    rf"{_BEFORE}(?:E[0-9A-HJ-NP-Z][0-9]{{7}}|G[0-9]{{8}}|[DSP]E?[0-9]{{7}}|[HMC][0-9]{{8}}){_AFTER}"
)
_PROVINCE_SIGNS = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使"
_PLATE = re.compile(
    rf"[{_PROVINCE_SIGNS}][A-HJ-NP-Z][ ·•.]?"
    rf"(?:[0-9A-HJ-NP-Z]{{4}}[0-9A-HJ-NP-Z挂学警港澳]|[0-9A-HJ-NP-Z]{{6}}){_AFTER}"
)
_CREDIT_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"


class Parameters(base.Parameters, frozen=True):
    """Arguments."""

    placeholder: Annotated[
        str,
        Meta(
            max_length=64,
            description="What a number becomes, {kind} says which / 替换后的占位符，{kind} 为号码种类",
        ),
    ] = "[{kind}]"


def is_resident_number(number: str) -> bool:
    """Whether 18 characters are a resident identity number: division, date of birth, MOD 11-2."""
    if number[:2] not in PROVINCES:
        return False
    try:
        datetime.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


def is_credit_code(code: str) -> bool:
    """Whether 18 characters are a unified social credit code: MOD 31 of GB 32100-2015."""
    total = sum(
        _CREDIT_SIGNS.index(sign) * pow(3, place, 31) for place, sign in enumerate(code[:17])
    )
    return _CREDIT_SIGNS[-total % 31] == code[17]


def is_card_number(number: str) -> bool:
    """Whether digits, spaces and hyphens are a card's number by Luhn's rule."""
    digits = [int(sign) for sign in reversed(number) if sign.isdigit()]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[1::2]]
    return 13 <= len(digits) <= 19 and any(digits) and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_plate(plate: str) -> bool:
    """A plate has digits: 京ABCDEF is a word in capitals."""
    return any(sign.isdigit() for sign in plate)


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("RESIDENT_ID", _RESIDENT, is_resident_number),
    ("CREDIT_CODE", _CREDIT, is_credit_code),
    ("BANK_CARD", _CARD, is_card_number),
    ("MOBILE", _MOBILE, lambda _: True),
    ("PASSPORT", _PASSPORT, lambda _: True),
    ("PLATE", _PLATE, _is_plate),
)
"""In this order: what has a checksum is told first."""


class ReplaceIdentifier(base.Cleaner):
    """No number of a person or a firm stays."""

    def __init__(self, placeholder: str) -> None:
        kinds = [
            (pattern, _replacement(placeholder.replace("{kind}", kind), is_one))
            for kind, pattern, is_one in _KINDS
        ]
        self._numbers, self._plates = kinds[:-1], kinds[-1:]

    def change(self, texts: Texts) -> Texts:
        """The texts without numbers of persons or firms."""
        texts = rewritten(texts, _have_numbers(texts), lambda text: _replaced(text, self._numbers))
        return rewritten(texts, _have_plates(texts), lambda text: _replaced(text, self._plates))


Kind = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _replaced(text: str, kinds: list[Kind]) -> str:
    for pattern, replacement in kinds:
        text = pattern.sub(replacement, text)
    return text


def _have_numbers(texts: Texts) -> Flags:
    """Whether there are six digits in seven characters: all numbers have seven, with a space or hyphen at most among them."""
    digits = np.flatnonzero((texts.codes >= ord("0")) & (texts.codes <= ord("9")))
    return texts.have(digits[:-5][digits[5:] - digits[:-5] <= 6])


def _have_plates(texts: Texts) -> Flags:
    """Whether there is a province's character with a capital letter behind it."""
    codes = texts.codes
    provinces = np.flatnonzero(_provinces()[codes[:-1]])
    after = codes[provinces + 1]
    return texts.have(provinces[(after >= ord("A")) & (after <= ord("Z"))])


@functools.cache
def _provinces() -> Flags:
    table = np.zeros(_tables.CODES, np.bool_)
    table[[ord(sign) for sign in _PROVINCE_SIGNS]] = True
    return table


def create(parameters: Parameters, common: base.Common) -> base.Operator:
    """The operator."""
    del common
    return ReplaceIdentifier(parameters.placeholder)


def _replacement(placeholder: str, is_one: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: placeholder if is_one(match[0]) else match[0]
