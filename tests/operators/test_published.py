"""The operators against other people's: every ratio of the published `qianfan` package, and what tells identifiers, addresses and simplified signs.

The package's filters say only yes or no. Its cut-off here is a number that writes down what it is compared with, so the ratio itself is
read out of the unchanged operator. Differences that are wanted have names:

* Chinese words are those of the project's segmenter on both sides; the package asks for a sentencepiece model and brings none.
* The package takes a cut-off of 0 for none given and uses its default; 0 is 0 here.
* The package has two filters that the wire has no name for: short sentences, and stop words.
"""

# pyright: reportPrivateUsage=false, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false

from __future__ import annotations

import functools
import importlib
import ipaddress
import random
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.operators.conftest import Clean, Keep, Measure
from tests.operators.test_filters import texts_made_up

from yangfan.operators import _tables, base
from yangfan.operators._texts import Texts
from yangfan.operators.deduplication_simhash import Simhash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPERATORS = "qianfan.dataset.local_data_operators"
PAIRS = {
    "filter_check_number_words": ("check_word_number", "LocalCheckWordNumberFilter"),
    "filter_check_word_repetition_removal": (
        "check_word_repetition_filter",
        "LocalCheckWordRepetitionFilter",
    ),
    "filter_check_character_repetition_removal": (
        "check_character_repetition_filter",
        "LocalCheckCharacterRepetitionFilter",
    ),
    "filter_check_special_characters": (
        "check_special_characters",
        "LocalCheckSpecialCharactersFilter",
    ),
    "filter_check_flagged_words": ("check_flagged_words", "LocalCheckFlaggedWordsFilter"),
}
"""Ours, and the package's."""
CUTOFFS = {
    "filter_check_number_words": "number_words_max_cutoff",
    "filter_check_word_repetition_removal": "word_repetition_max_cutoff",
    "filter_check_character_repetition_removal": "character_repetition_max_cutoff",
    "filter_check_special_characters": "special_characters_max_cutoff",
    "filter_check_flagged_words": "flagged_words_max_cutoff",
}
"""The cut-off that the package compares with last."""
WITHOUT_NAME = {"check_sentence_length_filter", "check_stopwords"}
TEXTS = 5_200
LONGEST = 400
"""Characters of a real text: enough for every ratio, and the plain loops of the package stay short."""


class Written(float):
    """A cut-off that writes down what is compared with it. A subclass is asked before the number on the left is."""

    seen: list[float]

    def __new__(cls) -> Written:
        made = super().__new__(cls, 1e9)
        made.seen = []
        return made

    def __ge__(self, other: float) -> bool:
        self.seen.append(float(other))
        return True


class WrittenCount(int):
    """The same for whole numbers."""

    seen: list[float]

    def __new__(cls) -> WrittenCount:
        made = super().__new__(cls, 1_000_000)
        made.seen = []
        return made

    def __ge__(self, other: int) -> bool:
        self.seen.append(float(other))
        return True


class Segmenter:
    """Stands where the package wants a model: the words that Chinese has here."""

    def Load(self, path: str) -> None:  # noqa: N802 -- sentencepiece's name
        """No file is needed."""

    @staticmethod
    @functools.lru_cache(maxsize=8192)
    def EncodeAsPieces(text: str) -> list[str]:  # noqa: N802 -- sentencepiece's name
        """The segments of a text."""
        import rjieba

        return list(rjieba.cut(text))


@pytest.fixture(scope="module")
def published() -> Iterator[Callable[[str], Any]]:
    """The package's operators by our names; it imports two packages for what is not used here."""
    known = set(sys.modules)
    for name in ("sentencepiece", "ltp"):
        module = ModuleType(name)
        module.SentencePieceProcessor = Segmenter  # pyright: ignore[reportAttributeAccessIssue]
        module.StnSplit = object  # pyright: ignore[reportAttributeAccessIssue]
        sys.modules[name] = module
    yield lambda name: getattr(
        importlib.import_module(f"{OPERATORS}.{PAIRS[name][0]}"), PAIRS[name][1]
    )
    for name in set(sys.modules) - known:
        if name.split(".")[0] in {"sentencepiece", "ltp", "qianfan"}:
            del sys.modules[name]


