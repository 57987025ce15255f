"""What every executor offers: run a worker for a job until it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt at one job.

    Attributes:
        job_id: ``jb-…``.
        fence: Which attempt.
        line: The worker's order (`yangfan.protocol.worker.Order`) as JSON on one line; it holds a secret.
    """

    job_id: str
    fence: int
    line: bytes = field(repr=False)


class Executor(Protocol):
    """Runs workers."""

    async def run(self, assignment: Assignment) -> str:
        """Run `yangfan worker run JOB --fence N` until it ends; how it ended, in words, for a person.

        Cancelling this ends the worker first.
        """
        ...

    async def reap(self) -> int:
        """End the workers that an earlier server left behind; how many."""
        ...

    def folder(self, job_id: str) -> Path:
        """Scratch folder of a job, where its worker finds it."""
        ...

    def forget(self, job_id: str) -> None:
        """The job has ended: its scratch folder may go."""
        ...

    def kept(self) -> list[str]:
        """Ids of the jobs that have a scratch folder."""
        ...
