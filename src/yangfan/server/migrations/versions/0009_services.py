"""Services that callers make: what is to run, what happened to them, and which calls failed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

MS = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "services",
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
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("services_desired", "services", ["desired"])
    op.create_table(
        "deployments",
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
        sqlite_strict=True,
    )
    op.create_index("deployments_reference", "deployments", ["reference"])
    op.create_table(
        "service_events",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("service_id", sa.Text, nullable=False),
        sa.Column("at_ms", MS, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("service_events_service", "service_events", ["service_id", "number"])
    op.create_table(
        "service_failures",
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("service_id", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("calls", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
