"""The operators that measure texts, against the definitions and against the published operators' own arithmetic."""

import importlib.util
import math
import random
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from tests.operators.conftest import Clean, Keep, Measure

from yangfan.errors import ConfigurationError
from yangfan.operators import _tables, base
from yangfan.operators._texts import Texts

LANGUAGES = ("zh", "en", "ur")
PIECES = [
    "千帆",
    "大模型",
    "平台",
    "的",
    "数据",
    "清洗",
    "测试",
    "文本",
    "，",
    "。",
    "！",
    "我们",
    "今天",
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    ",",
    ".",
    "!",
    "12",
    "3.14",
    "（",
    "）",
    "😀",
    "★",
    "—",
    "a",
    "b",
    "c",
    "d",
    "\n",
    "\t",
    "the",
    "the",
    "data",
    "模型",
    "模型",
    "--",
    "\u3000",
    "©",
]


def texts_made_up(number: int, seed: int) -> list[str]:
    """Texts of Chinese, English, digits, signs and emoji, some of which repeat themselves."""
    made = random.Random(seed)
    found: list[str] = ["", " ", "。", "\n\n", "a", "😀"]
    while len(found) < number:
        pieces = made.choices(PIECES, k=made.randrange(1, 60))
        text = made.choice(["", " "]).join(pieces)
        found.append(text * made.choice([1, 1, 1, 2, 5]))
    return found


def reference_words(text: str, language: str) -> list[str]:
    """Words as the published operators take them, with the platform's segmenter for Chinese."""
    if language == "zh":
        import rjieba

        words = rjieba.cut(text)
    else:
        words = re.split(" |\n|\t", text)
    special = _tables.special()
    stripped: list[str] = []
    for word in words:
        start, end = 0, len(word)
        while start < end and special[ord(word[start])]:
            start += 1
        while end > start and special[ord(word[end - 1])]:
            end -= 1
        stripped.append(word[start:end])
    return [word for word in stripped if word]


def character_repetition(text: str, n: int) -> float:
    counts = sorted(
        Counter(text[i : i + n] for i in range(len(text) - n + 1)).values(), reverse=True
    )
    if not counts:
        return 0.0
    repeated = len(counts) - sum(count == 1 for count in counts)
    return sum(counts[: min(int(math.sqrt(len(counts))), repeated)]) / sum(counts)


def word_repetition(words: list[str], n: int) -> float:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)).values()
    return sum(count for count in counts if count > 1) / sum(counts) if counts else 0.0


