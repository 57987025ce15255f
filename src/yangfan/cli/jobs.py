"""`yangfan jobs`: long tasks of the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from yangfan.cli.connection import Connection, connected
from yangfan.cli.following import end_status, follow, progress_text, summary
from yangfan.cli.terminal import printable, show_json, show_table

if TYPE_CHECKING:
    from yangfan.client.types import Job

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON / 以 JSON 输出")]
Id = Annotated[str, typer.Argument(metavar="JOB", help="See `jobs list` / 任务 ID")]
State = Literal["queued", "starting", "running", "paused", "succeeded", "failed", "cancelled"]
_STYLES = {"failed": "red", "succeeded": "green", "running": "cyan", "paused": "yellow"}


def jobs() -> None:
    """Long tasks: list, follow, stop, go on. / 管理长任务：查看、跟踪、暂停、取消。"""


@connected
def list_jobs(
    connection: Connection,
    *,
    kind: Annotated[str | None, typer.Option(help="Of this kind only / 只看某种任务")] = None,
    state: Annotated[State | None, typer.Option(help="In this state only / 只看某个状态")] = None,
    subject: Annotated[
        str | None, typer.Option(help="About this thing only / 只看某个对象的任务")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most / 最多显示多少")] = 50,
    as_json: AsJSON = False,
) -> None:
    """List jobs, the youngest first. / 列出任务，最新的在前。"""
    with connection.client() as client:
        found = client.jobs.list(kind=kind, state=state, subject=subject, limit=limit)
    if as_json:
        show_json(found)
        return
    show_table(
        ("job", "kind", "state", "progress", "subject", "created"),
        [
            (job.id, job.kind, job.state, progress_text(job), job.subject, job.created)
            for job in found
        ],
        _STYLES,
    )


@connected
def show(connection: Connection, job: Id, *, as_json: AsJSON = False) -> None:
    """Show a job. / 查看任务。"""
    with connection.client() as client:
        found = client.jobs.get(job)
    if as_json:
        show_json(found)
        return
    rows = [
        ("job", found.id),
        ("kind", found.kind),
        ("subject", found.subject),
        (
            "state",
            found.state if found.desired == "run" else f"{found.state}, {found.desired} wanted",
        ),
        ("progress", progress_text(found)),
        ("attempts", f"{found.attempts} of {found.max_attempts}"),
        ("created", found.created),
        ("started", found.started or ""),
        ("finished", found.finished or ""),
        ("error", "" if found.error is None else f"{found.error.code}: {found.error.message}"),
    ]
    show_table(("", ""), [row for row in rows if row[1]], _STYLES)


@connected
def watch(
    connection: Connection,
    job: Id,
    *,
    logs: Annotated[bool, typer.Option("--logs", help="Print its log, too / 同时打印日志")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document a line / 每行一个 JSON")
    ] = False,
) -> None:
    """Follow a job until it has ended; the exit status is 0 if it succeeded. / 跟踪任务直至结束。"""
    with connection.client() as client:
        ended = follow(client, job, logs=logs, as_json=as_json)
    if not as_json:
        typer.echo(summary(ended), err=True)
    raise typer.Exit(end_status(ended))


@connected
def logs(
    connection: Connection,
    job: Id,
    *,
    follow_on: Annotated[
        bool, typer.Option("--follow", "-f", help="Until it has ended / 持续输出直至结束")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Print what a job's workers wrote. / 打印任务日志。"""
    with connection.client() as client:
        if follow_on:
            for event in client.jobs.watch(job, logs=True):
                for line in event.lines:
                    typer.echo(printable(line.text))
            return
        found = client.jobs.logs(job)
    if as_json:
        show_json(found)
        return
    for line in found:
        typer.echo(printable(line.text))


@connected
def cancel(connection: Connection, job: Id, *, as_json: AsJSON = False) -> None:
    """End a job. / 取消任务。"""
    with connection.client() as client:
        _tell(client.jobs.cancel(job), as_json=as_json)


@connected
def pause(connection: Connection, job: Id, *, as_json: AsJSON = False) -> None:
    """Stop a job and keep what it has saved. / 暂停任务，保留进度。"""
    with connection.client() as client:
        _tell(client.jobs.pause(job), as_json=as_json)


@connected
def resume(connection: Connection, job: Id, *, as_json: AsJSON = False) -> None:
    """Let a paused job go on from what it saved. / 继续已暂停的任务。"""
    with connection.client() as client:
        _tell(client.jobs.resume(job), as_json=as_json)


@connected
def rm(connection: Connection, job: Id) -> None:
    """Forget a job that has ended, and its log. / 删除已结束的任务及其日志。"""
    with connection.client() as client:
        client.jobs.delete(job)


def _tell(job: Job, *, as_json: bool) -> None:
    if as_json:
        show_json(job)
    else:
        typer.echo(summary(job))


SUBCOMMANDS = {
    "list": list_jobs,
    "show": show,
    "watch": watch,
    "logs": logs,
    "cancel": cancel,
    "pause": pause,
    "resume": resume,
    "rm": rm,
}
