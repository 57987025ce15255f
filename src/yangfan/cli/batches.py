"""`yangfan batches`: files of requests that are worked on when the platform has time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.following import follow
from yangfan.cli.terminal import printable, show_json, show_table
from yangfan.client.batches import Batch
from yangfan.errors import ConfigurationError
from yangfan.protocol.v2.batches import ENDPOINTS, BatchEndpoint

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
BatchId = Annotated[str, typer.Argument(metavar="BATCH_ID", help="batch_…, see `list` / 任务 ID")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Follow it until it has ended / 跟踪直至结束")
]


def batches() -> None:
    """Files of requests, worked on when there is time. / 批量推理：创建、跟踪、取消、下载。"""


@connected
def create(
    connection: Connection,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="JSON lines {custom_id, method, url, body}, or file-… / 请求文件"
        ),
    ],
    *,
    endpoint: Annotated[
        str, typer.Option("--endpoint", "-e", help=f"{', '.join(ENDPOINTS)} / 接口")
    ] = ENDPOINTS[0],
    window: Annotated[str, typer.Option("--window", help="Such as 24h or 7d / 完成时限")] = "24h",
    watch: Watch = False,
) -> None:
    """Have a file worked on and print the batch's id. / 创建批量推理任务并输出其 ID。"""
    path = Path(file)
    source = path if path.exists() or not file.startswith("file-") else file
    with connection.client(version=2) as client:
        batch = client.batches.create(source, endpoint=_endpoint(endpoint), window=window)
        typer.echo(batch.id)
        if not watch:
            return
        follow(client, batch.job_id)
        batch = client.batches.wait(batch.id, poll_seconds=0.2)
    _end(batch)


@connected
def list_batches(connection: Connection, *, as_json: AsJSON = False) -> None:
    """List batches, the newest first. / 列出批量推理任务。"""
    with connection.client(version=2) as client:
        found = client.batches.list()
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "state", "requests", "completed", "failed", "created"),
        [
            (
                item.id,
                item.state,
                str(item.total),
                str(item.completed),
                str(item.failed),
                item.created_at.strftime("%Y-%m-%d %H:%M:%SZ"),
            )
            for item in found
        ],
    )


@connected
def show(
    connection: Connection, batch_id: BatchId, *, watch: Watch = False, as_json: AsJSON = False
) -> None:
    """Show a batch. / 查看批量推理任务。"""
    with connection.client(version=2) as client:
        batch = client.batches.get(batch_id)
        if watch and not batch.final:
            follow(client, batch.job_id)
            batch = client.batches.wait(batch_id, poll_seconds=0.2)
    if as_json:
        show_json(batch)
        return
    if watch:
        _end(batch)
    _tell(batch)


@connected
def cancel(connection: Connection, batch_id: BatchId) -> None:
    """End a batch; what it has answered is kept. / 取消任务，已完成的结果保留。"""
    with connection.client(version=2) as client:
        typer.echo(client.batches.cancel(batch_id).state)


@connected
def download(
    connection: Connection,
    batch_id: BatchId,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to; stdout by default / 输出文件")
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="What was refused instead / 改为下载错误文件")
    ] = False,
) -> None:
    """Write the answers of a batch. / 下载结果。"""
    with connection.client(version=2) as client:
        batch = client.batches.get(batch_id)
        file_id = batch.error_file_id if errors else batch.output_file_id
        if file_id is None:
            what = "refused requests" if errors else "answers"
            raise ConfigurationError(f"batch {batch.id} is {batch.state} and has no {what}")
        content = client.files.download(file_id)
    if out is None:
        sys.stdout.buffer.write(content)
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror}") from None


SUBCOMMANDS = {
    "create": create,
    "list": list_batches,
    "show": show,
    "cancel": cancel,
    "download": download,
}


def _tell(batch: Batch) -> None:
    counts = f"{batch.completed} answered, {batch.failed} refused, {batch.total} in all"
    tokens = f"{batch.prompt_tokens} + {batch.completion_tokens} tokens"
    typer.echo(f"{batch.id}  {batch.state}  {counts}  {tokens}")
    for name in ("output_file_id", "error_file_id"):
        file_id: str | None = getattr(batch, name)
        if file_id is not None:
            typer.echo(f"{name.partition('_')[0]}: {file_id}")
    for problem in batch.problems:
        typer.echo(printable(problem))


def _end(batch: Batch) -> None:
    """Tell how it ended, by the exit status, too."""
    _tell(batch)
    if batch.state != "completed":
        raise typer.Exit(1)


def _endpoint(text: str) -> BatchEndpoint:
    for endpoint in ENDPOINTS:
        if text == endpoint:
            return endpoint
    raise ConfigurationError(f"--endpoint must be one of {', '.join(ENDPOINTS)}, got {text!r}")
