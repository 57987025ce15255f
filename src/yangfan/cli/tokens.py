"""`yangfan tokens`: count the tokens of a text."""

from __future__ import annotations

from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import given_text

DEFAULT_MODEL = "ernie-speed-8k"


@connected
def tokens(
    connection: Connection,
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="The text, else stdin / 文本，缺省读标准输入"),
    ] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Whose tokens / 按哪个模型计算")
    ] = DEFAULT_MODEL,
) -> None:
    """Count the tokens of a text. / 计算文本的 Token 数。

    The count is that of the model which answers to the name, of every character that was given.
    """
    with connection.client() as client:
        typer.echo(client.tokenizer.count(given_text(text), model=model))
