"""What the commands write: tables for people, tab-separated lines for programs, and nothing that steers the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import typer

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from yangfan.client.types import ChatResult

_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])
del _CONTROLS[ord("\n")], _CONTROLS[ord("\t")]


def printable(text: str) -> str:
    """`text` without control characters but line feeds and tabs: models and servers do not get to steer the terminal."""
    return text.translate(_CONTROLS)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    styles: Mapping[str, str] | None = None,
) -> None:
    """Write rows to stdout: a table with a heading on a terminal, otherwise tab-separated values without one.

    Args:
        columns: Headings.
        rows: Cells, as many as there are columns.
        styles: Style of a cell by its exact text, such as ``{"problem": "red"}``; terminals only.
    """
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(" ".join(printable(cell).split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*(Text(printable(cell), (styles or {}).get(cell, "")) for cell in row))
    Console().print(table)


def given_text(argument: str | None) -> str:
    """A text as it was given: the argument, else all of stdin.

    Raises:
        ConfigurationError: It is not UTF-8.
    """
    try:
        if argument is not None:
            return argument.encode("utf-8").decode()
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeError:
        raise ConfigurationError(
            "the text is not UTF-8; convert it first, such as with iconv"
        ) from None


def document(result: ChatResult) -> dict[str, object]:
    """A whole answer for `--json`: its text, then every field but the undecoded reply."""
    fields: dict[str, object] = msgspec.to_builtins(result)
    fields.pop("raw", None)
    return {"text": result.text, **fields}


def show_json(value: object) -> None:
    """Write `value` (what msgspec can encode) to stdout as one indented JSON document."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def human_size(size_bytes: int) -> str:
    """A size as people read it, in units of 1000: ``98.4 MB``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
