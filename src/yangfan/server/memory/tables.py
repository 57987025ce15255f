"""The table of memories."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

MEMORIES = sa.Table(
    "memories",
    METADATA,
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
