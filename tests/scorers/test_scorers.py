"""Each scorer on answers whose grade is plain to see; what is wrong with an answer or a judge is ungradeable, with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from yangfan.errors import Invalid, Overloaded, UnknownExtension
from yangfan.scorers import base
from yangfan.scorers.base import Sample, Score
from yangfan.scorers.pairwise import Pairwise, bradley_terry


@dataclass
class Spoken:
    """Models that say what a function says."""

    say: Callable[[str], str] = lambda _prompt: ""
    vectors: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    asked: list[str] = field(default_factory=list[str])

    def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float | None = None,
    ) -> str:
        del temperature
        assert model == "judge"
        assert schema is not None
        self.asked.append(messages[-1]["content"])
        return self.say(messages[-1]["content"])

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        assert model == "embedding-v1"
        return [self.vectors[text] for text in texts]


def graded(name: str, sample: Sample, models: Spoken | None = None, **parameters: Any) -> Score:
    return base.create(name, parameters, models).score(sample)


@pytest.mark.parametrize(
    ("name", "parameters", "answer", "references", "value"),
    [
        ("exact", {}, " 上海\n", ("上海",), 1),
        ("exact", {}, "上海。", ("上海",), 0),
        ("exact", {}, "B", ("A", "B"), 1),
        ("exact", {"ignore_case": True}, "yes", ("YES",), 1),
        ("accuracy", {}, "“正面”。", ("正面",), 1),
        ("accuracy", {}, "Ｐositive!", ("positive",), 1),
        ("accuracy", {"labels": ["正面", "负面"]}, "这条评论是正面的", ("正面",), 1),
        ("accuracy", {"labels": ["正面", "负面"]}, "既有正面也有负面", ("正面",), 0),
        ("accuracy", {"labels": ["spam", "not spam"]}, "It is not spam.", ("not spam",), 1),
        ("f1", {}, "the red sail", ("a red sail", "blue"), 2 / 3),
        ("f1", {}, "红色的帆", ("红色帆",), 6 / 7),
        ("f1", {}, "", ("x",), 0),
        ("regex", {"pattern": r"^\d{4}年"}, "2024年1月", (), 1),
        ("regex", {"pattern": r"\d+", "whole": True}, "a1", (), 0),
        ("regex", {}, "共 42 艘", (r"4\d",), 1),
        ("regex", {}, "abcabc", (r"(abc){2}",), 1),
        ("bleu_4", {}, "扬帆是一个平台", ("扬帆是一个平台",), 1),
        ("rouge", {"variant": "2"}, "扬帆平台", ("扬帆平台很好",), 0.75),
        ("json_validity", {}, '{"a": 1}', (), 1),
        ("json_validity", {}, '```json\n{"a": 1}\n```', (), 1),
        ("json_validity", {"code_block": False}, '```json\n{"a": 1}\n```', (), 0),
        ("json_validity", {"required": ["a", "b"]}, '{"a": 1}', (), 0),
        ("json_validity", {"required": ["a"]}, "[1]", (), 0),
        ("json_validity", {}, '{"a": NaN}', (), 0),
    ],
)
def test_grade(
    name: str, parameters: dict[str, Any], answer: str, references: tuple[str, ...], value: float
):
    score = graded(name, Sample(answer, references), **parameters)
    assert score.value == pytest.approx(value)


@pytest.mark.parametrize("name", ["exact", "accuracy", "f1", "regex", "bleu_4", "rouge"])
def test_sample_without_an_expected_answer_is_ungradeable(name: str):
    score = graded(name, Sample("x"))
    assert score.value is None
    assert "no expected answer" in score.reason


def test_expression_that_never_ends_is_ungradeable_and_one_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("yangfan.scorers.regex.TIMEOUT_SECONDS", 0.5)
    endless = graded("regex", Sample("a" * 60 + "!"), pattern=r"^(a+)+$")
    assert endless.value is None
    assert "backtracks less" in endless.reason
    with pytest.raises(Invalid, match="no regular expression"):
        graded("regex", Sample("x"), pattern="(")
    assert "no regular expression" in graded("regex", Sample("x", ("(",))).reason


def test_similarity_is_the_cosine():
    vectors = {"a": [1.0, 0.0], "b": [1.0, 1.0], "none": [0.0, 0.0]}
    models = Spoken(vectors=vectors)
    close = graded("embedding_similarity", Sample("a", ("b",)), models)
    assert close.value == pytest.approx(2**-0.5)
    assert (
        "without a direction"
        in graded("embedding_similarity", Sample("none", ("b",)), models).reason
    )
    assert "empty" in graded("embedding_similarity", Sample(" ", ("b",)), models).reason


def test_judge_gives_score_and_reason_and_sees_material_as_material():
    models = Spoken(lambda _prompt: '{"reason": "对", "score": 5}')
    sample = Sample("上海 {tgt} {src}", ("上海",), "中国最大的城市？")
    score = graded("judge", sample, models, model="judge")
    assert (score.value, score.reason) == (5.0, "对")
    assert "上海 {tgt} {src}" in models.asked[0]
    assert "中国最大的城市？" in models.asked[0]
    graded("judge", sample, models, model="judge", template="{prediction}|{tgt}|{unknown}|{")
    assert models.asked[1] == "上海 {tgt} {src}|上海|{unknown}|{"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("great answer!", "no verdict in JSON"),
        ('{"reason": "?", "score": 9}', r"9 is not in \[1, 5\]"),
        ('{"reason": "?", "score": NaN}', "no verdict in JSON"),
    ],
)
def test_judge_that_gives_no_verdict_leaves_the_answer_ungradeable(said: str, reason: str):
    models = Spoken(lambda _prompt: said)
    score = graded("judge", Sample("x", prompt="y"), models, model="judge")
    assert score.value is None
    assert len(models.asked) == 2
    assert re.search(reason, score.reason)


def test_judge_that_cannot_be_asked_leaves_the_answer_ungradeable():
    def fail(_prompt: str) -> str:
        raise Overloaded("busy")

    score = graded("judge", Sample("x"), Spoken(fail), model="judge")
    assert (score.value, score.reason) == (None, "the judge does not answer: busy")
    with pytest.raises(Invalid, match="none can be asked here"):
        base.create("judge", {"model": "judge"})
    with pytest.raises(Invalid, match="min_score must be below"):
        base.create("judge", {"model": "judge", "min_score": 5, "max_score": 1}, Spoken())


def test_pair_is_judged_in_both_orders():
    def prefers_long(prompt: str) -> str:
        a = prompt.partition("[Answer A]")[2].partition("[End of answer A]")[0].strip()
        b = prompt.partition("[Answer B]")[2].partition("[End of answer B]")[0].strip()
        better = "A" if len(a) > len(b) else "B" if len(b) > len(a) else "tie"
        return f'{{"reason": "longer", "better": "{better}"}}'

    pair = base.create("pairwise", {"model": "judge"}, Spoken(prefers_long))
    assert isinstance(pair, Pairwise)
    assert pair.compare("q", "long answer", "short").value == 1.0
    assert pair.compare("q", "short", "long answer").value == 0.0
    assert pair.compare("q", "one", "two").value == 0.5
    assert pair.compare("q", "", "two").value == 0.0
    assert pair.compare("q", "", " ").value is None
    first = Spoken(lambda _prompt: '{"better": "A"}')
    biased = base.create("pairwise", {"model": "judge"}, first).score(Sample("x", ("y",)))
    assert (biased.value, biased.reason) == (0.5, "the judge went by the place, not by the answer")
    broken = base.create("pairwise", {"model": "judge"}, Spoken()).score(Sample("x", ("y",)))
    assert broken.value is None


def test_strengths_without_an_end_are_refused_or_held_by_a_prior():
    with pytest.raises(ValueError, match="never won, or never lost"):
        bradley_terry([[0, 3], [0, 0]])
    strong, weak = bradley_terry([[0, 3], [0, 0]], prior=0.5)
    assert strong == pytest.approx(-weak)
    assert strong - weak == pytest.approx(1.9459101)  # log of 3.5 to 0.5


def test_scorers_are_found_by_name():
    assert base.names() == [
        "accuracy",
        "bleu_4",
        "embedding_similarity",
        "exact",
        "f1",
        "json_validity",
        "judge",
        "pairwise",
        "regex",
        "rouge",
    ]
    assert all({"en", "zh"} == set(summary) for summary in base.summaries().values())
    with pytest.raises(UnknownExtension, match="there are: accuracy"):
        base.create("bleurt", {})
    with pytest.raises(Invalid, match="scorer rouge"):
        base.create("rouge", {"variant": "9"})
