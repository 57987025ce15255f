"""Options that several commands have, declared once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from yangfan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

Temperature: TypeAlias = Annotated[
    float | None, typer.Option(help="0 to 2, higher is more random / 随机性")
]
TopP: TypeAlias = Annotated[float | None, typer.Option(help="0 to 1 / 核采样")]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Equal seeds, equal answers / 随机种子")]
Stop: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Ends the text; repeatable / 停止串，可重复")
]
Fields: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help="Any other option of the SDK's call; VALUE is JSON, a text or @FILE; repeatable / 其他请求参数，可重复",
    ),
]
User: TypeAlias = Annotated[
    str | None, typer.Option(metavar="ID", help="Your own end user / 终端用户标识")
]
AsJSON: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the whole result as JSON / 以 JSON 输出完整结果")
]
Version: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="1|2", help="Dialect of the API, default by credentials / 接口版本"),
]


def fields_of(given: Sequence[str] | None) -> dict[str, object]:
    """What `--option` says: names to values.

    Raises:
        BadParameter: One is not of the form NAME=VALUE.
        ConfigurationError: A file that one names cannot be read.
    """
    fields: dict[str, object] = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise typer.BadParameter(
                f"--option is NAME=VALUE, such as top_k=5 or tools=@tools.json, not {text!r}"
            )
        if value.startswith("@"):
            value = text_of(Path(value[1:]))
        try:
            fields[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            fields[name.replace("-", "_")] = value
    return fields


def text_of(file: Path) -> str:
    """What a file says.

    Raises:
        ConfigurationError: It cannot be read, or is not UTF-8.
    """
    try:
        return file.expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeError:
        raise ConfigurationError(f"{file} is not UTF-8 text; convert it first") from None
