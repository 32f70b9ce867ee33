"""Documents that can be asked: passages with embeddings in tables, tasks that keep them, and a search.

Another pack uses `put`, `remove`, `search` and `read_with`, never the tables. The model is not loaded here.
"""

from tasks.pack import NoSettings, Pack
from tasks.packs.knowledge.addresses import list_documents, search_knowledge
from tasks.packs.knowledge.index import put, remove
from tasks.packs.knowledge.ranking import search
from tasks.packs.knowledge.smoke import smoke
from tasks.packs.knowledge.source import read_with
from tasks.packs.knowledge.tables import DATABASE
from tasks.packs.knowledge.vectors import delete_knowledge_vectors, update_knowledge_base, vectorize_document

KNOWLEDGE = Pack("knowledge", NoSettings, database=DATABASE, smoke=smoke)

__all__ = [
    "KNOWLEDGE",
    "delete_knowledge_vectors",
    "list_documents",
    "put",
    "read_with",
    "remove",
    "search",
    "search_knowledge",
    "update_knowledge_base",
    "vectorize_document",
]
