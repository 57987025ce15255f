"""What both dialects share about imports and exports: options, moments, addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yangfan.datasets.readers.base import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yangfan.protocol.dataset_files import Reading
    from yangfan.server.jobs import Job


def options_of(reading: Reading) -> Options:
    """How to read, as readers take it."""
    return Options(
        columns=reading.columns or {},
        encoding=reading.encoding,
        delimiter=reading.delimiter,
        whole_files=reading.wholeFiles,
        sheet=reading.sheet,
    )


def percent(job: Job) -> int:
    """How far a job is."""
    if job.state == "succeeded":
        return 100
    now = job.progress
    return min(99, int(100 * now.done / now.total)) if now.total else 0


def task_id(job: Job) -> str:
    """``task-…`` of a job."""
    return f"task-{job.id.removeprefix('jb-')}"


def base_url(scope: Mapping[str, Any]) -> str:
    """Where the caller reached this server."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    if not host:
        address, port = scope.get("server") or ("127.0.0.1", 80)
        host = f"{address}:{port}".encode()
    return f"{scope.get('scheme', 'http')}://{host.decode('latin-1')}"
