"""What is learnt is what is served: tokens of prompts and answers, and what of them counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from yangfan.engines.base import EngineSpec, Message
from yangfan.engines.wire.types import ChatMessage
from yangfan.errors import Invalid
from yangfan.trainers.pipeline import libraries
from yangfan.trainers.pipeline.rows import Row
from yangfan.trainers.pipeline.tokens import Words

pytestmark = pytest.mark.skipif(libraries.missing() is not None, reason=str(libraries.missing()))

TALK = [
    ChatMessage("user", "hello"),
    ChatMessage("assistant", "word"),
    ChatMessage("user", "Say only: yes"),
    ChatMessage("assistant", "yes"),
]
ROW = Row(1, "r0", {})


@pytest.fixture(scope="module")
def words(tiny_chat_folder: Path) -> Words:
    return Words(tiny_chat_folder)


def said(words: Words, ids: Any, learnt: Any) -> list[str]:
    """The runs of what counts, as text."""
    runs: list[list[int]] = [[]]
    for token, counts in zip(ids, learnt, strict=True):
        if counts:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [words.tokenizer.decode(run) for run in runs if run]


def test_every_answer_counts_to_its_end_and_nothing_else(words: Words):
    (found,) = words.answers(ROW, TALK, 512)
    assert said(words, found.ids, found.learnt) == ["word<|im_end|>", "yes<|im_end|>"]
    assert words.tokenizer.decode(found.ids) == (
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nword<|im_end|>\n"
        "<|im_start|>user\nSay only: yes<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>"
    )


def test_the_prompt_is_what_the_engine_reads(words: Words, tiny_chat_folder: Path, tmp_path: Path):
    from yangfan.engines import transformers as engines

    async def served() -> int:
        spec = EngineSpec(model="tiny", path=str(tiny_chat_folder), threads=1)
        engine = engines.create(spec, tmp_path)
        await engine.start()
        try:
            asked = [Message(one.role, str(one.content)) for one in TALK[:3]]
            return await engine.count_tokens(asked)
        finally:
            await engine.stop()

    assert asyncio.run(served()) == len(words.prompt(ROW, TALK[:3]))


def test_a_template_that_forgets_gives_each_answer_its_own_prompt(words: Words):
    template = words.tokenizer.chat_template
    words.tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' and not loop.last %}"
        "<|im_start|>assistant\n(forgotten)<|im_end|>\n{% else %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    try:
        found = words.answers(ROW, TALK, 512)
        assert [said(words, one.ids, one.learnt) for one in found] == [
            ["word<|im_end|>"],
            ["yes<|im_end|>"],
        ]
        assert "(forgotten)" in words.tokenizer.decode(found[1].ids)
    finally:
        words.tokenizer.chat_template = template


def test_a_model_without_a_template_learns_plain_lines(words: Words):
    template = words.tokenizer.chat_template
    words.tokenizer.chat_template = None
    words.template.exists = False
    try:
        (found,) = words.answers(ROW, TALK[:2], 512)
        assert said(words, found.ids, found.learnt) == [" word\n<|im_end|>"]
    finally:
        words.tokenizer.chat_template = template
        words.template.exists = True


def test_long_rows_are_cut_and_answers_beyond_the_end_left_out(words: Words):
    prompt = len(words.prompt(ROW, TALK[:1]))
    assert words.answers(ROW, TALK, prompt) == []
    (found,) = words.answers(ROW, TALK, prompt + 1)
    assert len(found.ids) == prompt + 1
    assert found.learnt_count == 1


def test_a_template_that_refuses_names_the_row(words: Words):
    template = words.tokenizer.chat_template
    words.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    try:
        with pytest.raises(Invalid, match=r"row 1 \(r0\) .* roles must alternate"):
            words.answers(ROW, TALK, 512)
    finally:
        words.tokenizer.chat_template = template


def test_texts_are_cut_into_pieces_that_hold_everything(words: Words):
    pieces = words.texts("hello word " * 50, 16)
    assert max(len(piece.ids) for piece in pieces) == 16
    joined = [token for piece in pieces for token in piece.ids]
    assert joined == [*words.tokens("hello word " * 50, special=True), words.end_ids[0]]
