"""`yangfan embed`: texts to vectors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yangfan.cli.connection import Connection, connected, dialect
from yangfan.cli.options import User, Version
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from yangfan.client.embeddings import Inputs
    from yangfan.client.pictures import Image

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
    image: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="A picture, alone or beside TEXT, for multimodal models / 图片，用于多模态模型",
        ),
    ] = None,
    user: User = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print whole vectors as JSON / 以 JSON 输出完整向量")
    ] = False,
    version: Version = None,
) -> None:
    """Turn texts into vectors. / 将文本转换为向量。

    Shows how similar each text is to the first one, from -1 to 1, and how its vector begins; --json prints the vectors.
    """
    given: Inputs
    if image is None:
        given = wanted = texts or lines_of_stdin()
    else:
        given, wanted = _pictured(image, texts or [])
    with connection.client(version=dialect(version)) as client:
        result = client.embeddings(given, model=model, user=user)
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


def _pictured(image: str, texts: list[str]) -> tuple[list[dict[str, Image]], list[str]]:
    """A picture and the text beside it as one input, and what to call it."""
    if len(texts) > 1:
        raise typer.BadParameter("a picture stands alone, or beside one TEXT")
    remote = image.lower().startswith(("http://", "https://", "data:"))
    picture: Image = image if remote else Path(image).expanduser()
    beside: dict[str, Image] = {"text": texts[0]} if texts else {}
    return [{**beside, "image": picture}], [*texts, image][:1]


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
