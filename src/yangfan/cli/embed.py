"""`yangfan embed`: texts to vectors."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.errors import ConfigurationError

DEFAULT_MODEL = "embedding-v1"
SHOWN_NUMBERS = 4


@connected
def embed(
    connection: Connection,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT...", help="Texts; lines of stdin without any / 文本，缺省读标准输入各行"
        ),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of the model / 模型名")
    ] = DEFAULT_MODEL,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print whole vectors as JSON / 以 JSON 输出完整向量")
    ] = False,
) -> None:
    """Turn texts into vectors. / 将文本转换为向量。

    Shows how similar each text is to the first one, from -1 to 1, and how its vector begins; --json prints the vectors.
    """
    wanted = texts or lines_of_stdin()
    with connection.client() as client:
        result = client.embeddings(wanted, model=model)
    if as_json:
        show_json(result.vectors)
        return
    first = result[0]
    rows = [
        (
            f"{sum(map(float.__mul__, first, vector)):.3f}",
            " ".join(f"{number:+.3f}" for number in vector[:SHOWN_NUMBERS]) + " …",
            printable(text),
        )
        for text, vector in zip(wanted, result, strict=True)
    ]
    show_table(("similarity", f"vector ({result.dimensions})", "text"), rows)


def lines_of_stdin() -> list[str]:
    """The lines of stdin that are not blank.

    Raises:
        ConfigurationError: They are not UTF-8.
    """
    if sys.stdin.isatty():
        raise typer.BadParameter('no text; write yangfan embed "text", or pipe lines into it')
    try:
        lines = sys.stdin.buffer.read().decode("utf-8").splitlines()
    except UnicodeError:
        raise ConfigurationError(
            "stdin is not UTF-8 text; convert it first, such as with iconv"
        ) from None
    found = [line for line in lines if line.strip()]
    if not found:
        raise typer.BadParameter("no text on stdin; pipe lines into it, or name texts")
    return found
