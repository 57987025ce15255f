"""`yangfan keys`: the platform's keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import show_json, show_table
from yangfan.protocol.v2.keys import KeyKind

if TYPE_CHECKING:
    from datetime import datetime

    from yangfan.client.types import Key, NewKey

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]


def keys() -> None:
    """Make, list and revoke keys of the platform. / 创建、列出、吊销平台密钥。"""


@connected
def create(  # noqa: PLR0913 - what a key can be limited by, one option each
    connection: Connection,
    *,
    kind: Annotated[
        KeyKind, typer.Option(help="bearer: v2; oauth: v1; signature: both, and keys / 密钥种类")
    ] = "bearer",
    name: Annotated[str, typer.Option(help="For people, at most 64 characters / 名称")] = "",
    expires_in: Annotated[
        int | None,
        typer.Option(min=1, metavar="SECONDS", help="Default: never / 有效期（秒），默认永久"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="May call this model only; repeatable / 允许的模型"),
    ] = None,
    rpm: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Requests a minute / 每分钟请求数")
    ] = None,
    tpm: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Tokens a minute, prompt and answer / 每分钟 Token 数"
        ),
    ] = None,
    daily_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens a UTC day / 每日 Token 数")
    ] = None,
    total_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens ever / Token 总数")
    ] = None,
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Put v1 messages right, not refuse them / 宽松处理 v1 消息"),
    ] = False,
    app: Annotated[
        str | None, typer.Option(metavar="APP_ID", help="Default: a new one / 所属应用，默认新建")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Make a key; its secret is shown this once. / 创建密钥，密文仅显示一次。"""
    with connection.client() as client:
        key = client.keys.create(
            kind=kind,
            name=name,
            expires_in_seconds=expires_in,
            models=model,
            rpm=rpm,
            tpm=tpm,
            daily_tokens=daily_tokens,
            total_tokens=total_tokens,
            lenient=lenient,
            app_id=app,
        )
    if as_json:
        show_json(
            {
                "id": key.id,
                "kind": key.kind,
                "name": key.name,
                "secret": key.secret,
                "app_id": key.app_id,
            }
        )
        return
    for label, value in _parts(key):
        typer.echo(f"{label}: {value}")
    typer.echo(
        f"Key {key.id}: keep the secret now, it is not shown again. / 请立即保存，密文不会再次显示。",
        err=True,
    )


@connected
def list_keys(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List keys without their secrets. / 列出密钥（不含密文）。"""
    with connection.client() as client:
        found = client.keys.list()
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "kind", "name", "status", "created", "expires", "app", "limits"),
        [
            (
                key.id,
                key.kind,
                key.name,
                key.status,
                _time(key.created_at),
                _time(key.expires_at),
                key.app_id,
                _limits(key),
            )
            for key in found
        ],
        {"enable": "green", "revoked": "red", "expired": "yellow"},
    )


@connected
def revoke(
    connection: Connection,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Id, see `keys list` / 密钥 ID")],
) -> None:
    """Revoke a key at once and for good. / 立即且永久吊销密钥。"""
    with connection.client() as client:
        client.keys.revoke(key_id)
    typer.echo(f"Key {key_id} is revoked. / 已吊销。", err=True)


SUBCOMMANDS = {"create": create, "list": list_keys, "revoke": revoke}


def _parts(key: NewKey) -> tuple[tuple[str, str], ...]:
    """What the key is made of, under the names of the options that take it."""
    match key.kind:
        case "bearer":
            return (("bearer", key.secret),)
        case "oauth":
            return (("api-key", key.id), ("secret-key", key.secret))
        case "signature":
            return (("access-key", key.id), ("secret-access-key", key.secret))


def _limits(key: Key) -> str:
    """What the key is limited by, in the words of the options."""
    numbers = {
        "rpm": key.rpm,
        "tpm": key.tpm,
        "daily-tokens": key.daily_tokens,
        "total-tokens": key.total_tokens,
    }
    words = [f"{name} {number}" for name, number in numbers.items() if number is not None]
    words += [f"model {name}" for name in key.models or ()]
    return ", ".join([*words, "lenient"] if key.lenient else words)


def _time(moment: datetime | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")
