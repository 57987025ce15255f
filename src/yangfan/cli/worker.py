"""`yangfan worker`: the program that works on one job. The server starts it; people seldom do."""

from __future__ import annotations

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


SUBCOMMANDS = {"run": run}
