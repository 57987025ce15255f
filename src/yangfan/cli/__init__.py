"""The command line: one file per command, imported only when it runs.

`yangfan.cli.NAME` holds a function NAME. Where the command is a group, that function takes what the group itself takes
(nothing) and `SUBCOMMANDS` beside it maps names to functions. A docstring is a command's help, and its first line stands
in `COMMANDS` as well, so that `yangfan --help` imports none of them.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable, Mapping, Sequence

import typer

from yangfan.errors import YangfanError

COMMANDS: Mapping[str, str] = {
    "serve": "Start the platform; Ctrl-C stops it. / 启动平台，按 Ctrl-C 停止。",
    "chat": "Talk with a model: a question, a pipe or a conversation. / 与模型对话：提问、管道或多轮。",
    "complete": "Let a model go on from a text. / 让模型续写文本。",
    "tokens": "Count the tokens of a text. / 计算文本的 Token 数。",
    "embed": "Turn texts into vectors. / 将文本转换为向量。",
    "image": "Draw a picture from a description. / 根据描述生成图像。",
    "rerank": "Sort documents by how well they answer a query. / 按与查询的相关性对文档排序。",
    "pull": "Fetch a model / 下载模型.",
    "models": "Which models answer, and which ones can be had. / 查看可用模型与模型目录。",
    "services": "Publish models as services: roll out, scale, roll back. / 发布与管理模型服务。",
    "tuning": "Train models on your data, follow it, publish the result. / 模型精调：训练、跟踪、发布。",
    "data": "Datasets in versions; clean files without a server. / 数据集与版本；无需服务的本地数据清洗。",
    "engines": "Inference engines: which can run here, and builds for this CPU. / 推理引擎：可用状态与本机编译。",
    "keys": "Make, list and revoke keys of the platform. / 创建、列出、吊销平台密钥。",
    "apps": "Make, list and delete applications, which keys belong to. / 创建、列出、删除应用。",
    "files": "Files to work on: upload, list, download, delete. / 管理上传的文件。",
    "batches": "Files of requests, worked on when there is time. / 批量推理：创建、跟踪、取消、下载。",
    "plugins": "Plugins, and applications that use them. / 查看插件，管理与调用插件应用。",
    "kb": "Knowledge bases: make, fill, search. / 管理知识库：创建、导入文档、检索。",
    "eval": "Evaluate models on datasets: run, show, compare, export. / 模型评估。",
    "prompts": "Prompt templates: versions, labels such as production, files for git. / 管理 Prompt 模板。",
    "memory": "What models are told before every conversation. / 管理系统记忆。",
    "jobs": "Long tasks: list, follow, stop, go on. / 管理长任务：查看、跟踪、暂停、取消。",
    "upstreams": "Other people's servers to ask: add, list, try, remove. / 管理上游服务。",
    "usage": "Show requests and tokens by day (UTC), key and model. / 按日期、密钥、模型查看用量。",
    "sign": "Sign a request with bce-auth-v1, for curl. / 为请求计算 bce-auth-v1 签名。",
    "backup": "Back up database, keys and models into one file; a server may run. / 备份数据库、密钥与模型，可在线进行。",
    "restore": "Make a platform out of a backup; no server may run. / 从备份恢复平台，需先停止服务。",
    "worker": "Work on one job; the server starts this. / 执行单个任务（由服务器启动）。",
    "doctor": "Check this machine and say what to do. / 检查本机环境并给出建议。",
    "version": "Show versions. / 显示版本。",
}
"""Every command with its help in one line."""

Command = Callable[..., None]


def main() -> None:
    """Run the command that the arguments name, and end the process.

    Exit status: 0 done; 1 failed, one line on stderr says why; 2 wrong usage; 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without a character shows a question mark for it; that is no reason to stop.
            stream.reconfigure(errors="replace")
    try:
        application(sys.argv[1:])()
    except YangfanError as error:
        from yangfan.cli.terminal import printable

        typer.echo(f"yangfan: {printable(error.message)}", err=True)
        sys.exit(1)


def application(arguments: Sequence[str]) -> typer.Typer:
    """The command line, with only the command imported that `arguments` name; the others are known by their help."""
    app = _app()
    app.callback()(yangfan)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == wanted:
            _add(app, name, summary)
        else:
            app.command(name, short_help=summary)(_not_called)
    return app


def yangfan() -> None:
    """扬帆 Yangfan: the Qianfan platform on your own machines. / 运行在你自己机器上的千帆大模型平台。"""


def _add(app: typer.Typer, name: str, summary: str) -> None:
    module = importlib.import_module(f"yangfan.cli.{name}")
    command: Command = getattr(module, name)
    subcommands: Mapping[str, Command] = getattr(module, "SUBCOMMANDS", {})
    if not subcommands:
        app.command(name, short_help=summary)(command)
        return
    group = _app()
    group.callback()(command)
    for subname, subcommand in subcommands.items():
        first_line = (subcommand.__doc__ or "").partition("\n")[0]
        group.command(subname, short_help=first_line)(subcommand)
    app.add_typer(group, name=name, short_help=summary)


def _app() -> typer.Typer:
    return typer.Typer(
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Typer's rich help costs the time of importing rich.
        rich_markup_mode=None,
    )


def _not_called() -> None:
    raise AssertionError("only the command that the arguments name runs")
