"""The table of evaluations."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

EVALUATIONS = sa.Table(
    "evaluations",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_ms", sa.Integer, nullable=False),
    sa.Column("asked", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Index("evaluations_application", "app_id", "number"),
    sa.Index("evaluations_job", "job_id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
