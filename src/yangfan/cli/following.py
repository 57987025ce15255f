"""Follow a job in the terminal until it has ended: a bar on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import typer

from yangfan.cli.terminal import printable

if TYPE_CHECKING:
    from yangfan.client._sync.client import Client
    from yangfan.client.types import Job, JobEvent


def follow(client: Client, id: str, *, logs: bool = False, as_json: bool = False) -> Job:
    """Show a job until it has ended; the job as it is then.

    Args:
        client: Of the server that has it.
        id: Of the job.
        logs: Whether to print its log, too.
        as_json: Print one JSON document a line instead, for programs.
    """
    job: Job | None = None
    if as_json:
        for event in client.jobs.watch(id, logs=logs):
            typer.echo(msgspec.json.encode(event).decode())
            job = event.job
    elif sys.stderr.isatty():
        job = _with_bar(client, id, logs=logs)
    else:
        shown = ""
        for event in client.jobs.watch(id, logs=logs):
            _print_lines(event)
            job = event.job
            line = summary(job)
            if line != shown:
                typer.echo(line, err=True)
                shown = line
    assert job is not None, "a watch begins with the job as it is"
    return job


def summary(job: Job) -> str:
    """A job in one line."""
    parts = [job.id, job.kind, job.state]
    if job.desired != "run" and job.state in {"starting", "running"}:
        parts.append(f"({job.desired} wanted)")
    if progress := progress_text(job):
        parts.append(progress)
    if job.error is not None and job.state != "succeeded":
        parts.append(f"{job.error.code}: {' '.join(job.error.message.split())}")
    return printable("  ".join(parts))


def progress_text(job: Job) -> str:
    """How far a job is, in words."""
    now = job.progress
    if not now.done and now.total is None:
        return now.note
    text = f"{now.done:.15g}" if now.total is None else f"{now.done:.15g}/{now.total:.15g}"
    if now.total:
        text += f" ({100 * now.done / now.total:.0f} %)"
    return " ".join(filter(None, (text, now.unit, now.note)))


def end_status(job: Job) -> int:
    """Exit status that tells how a job ended: 0 only for success."""
    return 0 if job.state == "succeeded" else 1


def _with_bar(client: Client, id: str, *, logs: bool) -> Job | None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    job: Job | None = None
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(id, total=None, note="")
        for event in client.jobs.watch(id, logs=logs):
            _print_lines(event)
            job = event.job
            now = job.progress
            note = f"{now.note} {job.error.code}" if job.error is not None else now.note
            bars.update(
                bar,
                description=printable(f"{job.kind} {job.state}"),
                completed=now.done,
                total=now.total,
                note=printable(note),
            )
    return job


def _print_lines(event: JobEvent) -> None:
    for line in event.lines:
        typer.echo(printable(line.text))
