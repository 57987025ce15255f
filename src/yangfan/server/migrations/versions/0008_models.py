"""Model sets, versions, their files and labels, and the work done on them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "model_sets",
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
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("model_sets_order", "model_sets", ["source", "number"])
    op.create_table(
        "model_versions",
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
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("model_versions_parent", "model_versions", ["parent_id"])
    op.create_table(
        "model_files",
        sa.Column(
            "version_number", sa.Integer, sa.ForeignKey("model_versions.number"), primary_key=True
        ),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("model_files_sha256", "model_files", ["sha256"])
    op.create_table(
        "model_labels",
        sa.Column("set_number", sa.Integer, sa.ForeignKey("model_sets.number"), primary_key=True),
        sa.Column("label", sa.Text, primary_key=True),
        sa.Column(
            "version_number", sa.Integer, sa.ForeignKey("model_versions.number"), nullable=False
        ),
        sqlite_strict=True,
    )
    op.create_index("model_labels_version", "model_labels", ["version_number"])
    op.create_table(
        "model_tasks",
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
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("model_tasks_source", "model_tasks", ["kind", "source_id", "number"])
    op.create_table(
        "model_garbage",
        sa.Column("sha256", sa.Text, primary_key=True),
        sqlite_strict=True,
    )
