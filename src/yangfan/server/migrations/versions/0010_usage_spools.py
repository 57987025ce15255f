"""How far spools are folded, for each server of its own: several may share a database."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the table; what the only server there was has folded stands under no name."""
    op.create_table(
        "usage_spools",
        sa.Column("spool", sa.Text, primary_key=True),
        sa.Column("segment", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.execute("INSERT INTO usage_spools (spool, segment) SELECT '', segment FROM usage_folded")
    op.drop_table("usage_folded")
