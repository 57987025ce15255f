"""Bridges to other people's tools, and how far plugin applications may go with tools."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table, and give applications their limits."""
    op.create_table(
        "plugin_bridges",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("source_url", sa.Text, nullable=False),
        sa.Column("auth", sa.Text, nullable=False),
        sa.Column("auth_name", sa.Text, nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary, nullable=True),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("left_out", sa.Text, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("read_ms", _BIG, nullable=False),
        sa.UniqueConstraint("app_id", "id", name="plugin_bridges_id"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    for column in (
        sa.Column("mode", sa.Text, nullable=False, server_default="direct"),
        sa.Column("max_steps", sa.Integer, nullable=False, server_default="6"),
        sa.Column("max_tokens", sa.Integer, nullable=False, server_default="32000"),
        sa.Column("max_seconds", sa.Integer, nullable=False, server_default="120"),
    ):
        op.add_column("plugin_applications", column)
