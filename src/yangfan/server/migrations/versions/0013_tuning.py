"""Tuning jobs and their runs."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "tuning_jobs",
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
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("tuning_jobs_base", "tuning_jobs", ["base_id"])
    op.create_table(
        "tuning_tasks",
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
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("tuning_tasks_job", "tuning_tasks", ["job_id", "number"])
    op.create_index("tuning_tasks_work", "tuning_tasks", ["work_id"])
