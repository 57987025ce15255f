"""Datasets, their versions, what was done with them, edits of rows, statistics of shards."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "datasets",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("data_format", sa.Text, nullable=False),
        sa.Column("storage_type", sa.Text, nullable=False),
        sa.Column("storage_id", sa.Text, nullable=False),
        sa.Column("storage_path", sa.Text, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("modified_ms", _BIG, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "dataset_versions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("dataset_number", sa.Integer, sa.ForeignKey("datasets.number"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("published", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("lineage", sa.Text, nullable=False),
        sa.Column("insight", sa.Text, nullable=False),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("modified_ms", _BIG, nullable=False),
        sa.UniqueConstraint("dataset_number", "version", name="dataset_versions_version"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "dataset_tasks",
        sa.Column(
            "version_number", sa.Integer, sa.ForeignKey("dataset_versions.number"), primary_key=True
        ),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("error_code", sa.Integer, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("begun_ms", _BIG, nullable=False),
        sa.Column("ended_ms", _BIG, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "dataset_deltas",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column(
            "version_number", sa.Integer, sa.ForeignKey("dataset_versions.number"), nullable=False
        ),
        sa.Column("row_id", sa.Text, nullable=False),
        sa.Column("place", sa.Integer),
        sa.Column("sample", sa.Text),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("annotated", sa.Integer, nullable=False),
        sa.Column("was_annotated", sa.Integer, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("annotated_ms", _BIG, nullable=False),
        sa.UniqueConstraint("version_number", "row_id", name="dataset_deltas_row"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "dataset_statistics",
        sa.Column("shard_sha256", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sqlite_strict=True,
    )
