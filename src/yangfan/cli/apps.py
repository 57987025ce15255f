"""`yangfan apps`: applications, which keys belong to."""

from __future__ import annotations

from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import show_json, show_table

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]


def apps() -> None:
    """Make, list and delete applications, which keys belong to. / 创建、列出、删除应用。"""


@connected
def create(
    connection: Connection,
    *,
    name: Annotated[str, typer.Option(help="For people, at most 64 characters / 名称")] = "",
) -> None:
    """Make an application and print its id. / 创建应用并输出其 ID。"""
    with connection.client() as client:
        typer.echo(client.apps.create(name).id)


@connected
def list_apps(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List applications. / 列出应用。"""
    with connection.client() as client:
        found = client.apps.list()
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "name", "created", "keys"),
        [
            (app.id, app.name, app.created_at.strftime("%Y-%m-%d %H:%M:%SZ"), str(app.key_count))
            for app in found
        ],
        {},
    )


@connected
def delete(
    connection: Connection,
    app_id: Annotated[str, typer.Argument(metavar="APP_ID", help="Id, see `apps list` / 应用 ID")],
) -> None:
    """Delete an application and revoke its keys, for good. / 永久删除应用并吊销其密钥。"""
    with connection.client() as client:
        client.apps.delete(app_id)
    typer.echo(
        f"Application {app_id} is deleted, its keys are revoked. / 已删除，其密钥已吊销。", err=True
    )


SUBCOMMANDS = {"create": create, "list": list_apps, "delete": delete}
