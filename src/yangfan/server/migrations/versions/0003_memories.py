"""System and user memories."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "memories",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("pairs", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('system', 'user')", name="memories_kind"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
