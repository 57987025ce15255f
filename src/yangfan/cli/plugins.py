"""`yangfan plugins`: plugins and plugin applications."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.client.forms import content_of
from yangfan.errors import ConfigurationError

Auth = Literal["none", "bearer", "basic", "header", "query"]

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


@connected
def use(
    connection: Connection,
    plugin: Annotated[
        str, typer.Argument(metavar="PLUGIN", help="eChart, ImageAI, ChatFile / 一言插件")
    ],
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="With the data to draw / 问题或要画的数据")
    ],
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", help="Picture or document: path or URL / 图片或文档"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to put eChart's picture (SVG) / 图表保存位置"),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Ask with one plugin, without an application: draw a chart, look at a picture, read a document. / 直接使用一言插件。"""
    with connection.client() as client:
        answer = client.plugins.use(plugin, question, file=None if file is None else given(file))
    if output is not None and "svg" in answer.response:
        output.write_text(answer.response["svg"], "utf-8")
    if as_json:
        show_json(answer)
        return
    typer.echo(printable(answer.text))


def given(file: str) -> File:
    """An address as it is, anything else as the path of a file."""
    return file if file.lower().startswith(("https://", "http://", "data:")) else Path(file)


@connected
def bridge(  # noqa: PLR0913 - one argument for each thing that can be chosen
    connection: Connection,
    plugin: Annotated[str, typer.Argument(metavar="ID", help="What to call it / 桥接的 ID")],
    *,
    openapi: Annotated[
        str, typer.Option(help="File or URL of an OpenAPI 3 document / OpenAPI 文档")
    ] = "",
    mcp: Annotated[str, typer.Option(help="URL of an MCP server / MCP 服务地址")] = "",
    program: Annotated[
        str, typer.Option(help="An MCP server of the setting mcp_programs / 设置中允许的 MCP 程序")
    ] = "",
    server_url: Annotated[str, typer.Option(help="Where operations are / 接口地址")] = "",
    auth: Annotated[Auth | None, typer.Option(help="How to show who asks / 鉴权方式")] = None,
    auth_name: Annotated[str, typer.Option(help="Of the field / 字段名")] = "",
    secret_file: Annotated[
        Path | None, typer.Option(help="File that holds the key alone / 只含密钥的文件")
    ] = None,
) -> None:
    """Make tools of an OpenAPI document or an MCP server. / 把 OpenAPI 文档或 MCP 服务变成工具。"""
    if bool(openapi) + bool(mcp) + bool(program) != 1:
        raise ConfigurationError("give one of --openapi, --mcp and --program")
    secret = "" if secret_file is None else content_of(secret_file).decode().strip()
    with connection.client() as client:
        if openapi:
            is_url = openapi.startswith(("http://", "https://"))
            made = client.plugins.add_openapi(
                plugin,
                "" if is_url else content_of(Path(openapi)).decode("utf-8", "replace"),
                url=openapi if is_url else "",
                base_url=server_url,
                auth=auth,
                auth_name=auth_name,
                secret=secret,
            )
        else:
            made = client.plugins.add_mcp(
                plugin, mcp, program=program, auth=auth, auth_name=auth_name, secret=secret
            )
    for tool in made.tools:
        typer.echo(
            printable(
                f"{tool.name}: {tool.description.splitlines()[0][:100]}"
                if tool.description
                else tool.name
            )
        )
    for reason in made.left_out:
        typer.echo(printable(f"left out: {reason}"), err=True)


@connected
def unbridge(
    connection: Connection,
    plugin: Annotated[str, typer.Argument(metavar="ID", help="Of the bridge / 桥接的 ID")],
) -> None:
    """Forget a bridge and its key. / 删除桥接及其密钥。"""
    with connection.client() as client:
        client.plugins.remove_bridge(plugin)


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
    "use": use,
    "rm": rm,
    "bridge": bridge,
    "unbridge": unbridge,
}
