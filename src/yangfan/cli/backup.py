"""`yangfan backup`: everything that cannot be made again, in one file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from yangfan.cli.terminal import human_size, show_json

HomeOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Data folder, default ~/.yangfan / 数据目录")
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Settings file, default HOME/yangfan.toml / 配置文件"),
]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write; a secret / 备份文件")],
    *,
    home: HomeOption = None,
    config: Config = None,
    models: Annotated[
        bool, typer.Option(help="Whether to put files of models in / 是否包含模型文件")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")] = False,
) -> None:
    """Back up database, keys and models into one file; a server may run. / 备份数据库、密钥与模型，可在线进行。"""
    import os

    from yangfan.server import settings
    from yangfan.server.backup import back_up
    from yangfan.server.home import Home

    chosen = settings.load({"home": None if home is None else str(home)}, os.environ, file=config)
    done = asyncio.run(back_up(chosen, Home(chosen.home_path), file, with_models=models))
    if as_json:
        show_json(done)
        return
    typer.echo(
        f"{file}: {done.rows} rows, {done.blobs} files of models, {human_size(done.size_bytes)}"
        " - keep it as you keep a key: it holds the platform's"
    )
