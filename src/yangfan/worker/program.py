"""`yangfan worker run JOB --fence N`: work on one job."""

from __future__ import annotations

import functools
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yangfan import extensions
from yangfan.engines.process import ParentLink
from yangfan.errors import (
    RefusedError,
    SourceUnavailable,
    UnreachableError,
    YangfanError,
)
from yangfan.protocol.worker import Order
from yangfan.worker.heart import LOST, Heart
from yangfan.worker.server import Lost, ServerLine
from yangfan.worker.task import Stopped, Task

if TYPE_CHECKING:
    from collections.abc import Callable

WORKS = "yangfan.worker.works"
_UNLUCKY = (UnreachableError, SourceUnavailable)
"""What may go well at another attempt, besides what says so itself."""


def run(job_id: str) -> int:
    """Work on the job that the parent process orders; the exit status.

    0: the server knows how it went. 3: the job is another worker's.
    """
    link = ParentLink()
    order = msgspec.json.decode(link.config, type=Order)
    link.ready(b"{}")
    server = ServerLine(order.base_url, order.token)
    try:
        return _work(job_id, Path(order.folder), server)
    except (Lost, UnreachableError) as error:
        sys.stderr.write(f"yangfan worker: {error}\n")
        return LOST


def _work(job_id: str, folder: Path, server: ServerLine) -> int:
    started = server.start()
    task = Task(job_id, started, folder, server)
    with Heart(task, server, started.lease_seconds):
        try:
            result = _result(started.kind, task)
            settle = functools.partial(server.finish, result)
        except Stopped:
            settle = server.stop
        except Exception as error:  # noqa: BLE001 - whatever the work raises is told to the server
            settle = _failure(server, task, error)
    settle()
    return 0


def _result(kind: str, task: Task) -> dict[str, Any]:
    task.check()
    work: Callable[[Task], dict[str, Any]] = extensions.load(WORKS, kind).run
    return work(task)


def _failure(server: ServerLine, task: Task, error: Exception) -> Callable[[], None]:
    if isinstance(error, YangfanError):
        code, message = type(error).__name__, error.message
        retryable = isinstance(error, _UNLUCKY) or (
            isinstance(error, RefusedError) and error.retryable
        )
    else:
        code = "InternalError"
        message = f"{type(error).__name__}: {error}"
        retryable = True
        task.log("".join(traceback.format_exception(error)))
    return functools.partial(server.fail, code, message, retryable=retryable)
