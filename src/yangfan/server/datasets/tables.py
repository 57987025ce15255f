"""The tables of datasets: datasets, versions, what was done with them, edits of rows, and statistics of shards."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

DATASETS = sa.Table(
    "datasets",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("data_format", sa.Text, nullable=False),
    sa.Column("storage_type", sa.Text, nullable=False),
    sa.Column("storage_id", sa.Text, nullable=False),
    sa.Column("storage_path", sa.Text, nullable=False),
    sa.Column("creator", sa.Text, nullable=False),
    sa.Column("latest", sa.Integer, nullable=False),
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("modified_ms", BIG, nullable=False),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

DATASET_VERSIONS = sa.Table(
    "dataset_versions",
    METADATA,
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
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("modified_ms", BIG, nullable=False),
    sa.UniqueConstraint("dataset_number", "version", name="dataset_versions_version"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

DATASET_TASKS = sa.Table(
    "dataset_tasks",
    METADATA,
    sa.Column(
        "version_number", sa.Integer, sa.ForeignKey("dataset_versions.number"), primary_key=True
    ),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("error_code", sa.Integer, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("begun_ms", BIG, nullable=False),
    sa.Column("ended_ms", BIG, nullable=False),
    sqlite_strict=True,
)

DATASET_DELTAS = sa.Table(
    "dataset_deltas",
    METADATA,
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
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("annotated_ms", BIG, nullable=False),
    sa.UniqueConstraint("version_number", "row_id", name="dataset_deltas_row"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

DATASET_STATISTICS = sa.Table(
    "dataset_statistics",
    METADATA,
    sa.Column("shard_sha256", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sqlite_strict=True,
)
