"""Applications: those that keys name already, and new ones without keys."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table, and a row for every application that has keys."""
    op.create_table(
        "apps",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("builtin", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("deleted_ms", sa.Integer, nullable=True),
        sqlite_strict=True,
    )
    # An application is called as its first key.
    op.execute(
        "INSERT INTO apps (id, name, builtin, created_ms)"
        " SELECT app_id, name, builtin, created_ms FROM keys WHERE number IN"
        " (SELECT (SELECT number FROM keys AS each WHERE each.app_id = app.app_id"
        " ORDER BY created_ms, number LIMIT 1) FROM keys AS app)"
    )
