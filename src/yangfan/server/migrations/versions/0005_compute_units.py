"""Compute units bought for models."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "compute_units",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, nullable=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("payment", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("started_ms", sa.Integer, nullable=False),
        sa.Column("release_ms", sa.Integer, nullable=True),
        sqlite_strict=True,
    )
