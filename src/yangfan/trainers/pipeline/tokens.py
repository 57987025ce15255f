"""From rows to tokens, exactly as the engine makes them that serves the model.

What an engine reads for a question is the tokens of the rendered prompt, made in one go; behind them the model writes its own. So an
example is the tokens of the prompt, followed by those of the answer, made apart: no token of what is learnt spans the two. Where a
template shows earlier turns differently once a later one follows (some drop what the model thought), each answer becomes an example of
its own, behind the prompt that will really stand before it.
"""

from __future__ import annotations

import importlib
import warnings
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from yangfan.engines.rendering import ChatTemplate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yangfan.engines.wire.types import ChatMessage
    from yangfan.trainers.pipeline.rows import Row

_FILL_IN = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<PRE>", "<SUF>", "<MID>"),
)
"""How models spell the parts of a text with a gap."""


class Example(NamedTuple):
    """Tokens to learn.

    Attributes:
        ids: Tokens.
        learnt: 1 for each that the model should have said, 0 for each that it is told.
    """

    ids: array[int]
    learnt: array[int]

    @property
    def learnt_count(self) -> int:
        """Tokens that are learnt."""
        return sum(self.learnt[1:])


def example(told: Sequence[int], said: Sequence[int], limit: int | None = None) -> Example:
    """Tokens that are told, and behind them tokens that are to be said; at most `limit`."""
    ids = array("i", [*told, *said][:limit])
    return Example(ids, array("b", ([0] * len(told) + [1] * len(said))[:limit]))


class Words:
    """A model's tokenizer and template.

    Args:
        folder: Hugging Face folder.

    Attributes:
        tokenizer: The library's.
        template: Renders conversations.
        pad_id: Fills rows up.
        end_ids: Tokens that end an answer; the first is put where a template puts none.
    """

    def __init__(self, folder: Path) -> None:
        transformers: Any = importlib.import_module("transformers")
        transformers.utils.logging.disable_progress_bar()
        safe = {"local_files_only": True, "trust_remote_code": False}
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(str(folder), **safe)
        self.template = ChatTemplate(self.tokenizer)
        ends = [self.tokenizer.eos_token_id]
        try:
            known = transformers.GenerationConfig.from_pretrained(str(folder), **safe).eos_token_id
        except OSError:
            known = None
        ends += known if isinstance(known, list) else [known]
        self.end_ids: list[int] = [end for end in ends if end is not None]
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = pad if pad is not None else (self.end_ids or [0])[0]

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of a text; `special` puts those around it that the model expects around a text."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    def prompt(self, row: Row, messages: Sequence[ChatMessage]) -> list[int]:
        """What an engine reads for a conversation that is to be answered.

        Raises:
            Invalid: The template refuses it.
        """
        return self.tokens(self._asked(row, messages), special=not self.template.exists)

    def answer(self, row: Row, messages: Sequence[ChatMessage], answer: str) -> list[int]:
        """What the model is to write behind `prompt`, to the token that ends it.

        Raises:
            Invalid: The answer is empty, or the template refuses it.
        """
        if not answer.strip():
            raise row.refused("its answer is empty")
        try:
            said = self.template.said(messages, answer)
        except ValueError as error:
            raise row.refused(str(error)) from error
        ids = self.tokens(said)
        for place, token in enumerate(ids):
            if token in self.end_ids:
                return ids[: place + 1]
        return [*ids, *self.end_ids[:1]]

    def answers(self, row: Row, messages: Sequence[ChatMessage], limit: int) -> list[Example]:
        """The examples of a conversation: every answer in it is learnt once. Answers that begin beyond `limit` are left out.

        Raises:
            Invalid: The template refuses it, or an answer is empty.
        """
        found: list[Example] = []
        ids: list[int] = []
        learnt: list[int] = []
        for place, message in enumerate(messages):
            if message.role != "assistant":
                continue
            asked = messages[:place]
            prompt = self.prompt(row, asked)
            said = self.answer(row, asked, str(message.content))
            if len(prompt) >= limit:
                break
            if prompt[: len(ids)] != ids:  # the template shows earlier turns differently now
                found.append(_made(ids, learnt, limit))
                ids, learnt = [], []
            learnt += [0] * (len(prompt) - len(ids)) + [1] * len(said)
            ids = [*prompt, *said]
        if ids:
            found.append(_made(ids, learnt, limit))
        return found

    def fill_in(self, prefix: str, suffix: str, middle: str) -> tuple[list[int], list[int]] | None:
        """A text with a gap in the model's own spelling, and what fills it; None if the model has no spelling for it."""
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        for before, after, gap in _FILL_IN:
            if before in vocabulary and after in vocabulary and gap in vocabulary:
                told = [vocabulary[before], *self.tokens(prefix), vocabulary[after]]
                told += [*self.tokens(suffix), vocabulary[gap]]
                return told, [*self.tokens(middle), *self.end_ids[:1]]
        return None

    def texts(self, text: str, limit: int) -> list[Example]:
        """A plain text in pieces of at most `limit` tokens, all of them learnt."""
        ids = [*self.tokens(text, special=True), *self.end_ids[:1]]
        pieces = [ids[start : start + limit] for start in range(0, len(ids), limit)]
        return [
            Example(array("i", piece), array("b", [1] * len(piece)))
            for piece in pieces
            if len(piece) > 1
        ]

    def rendered(self, row: Row, messages: Sequence[ChatMessage]) -> str:
        """A whole conversation as text.

        Raises:
            Invalid: The template refuses it.
        """
        try:
            return self.template.render(messages, to_be_answered=False)
        except ValueError as error:
            raise row.refused(str(error)) from error

    def _asked(self, row: Row, messages: Sequence[ChatMessage]) -> str:
        try:
            return self.template.render(messages)
        except ValueError as error:
            raise row.refused(str(error)) from error


def _made(ids: list[int], learnt: list[int], limit: int) -> Example:
    return Example(array("i", ids[:limit]), array("b", learnt[:limit]))
