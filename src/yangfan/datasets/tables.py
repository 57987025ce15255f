"""Samples as rows of a table, and back: what is simple stands in columns of its own, everything else as JSON in one.

A row whose cells, read again, would not be the same sample stands in the column `WHOLE` as the JSON that jsonl has on its line. So a
table loses nothing, and a person who opens it sees prompts and responses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from yangfan.datasets.formats import DataFormat, Sample, parse, render
from yangfan.errors import BadSample

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE: Final = "sample"

_TALK: Final = ("system", "prompt", "response")
_CHOICE: Final = ("system", "prompt", "chosen", "rejected")
_COLUMNS: Final[Mapping[DataFormat, tuple[str, ...]]] = {
    DataFormat.PROMPT_RESPONSE: _TALK,
    DataFormat.SORTED: _TALK,
    DataFormat.PROMPT: _TALK,
    DataFormat.ROLE: _TALK,
    DataFormat.DPO: _CHOICE,
    DataFormat.KTO: _CHOICE,
    DataFormat.SFT_FIM: ("prefix", "suffix", "middle"),
    DataFormat.TEXT: ("text",),
    DataFormat.PROMPT_IMAGE: ("image", "annotations"),
    DataFormat.PROMPT_IMAGE_RESPONSE: ("image", *_TALK),
}
_UNSAFE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ufffe\uffff]|_x[0-9A-Fa-f]{4}_"
)
"""What one format of tables or another changes on the way."""


def columns_of(data_format: DataFormat) -> tuple[str, ...]:
    """Names of the columns of a format."""
    return (*_COLUMNS[data_format], WHOLE)


def cells_of(data_format: DataFormat, sample: Sample) -> dict[str, str]:
    """A sample as cells; those that are empty are left out."""
    cells = _simple(data_format, sample)
    if cells is not None and not any(_UNSAFE.search(cell) for cell in cells.values()):
        try:
            if parse(data_format, cells) == sample:
                return cells
        except BadSample:
            pass
    return {WHOLE: msgspec.json.encode(render(data_format, sample)).decode()}


def _simple(data_format: DataFormat, sample: Sample) -> dict[str, str] | None:
    """The cells of a sample that may be simple enough."""
    row: Any = render(data_format, sample)
    if isinstance(row, list):
        rows = cast("list[Any]", row)
        if len(rows) != 1:
            return None
        row = rows[0]
    cells: dict[str, str] = {}
    for name, value in cast("dict[str, Any]", row).items():
        if name == "messages":
            cells |= _of_messages(sample)
            continue
        text: Any = value
        while isinstance(text, list) and len(cast("list[Any]", text)) == 1:
            text = cast("list[Any]", text)[0]
        if not isinstance(text, str):
            return None
        if text:
            cells[{"user": "prompt"}.get(name, name)] = text
    return cells if cells.keys() <= set(_COLUMNS[data_format]) else None


def _of_messages(sample: Sample) -> dict[str, str]:
    names = {"system": "system", "user": "prompt", "assistant": "response"}
    return {names.get(message.role, message.role): message.content for message in sample.messages}


def row_of(cells: Mapping[str, Any]) -> Any:
    """The row that cells stand for: what `parse` takes.

    Raises:
        BadSample: The cell of the whole sample is no JSON.
    """
    whole = cells.get(WHOLE)
    if not isinstance(whole, str) or not whole:
        return cells
    try:
        return msgspec.json.decode(whole)
    except (ValueError, RecursionError) as error:
        raise BadSample(
            f"the column {WHOLE!r} holds whole samples as JSON, and this is none: {error}; rename the column, or write JSON"
        ) from None


def with_json(cells: Mapping[str, Any]) -> dict[str, Any] | None:
    """The cells with lists, objects and truth values in place of those that spell one; None if none does."""
    found: dict[str, Any] = {}
    for name, cell in cells.items():
        if not isinstance(cell, str):
            continue
        word = cell.strip().lower()
        if word in {"true", "false"}:
            found[name] = word == "true"
        elif word[:1] in {"[", "{"}:
            try:
                found[name] = msgspec.json.decode(cell)
            except (ValueError, RecursionError):
                continue
    return {**cells, **found} if found else None
