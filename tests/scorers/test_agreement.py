"""BLEU, ROUGE and Bradley-Terry give the figures of sacrebleu, rouge-score and choix, on thousands of generated texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import choix
import numpy as np
import pytest
from rouge_score import rouge_scorer  # pyright: ignore[reportMissingTypeStubs] - untyped
from sacrebleu.metrics.bleu import BLEU

from yangfan.scorers import base, figures
from yangfan.scorers._tokens import has_chinese, words
from yangfan.scorers.pairwise import bradley_terry

CASES = 1000
_ENGLISH = [
    "the",
    "a",
    "sail",
    "ship",
    "wind",
    "harbour",
    "12",
    "3.5",
    "1,000",
    "e-mail",
    "don't",
    "it's",
    "(see)",
    "[1]",
    "50%",
    "co-op",
    "U.S.",
    "end.",
    "so,",
    "why?",
    "Über",
    "naïve",
    "&amp;",
    "x_y",
    "#",
    "!",
    ";",
    ":",
    "“quoted”",
    "-7",
    "A/B",
]
_CHINESE = [
    *"船帆风海港的是了在一不人有这他中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么",
    *"，。！？；：、（）《》",
    "3.5",
    "GPT",
    " ",
]


class Words:
    """Our words, for the reference implementation: its own drop Chinese."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def pairs(seed: int, count: int) -> list[tuple[str, list[str]]]:
    """Answers, and texts that share more or less with them; half of them Chinese."""
    draw = random.Random(seed)
    made: list[tuple[str, list[str]]] = []
    for number in range(count):
        pool, glue = (_CHINESE, "") if number % 2 else (_ENGLISH, " ")
        answer = draw.choices(pool, k=draw.randint(1, 30))
        references = [
            [each if draw.random() < 0.7 else draw.choice(pool) for each in answer][
                : draw.randint(1, 30)
            ]
            for _ in range(draw.randint(1, 3))
        ]
        if any(glue.join(reference).strip() == "" for reference in references):
            continue
        made.append((glue.join(answer), [glue.join(reference) for reference in references]))
    return made


def tokenizer(references: Sequence[str]) -> str:
    return "zh" if any(map(has_chinese, references)) else "13a"


def test_bleu_of_samples_is_that_of_sacrebleu():
    scorer = base.create("bleu_4", {})
    checked = 0
    for answer, references in pairs(1, CASES + 50):
        theirs = BLEU(effective_order=True, tokenize=tokenizer(references))
        expected = theirs.sentence_score(answer, references).score / 100
        assert scorer.score(base.Sample(answer, tuple(references))).value == pytest.approx(expected)
        checked += 1
    assert checked >= CASES


@pytest.mark.parametrize("chinese", [False, True])
def test_bleu_over_all_samples_is_that_of_sacrebleu(chinese: bool):
    scorer = base.create("bleu_4", {})
    drawn = [
        (answer, references[0])
        for answer, references in pairs(2, 400)
        if has_chinese(references[0]) is chinese
    ]
    scores = [scorer.score(base.Sample(answer, (reference,))) for answer, reference in drawn]
    theirs = BLEU(tokenize="zh" if chinese else "13a").corpus_score(
        [answer for answer, _ in drawn], [[reference for _, reference in drawn]]
    )
    found = figures.figure(scorer, scores)
    assert found.value == pytest.approx(theirs.score / 100)
    assert found.low is not None
    assert found.high is not None
    assert found.low < theirs.score / 100 < found.high


@pytest.mark.parametrize(("variant", "theirs"), [("1", "rouge1"), ("2", "rouge2"), ("l", "rougeL")])
def test_rouge_is_that_of_rouge_score(variant: str, theirs: str):
    scorer = base.create("rouge", {"variant": variant})
    reference_scorer: Any = rouge_scorer.RougeScorer([theirs], tokenizer=Words())
    own_words: Any = rouge_scorer.RougeScorer([theirs])
    checked = 0
    for answer, references in pairs(3, CASES + 50):
        expected = reference_scorer.score_multi(references, answer)[theirs].fmeasure
        assert scorer.score(base.Sample(answer, tuple(references))).value == pytest.approx(expected)
        checked += 1
        if (answer + "".join(references)).isascii():
            plain = own_words.score_multi(references, answer)[theirs].fmeasure
            assert plain == pytest.approx(expected)
    assert checked >= CASES


def test_strengths_are_those_of_choix():
    draw = random.Random(4)
    for _ in range(CASES):
        count = draw.randint(2, 6)
        wins = [[0.0] * count for _ in range(count)]
        data: list[tuple[int, int]] = []
        for i in range(count):
            for j in range(count):
                if i != j:
                    won = draw.randint(1, 9)
                    wins[i][j] = won
                    data += [(i, j)] * won
        expected = choix.ilsr_pairwise(count, data)
        assert bradley_terry(wins) == pytest.approx(np.asarray(expected), abs=1e-6)
