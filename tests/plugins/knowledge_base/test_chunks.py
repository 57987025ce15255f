"""Blocks to chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yangfan.errors import Invalid
from yangfan.plugins._texts import units
from yangfan.plugins.knowledge_base.blocks import Block, markdown_table
from yangfan.plugins.knowledge_base.chunks import Chunk, Chunking, chunked, sentences

SMALL = Chunking(target_units=50, overlap=0.0)


def test_headings_stand_above_what_is_below_them() -> None:
    blocks = [
        Block("heading", "第一章", 1),
        Block("text", "甲。"),
        Block("heading", "第一节", 2),
        Block("text", "乙。"),
        Block("heading", "第二章", 1),
        Block("text", "丙。"),
    ]
    assert list(chunked(blocks, SMALL)) == [
        Chunk("甲。", "第一章"),
        Chunk("乙。", "第一章 > 第一节"),
        Chunk("丙。", "第二章"),
    ]


def test_a_heading_with_nothing_below_it_is_kept() -> None:
    blocks = [
        Block("heading", "A", 1),
        Block("heading", "B", 1),
        Block("text", "b"),
        Block("heading", "C", 2),
    ]
    assert [chunk.text for chunk in chunked(blocks, SMALL)] == ["A", "b", "C"]


def test_sentences_are_not_cut_and_chunks_overlap() -> None:
    text = "".join(f"这是第{number}句话，它说了一些事情。" for number in range(20))
    chunks = list(chunked([Block("text", text)], Chunking(target_units=60, overlap=0.3)))
    assert len(chunks) > 5
    assert all(chunk.text.endswith("。") for chunk in chunks)
    assert all(units(chunk.text) <= 60 for chunk in chunks)
    for before, after in pairwise(chunks):
        assert sentences(after.text)[0] in before.text


def test_a_long_table_keeps_its_head() -> None:
    rows = [["名称", "价格"], *([f"商品{number}", str(number)] for number in range(60))]
    chunks = list(chunked([Block("table", markdown_table(rows))], SMALL))
    assert len(chunks) > 3
    assert all(chunk.text.startswith("| 名称 | 价格 |\n| --- | --- |\n") for chunk in chunks)
    assert all(any(f"商品{number} " in chunk.text for chunk in chunks) for number in range(60))


def test_one_endless_sentence_is_cut() -> None:
    chunks = list(chunked([Block("text", "字" * 1000)], SMALL))
    assert len(chunks) >= 20
    words = list(chunked([Block("text", "word " * 1000)], SMALL))
    assert all(chunk.text.strip("word ") == "" for chunk in words)
    assert not any(chunk.text.startswith("ord") for chunk in words)


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"target_units": 49}, "targetLength"),
        ({"target_units": 1201}, "targetLength"),
        ({"overlap": 0.51}, "overlapRate"),
        ({"overlap": -0.1}, "overlapRate"),
    ],
)
def test_ranges(values: dict[str, float], param: str) -> None:
    with pytest.raises(Invalid, match="must be from") as caught:
        Chunking(**values)  # pyright: ignore[reportArgumentType]
    assert caught.value.param == param


@given(
    st.lists(
        st.tuples(st.sampled_from(["text", "heading", "table"]), st.text(max_size=300)), max_size=8
    )
)
@settings(max_examples=100, deadline=None)
def test_no_word_is_lost(pieces: list[tuple[str, str]]) -> None:
    blocks = [
        Block("heading", text, 1)
        if kind == "heading"
        else Block("text" if kind == "text" else "table", text)
        for kind, text in pieces
    ]
    chunks = list(chunked(blocks, SMALL))
    told = "".join(chunk.headings + chunk.text for chunk in chunks)
    for _, text in pieces:
        assert all(character in told for character in text if not character.isspace())


@given(st.text(max_size=500))
def test_sentences_make_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text
