"""Limits of keys; usage by day, key and model; capacity bought for models."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and create the tables."""
    op.add_column("keys", sa.Column("models", sa.Text, nullable=True))
    op.add_column("keys", sa.Column("rpm", sa.Integer, nullable=True))
    op.add_column("keys", sa.Column("tpm", sa.Integer, nullable=True))
    op.add_column("keys", sa.Column("daily_tokens", sa.Integer, nullable=True))
    op.add_column("keys", sa.Column("total_tokens", sa.Integer, nullable=True))
    op.add_column("keys", sa.Column("lenient", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "usage",
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("completion_tokens", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "usage_folded",
        sa.Column("only", sa.Integer, sa.CheckConstraint('"only" = 1'), primary_key=True),
        sa.Column("segment", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "tpm_resources",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("units", sa.Integer, nullable=False),
        sa.Column("payment", sa.Text, nullable=False),
        sa.Column("started_ms", sa.Integer, nullable=False),
        sa.Column("release_ms", sa.Integer, nullable=True),
        sqlite_strict=True,
    )
