"""Formats of data: what is read, what is refused and how, and what is written (specification D.7, D.8)."""

from __future__ import annotations

from typing import Any

import pytest

from yangfan.datasets.formats import (
    DataFormat,
    Image,
    Message,
    Sample,
    Turn,
    decode,
    encode,
    is_annotated,
    messages_of,
    parse,
    parse_encoded,
    render,
    text_of,
    texts_of,
    with_texts,
)
from yangfan.errors import BadSample, Invalid

F = DataFormat

ROWS: list[tuple[DataFormat, Any, Sample]] = [
    (
        F.PROMPT_RESPONSE,
        [
            {"system": "你是诗人", "prompt": "写诗", "response": [["床前明月光"]]},
            {"prompt": "再写", "response": [["疑是地上霜"]]},
        ],
        Sample(
            system="你是诗人",
            turns=(Turn("写诗", ("床前明月光",)), Turn("再写", ("疑是地上霜",))),
        ),
    ),
    (F.PROMPT_RESPONSE, [{"prompt": "还没有标注"}], Sample(turns=(Turn("还没有标注"),))),
    (
        F.SORTED,
        [{"prompt": "q", "response": [["best"], ["second"]]}],
        Sample(turns=(Turn("q", ("best", "second")),)),
    ),
    (F.PROMPT, [{"prompt": "q"}], Sample(turns=(Turn("q"),))),
    (
        F.ROLE,
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": "a", "loss_weight": 0.5},
            ]
        },
        Sample(
            messages=(
                Message("system", "s"),
                Message("user", "u"),
                Message("assistant", "a", loss_weight=0.5),
            )
        ),
    ),
    (F.TEXT, {"text": "第一行\n第二行"}, Sample(text="第一行\n第二行")),
    (
        F.DPO,
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        Sample(turns=(Turn("q"),), chosen="good", rejected="bad"),
    ),
    (
        F.DPO,
        [
            {"system": "s", "prompt": "q", "response": [["a"]]},
            {"prompt": "q2", "chosen": "good", "rejected": "bad"},
        ],
        Sample(system="s", turns=(Turn("q", ("a",)), Turn("q2")), chosen="good", rejected="bad"),
    ),
    # Baidu's page 3ly70wuxy, one turn and several.
    (
        F.KTO,
        [{"system": "你是一个人工智能助手。", "user": "hello", "rejected": "leave me alone"}],
        Sample(system="你是一个人工智能助手。", turns=(Turn("hello"),), rejected="leave me alone"),
    ),
    (
        F.KTO,
        [{"user": "q", "assistant": "a"}, {"user": "q2", "chosen": "是的"}],
        Sample(turns=(Turn("q", ("a",)), Turn("q2")), chosen="是的"),
    ),
    (
        F.SFT_FIM,
        {"prefix": "def f(", "suffix": "return x", "middle": "x):\n    "},
        Sample(prefix="def f(", suffix="return x", middle="x):\n    "),
    ),
    (
        F.PROMPT_IMAGE,
        {"image": "cat.png", "annotations": "一只猫"},
        Sample(images=(Image("cat.png"),), turns=(Turn("一只猫"),)),
    ),
    (F.PROMPT_IMAGE, {"image": "cat.png"}, Sample(images=(Image("cat.png"),))),
    (
        F.PROMPT_IMAGE_RESPONSE,
        [
            {
                "prompt": "What is it?",
                "response": [["A cat."]],
                "image": ["a.png", {"name": "b.png", "sha256": "0" * 64, "size_bytes": 3}],
            }
        ],
        Sample(
            images=(Image("a.png"), Image("b.png", "0" * 64, 3)),
            turns=(Turn("What is it?", ("A cat.",)),),
        ),
    ),
]


@pytest.mark.parametrize(("data_format", "raw", "sample"), ROWS)
def test_a_row_is_read_and_written_again_as_it_was(
    data_format: DataFormat, raw: Any, sample: Sample
) -> None:
    assert parse(data_format, raw) == sample
    assert render(data_format, sample) == raw
    assert decode(encode(sample)) == sample


def test_every_format_has_a_row_here() -> None:
    assert {data_format for data_format, _, _ in ROWS} == set(DataFormat)


