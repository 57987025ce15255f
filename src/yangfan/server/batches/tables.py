"""The table of batches."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

BATCHES = sa.Table(
    "batches",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("form", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_ms", sa.Integer, nullable=False),
    sa.Column("expires_ms", sa.Integer, nullable=False),
    sa.Column("asked", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Index("batches_application", "app_id", "number"),
    sa.Index("batches_job", "job_id"),
    sa.Index("batches_state", "state"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
