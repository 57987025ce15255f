"""`yangfan restore`: a platform out of a backup."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from yangfan.cli.backup import Config, HomeOption
from yangfan.cli.terminal import show_json


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="From `yangfan backup` / 备份文件")],
    *,
    home: HomeOption = None,
    config: Config = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Set what is there aside / 将现有数据移开并替换"),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")] = False,
) -> None:
    """Make a platform out of a backup; no server may run. / 从备份恢复平台，需先停止服务。"""
    import os

    from yangfan.server import backup, settings
    from yangfan.server.home import Home

    os.umask(0o077)
    chosen = settings.load({"home": None if home is None else str(home)}, os.environ, file=config)
    place = Home(chosen.home_path)
    place.prepare()
    with place.locked():
        done = asyncio.run(backup.restore(chosen, place, file, replace=replace))
    if as_json:
        show_json(done)
        return
    typer.echo(
        f"{place.path}: {done.rows} rows, {done.blobs} files of models; start it with `yangfan serve`"
    )
