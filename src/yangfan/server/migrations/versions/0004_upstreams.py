"""Other people's servers, their keys sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "upstreams",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary, nullable=True),
        sa.Column("models", sa.Text, nullable=True),
        sa.Column("kinds", sa.Text, nullable=False),
        sa.Column("rename", sa.Text, nullable=False),
        sa.Column("presets", sa.Integer, nullable=False),
        sa.Column("first_byte_timeout_seconds", sa.REAL, nullable=False),
        sa.Column("idle_timeout_seconds", sa.REAL, nullable=False),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("seen", sa.Text, nullable=False),
        sqlite_strict=True,
    )
