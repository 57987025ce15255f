"""`yangfan worker`: the programs that work on one job, and on one machine's part of it. The server starts them; people seldom do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def worker() -> None:
    """Work on one job; the server starts this. / 执行单个任务（由服务器启动）。"""


def run(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of the job / 任务 ID")],
    *,
    fence: Annotated[int, typer.Option(help="Which attempt, from the claim / 认领编号")],
) -> None:
    """Work on a job; its order comes on the first line of stdin. / 执行任务，指令来自标准输入首行。"""
    from yangfan.worker import program

    del fence  # the token holds it; on the command line it tells attempts apart for people who look at processes
    raise typer.Exit(program.run(job))


def node(
    *,
    folder: Annotated[
        Path, typer.Option(help="Where copies of models and rows are put / 存放副本的目录")
    ] = Path("~/.yangfan/node"),
) -> None:
    """Do this machine's part of a training run on several; the setting tuning_nodes starts it. / 多机训练中本机的部分（由设置项 tuning_nodes 启动）。"""
    from yangfan.worker import node as part

    raise typer.Exit(part.run(folder.expanduser()))


SUBCOMMANDS = {"run": run, "node": node}
