"""The table of plugin applications."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

PLUGIN_APPLICATIONS = sa.Table(
    "plugin_applications",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("plugins", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("base_ids", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
