"""Options that several commands have, declared once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

Temperature: TypeAlias = Annotated[
    float | None, typer.Option(help="0 to 2, higher is more random / 随机性")
]
TopP: TypeAlias = Annotated[float | None, typer.Option(help="0 to 1 / 核采样")]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Equal seeds, equal answers / 随机种子")]
AsJSON: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the whole result as JSON / 以 JSON 输出完整结果")
]
Version: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="1|2", help="Dialect of the API, default by credentials / 接口版本"),
]
