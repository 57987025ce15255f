"""Text to terms: the same for documents and questions."""

from __future__ import annotations

import pytest

from yangfan.plugins.knowledge_base.terms import (
    query_terms,
    segmented,
    telling_characters,
    terms_of,
)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("天气预报", ["天", "气", "预", "报", "天气", "气预", "预报"]),
        ("Cats and boxes", ["cat", "and", "boxe"]),
        ("ＡＢＣ１２３", ["abc123"]),
        ("GPT-4模型", ["gpt", "4", "模", "型", "模型"]),
        ("queries classes bus", ["query", "classe", "bus"]),
        ("", []),
        ("!?。，", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert list(terms_of(text)) == terms
    assert segmented(text) == " ".join(terms)


def test_a_question_looks_for_what_tells_it_apart() -> None:
    assert query_terms("请问天气怎么样") == ["问天", "天气", "气怎"]
    assert query_terms("What is the capital of France?") == ["capital", "france"]
    assert query_terms("猫") == ["猫"]
    assert query_terms("天气 天气") == ["天气"]
    assert query_terms("...") == []


def test_the_characters_that_tell_what_a_question_is_about() -> None:
    assert telling_characters("请问年假有多少天？") == ["年", "假", "天"]
    assert telling_characters("How many days?") == []


def test_a_long_run_is_one_short_term() -> None:
    (term,) = terms_of("x" * 10_000)
    assert len(term) == 64


def test_every_term_of_a_question_is_a_term_of_the_text() -> None:
    text = "北京的故宫博物院 opens at 8:30; tickets cost 60元。"
    assert set(query_terms(text)) <= set(terms_of(text))
