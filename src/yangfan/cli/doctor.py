"""`yangfan doctor`: what is wrong with this machine, and what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from yangfan.cli.terminal import show_json, show_table
from yangfan.errors import ConfigurationError


def doctor(
    *,
    home: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Data folder, default ~/.yangfan / 数据目录")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port, default 8000 / 端口")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")] = False,
) -> None:
    """Check this machine and say what to do. / 检查本机环境并给出建议。

    Ends with status 1 if there is a problem.
    """
    try:
        from yangfan.server.doctor import examine
    except ImportError as error:
        raise ConfigurationError(
            f'only the SDK and this command are installed ({error}); to run models here, type: pip install "yangfan[server,llama]"'
        ) from None
    findings = examine({"home": None if home is None else str(home), "port": port}, os.environ)
    if as_json:
        show_json(findings)
    else:
        show_table(
            ("", "check", "found", "what to do"),
            [(found.state, found.check, found.detail, found.advice) for found in findings],
            {"ok": "green", "warning": "yellow", "problem": "bold red"},
        )
    if any(found.state == "problem" for found in findings):
        raise typer.Exit(1)
