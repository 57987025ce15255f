"""The table of files."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

FILES = sa.Table(
    "files",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("size_bytes", BIG, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("expires_ms", BIG, nullable=True),
    sa.Index("files_application", "app_id", "number"),
    sa.Index("files_content", "sha256"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
