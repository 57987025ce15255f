"""The tables of models.

Rows are counted by hand in `version_count` and `next_version`, so that a list of sets needs no aggregate over versions.
"""

import sqlalchemy as sa

from yangfan.server.db import METADATA

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits everywhere: SQLite's INTEGER has them, PostgreSQL's has not, and STRICT tables know no BIGINT."""

SETS = sa.Table(
    "model_sets",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("next_version", sa.Integer, nullable=False),
    sa.Column("version_count", sa.Integer, nullable=False),
    sa.Column("created_ms", _BIG, nullable=False),
    sa.Column("modified_ms", _BIG, nullable=False),
    sa.UniqueConstraint("source", "name", name="model_sets_name"),
    sa.CheckConstraint("source IN ('UserCreate', 'PlatformPreset')", name="model_sets_source"),
    sa.Index("model_sets_order", "source", "number"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

VERSIONS = sa.Table(
    "model_versions",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("set_number", sa.Integer, sa.ForeignKey("model_sets.number"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("source_type", sa.Text, nullable=False),
    sa.Column("application", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("format", sa.Text, nullable=False),
    sa.Column("size_bytes", _BIG, nullable=False),
    sa.Column("memory_bytes", _BIG, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("chat_template", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("parent_id", sa.Text, nullable=False),
    sa.Column("task_id", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("created_ms", _BIG, nullable=False),
    sa.Column("modified_ms", _BIG, nullable=False),
    sa.UniqueConstraint("set_number", "version", name="model_versions_version"),
    sa.CheckConstraint("state IN ('Ready', 'Creating', 'Fail')", name="model_versions_state"),
    sa.Index("model_versions_parent", "parent_id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

FILES = sa.Table(
    "model_files",
    METADATA,
    sa.Column(
        "version_number", sa.Integer, sa.ForeignKey("model_versions.number"), primary_key=True
    ),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size_bytes", _BIG, nullable=False),
    sa.Index("model_files_sha256", "sha256"),
    sqlite_strict=True,
)

LABELS = sa.Table(
    "model_labels",
    METADATA,
    sa.Column("set_number", sa.Integer, sa.ForeignKey("model_sets.number"), primary_key=True),
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("version_number", sa.Integer, sa.ForeignKey("model_versions.number"), nullable=False),
    sa.Index("model_labels_version", "version_number"),
    sqlite_strict=True,
)

TASKS = sa.Table(
    "model_tasks",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("version_id", sa.Text, nullable=False),
    sa.Column("set_id", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("created_ms", _BIG, nullable=False),
    sa.Column("finished_ms", _BIG),
    sa.CheckConstraint("kind IN ('compress', 'export')", name="model_tasks_kind"),
    sa.CheckConstraint(
        "state IN ('running', 'succeeded', 'failed', 'stopped')", name="model_tasks_state"
    ),
    sa.Index("model_tasks_source", "kind", "source_id", "number"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

GARBAGE = sa.Table(
    "model_garbage",
    METADATA,
    sa.Column("sha256", sa.Text, primary_key=True),
    sqlite_strict=True,
)
"""Content that lost its last version, to be removed as soon as nothing is being fetched; written with the delete itself."""
