"""`yangfan upstreams`: other people's servers that the platform asks."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import show_json, show_table
from yangfan.protocol.v2.upstreams import Dialect, RemoteKind

if TYPE_CHECKING:
    from yangfan.client.types import Upstream

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="See `upstreams list` / 上游名称")]
KeyEnv = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Variable that holds its key / 存放密钥的环境变量"),
]
Timeout = Annotated[
    float | None, typer.Option(min=0.001, max=86_400, help="Seconds, 120 by default / 超时秒数")
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="Name in calls = name there; repeatable / 模型改名"),
]


def upstreams() -> None:
    """Other people's servers to ask: add, list, try, remove. / 管理上游服务。"""


@connected
def add(  # noqa: PLR0913 - what an upstream is made of, one option each
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as baidu / 上游名称")],
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Such as https://qianfan.baidubce.com/v2 / 地址")
    ],
    *,
    dialect: Annotated[
        Dialect, typer.Option(help="qianfan: Baidu's cloud, Yangfan; openai: others / 协议")
    ] = "openai",
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Offer this one only; repeatable / 只提供指定模型"),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=KIND",
            help="chat, embeddings, rerank or images, where the name does not tell; repeatable / 模型类型",
        ),
    ] = None,
    rename: Pairs = None,
    presets: Annotated[
        bool, typer.Option(help="Whether it answers Qianfan's names / 是否响应千帆预置模型名")
    ] = True,
    key_env: KeyEnv = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="It wants no key / 无需密钥")] = False,
    first_byte_timeout_seconds: Timeout = None,
    idle_timeout_seconds: Timeout = None,
) -> None:
    """Ask another server from now on; its key is read from stdin or asked for. / 添加上游，密钥从标准输入读取。"""
    pairs = dict(_pair("--rename", "OLD=NEW", each) for each in rename or ())
    kinds = dict(map(_kind, kind or ()))
    secret = "" if no_key else _secret(key_env)
    with connection.client() as client:
        made = client.upstreams.create(
            name,
            url,
            key=secret,
            dialect=dialect,
            models=model,
            kinds=kinds,
            rename=pairs,
            presets=presets,
            first_byte_timeout_seconds=first_byte_timeout_seconds,
            idle_timeout_seconds=idle_timeout_seconds,
        )
    _tell(made)


@connected
def list_upstreams(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List upstreams, their keys masked. / 列出上游（密钥打码）。"""
    with connection.client() as client:
        found = client.upstreams.list()
    if as_json:
        show_json(found)
        return
    show_table(
        ("name", "address", "dialect", "key", "models", "state"),
        [
            (
                each.name,
                each.base_url,
                each.dialect,
                each.masked_key or "none",
                str(each.model_count),
                each.error or "ok",
            )
            for each in found
        ],
    )


@connected
def test(connection: Connection, name: Name) -> None:
    """Ask an upstream for its models now; exit status 1 if it does not answer. / 检测上游。"""
    with connection.client() as client:
        found = client.upstreams.test(name)
    typer.echo(f"{name}: {found.message}; {found.model_count} models, {found.milliseconds} ms")
    if not found.ok:
        raise typer.Exit(1)


@connected
def show(connection: Connection, name: Name) -> None:
    """Show one upstream as JSON, its key masked. / 查看上游详情。"""
    with connection.client() as client:
        found = next((each for each in client.upstreams.list() if each.name == name), None)
    if found is None:
        raise typer.BadParameter(f"no upstream {name!r}; see `yangfan upstreams list`")
    show_json(found)


@connected
def rekey(connection: Connection, name: Name, *, key_env: KeyEnv = None) -> None:
    """Give an upstream a new key, read from stdin or asked for. / 更换上游密钥。"""
    secret = _secret(key_env)
    with connection.client() as client:
        client.upstreams.modify(name, key=secret)
    typer.echo(f"{name} has a new key. / 密钥已更换。", err=True)


@connected
def remove(connection: Connection, name: Name) -> None:
    """Forget an upstream and its key. / 删除上游及其密钥。"""
    with connection.client() as client:
        client.upstreams.remove(name)
    typer.echo(f"{name} is removed. / 已删除。", err=True)


SUBCOMMANDS = {
    "add": add,
    "list": list_upstreams,
    "show": show,
    "test": test,
    "rekey": rekey,
    "remove": remove,
}


def _secret(variable: str | None) -> str:
    """The key from a variable, from stdin, or asked for without showing it; never an argument, which others can see."""
    if variable is not None:
        if not os.environ.get(variable):
            raise typer.BadParameter(f"the variable {variable} is not set")
        return os.environ[variable].strip()
    if sys.stdin.isatty():
        return str(typer.prompt("Key / 密钥", hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()


def _pair(option: str, shape: str, text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (sign and old.strip() and new.strip()):
        raise typer.BadParameter(f"{option} takes {shape}; {text!r} is no such pair")
    return old.strip(), new.strip()


def _kind(text: str) -> tuple[str, RemoteKind]:
    model, kind = _pair("--kind", "MODEL=KIND", text)
    known: dict[str, RemoteKind] = {each: each for each in get_args(RemoteKind)}
    if kind not in known:
        raise typer.BadParameter(f"--kind: {kind!r} is none of {', '.join(known)}")
    return model, known[kind]


def _tell(upstream: Upstream) -> None:
    typer.echo(f"{upstream.name}: {upstream.base_url}, {upstream.model_count} models")
    if upstream.error:
        typer.echo(f"yangfan: it does not answer yet: {upstream.error}", err=True)
