"""The table of processing."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

TASKS = sa.Table(
    "processing_tasks",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("source_name", sa.Text, nullable=False),
    sa.Column("destination_id", sa.Text, nullable=False),
    sa.Column("destination_name", sa.Text, nullable=False),
    sa.Column("made_destination", sa.Integer, nullable=False),
    sa.Column("rows", BIG, nullable=False),
    sa.Column("project_type", sa.Integer, nullable=False),
    sa.Column("order", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("finished_ms", BIG, nullable=False),
    sa.CheckConstraint("kind IN ('clean', 'augment')", name="processing_tasks_kind"),
    sa.CheckConstraint(
        "state IN ('running', 'succeeded', 'failed', 'stopped')", name="processing_tasks_state"
    ),
    sa.Index("processing_tasks_order", "kind", "number"),
    sa.Index("processing_tasks_destination", "destination_id"),
    sa.Index("processing_tasks_job", "job_id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
