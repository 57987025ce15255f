"""Cleanings and augmentations of datasets."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "processing_tasks",
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
        sa.Column("rows", _BIG, nullable=False),
        sa.Column("project_type", sa.Integer, nullable=False),
        sa.Column("order", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("finished_ms", _BIG, nullable=False),
        sa.CheckConstraint("kind IN ('clean', 'augment')", name="processing_tasks_kind"),
        sa.CheckConstraint(
            "state IN ('running', 'succeeded', 'failed', 'stopped')", name="processing_tasks_state"
        ),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("processing_tasks_order", "processing_tasks", ["kind", "number"])
    op.create_index("processing_tasks_destination", "processing_tasks", ["destination_id"])
    op.create_index("processing_tasks_job", "processing_tasks", ["job_id"])
