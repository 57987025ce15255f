"""Prompt templates, their versions, and labels."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "prompts",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("scene", sa.Integer, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("modified_ms", _BIG, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "prompt_versions",
        sa.Column("prompt_number", sa.Integer, sa.ForeignKey("prompts.number"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("identifier", sa.Text, nullable=False),
        sa.Column("variables", sa.Text, nullable=False),
        sa.Column("negative_text", sa.Text, nullable=False),
        sa.Column("negative_variables", sa.Text, nullable=False),
        sa.Column("framework", sa.Integer, nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "prompt_version_labels",
        sa.Column("prompt_number", sa.Integer, sa.ForeignKey("prompts.number"), primary_key=True),
        sa.Column("label", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "prompt_labels",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("color", sa.Text, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "prompt_label_links",
        sa.Column("prompt_number", sa.Integer, sa.ForeignKey("prompts.number"), primary_key=True),
        sa.Column("label_id", sa.Text, primary_key=True),
        sqlite_strict=True,
    )
    op.create_index("prompt_label_links_label", "prompt_label_links", ["label_id"])