@pytest.mark.parametrize(
    ("data_format", "raw", "sample"),
    [
        (F.PROMPT_RESPONSE, {"prompt": "q", "response": "a"}, Sample(turns=(Turn("q", ("a",)),))),
        (
            F.PROMPT_RESPONSE,
            {"prompt": "q", "response": ["a"]},
            Sample(turns=(Turn("q", ("a",)),)),
        ),
        (F.PROMPT_RESPONSE, {"prompt": "q", "response": None}, Sample(turns=(Turn("q"),))),
        (
            F.PROMPT_RESPONSE,
            {"instruction": "Translate", "input": "猫", "output": "cat"},
            Sample(turns=(Turn("Translate\n猫", ("cat",)),)),
        ),
        (
            F.PROMPT_RESPONSE,
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            Sample(turns=(Turn("q", ("a",)),)),
        ),
        (
            F.ROLE,
            [{"prompt": "q", "response": [["a"]]}],
            Sample(messages=(Message("user", "q"), Message("assistant", "a"))),
        ),
        (F.TEXT, "only text", Sample(text="only text")),
        (F.PROMPT, "only text", Sample(turns=(Turn("only text"),))),
        (
            F.KTO,
            {"prompt": "q", "completion": "a", "label": False},
            Sample(turns=(Turn("q"),), rejected="a"),
        ),
        (
            F.DPO,
            {"prompt": [{"role": "user", "content": "q"}], "chosen": [["a"]], "rejected": "b"},
            Sample(turns=(Turn("q"),), chosen="a", rejected="b"),
        ),
    ],
)
def test_common_spellings_of_others_are_read(
    data_format: DataFormat, raw: Any, sample: Sample
) -> None:
    assert parse(data_format, raw) == sample


@pytest.mark.parametrize(
    ("data_format", "raw", "words"),
    [
        (
            F.PROMPT_RESPONSE,
            {"question_": "q"},
            "the field 'prompt' is missing; fields found: 'question_'",
        ),
        (
            F.PROMPT_RESPONSE,
            {"prompt": 12},
            "'prompt' must be text, got a number; put it into quotes",
        ),
        (F.PROMPT_RESPONSE, {"prompt": "  "}, "'prompt' is empty"),
        (F.PROMPT_RESPONSE, [], "empty list"),
        (F.PROMPT_RESPONSE, "q", "must be an object, got text"),
        (F.PROMPT_RESPONSE, [{"prompt": "q"}, 3], "turn 2 must be an object, got a number"),
        (
            F.PROMPT_RESPONSE,
            {"prompt": "q", "response": [["a"], ["b"]]},
            "use the data format PromptSortedresponses",
        ),
        (F.PROMPT_RESPONSE, {"prompt": "\ud800"}, "UTF-8"),
        (F.ROLE, {"messages": "hello"}, "must be a list of objects"),
        (F.ROLE, {"messages": [{"role": "king", "content": "u"}]}, "role must be one of system"),
        (F.ROLE, {"messages": [{"role": "assistant", "content": "a"}]}, "must be the user's"),
        (F.ROLE, {"messages": [{"role": "user", "content": "a"}] * 2}, "follow one another"),
        (F.DPO, {"prompt": "q", "chosen": "a"}, "'chosen' and 'rejected' must both be there"),
        (F.KTO, {"prompt": "q"}, "'chosen' or 'rejected' must be there"),
        (F.KTO, {"prompt": "q", "completion": "a", "label": 1}, "'label' must be true or false"),
        (F.SFT_FIM, {"prefix": "a", "suffix": "b"}, "the field 'middle' is missing"),
        (F.SFT_FIM, {"middle": "b"}, "'prefix' and 'suffix' are both empty"),
        (F.TEXT, {"text": " \n"}, "the text is empty"),
        (F.TEXT, [{"text": "a"}, {"text": "b"}], "must be one object, got a list of 2"),
        (F.PROMPT, [{"prompt": "q"}, {"prompt": "q2", "response": "a"}], "use the data format"),
        (F.PROMPT_IMAGE, {"prompt": "a cat"}, "has one image, this row has 0"),
        (F.PROMPT_IMAGE, {"image": 3}, "must be the name of a file, got a number"),
        (F.PROMPT_IMAGE_RESPONSE, {"prompt": "q"}, "'image' is missing"),
    ],
)
def test_what_is_not_of_the_format_is_refused_in_words(
    data_format: DataFormat, raw: Any, words: str
) -> None:
    with pytest.raises(BadSample) as caught:
        parse(data_format, raw)
    assert words in caught.value.message