@functools.cache
def real_texts() -> dict[str, list[str]]:
    """Lines and paragraphs of what is installed: sources of the package in Chinese, descriptions of others in English."""
    packages = Path(np.__file__).parents[1]
    chinese = [
        line.strip()[:LONGEST]
        for file in sorted((packages / "qianfan").rglob("*.py"))
        for line in file.read_text("utf-8").splitlines()
        if re.search("[\u4e00-\u9fff]{4}", line)
    ]
    english = [
        paragraph.strip()[:LONGEST]
        for file in sorted(packages.glob("*.dist-info/METADATA"))
        for paragraph in file.read_text("utf-8", "replace").split("\n\n")
        if len(paragraph) > 40
    ]
    draw = random.Random(23)
    return {
        "zh": list(dict.fromkeys(chinese)),
        "en": draw.sample(english, min(1_800, len(english))),
    }


@functools.cache
def texts_of(language: str) -> list[str]:
    """Real and made-up texts."""
    real = real_texts()[language]
    listed = (_tables.TABLES / f"flagged_words.{language}.txt").read_text("utf-8").splitlines()[1:]
    draw = random.Random(37)
    made = texts_made_up(TEXTS // 2 - len(real), seed=31)
    # Flagged words alone, within a text, and cut in two.
    return [*real, *(text + draw.choice(listed) if draw.random() < 0.2 else text for text in made)]


def ratios(operator: type, name: str, language: str, texts: list[str]) -> list[float]:
    """What the package's operator compares with its cut-off."""
    written = WrittenCount() if name == "filter_check_number_words" else Written()
    arguments: dict[str, Any] = {CUTOFFS[name]: written}
    if name == "filter_check_number_words":
        # It looks at the lower one first, and at the other only where that is kept.
        arguments["number_words_min_cutoff"] = -1
    check = operator(
        filter_column="text",
        sentence_piece_model_path="",
        text_language=language.upper(),
        **arguments,
    )
    for text in texts:
        assert check(text)
    return written.seen


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_ratio_is_the_published_one(
    published: Callable[[str], Any], measure: Measure, name: str, language: str
) -> None:
    texts = texts_of(language)
    theirs = ratios(published(name), name, language, texts)
    assert len(theirs) == len(texts) == TEXTS // 2
    ours = measure(name, *texts, language=language)
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert len(set(theirs)) > 20, "a ratio that is the same everywhere proves little"


def test_there_are_thousands_of_texts_and_most_chinese_ones_are_real() -> None:
    assert sum(len(texts_of(language)) for language in ("zh", "en")) >= 5_000
    assert all(len(real) >= 500 for real in real_texts().values())


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(
    "name", ["filter_check_special_characters", "filter_check_word_repetition_removal"]
)
def test_decisions_by_language_are_the_published_ones(
    published: Callable[[str], Any], keep: Keep, name: str, language: str
) -> None:
    texts = texts_of(language)[::4]
    check = published(name)(
        filter_column="text", sentence_piece_model_path="", text_language=language.upper()
    )
    argument = base.describe(name).parameters[0].name
    ours = keep(name, *texts, language=language, **{argument: "by_language"})
    assert ours == [check(text) for text in texts]
    assert not all(ours)


def test_a_cutoff_of_nothing_is_nothing_here_and_the_default_there(
    published: Callable[[str], Any], keep: Keep
) -> None:
    name = "filter_check_special_characters"
    check = published(name)(
        filter_column="text", text_language="EN", special_characters_max_cutoff=0
    )
    assert check("abc d e.") is True
    assert keep(name, "abc d e.", language="en", special_characters_max_cutoff=0) == [False]


def test_no_filter_of_the_package_is_left_out(published: Callable[[str], Any]) -> None:
    del published
    package = importlib.import_module(OPERATORS)
    assert package.__file__ is not None
    there = {file.stem for file in Path(package.__file__).parent.glob("check_*.py")}
    assert there == {module for module, _ in PAIRS.values()} | WITHOUT_NAME


# Simplified Chinese, against OpenCC's published tables read by a matcher that is written out


def opencc_table(name: str, folder: Path) -> dict[str, str]:
    """One of OpenCC's tables, written out as text by its own program."""
    package = importlib.import_module("opencc")
    assert package.__file__ is not None
    root = Path(package.__file__).parent / "clib"
    out = folder / f"{name}.txt"
    program = root / "bin" / "opencc_dict"
    table = root / "share" / "opencc" / f"{name}.ocd2"
    subprocess.run(
        [program, "-i", table, "-o", out, "-f", "ocd2", "-t", "text"],
        check=True,
        capture_output=True,
    )
    pairs = (line.split("\t") for line in out.read_text("utf-8").splitlines() if "\t" in line)
    return {key: values.split(" ")[0] for key, values in pairs}


def simplified(text: str, tables: list[dict[str, str]]) -> str:
    """The longest phrase at each place, tables in their order: what `t2s.json` says in words."""
    longest = max(len(key) for table in tables for key in table)
    done: list[str] = []
    place = 0
    while place < len(text):
        for size in range(min(longest, len(text) - place), 0, -1):
            piece = text[place : place + size]
            found = next((table[piece] for table in tables if piece in table), None)
            if found is not None:
                done.append(found)
                place += size
                break
        else:
            done.append(text[place])
            place += 1
    return "".join(done)


def test_simplified_chinese_is_that_of_openccs_tables(clean: Clean, tmp_path: Path) -> None:
    # In the order of the package's t2s.json.
    phrases, rare, characters = (
        opencc_table(name, tmp_path) for name in ("TSPhrases", "TSCharactersExt", "TSCharacters")
    )
    draw = random.Random(3)
    signs, known = sorted(rare | characters), sorted(phrases)
    plain = list("的一是在不了有和人这中大为上个国我以要他ABC，。 12")
    texts = [
        "".join(
            draw.choice([draw.choice(signs), draw.choice(known), draw.choice(plain)])
            for _ in range(draw.randrange(1, 30))
        )
        for _ in range(1_500)
    ]
    texts += real_texts()["zh"][:300]
    assert clean("replace_traditional_chinese_to_simplified", *texts) == [
        simplified(text, [phrases, rare, characters]) for text in texts
    ]


# Near-duplicates, against distances counted in binary


def test_the_distance_of_a_near_text_is_the_number_of_bits_that_differ() -> None:
    texts = real_texts()["en"][:150]
    draw = random.Random(4)
    near = [re.sub(r"\b\w+\b", "other", text, count=draw.randrange(1, 3)) for text in texts]
    operator = base.create("deduplication_simhash", {"distance": 6}, base.Common())
    assert isinstance(operator, Simhash)
    both = Texts([*texts, *near])
    prints: list[int] = operator.prepare(both).tolist()
    outcome = operator(both)
    operator.close()
    assert outcome.keep is not None
    assert outcome.values is not None
    kept: list[int] = []
    for one, keep, value in zip(
        prints, outcome.keep.tolist(), outcome.values.tolist(), strict=True
    ):
        differing = [f"{one ^ other:b}".count("1") for other in kept]
        nearest = min(differing, default=64)
        assert keep == (nearest > 6)
        assert value == (64 if keep else nearest)
        if keep:
            kept.append(one)
    assert 50 < len(kept) < 290


# Identifiers, against packages and grammars of others


def around(clean: Clean, operator: str, given: list[str]) -> list[str]:
    """What becomes of each, between Chinese signs."""
    texts = clean(operator, *(f"号码{one}，" for one in given))
    return [text[2:-1] for text in texts]


def test_resident_numbers_and_credit_codes_are_those_of_stdnum(clean: Clean) -> None:
    ric = pytest.importorskip("stdnum.cn.ric")
    uscc = pytest.importorskip("stdnum.cn.uscc")
    draw = random.Random(5)
    residents = [
        draw.choice(["110105", "440524", "310104", "500101", "820000", "000000", "990101"])
        + f"{draw.randrange(1900, 2025)}{draw.randrange(0, 14):02d}{draw.randrange(0, 33):02d}"
        + f"{draw.randrange(1000):03d}{draw.choice('0123456789X')}"
        for _ in range(3_000)
    ]
    # A tenth of them by chance; the others get the digit that the package works out.
    residents = [
        number[:17] + ric.calc_check_digit(number) if draw.random() < 0.5 else number
        for number in residents
    ]
    divisions = set(importlib.import_module("yangfan.operators.replace_identifier").PROVINCES)
    for number, found in zip(
        residents, around(clean, "replace_identifier", residents), strict=True
    ):
        told = found == "[RESIDENT_ID]"
        if ric.is_valid(number):
            assert told, number
        elif told:
            # The package knows today's divisions; numbers of those that were renamed live on.
            assert number[:2] in divisions
            assert ric.calc_check_digit(number) == number[17]
    # Codes that begin with a letter (GB 32100-2015 has them for other bodies) are none to the package.
    signs = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    codes = [
        draw.choice("159")
        + draw.choice("123")
        + "".join(draw.choices("0123456789", k=6))
        + "".join(draw.choices(signs, k=9))
        for _ in range(1_000)
    ]
    codes = [
        code + (uscc.calc_check_digit(code) if draw.random() < 0.5 else draw.choice(signs))
        for code in codes
    ]
    found = around(clean, "replace_identifier", codes)
    assert [told == "[CREDIT_CODE]" for told in found] == [uscc.is_valid(code) for code in codes]


def test_cards_are_those_of_luhns_rule_in_stdnum(clean: Clean) -> None:
    luhn = pytest.importorskip("stdnum.luhn")
    draw = random.Random(6)
    cards = ["6" + "".join(draw.choices("0123456789", k=draw.choice([15, 18]))) for _ in range(800)]
    cards = [
        card[:-1] + luhn.calc_check_digit(card[:-1]) if draw.random() < 0.5 else card
        for card in cards
    ]
    found = around(clean, "replace_identifier", cards)
    assert [told == "[BANK_CARD]" for told in found] == [luhn.is_valid(card) for card in cards]


def test_every_mobile_number_of_phonenumbers_goes(clean: Clean) -> None:
    phonenumbers = pytest.importorskip("phonenumbers")
    draw = random.Random(7)
    numbers = ["1" + "".join(draw.choices("0123456789", k=10)) for _ in range(1_500)]
    mobile = [
        phonenumbers.number_type(phonenumbers.parse(number, "CN"))
        == phonenumbers.PhoneNumberType.MOBILE
        for number in numbers
    ]
    found = around(clean, "replace_identifier", numbers)
    assert 500 < sum(mobile) < 1_500
    for number, is_mobile, told in zip(numbers, mobile, found, strict=True):
        if is_mobile:
            assert told == "[MOBILE]"
        elif told == "[MOBILE]":
            # Prefixes that no carrier has yet go as well: being told too much is better than too little.
            assert "3" <= number[1] <= "9"
        else:
            assert told == number


def test_every_address_of_the_rfc_goes(clean: Clean) -> None:
    """RFC 5321, 4.1.2: Dot-string, and a domain of labels."""
    draw = random.Random(8)
    atext = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+-/=?^_`{|}~"
    inner = "abcdefghijklmnopqrstuvwxyz0123456789-"

    def label() -> str:
        ends = draw.choices(inner[:-1], k=2)
        return ends[0] + "".join(draw.choices(inner, k=draw.randrange(0, 12))) + ends[1]

    addresses = [
        ".".join(
            "".join(draw.choices(atext, k=draw.randrange(1, 8)))
            for _ in range(draw.randrange(1, 4))
        )
        + "@"
        + ".".join(label() for _ in range(draw.randrange(1, 4)))
        + draw.choice([".com", ".cn", ".museum", ".xn--fiqs8s"])
        for _ in range(2_000)
    ]
    assert set(around(clean, "replace_emails", addresses)) == {"[EMAIL]"}


def test_every_address_of_the_internet_protocol_goes(clean: Clean) -> None:
    draw = random.Random(9)
    fours = [str(ipaddress.IPv4Address(draw.getrandbits(32))) for _ in range(800)]
    sixes = [
        getattr(
            ipaddress.IPv6Address(draw.getrandbits(128) & draw.choice([~0, ~(0xFFFFFFFF << 48)])),
            form,
        )
        for _ in range(400)
        for form in ("compressed", "exploded")
    ]
    assert set(around(clean, "replace_ip", [*fours, *sixes])) == {"[IP]"}
    others = [
        ".".join(str(draw.randrange(0, 400)) for _ in range(draw.choice([3, 4, 5])))
        for _ in range(800)
    ]

    def is_address(text: str) -> bool:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return False
        return True

    found = around(clean, "replace_ip", others)
    assert [told == "[IP]" for told in found] == [is_address(other) for other in others]
