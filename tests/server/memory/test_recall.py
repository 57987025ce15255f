"""What a level recalls of a user memory."""

from __future__ import annotations

import pytest

from yangfan.server.memory.recall import DEFAULT_LEVEL, PAIRS_OF_LEVEL, recalled
from yangfan.server.memory.types import Pair


def pairs(*texts: str) -> tuple[Pair, ...]:
    return tuple(Pair(f"mc-{place}", text, "noted") for place, text in enumerate(texts))


def test_a_memory_that_fits_is_recalled_whole_and_in_order():
    held = pairs("tea", "trains", "cats")
    for level in (1, 2, 3, 4):
        assert recalled(held, level, "nothing of that") == held
    assert recalled(held, 0, "tea") == ()


@pytest.mark.parametrize("level", [1, 2, 3])
def test_each_level_recalls_more_and_the_newest_where_nothing_tells_pairs_apart(level: int):
    held = pairs(*(f"fact {place}" for place in range(1000)))
    most = PAIRS_OF_LEVEL[level]
    assert recalled(held, level, "unrelated question") == held[-most:]
    assert len(recalled(held, 4, "")) == 1000
    assert DEFAULT_LEVEL == 1


@pytest.mark.parametrize(
    ("about", "question"),
    [
        ("I like GREEN tea", "which green drinks suit me?"),
        ("我的口味偏清淡，喜欢喝绿茶", "推荐一款绿茶吧"),
    ],
)
def test_what_shares_words_with_the_question_is_recalled_first(about: str, question: str):
    held = pairs(about, *(f"fact {place}" for place in range(100)))
    found = recalled(held, 1, question)
    assert found[0].user == about
    assert [pair.user for pair in found[1:]] == [f"fact {place}" for place in range(85, 100)]


def test_a_question_and_pairs_of_megabytes_are_compared_in_no_time():
    held = pairs(*("绿茶 tea " * 600 for _ in range(1000)))
    assert len(recalled(held, 1, "tea " * 1_000_000)) == 16
