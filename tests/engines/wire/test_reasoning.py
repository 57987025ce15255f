"""Thoughts and answers, however the output is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yangfan.engines.wire.reasoning import ReasoningSplitter, ThoughtLimit

PIECES = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<", "</", "thi", "nk>", ">", " ", "\n", "思考", "a", "<thinker>"]
    ),
    max_size=12,
)


def split(pieces: list[str]) -> tuple[str, str]:
    splitter = ReasoningSplitter()
    parts = [splitter.split(piece) for piece in pieces]
    parts.append(splitter.split("", last=True))
    return "".join(thought for thought, _ in parts), "".join(answer for _, answer in parts)


def reference(output: str) -> tuple[str, str]:
    """The same in one regular expression over the whole output."""
    found = re.fullmatch(r"\s*<think>(.*?)(?:</think>(.*))?", output, re.DOTALL)
    if found is None:
        return "", output
    if found[2] is None:
        return found[1].lstrip(), ""
    return found[1].strip(), found[2].lstrip()


@given(PIECES, st.booleans())
def test_any_cut_gives_what_the_whole_output_gives(pieces: list[str], thinks: bool) -> None:
    if thinks:
        pieces = ["<think>", *pieces]
    output = "".join(pieces)
    assert split(pieces) == reference(output)
    assert split(list(output)) == reference(output)
    assert split([output]) == reference(output)


@pytest.mark.parametrize(
    ("output", "thought", "answer"),
    [
        ("<think>\nWhy?\n</think>\n\nBecause.", "Why?", "Because."),
        ("\n<think>Why?</think>Because.", "Why?", "Because."),
        ("<think>\n\n</think>\n\nBecause.", "", "Because."),
        ("<think>Cut off in the mid", "Cut off in the mid", ""),
        ("No thoughts, <think>only text</think>", "", "No thoughts, <think>only text</think>"),
        ("  indented", "", "  indented"),
        ("<thin", "", "<thin"),
        ("<think>a < b </ c", "a < b </ c", ""),
        ("", "", ""),
    ],
)
def test_examples(output: str, thought: str, answer: str) -> None:
    assert split(list(output)) == (thought, answer)


def test_an_answer_is_not_kept_back() -> None:
    splitter = ReasoningSplitter()
    assert splitter.split("<think>a") == ("a", "")
    assert splitter.split("</thi") == ("", "")
    assert splitter.split("nk>b ") == ("", "b ")
    assert splitter.split(" <") == ("", " <")


def test_text_that_cannot_be_a_tag_passes_at_once() -> None:
    assert ReasoningSplitter().split("<p") == ("", "<p")


@pytest.mark.parametrize("size", [1, 3, 100])
def test_output_that_begins_inside_a_thought_ends_it_first(size: int) -> None:
    text = "\nHm, yes.\n</think>\n\nFine."
    splitter = ReasoningSplitter(inside=True)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    parts = [splitter.split(piece) for piece in pieces] + [splitter.split("", last=True)]
    assert "".join(thought for thought, _ in parts) == "Hm, yes."
    assert "".join(answer for _, answer in parts) == "Fine."


def test_a_thought_that_never_ends_is_one_throughout() -> None:
    assert ReasoningSplitter(inside=True).split("hm", last=True) == ("hm", "")


@pytest.mark.parametrize(
    ("tokens", "inside", "limit", "ends_after"),
    [
        (["<think>", "a", "b", "c"], False, 2, 3),
        (["<th", "ink>a", "b", "c"], False, 2, 4),
        ([" \n", "<think>", "a"], False, 0, 2),
        (["a", "b", "c"], True, 2, 2),
        (["a", "", "é", "c"], True, 2, 3),  # never within a character
        (["a", "</thi", "nk>", "b", "c", "d"], True, 4, None),
        (["a", "b", "c"], False, 1, None),
        (["<thin", "g", "b", "c"], False, 1, None),
        (["a", "b"], True, 5, None),
    ],
)
def test_a_limit_says_after_which_token_a_thought_ends(
    tokens: list[str], inside: bool, limit: int, ends_after: int | None
) -> None:
    thoughts = ThoughtLimit(limit, inside=inside)
    ended = [place for place, text in enumerate(tokens, 1) if thoughts.add(text)]
    assert ended == ([] if ends_after is None else [ends_after])


def test_a_thought_of_no_tokens_that_the_prompt_opened_is_used_up_at_once() -> None:
    assert ThoughtLimit(0, inside=True).used_up
    assert not ThoughtLimit(0, inside=False).used_up
