"""The tables of services that callers make, and of what happened to them."""

import sqlalchemy as sa

from yangfan.server.db import METADATA

MS = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
"""Milliseconds since the epoch, and bytes: 64 bits everywhere."""

SERVICES = sa.Table(
    "services",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("suffix", sa.Text, nullable=False, unique=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("kinds", sa.Text, nullable=False),
    sa.Column("desired", sa.Text, nullable=False),
    sa.Column("warm", sa.Integer, nullable=False),
    sa.Column("idle_seconds", sa.REAL, nullable=True),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("fallback", sa.Text, nullable=False),
    sa.Column("protocol_version", sa.Integer, nullable=False),
    sa.Column("resource_type", sa.Text, nullable=False),
    sa.Column("qps", sa.REAL, nullable=False),
    sa.Column("context_tokens", sa.Integer, nullable=False),
    sa.Column("creator", sa.Text, nullable=False),
    sa.Column("created_ms", MS, nullable=False),
    sa.Column("modified_ms", MS, nullable=False),
    sa.Index("services_desired", "desired"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

DEPLOYMENTS = sa.Table(
    "deployments",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("service_id", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("set_id", sa.Text, nullable=False),
    sa.Column("weight", sa.Integer, nullable=False),
    sa.Column("replicas", sa.Integer, nullable=False),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("memory_bytes", MS, nullable=True),
    sa.Column("bake_seconds", sa.REAL, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("created_ms", MS, nullable=False),
    sa.Column("load_seconds", sa.REAL, nullable=False),
    sa.UniqueConstraint("service_id", "role", name="deployments_role"),
    sa.Index("deployments_reference", "reference"),
    sqlite_strict=True,
)

EVENTS = sa.Table(
    "service_events",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("service_id", sa.Text, nullable=False),
    sa.Column("at_ms", MS, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Index("service_events_service", "service_id", "number"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

FAILURES = sa.Table(
    "service_failures",
    METADATA,
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("service_id", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("calls", sa.Integer, nullable=False),
    sqlite_strict=True,
)
