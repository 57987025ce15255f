"""Durable jobs: one kind of row under every long task of the platform, worked on by programs of their own."""

from yangfan.server.jobs.dispatcher import Dispatcher
from yangfan.server.jobs.hooks import Hooks
from yangfan.server.jobs.internal import worker_endpoint
from yangfan.server.jobs.leases import Leases
from yangfan.server.jobs.logic import Jobs
from yangfan.server.jobs.retention import Retention
from yangfan.server.jobs.tokens import JobMint
from yangfan.server.jobs.types import (
    FINAL,
    WORKING,
    Census,
    Job,
    JobError,
    LogLine,
    Progress,
    State,
)

__all__ = [
    "FINAL",
    "WORKING",
    "Census",
    "Dispatcher",
    "Hooks",
    "Job",
    "JobError",
    "JobMint",
    "Jobs",
    "Leases",
    "LogLine",
    "Progress",
    "Retention",
    "State",
    "worker_endpoint",
]
