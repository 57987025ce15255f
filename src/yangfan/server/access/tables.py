"""The tables of keys and of applications."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

KEYS = sa.Table(
    "keys",
    METADATA,
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
    sa.Column("models", sa.Text, nullable=True),
    sa.Column("rpm", sa.Integer, nullable=True),
    sa.Column("tpm", sa.Integer, nullable=True),
    sa.Column("daily_tokens", sa.Integer, nullable=True),
    sa.Column("total_tokens", sa.Integer, nullable=True),
    sa.Column("lenient", sa.Integer, nullable=False, server_default="0"),
    sa.CheckConstraint("kind IN ('bearer', 'oauth', 'signature')", name="keys_kind"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

APPS = sa.Table(
    "apps",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("builtin", sa.Integer, nullable=False),
    sa.Column("created_ms", sa.Integer, nullable=False),
    sa.Column("deleted_ms", sa.Integer, nullable=True),
    sqlite_strict=True,
)
