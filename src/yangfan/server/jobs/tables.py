"""The tables of jobs and of what their workers wrote."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text, nullable=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("desired", sa.Text, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("lease_until_ms", sa.Integer, nullable=True),
    sa.Column("run_after_ms", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("progress_done", sa.REAL, nullable=False),
    sa.Column("progress_total", sa.REAL, nullable=True),
    sa.Column("progress_unit", sa.Text, nullable=False),
    sa.Column("progress_note", sa.Text, nullable=False),
    sa.Column("checkpoint", sa.Text, nullable=False),
    sa.Column("saves", sa.Integer, nullable=False),
    sa.Column("result", sa.Text, nullable=True),
    sa.Column("error_code", sa.Text, nullable=True),
    sa.Column("error_message", sa.Text, nullable=True),
    sa.Column("created_ms", sa.Integer, nullable=False),
    sa.Column("started_ms", sa.Integer, nullable=True),
    sa.Column("finished_ms", sa.Integer, nullable=True),
    sa.UniqueConstraint("account", "kind", "idempotency_key", name="jobs_once"),
    sa.CheckConstraint(
        "state IN ('queued', 'starting', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
        name="jobs_state",
    ),
    sa.CheckConstraint("desired IN ('run', 'pause', 'cancel')", name="jobs_desired"),
    sa.Index("jobs_by_state", "state", "run_after_ms"),
    sa.Index("jobs_by_age", "created_ms", "id"),
    sa.Index("jobs_by_subject", "subject"),
    sqlite_strict=True,
)

JOB_LOGS = sa.Table(
    "job_logs",
    METADATA,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("fence", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at_ms", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sqlite_strict=True,
)
