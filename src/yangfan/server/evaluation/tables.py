"""The tables of evaluations and of what people say about answers."""

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

EVALUATION_SCORES = sa.Table(
    "evaluation_scores",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("evaluation_number", sa.Integer, nullable=False),
    sa.Column("result_id", sa.Text, nullable=False),
    sa.Column("dimension", sa.Text, nullable=False),
    sa.Column("scorer", sa.Text, nullable=False),
    sa.Column("thousandths", sa.Integer, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("given_ms", sa.Integer, nullable=False),
    sa.Index(
        "evaluation_scores_place",
        "evaluation_number",
        "result_id",
        "dimension",
        "scorer",
        unique=True,
    ),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
