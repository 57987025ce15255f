from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yangfan.engines._pieces import Detokenizer, StopCutter


def decode_bytes(tokens: Sequence[int]) -> str:
    return bytes(tokens).decode("utf-8", "replace")


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_pieces_of_characters_come_out_whole(text: str) -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.add(token) for token in text.encode()]
    assert "".join(pieces) + detokenizer.end() == text
    assert all("\ufffd" not in piece or "\ufffd" in text for piece in pieces)


def test_half_a_character_at_the_end_comes_out_as_such() -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.add(token) for token in "好".encode()[:2]]
    assert pieces == ["", ""]
    assert detokenizer.end() == "\ufffd"


def test_bytes_that_never_become_a_character_do_not_stay_back_for_ever() -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.add(0xFF) for _ in range(20)]
    assert "".join(pieces).startswith("\ufffd" * 8)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_string(text: str, stops: list[str]) -> None:
    cutter = StopCutter(stops)
    passed = ""
    for sign in text:
        passed += cutter.add(sign)
        if cutter.stopped:
            break
    passed += cutter.end()
    assert text.startswith(passed)
    assert not any(stop in passed for stop in stops)
    assert cutter.stopped == any(stop in text for stop in stops)
    assert cutter.stopped or passed == text


@pytest.mark.parametrize("stops", [[], [""]])
def test_without_stop_strings_nothing_is_kept_back(stops: list[str]) -> None:
    cutter = StopCutter(stops)
    assert cutter.add("abc") == "abc"
    assert cutter.end() == ""
