"""What a model is told, and what an answer rests on."""

from __future__ import annotations

from yangfan.plugins.knowledge_base.answering import answerable, citations, nothing_found, prompt

PASSAGES = (
    "手册\n每位员工每年有十五天年假。病假需要证明。",
    "manual\nThe warranty lasts two years. Keep the receipt.",
)


def test_a_prompt_is_filled_once() -> None:
    told = prompt(
        "{context}|{question}|{who}|{other}|{",
        "{context}?",
        PASSAGES,
        {"who": "{question}"},
        most_units=999,
    )
    assert told == f"[1] {PASSAGES[0]}\n\n[2] {PASSAGES[1]}|{{context}}?|{{question}}|{{other}}|{{"


def test_passages_that_do_not_fit_are_left_out_but_never_all() -> None:
    told = prompt("{context}", "q", PASSAGES, {}, most_units=10)
    assert told == f"[1] {PASSAGES[0]}"


def test_the_language_of_the_question() -> None:
    assert "资料" in prompt("", "年假几天？", PASSAGES, {}, most_units=999)
    assert "excerpts" in prompt("", "How many days?", PASSAGES, {}, most_units=999)
    assert nothing_found("年假几天？").startswith("抱歉")
    assert nothing_found("How many days?").startswith("Sorry")


def test_citations_name_the_sentence() -> None:
    cited = citations("您每年有十五天年假。The warranty lasts two years! 今天天气很好。", PASSAGES)
    assert [(each.passage, each.source) for each in cited] == [
        (0, "每位员工每年有十五天年假。"),
        (1, "The warranty lasts two years."),
    ]
    assert citations("", PASSAGES) == []
    assert citations("年假", ()) == []


def test_answerable() -> None:
    assert answerable(0.9, 0.0)
    assert answerable(None, 0.5)
    assert not answerable(0.2, 0.1)
    assert not answerable(None, 0.0)
