"""Write the tables of `yangfan.operators` that come from elsewhere: Unicode's properties, Baidu's published constants.

Needs the packages `regex` (its Unicode data), `emoji` and `qianfan` (its constants). Run when one of them has news.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import emoji
import regex

TABLES = Path(__file__).resolve().parent.parent / "src/yangfan/operators/tables"

PROPERTIES = {
    "control": r"\p{Cc}",
    "format": r"\p{Cf}",
    "private_use": r"\p{Co}",
    "unassigned": r"\p{Cn}",
    "space_separator": r"\p{Zs}",
    "letter": r"\p{L}",
    "han": r"\p{Script=Han}",
    "emoji": r"\p{Emoji}",
    "emoji_presentation": r"\p{Emoji_Presentation}",
    "emoji_modifier": r"\p{Emoji_Modifier}",
    "extended_pictographic": r"\p{Extended_Pictographic}",
    "joiner_scripts": "".join(
        rf"\p{{Script={script}}}"
        for script in (  # noqa: SIM905 -- a list of 31 names is longer to read than a sentence
            "Arabic Syriac Mongolian Nko Mandaic Manichaean Psalter_Pahlavi Phags_Pa Sogdian Hanifi_Rohingya "
            "Adlam Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Khmer "
            "Myanmar Tibetan Balinese Javanese Tai_Tham Chakma Grantha Newa Tirhuta"
        ).split()
    ),
}


def published(name: str) -> dict[str, Any]:
    """What is in a module of the published operators, alone: their package wants libraries that its constants do not."""
    package = importlib.util.find_spec("qianfan")
    if package is None or package.origin is None:
        raise SystemExit("pip install qianfan==0.4.12.3")
    file = Path(package.origin).parent / "dataset/local_data_operators" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file} cannot be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def ranges(property_class: str) -> list[list[int]]:
    """First and last code point of each run of characters that have the property."""
    pattern = regex.compile(f"[{property_class}]")
    found: list[list[int]] = []
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF or not pattern.match(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def unicode_table() -> dict[str, Any]:
    """Unicode's properties by name."""
    return {
        "origin": f"Unicode Character Database, through regex {regex.__version__} "
        f"(Python's own is {unicodedata.unidata_version}); Unicode License v3",
        "ranges": {name: ranges(pattern) for name, pattern in PROPERTIES.items()},
    }


def language_tables() -> dict[str, Any]:
    """Lengths and cut-offs of each language, and the special characters."""
    consts = published("consts")
    maps = {
        "character_repetition_length": consts["_character_repetition_length_map"],
        "character_repetition_max_cutoff": consts["_character_repetition_max_cutoff_map"],
        "word_repetition_length": consts["_word_repetition_length_map"],
        "word_repetition_max_cutoff": consts["_word_repetition_max_cutoff"],
        "special_characters_max_cutoff": consts["_special_character_map"],
        "flagged_words_max_cutoff": consts["_flagged_words_max_cutoff_map"],
        "flagged_words_join": {
            language: joined[0] if joined else 1
            for language, joined in consts["_words_augmentation_group_sizes_map"].items()
        },
        "number_words_min_cutoff": consts["_number_words_min_map"],
        "number_words_max_cutoff": consts["_number_words_max_map"],
    }
    languages = sorted(consts["_character_repetition_length_map"])
    special = consts["main_special_characters"] + consts["other_special_characters"]
    single = {character for character in emoji.EMOJI_DATA if len(character) == 1}
    return {
        "origin": "qianfan 0.4.12.3, qianfan.dataset.local_data_operators.consts (Apache-2.0, Baidu), after BigScience "
        "ROOTS 01b_oscar_cleaning_and_filtering; emoji from the package emoji",
        "languages": {
            language.lower(): {name: values[language] for name, values in maps.items()}
            for language in languages
        },
        "special_characters": sorted({ord(character) for character in {*special, *single}}),
    }


def flagged_words(language: str) -> list[str]:
    """Words of one language that are flagged."""
    return sorted(set(published("word_list")["_flagged_words"][language]))


def main() -> None:
    """Write every table."""
    TABLES.mkdir(exist_ok=True)
    for name, table in (("unicode", unicode_table()), ("languages", language_tables())):
        (TABLES / f"{name}.json").write_text(
            json.dumps(table, ensure_ascii=True, separators=(",", ":")) + "\n", "utf-8"
        )
    for language in ("zh", "en"):
        (TABLES / f"flagged_words.{language}.txt").write_text(
            "# qianfan 0.4.12.3, qianfan.dataset.local_data_operators.word_list (Apache-2.0, Baidu)\n"
            + "".join(f"{word}\n" for word in flagged_words(language)),
            "utf-8",
        )


if __name__ == "__main__":
    sys.exit(main())
