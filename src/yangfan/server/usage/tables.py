"""The table of usage, and how far each server's spool was folded into it."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

USAGE = sa.Table(
    "usage",
    METADATA,
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("requests", sa.Integer, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sqlite_strict=True,
)

FOLDED = sa.Table(
    "usage_spools",
    METADATA,
    sa.Column("spool", sa.Text, primary_key=True),
    sa.Column("segment", sa.Integer, nullable=False),
    sqlite_strict=True,
)
