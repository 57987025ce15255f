"""`yangfan files`: files to work on, such as the requests of a batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.terminal import human_size, show_json, show_table
from yangfan.errors import ConfigurationError
from yangfan.protocol.v2.files import PURPOSES, Purpose

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
FileId = Annotated[str, typer.Argument(metavar="FILE_ID", help="file-…, see `list` / 文件 ID")]


def files() -> None:
    """Files to work on: upload, list, download, delete. / 管理上传的文件。"""


@connected
def upload(
    connection: Connection,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="What to send / 文件", exists=True, dir_okay=False),
    ],
    *,
    purpose: Annotated[
        str, typer.Option("--purpose", "-p", help=f"{', '.join(PURPOSES)} / 用途")
    ] = "user_data",
) -> None:
    """Send a file and print its id. / 上传文件并输出其 ID。"""
    with connection.client(version=2) as client:
        typer.echo(client.files.upload(file, _purpose(purpose)).id)


@connected
def list_files(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List files, the newest first. / 列出文件。"""
    with connection.client(version=2) as client:
        found = client.files.list()
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "name", "purpose", "size", "created"),
        [
            (
                item.id,
                item.name,
                item.purpose,
                human_size(item.size_bytes),
                item.created_at.strftime("%Y-%m-%d %H:%M:%SZ"),
            )
            for item in found
        ],
    )


@connected
def download(
    connection: Connection,
    file_id: FileId,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to; stdout by default / 输出文件")
    ] = None,
) -> None:
    """Write what a file holds. / 下载文件内容。"""
    with connection.client(version=2) as client:
        content = client.files.download(file_id)
    if out is None:
        sys.stdout.buffer.write(content)
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror}") from None


@connected
def rm(
    connection: Connection,
    file_ids: Annotated[
        list[str], typer.Argument(metavar="FILE_ID...", help="Which ones / 文件 ID")
    ],
) -> None:
    """Delete files. / 删除文件。"""
    with connection.client(version=2) as client:
        for file_id in file_ids:
            client.files.delete(file_id)
    typer.echo(f"Deleted: {len(file_ids)}. / 已删除 {len(file_ids)} 个。", err=True)


SUBCOMMANDS = {"upload": upload, "list": list_files, "download": download, "rm": rm}


def _purpose(text: str) -> Purpose:
    for purpose in PURPOSES:
        if text == purpose:
            return purpose
    raise ConfigurationError(f"--purpose must be one of {', '.join(PURPOSES)}, got {text!r}")
