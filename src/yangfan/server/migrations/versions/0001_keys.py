"""Keys: every credential that the platform knows."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table of keys."""
    op.create_table(
        "keys",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, server_default=""),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary, nullable=True),
        sa.Column("builtin", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("expires_ms", sa.Integer, nullable=True),
        sa.Column("revoked_ms", sa.Integer, nullable=True),
        sa.CheckConstraint("kind IN ('bearer', 'oauth', 'signature')", name="keys_kind"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
