"""`yangfan plugins`: plugins and plugin applications."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import printable, show_json, show_table

if TYPE_CHECKING:
    from yangfan.client.plugins import File

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="See `plugins apps` / 插件应用名称")]


def plugins() -> None:
    """Plugins, and applications that use them. / 查看插件，管理与调用插件应用。"""


@connected
def list_plugins(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List the plugins that applications may use. / 列出可用的插件。"""
    with connection.client() as client:
        found = client.plugins.installed()
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "name", "from", "version", "state", "permissions"),
        [
            (
                each.id,
                f"{each.name['zh']} / {each.name['en']}",
                each.origin,
                each.version,
                each.state,
                ", ".join(each.permissions),
            )
            for each in found
        ],
    )


@connected
def show(
    connection: Connection,
    plugin: Annotated[str, typer.Argument(metavar="ID", help="See `plugins list` / 插件 ID")],
    *,
    as_json: AsJSON = False,
) -> None:
    """Show what a plugin does, takes and may do. / 查看插件的用途、输入与权限。"""
    with connection.client() as client:
        found = client.plugins.describe(plugin)
    if as_json:
        show_json(found)
        return
    lines = [
        f"{found.id} {found.version}  ({found.origin}, {found.state})",
        f"{found.name['zh']} / {found.name['en']}",
        found.description["zh"],
        found.description["en"],
    ]
    if found.problem:
        lines.append(found.problem)
    if found.permissions:
        lines.append(f"permissions: {', '.join(found.permissions)}")
    lines += [f"setting {name}: {text}" for name, text in found.settings.items()]
    for tool in found.tools:
        lines += [
            "",
            f"{tool.name}: {tool.description}",
            json.dumps(tool.inputs, ensure_ascii=False, indent=2),
        ]
    for line in lines:
        typer.echo(printable(line))


@connected
def create(
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it / 名称")],
    *,
    base: Annotated[
        list[str] | None,
        typer.Option("--base", "-b", help="Id of a knowledge base; repeatable / 知识库 ID"),
    ] = None,
    weather: Annotated[bool, typer.Option(help="Answer about the weather / 回答天气问题")] = False,
    pictures: Annotated[
        bool, typer.Option(help="Answer about pictures / 回答关于图片的问题")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(help="Id of a further plugin; repeatable / 其他插件的 ID"),
    ] = None,
    model: Annotated[str, typer.Option(help="Who writes the answers / 撰写回答的模型")] = "",
    prompt: Annotated[
        str, typer.Option(help="With {context} and {question} in it / 提示词模板")
    ] = "",
) -> None:
    """Make a plugin application. / 创建插件应用。"""
    wanted = ["uuid-zhishiku"] * bool(base) + ["uuid-weatherforecast"] * weather
    wanted += ["uuid-chatocr"] * pictures
    wanted += [each for each in plugin or () if each not in wanted]
    with connection.client() as client:
        client.plugins.create(
            name, wanted, model=model, prompt=prompt, knowledge_base_ids=base or ()
        )


@connected
def list_applications(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List plugin applications. / 列出插件应用。"""
    with connection.client() as client:
        found = client.plugins.list()
    if as_json:
        show_json(found)
        return
    show_table(
        ("name", "plugins", "model", "knowledge bases", "created"),
        [
            (
                each.name,
                ", ".join(each.plugins),
                each.model,
                ", ".join(each.knowledge_base_ids),
                each.created,
            )
            for each in found
        ],
    )


@connected
def ask(
    connection: Connection,
    name: Name,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask / 问题")],
    *,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            help="Picture that the question is about: path or URL / 图片的路径或网址",
        ),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Ask a plugin application, and show what its answer rests on. / 向插件应用提问，并显示依据。"""
    with connection.client() as client:
        answer = client.plugins.ask(name, question, file=None if file is None else given(file))
    if as_json:
        show_json(answer)
        return
    typer.echo(printable(answer.text))
    for cited in answer.meta.get("citations", ()):
        typer.echo(printable(f"  <- [{cited['response'] + 1}] {cited['source']}"), err=True)


def given(file: str) -> File:
    """An address as it is, anything else as the path of a file."""
    return file if file.lower().startswith(("https://", "http://", "data:")) else Path(file)


@connected
def rm(connection: Connection, name: Name) -> None:
    """Delete a plugin application. / 删除插件应用。"""
    with connection.client() as client:
        client.plugins.delete(name)


SUBCOMMANDS = {
    "list": list_plugins,
    "show": show,
    "apps": list_applications,
    "create": create,
    "ask": ask,
    "rm": rm,
}
