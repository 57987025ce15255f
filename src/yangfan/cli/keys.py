"""`yangfan keys`: the platform's keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import show_json, show_table
from yangfan.protocol.v2.keys import KeyKind

if TYPE_CHECKING:
    from datetime import datetime

    from yangfan.client.types import NewKey

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]


def keys() -> None:
    """Make, list and revoke keys of the platform. / 创建、列出、吊销平台密钥。"""


@connected
def create(
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
    as_json: AsJSON = False,
) -> None:
    """Make a key; its secret is shown this once. / 创建密钥，密文仅显示一次。"""
    with connection.client() as client:
        key = client.keys.create(kind=kind, name=name, expires_in_seconds=expires_in)
    if as_json:
        show_json({"id": key.id, "kind": key.kind, "name": key.name, "secret": key.secret})
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
        ("id", "kind", "name", "status", "created", "expires"),
        [
            (key.id, key.kind, key.name, key.status, _time(key.created_at), _time(key.expires_at))
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


def _time(moment: datetime | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")
