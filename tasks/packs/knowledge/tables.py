"""The pack's tables: documents, their passages with vectors, and which jobs have written already."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from tasks.database import Database

TABLES = MetaData()
#: `revision` is another one after every change; times are milliseconds since the epoch. `path` is the file under the
#: files root that the text was read from.
DOCUMENTS = Table(
    "knowledge_documents",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("document_id", String(1024), nullable=False),
    Column("knowledge_base", String(200), nullable=False),
    Column("title", String(300)),
    Column("path", String(1024)),
    Column("sha256", String(64), nullable=False),
    Column("characters", Integer, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("model", String(80), nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("revision", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("document_id", name="knowledge_documents_document_id"),
    CheckConstraint("chunks > 0 AND characters > 0 AND dimension > 0", name="knowledge_documents_counts"),
    Index("knowledge_documents_base", "knowledge_base", "document_id"),
    sqlite_autoincrement=True,
)
#: The passages of a document, in order and without gaps: joined they are its text. `vector` is little-endian float32,
#: as many as the document's `dimension`.
CHUNKS = Table(
    "knowledge_chunks",
    TABLES,
    Column("document", ForeignKey("knowledge_documents.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    CheckConstraint("position >= 0", name="knowledge_chunks_position"),
    CheckConstraint("length(vector) > 0 AND length(vector) % 4 = 0", name="knowledge_chunks_vector"),
)
#: What a job has put in: another attempt of it finds its row and writes nothing.
WRITES = Table(
    "knowledge_writes",
    TABLES,
    Column("job_id", String(200), primary_key=True),
    Column("chunks", Integer, nullable=False),
    Column("written_at", BigInteger, nullable=False, index=True),
)
DATABASE = Database(TABLES)
