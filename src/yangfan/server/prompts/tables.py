"""The tables of prompt templates: templates, their versions, the labels that point at versions, and labels to sort by."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Milliseconds since 1970."""

PROMPTS = sa.Table(
    "prompts",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("scene", sa.Integer, nullable=False),
    sa.Column("creator", sa.Text, nullable=False),
    sa.Column("latest", sa.Integer, nullable=False),
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("modified_ms", BIG, nullable=False),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

PROMPT_VERSIONS = sa.Table(
    "prompt_versions",
    METADATA,
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
    sa.Column("created_ms", BIG, nullable=False),
    sqlite_strict=True,
)

PROMPT_VERSION_LABELS = sa.Table(
    "prompt_version_labels",
    METADATA,
    sa.Column("prompt_number", sa.Integer, sa.ForeignKey("prompts.number"), primary_key=True),
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sqlite_strict=True,
)

PROMPT_LABELS = sa.Table(
    "prompt_labels",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("color", sa.Text, nullable=False),
    sa.Column("creator", sa.Text, nullable=False),
    sa.Column("created_ms", BIG, nullable=False),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

PROMPT_LABEL_LINKS = sa.Table(
    "prompt_label_links",
    METADATA,
    sa.Column("prompt_number", sa.Integer, sa.ForeignKey("prompts.number"), primary_key=True),
    sa.Column("label_id", sa.Text, primary_key=True),
    sa.Index("prompt_label_links_label", "label_id"),
    sqlite_strict=True,
)
