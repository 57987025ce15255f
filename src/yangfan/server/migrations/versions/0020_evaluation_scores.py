"""Scores that people give."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "evaluation_scores",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("evaluation_number", sa.Integer, nullable=False),
        sa.Column("result_id", sa.Text, nullable=False),
        sa.Column("dimension", sa.Text, nullable=False),
        sa.Column("scorer", sa.Text, nullable=False),
        sa.Column("thousandths", sa.Integer, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("given_ms", _BIG, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index(
        "evaluation_scores_place",
        "evaluation_scores",
        ["evaluation_number", "result_id", "dimension", "scorer"],
        unique=True,
    )
