"""The rows that a run learns from, as JSON lines, and what each way of training reads in one.

A line is ``{"row_id": …, "sample": {…}}``; the sample has the fields of `yangfan.datasets.formats.Sample`, whatever file it came from:
``system``, ``turns`` [{prompt, responses}], ``messages`` [{role, content}], ``chosen``, ``rejected``, ``text``, ``prefix``, ``suffix``,
``middle``. A row that does not suit is named, with what to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from yangfan.engines.wire.types import ChatMessage
from yangfan.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Row(NamedTuple):
    """A row, and where it stands.

    Attributes:
        number: From 1.
        id: Its id in the dataset.
        sample: Its fields.
    """

    number: int
    id: str
    sample: dict[str, Any]

    def refused(self, why: str) -> Invalid:
        """What to raise for it."""
        return Invalid(f"row {self.number} ({self.id or 'no id'}) cannot be learnt from: {why}")


class Preference(NamedTuple):
    """A question, a better answer and a worse one."""

    messages: list[ChatMessage]
    chosen: str
    rejected: str


class Judged(NamedTuple):
    """A question, an answer, and whether it is wanted."""

    messages: list[ChatMessage]
    answer: str
    desirable: bool


def read(path: Path) -> Iterator[Row]:
    """The rows of a file, one after the other.

    Raises:
        Invalid: A line is none.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found = _decode(line)
            except msgspec.MsgspecError as error:
                raise Invalid(f"line {number} of {path.name} is no row: {error}") from error
            yield Row(number, str(found.get("row_id", "")), found.get("sample") or {})


def conversation(row: Row) -> list[ChatMessage]:
    """The messages of a row, the best response of each turn among them.

    Raises:
        Invalid: It has none, or no answer.
    """
    messages = _messages(row)
    if not any(message.role == "assistant" for message in messages):
        raise row.refused(
            "it has no answer; annotate it, or use the mode PostPretrain for plain text"
        )
    return messages


def preference(row: Row) -> Preference:
    """A pair of answers to one question: `chosen` and `rejected`, or the best and the worst of several responses.

    Raises:
        Invalid: There are no two answers.
    """
    chosen, rejected = row.sample.get("chosen"), row.sample.get("rejected")
    messages = _messages(row)
    if chosen is None and rejected is None:
        turns: list[dict[str, Any]] = row.sample.get("turns") or []
        ranked: list[str] = list(turns[-1].get("responses") or ()) if turns else []
        if len(ranked) > 1:
            return Preference(messages[:-1], ranked[0], ranked[-1])
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise row.refused("it needs a prompt, a chosen and a rejected response")
    if chosen == rejected:
        raise row.refused("chosen and rejected are the same, so there is nothing to prefer")
    return Preference(_question(row, messages), chosen, rejected)


def judged(row: Row) -> list[Judged]:
    """An answer that is wanted or not; a row with both is two.

    Raises:
        Invalid: It has neither.
    """
    messages = _messages(row)
    found = [
        Judged(_question(row, messages), answer, desirable)
        for answer, desirable in (
            (row.sample.get("chosen"), True),
            (row.sample.get("rejected"), False),
        )
        if isinstance(answer, str)
    ]
    if not found:
        raise row.refused("it needs a prompt and a chosen or a rejected response")
    return found


def asked(row: Row) -> tuple[list[ChatMessage], tuple[str, ...]]:
    """A question, and the answer that would be right, where the row has one.

    Raises:
        Invalid: It asks nothing.
    """
    messages = _messages(row)
    if messages[-1].role != "assistant":
        return messages, ()
    if len(messages) < 2:
        raise row.refused("it holds an answer and no question")
    return messages[:-1], (str(messages[-1].content),)


def text(row: Row) -> str | None:
    """Plain text to go on with; None for a row that is a conversation.

    Raises:
        Invalid: It has no text.
    """
    found = row.sample.get("text")
    if isinstance(found, str) and found.strip():
        return found
    if row.sample.get("turns") or row.sample.get("messages"):
        return None
    raise row.refused("it has no text")


def _messages(row: Row) -> list[ChatMessage]:
    sample = row.sample
    if sample.get("prefix") or sample.get("suffix"):
        asked = f"{sample.get('prefix', '')}<FILL>{sample.get('suffix', '')}"
        return [ChatMessage("user", asked), ChatMessage("assistant", sample.get("middle", ""))]
    found = [
        ChatMessage(str(message.get("role")), _thought(message))
        for message in sample.get("messages") or ()
    ]
    if not found:
        if sample.get("system"):
            found.append(ChatMessage("system", sample["system"]))
        for turn in sample.get("turns") or ():
            found.append(ChatMessage("user", str(turn.get("prompt", ""))))
            if turn.get("responses"):
                found.append(ChatMessage("assistant", turn["responses"][0]))
    if not found:
        raise row.refused("it holds no conversation; use the mode PostPretrain for plain text")
    return found


def _thought(message: dict[str, Any]) -> str:
    thought, content = message.get("reasoning_content"), str(message.get("content", ""))
    return f"<think>\n{thought}\n</think>\n\n{content}" if thought else content


def _question(row: Row, messages: list[ChatMessage]) -> list[ChatMessage]:
    if messages[-1].role == "assistant":
        raise row.refused("its conversation must end with what is to be answered")
    return messages
