"""The tables of knowledge bases: bases, documents, chunks with their terms, vectors, and in how many chunks each term stands.

Beside them SQLite has `fts_knowledge`, an FTS5 index over `knowledge_chunks.words` that triggers keep; PostgreSQL has a GIN index.
"""

import sqlalchemy as sa

from yangfan.server.db import METADATA

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Milliseconds since 1970, and sizes."""

BASES = sa.Table(
    "knowledge_bases",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("app_id", sa.Text, nullable=False),
    sa.Column("readers", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("chunking", sa.Text, nullable=False),
    sa.Column("embedder", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("next_embedder", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
    sa.Column("terms", BIG, nullable=False),
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("modified_ms", BIG, nullable=False),
    sa.UniqueConstraint("app_id", "name", name="knowledge_bases_name"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

DOCUMENTS = sa.Table(
    "knowledge_documents",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("base_number", sa.Integer, sa.ForeignKey("knowledge_bases.number"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size_bytes", BIG, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("enabled", sa.Integer, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
    sa.Column("characters", BIG, nullable=False),
    sa.Column("created_ms", BIG, nullable=False),
    sa.Column("modified_ms", BIG, nullable=False),
    sa.Index("knowledge_documents_base", "base_number", "number"),
    sa.Index("knowledge_documents_state", "base_number", "state"),
    sa.Index("knowledge_documents_content", "sha256"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

CHUNKS = sa.Table(
    "knowledge_chunks",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column(
        "document_number", sa.Integer, sa.ForeignKey("knowledge_documents.number"), nullable=False
    ),
    sa.Column("base_number", sa.Integer, sa.ForeignKey("knowledge_bases.number"), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("headings", sa.Text, nullable=False),
    sa.Column("page", sa.Integer, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("terms", sa.Integer, nullable=False),
    sa.Column("enabled", sa.Integer, nullable=False),
    sa.Index("knowledge_chunks_document", "document_number", "place"),
    sa.Index("knowledge_chunks_base", "base_number", "number"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

VECTORS = sa.Table(
    "knowledge_vectors",
    METADATA,
    sa.Column("base_number", sa.Integer, primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    sa.Column("chunk_number", sa.Integer, primary_key=True),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sqlite_strict=True,
)

TERMS = sa.Table(
    "knowledge_terms",
    METADATA,
    sa.Column("base_number", sa.Integer, primary_key=True),
    sa.Column("term", sa.Text, primary_key=True),
    sa.Column("chunks", sa.Integer, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
