"""Vectors made of characters."""

import math

import pytest

from yangfan.engines._ngrams import DIMENSIONS, cosine, vector_of


@pytest.mark.parametrize("text", ["a", "扬帆 😀", "x" * 5000, "\ud800"])
def test_every_text_has_a_vector_of_length_one(text: str) -> None:
    vector = vector_of(text)
    assert len(vector) == DIMENSIONS
    assert math.hypot(*vector) == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_blank_text_has_no_direction(text: str) -> None:
    assert vector_of(text) == [0.0] * DIMENSIONS


def test_equal_texts_have_equal_vectors_whatever_their_case() -> None:
    assert vector_of("Sea") == vector_of("sEA")


def test_the_more_two_texts_share_the_more_similar_they_are() -> None:
    query = vector_of("the cat sat on the mat")
    likeness = [
        cosine(query, vector_of(text))
        for text in ("the cat sat on the mat", "the cat sat on a hat", "a cat", "引擎")
    ]
    assert likeness[0] == pytest.approx(1.0)
    assert likeness == sorted(likeness, reverse=True)
    assert abs(likeness[3]) < 0.15
