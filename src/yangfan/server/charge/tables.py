"""The tables of capacity and of compute units."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

TPM_RESOURCES = sa.Table(
    "tpm_resources",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("units", sa.Integer, nullable=False),
    sa.Column("payment", sa.Text, nullable=False),
    sa.Column("started_ms", sa.Integer, nullable=False),
    sa.Column("release_ms", sa.Integer, nullable=True),
    sqlite_strict=True,
)

COMPUTE_UNITS = sa.Table(
    "compute_units",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("payment", sa.Text, nullable=False),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_ms", sa.Integer, nullable=False),
    sa.Column("release_ms", sa.Integer, nullable=True),
    sqlite_strict=True,
)
