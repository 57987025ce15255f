"""Knowledge bases: documents, chunks, their terms and vectors; SQLite finds terms by FTS5, PostgreSQL by a GIN index of its full text."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables and the index of terms."""
    op.create_table(
        "knowledge_bases",
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
        sa.Column("terms", _BIG, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("modified_ms", _BIG, nullable=False),
        sa.UniqueConstraint("app_id", "name", name="knowledge_bases_name"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "knowledge_documents",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column(
            "base_number", sa.Integer, sa.ForeignKey("knowledge_bases.number"), nullable=False
        ),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("enabled", sa.Integer, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("characters", _BIG, nullable=False),
        sa.Column("created_ms", _BIG, nullable=False),
        sa.Column("modified_ms", _BIG, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("knowledge_documents_base", "knowledge_documents", ["base_number", "number"])
    op.create_index("knowledge_documents_state", "knowledge_documents", ["base_number", "state"])
    op.create_index("knowledge_documents_content", "knowledge_documents", ["sha256"])
    op.create_table(
        "knowledge_chunks",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column(
            "document_number",
            sa.Integer,
            sa.ForeignKey("knowledge_documents.number"),
            nullable=False,
        ),
        sa.Column(
            "base_number", sa.Integer, sa.ForeignKey("knowledge_bases.number"), nullable=False
        ),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("headings", sa.Text, nullable=False),
        sa.Column("page", sa.Integer, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("terms", sa.Integer, nullable=False),
        sa.Column("enabled", sa.Integer, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("knowledge_chunks_document", "knowledge_chunks", ["document_number", "place"])
    op.create_index("knowledge_chunks_base", "knowledge_chunks", ["base_number", "number"])
    op.create_table(
        "knowledge_vectors",
        sa.Column("base_number", sa.Integer, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("chunk_number", sa.Integer, primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "knowledge_terms",
        sa.Column("base_number", sa.Integer, primary_key=True),
        sa.Column("term", sa.Text, primary_key=True),
        sa.Column("chunks", sa.Integer, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "sqlite":
        _create_fts()
    else:
        # Lexemes are made by us, so the database's own parser and its configuration have no say.
        op.execute(
            "CREATE INDEX knowledge_chunks_words ON knowledge_chunks USING gin (array_to_tsvector(string_to_array(words, ' ')))"
        )


def _create_fts() -> None:
    """An index without a copy of the words, which triggers keep as the table is."""
    op.execute(
        "CREATE VIRTUAL TABLE fts_knowledge USING fts5(words, content='knowledge_chunks', content_rowid='number',"
        " tokenize='unicode61 remove_diacritics 0', columnsize=0, detail=none)"
    )
    op.execute(
        "CREATE TRIGGER fts_knowledge_insert AFTER INSERT ON knowledge_chunks BEGIN"
        " INSERT INTO fts_knowledge(rowid, words) VALUES (new.number, new.words); END"
    )
    op.execute(
        "CREATE TRIGGER fts_knowledge_delete AFTER DELETE ON knowledge_chunks BEGIN"
        " INSERT INTO fts_knowledge(fts_knowledge, rowid, words) VALUES ('delete', old.number, old.words); END"
    )
    op.execute(
        "CREATE TRIGGER fts_knowledge_update AFTER UPDATE OF words ON knowledge_chunks BEGIN"
        " INSERT INTO fts_knowledge(fts_knowledge, rowid, words) VALUES ('delete', old.number, old.words);"
        " INSERT INTO fts_knowledge(rowid, words) VALUES (new.number, new.words); END"
    )