def test_fields_that_nobody_knows_are_kept() -> None:
    raw = [{"prompt": "q", "response": [["a"]], "source": {"page": 3}}]
    sample = parse(F.PROMPT_RESPONSE, raw)
    assert sample.extra == {"source": {"page": 3}}
    assert render(F.PROMPT_RESPONSE, sample) == raw
    # Only beside an `instruction` is `input` a part of what is asked.
    other = parse(F.PROMPT_RESPONSE, {"instructions": "x", "prompt": "q", "input": "y"})
    assert other.turns[0].prompt == "q"
    assert other.extra == {"instructions": "x", "input": "y"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "response": "a"},
        {"prompt": "q", "response": ["a"], "n": None, "user": "u"},
        {"prompt": "q", "response": [["a"]], "output": "b"},
        {"prompt": "q", "response": [[""]]},
        {"prompt": "q", "response": ""},
        {"prompt": "q", "response": []},
        {"prompt": "q", "response": [["a", "b"]]},
        {"prompt": "q", "response": [["a"], ["b"]]},
        {"prompt": "q", "response": [[["a"]]]},
        {"prompt": " ", "response": "a"},
        {"prompt": ["q"], "response": "a"},
        {"prompt": "q", "response": 3},
        {"prompt": "q", "response": None, "output": "b"},
        {"prompt": "q", "response": "a", "input": "i"},
        {"prompt": "q", "response": "a", "instruction": "x", "input": "i"},
        {"prompt": "q", "response": "a", "messages": []},
        {"prompt": "q", "response": "a", "extra": {"k": 1}, "t": 2},
    ],
)
@pytest.mark.parametrize("data_format", [F.PROMPT_RESPONSE, F.SORTED])
def test_a_plain_turn_is_what_any_turn_is(data_format: DataFormat, row: dict[str, Any]) -> None:
    def read(raw: Any) -> Sample | str:
        try:
            return parse(data_format, raw)
        except BadSample as error:
            return error.message.replace(", 'system'", "").replace("turn 1: ", "")

    # With an empty `system` it is read as a row of many turns is.
    wanted = read([{**row, "system": ""}])
    assert read(row) == wanted
    assert read([row]) == wanted


def test_what_was_written_to_know_a_rows_size_is_what_shards_hold() -> None:
    for data_format, raw in (
        (F.PROMPT_RESPONSE, {"prompt": "问", "response": "答 😀", "z": 1, "a": [1, "b"]}),
        (F.TEXT, "文本"),
    ):
        sample, encoded = parse_encoded(data_format, raw)
        assert sample == parse(data_format, raw)
        assert encoded.decode() == encode(sample)


def test_annotated_means_that_nothing_is_left_to_be_said() -> None:
    half = parse(F.PROMPT_RESPONSE, [{"prompt": "a", "response": "b"}, {"prompt": "c"}])
    assert not is_annotated(F.PROMPT_RESPONSE, half)
    assert is_annotated(
        F.PROMPT_RESPONSE, parse(F.PROMPT_RESPONSE, {"prompt": "a", "response": "b"})
    )
    assert is_annotated(F.TEXT, Sample(text="a"))
    assert not is_annotated(F.PROMPT_IMAGE, Sample(images=(Image("a.png"),)))


def test_numbers_of_v1_name_the_format_that_has_them() -> None:
    for data_format in (F.PROMPT_RESPONSE, F.SORTED, F.DPO, F.TEXT, F.PROMPT, F.PROMPT_IMAGE):
        numbers = data_format.numbers
        assert numbers.template_type // 100 == numbers.project_type
        assert DataFormat.of_template(numbers.template_type) is data_format
    with pytest.raises(Invalid, match="templateType must be one of 2000, 2001"):
        DataFormat.of_template(1)
    assert DataFormat.named("promptsortedresponses") is F.SORTED
    with pytest.raises(Invalid, match="dataFormat must be one of PromptResponse"):
        DataFormat.named("Poem")


def test_what_a_sample_says() -> None:
    sample = parse(F.DPO, {"system": "s", "prompt": "q", "chosen": "good", "rejected": "bad"})
    assert text_of(sample) == "s\nq\ngood\nbad"
    assert messages_of(sample) == (Message("system", "s"), Message("user", "q"))


@pytest.mark.parametrize(("data_format", "sample"), [(row[0], row[2]) for row in ROWS])
def test_texts_of_every_format_are_exchanged_one_by_one(
    data_format: DataFormat, sample: Sample
) -> None:
    texts = texts_of(sample)
    assert "\n".join(texts) == text_of(sample)
    assert with_texts(sample, texts) == sample
    other = with_texts(sample, [f"{number} {text}" for number, text in enumerate(texts)])
    assert texts_of(other) == [f"{number} {text}" for number, text in enumerate(texts)]
    assert (other.images, other.extra) == (sample.images, sample.extra)
    assert parse(data_format, render(data_format, other)) == other
