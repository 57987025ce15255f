"""The tables of tuning."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

JOBS = sa.Table(
    "tuning_jobs",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("base_id", sa.Text, nullable=False),
    sa.Column("scale", sa.Text, nullable=False),
    sa.Column("hyper_parameters", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("created_ms", _BIG, nullable=False),
    sa.Index("tuning_jobs_base", "base_id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

TASKS = sa.Table(
    "tuning_tasks",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("tuning_jobs.id"), nullable=False),
    sa.Column("scale", sa.Text, nullable=False),
    sa.Column("hyper_parameters", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("more", sa.Text, nullable=False),
    sa.Column("increment_task_id", sa.Text, nullable=False),
    sa.Column("increment_step", sa.Integer),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("work_id", sa.Text, nullable=False),
    sa.Column("created_ms", _BIG, nullable=False),
    sa.Column("finished_ms", _BIG),
    sa.CheckConstraint(
        "state IN ('running', 'succeeded', 'failed', 'stopped')", name="tuning_tasks_state"
    ),
    sa.Index("tuning_tasks_job", "job_id", "number"),
    sa.Index("tuning_tasks_work", "work_id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