@pytest.fixture(scope="module")
def published() -> ModuleType:
    """The constants of the published operators; their package would want ltp and sentencepiece."""
    package = importlib.util.find_spec("qianfan")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "dataset/local_data_operators/consts.py"
    spec = importlib.util.spec_from_file_location("published_constants", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", LANGUAGES)
def test_ratios_equal_the_definitions_on_thousands_of_texts(
    measure: Measure, language: str
) -> None:
    texts = texts_made_up(1700, seed=7)
    row = _tables.language(language)
    special = _tables.special()
    words = [reference_words(text, language) for text in texts]
    expected = {
        "filter_check_number_words": [float(len(found)) for found in words],
        "filter_check_word_repetition_removal": [
            word_repetition(found, row.word_repetition_length) for found in words
        ],
        "filter_check_character_repetition_removal": [
            character_repetition(text, row.character_repetition_length) for text in texts
        ],
        "filter_check_special_characters": [
            sum(map(bool, special[list(map(ord, text))])) / len(text) if text else 0.0
            for text in texts
        ],
    }
    for name, values in expected.items():
        assert measure(name, *texts, language=language) == pytest.approx(values, abs=1e-12), name


def test_the_special_characters_are_the_published_ones(published: ModuleType) -> None:
    ours = {chr(code) for code in _tables.special().nonzero()[0].tolist()}
    theirs = {sign for sign in published._default_special_characters_set if len(sign) == 1}
    assert ours == theirs


def test_the_tables_of_languages_are_the_published_ones(published: ModuleType) -> None:
    ours = _tables.languages()
    assert len(ours) == 13
    for code, row in ours.items():
        assert (
            row.character_repetition_length
            == published._character_repetition_length_map[code.upper()]
        )
        assert row.flagged_words_max_cutoff == published._flagged_words_max_cutoff_map[code.upper()]
        assert row.word_repetition_max_cutoff == published._word_repetition_max_cutoff[code.upper()]


def test_defaults_are_those_of_the_wire() -> None:
    defaults = {known.name: known.default for name in base.available() for known in name.parameters}
    wire = {
        "number_words_min_cutoff": 1,
        "number_words_max_cutoff": 10_000,
        "word_repetition_max_cutoff": 0.6,
        "default_character_repetition_max_cutoff": 0.2,
        "special_characters_max_cutoff": 0.3,
        "flagged_words_max_cutoff": 0.5,
        "lang_id_min_cutoff": 0.5,
    }
    assert wire.items() <= defaults.items()


def test_a_value_on_the_cutoff_stays(keep: Keep) -> None:
    # 3 special characters of 10.
    assert keep("filter_check_special_characters", "abcdefg...", "abcdef....") == [True, False]
    assert keep(
        "filter_check_number_words", "", "a", "a b", "a b c", number_words_max_cutoff=2
    ) == [
        False,
        True,
        True,
        False,
    ]
    assert keep(
        "filter_check_special_characters", "abc", "a.", special_characters_max_cutoff=0
    ) == [
        True,
        False,
    ]


def test_cutoffs_by_language_are_told_apart_by_the_letters(keep: Keep) -> None:
    # English text may have 40 % of special characters, Chinese text 30 %.
    texts = ("abcdef" + ". " * 2, "千帆数据清洗" + "，。" * 2)
    arguments = {"special_characters_max_cutoff": "by_language"}
    assert keep("filter_check_special_characters", *texts, **arguments) == [True, False]


def test_flagged_words_count_with_joins_of_neighbours(measure: Measure, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("# ours\nbad\n数据清洗\n", "utf-8")
    listed = {"words_file": str(words)}
    assert measure("filter_check_flagged_words", "a bad, word here", **listed) == [0.25]
    # Two words, joined they are listed.
    assert reference_words("数据清洗", "zh") == ["数据", "清洗"]
    assert measure("filter_check_flagged_words", "数据清洗", language="zh", **listed) == [0.5]
    assert measure("filter_check_flagged_words", "数据，清洗", language="zh", **listed) == [0.5]
    assert measure("filter_check_flagged_words", "ba d", "", language="en", **listed) == [0.0, 0.0]


def test_flagged_words_never_exceed_one(measure: Measure, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("数据\n清洗\n数据清洗\n清洗数据\n", "utf-8")
    text = "数据清洗数据清洗"
    assert measure("filter_check_flagged_words", text, language="zh", words_file=str(words)) == [
        1.0
    ]


def test_shipped_flagged_words_drop_what_is_full_of_them(keep: Keep) -> None:
    shipped = (_tables.TABLES / "flagged_words.en.txt").read_text("utf-8").splitlines()[1:6]
    single = " ".join(word for word in shipped if " " not in word)
    assert keep("filter_check_flagged_words", single, "a good text") == [False, True]


def test_a_list_of_words_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        base.create("filter_check_flagged_words", {"words_file": "/no/such"}, base.Common())
    with pytest.raises(ConfigurationError, match="words_file"):
        base.create("filter_check_flagged_words", {}, base.Common("fr"))


def test_languages_are_told_apart(keep: Keep, measure: Measure) -> None:
    chinese = "千帆大模型平台提供数据管理和模型训练服务。"
    english = "The platform keeps data sets and trains models for everyone."
    french = "La plateforme gère les données et entraîne des modèles pour tout le monde."
    assert keep("filter_check_lang_id", chinese, english, french) == [True, True, False]
    assert keep("filter_check_lang_id", chinese, english, french, language="fr") == [
        False,
        False,
        True,
    ]
    values = measure("filter_check_lang_id", "", "\n", "12345", "\ud800", chinese)
    assert all(0 <= value <= 1 for value in values)


def test_words_carry_over_when_rows_are_dropped() -> None:
    texts = Texts(texts_made_up(300, seed=3))
    keep = texts.words.counts % 3 != 0
    kept = texts.kept(keep)
    fresh = Texts(kept.strings)
    for ours, theirs in (
        (kept.words.starts, fresh.words.starts),
        (kept.words.ends, fresh.words.ends),
        (kept.words.offsets, fresh.words.offsets),
        (kept.codes, fresh.codes),
    ):
        assert ours.tolist() == theirs.tolist()


def test_words_of_a_batch_are_those_of_each_text_alone() -> None:
    odd = ["我们\r", "\n我们", "", "\0", "我们\0训练", "乾\ud800坤", "\ud800", "模型3.5%", "a我们b"]
    texts = [*odd, *texts_made_up(80, seed=8)]
    whole = Texts(texts, "zh").words
    alone = [Texts([text], "zh").words.hashes.tolist() for text in texts]
    assert whole.hashes.tolist() == [one for words in alone for one in words]
    assert whole.counts.tolist() == [len(words) for words in alone]


@pytest.mark.parametrize("language", ["zh", "auto"])
@pytest.mark.parametrize(
    ("name", "argument", "cutoffs"),
    [
        ("filter_check_number_words", "number_words_max_cutoff", [0, 5, 60, "by_language"]),
        ("filter_check_number_words", "number_words_min_cutoff", [0, 5, 60, "by_language"]),
        ("filter_check_word_repetition_removal", "word_repetition_max_cutoff", [0, 0.02, 0.3, 1]),
        ("filter_check_flagged_words", "flagged_words_max_cutoff", [0, 0.01, 0.2, "by_language"]),
    ],
)
def test_what_is_told_without_cutting_is_what_cutting_tells(
    name: str, argument: str, cutoffs: list[float | str], language: str
) -> None:
    made = random.Random(9)
    flagged = (_tables.TABLES / "flagged_words.zh.txt").read_text("utf-8").split("\n")[1:-1]
    words = [
        *["我们", "数据", "hello", "模型", "平台", "了", "，", "。", "%", "3.5"],
        "a b",
        " ",
        "\r",
        *made.sample(flagged, 8),
    ]
    texts = ["", "。", "我们" * 30, "我们，" * 30, *texts_made_up(300, seed=9)]
    texts += ["".join(made.choices(words, k=made.randrange(1, 60))) for _ in range(700)]
    for cutoff in cutoffs:
        operator = base.create(name, {argument: cutoff}, base.Common(language))
        assert isinstance(operator, base.Filter)
        whole = Texts(texts, language)
        certain = operator.certain(whole)
        assert certain is not None
        assert (whole.fewest_words <= whole.words.counts)[whole.is_chinese].all()
        keep = operator(whole).keep
        assert keep is not None
        assert keep[certain].all()
        told = operator.decide(Texts(texts, language))
        assert told.keep is not None
        assert told.keep.tolist() == keep.tolist()
        assert certain.any() or cutoff == 0
        dropped = ~keep
        assert told.values is not None
        assert told.values[dropped].tolist() == operator.measure(whole)[dropped].tolist()


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("filter_check_special_characters", {"special_characters_max_cutoff": 1.5}, "<= 1"),
        ("filter_check_special_characters", {"cutoff": 1}, "special_characters_max_cutoff"),
        ("deduplication_simhash", {"distance": 3}, ">= 4"),
        ("deduplication_simhash", {"distance": 7}, "<= 6"),
        ("filter_check_number_words", {"number_words_min_cutoff": "many"}, "many"),
        ("remove_emoji", {"x": 1}, "none"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(
    name: str, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        base.create(name, arguments, base.Common())
    assert name in caught.value.message


def test_an_operator_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match="remove_emoji"):
        base.create("remove_everything", {}, base.Common())


def test_a_language_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match="auto, ar"):
        base.create("remove_emoji", {}, base.Common("xx"))


def test_the_second_spelling_of_the_wire_is_the_same_operator(clean: Clean, keep: Keep) -> None:
    spam = "很好很好很好很好很好很好"
    assert keep("filter_check_character_repetition", spam) == [False]
    assert keep("filter_check_character_repetition_removal", spam) == [False]


def test_floats_of_the_wire_are_taken_for_whole_numbers() -> None:
    base.create("deduplication_simhash", {"distance": 4.0}, base.Common())
