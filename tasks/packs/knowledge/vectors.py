"""The tasks: documents become vectors, are brought up to date, and go."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from msgspec import Meta, Struct

from tasks import Context, FatalError, task
from tasks.clients import embeddings
from tasks.packs.knowledge import catalogue, index, source
from tasks.packs.knowledge.catalogue import Known
from tasks.packs.knowledge.index import DEFAULT_BASE, BaseName, Document, DocumentId, Indexed, Removed, Title

QUEUE = "knowledge_default"

Path = Annotated[str, Meta(max_length=1024)]
DocumentIds = Annotated[list[DocumentId], Meta(min_length=1, max_length=1000)]


class Failed(Struct, frozen=True, kw_only=True):
    """A document that stays as it was, and why."""

    document_id: str
    error: str


class Updated(Struct, frozen=True, kw_only=True):
    """What `update_knowledge_base` found: `updated` and `unchanged` count documents."""

    knowledge_base: str
    documents: int
    updated: int
    unchanged: int
    failed: list[Failed]
    not_found: list[str]


@task(
    name="vectorize_document",
    queue=QUEUE,
    bind=True,
    rate_limit="5/m",
    soft_time_limit=600,
    time_limit=660,
    needs=embeddings.lacking,
)
async def vectorize_document(
    context: Context,
    document_id: DocumentId,
    text: str | None = None,
    path: Path | None = None,
    knowledge_base: BaseName = DEFAULT_BASE,
    title: Title | None = None,
) -> Indexed:
    """Make a document findable: its `text`, or the file at `path` under the files root; one of the two.

    What was there under this id is replaced.
    """
    if (text is None) == (path is None):
        raise FatalError("give the document's text or the path of its file: one of the two")
    if path is not None:
        found = await to_thread.run_sync(source.read, context, path)
        text, title = found.text, title or found.title
    document = Document(document_id=document_id, text=text or "", knowledge_base=knowledge_base, title=title, path=path)
    indexed = await index.put(context, document)
    context.log(f"{document_id}: {indexed.characters} characters in {indexed.chunks} passages")
    return indexed


@task(
    name="update_knowledge_base",
    queue=QUEUE,
    bind=True,
    soft_time_limit=3600,
    time_limit=3660,
    needs=embeddings.lacking,
)
async def update_knowledge_base(
    context: Context, knowledge_base: BaseName = DEFAULT_BASE, document_ids: DocumentIds | None = None
) -> Updated:
    """Bring a knowledge base up to date: read the files of its documents again, and make new vectors where the text
    or the model has changed. `document_ids` names some of its documents; without it, all."""
    documents = await catalogue.known(knowledge_base, document_ids)
    updated, failed = 0, []
    for number, document in enumerate(documents):
        context.progress(number, len(documents), document.document_id)
        try:
            updated += await _refresh(context, document)
        except FatalError as error:
            failed.append(Failed(document_id=document.document_id, error=error.detail))
    context.progress(len(documents), len(documents), "done")
    names = {document.document_id for document in documents}
    return Updated(
        knowledge_base=knowledge_base,
        documents=len(documents),
        updated=updated,
        unchanged=len(documents) - updated - len(failed),
        failed=failed,
        not_found=[name for name in document_ids or [] if name not in names],
    )


@task(name="delete_knowledge_vectors", queue=QUEUE)
async def delete_knowledge_vectors(document_id: DocumentId | DocumentIds) -> Removed:
    """Delete a document, or each of a list, with its passages and vectors. One that is not there is no error."""
    return await index.remove([document_id] if isinstance(document_id, str) else document_id)


async def _refresh(context: Context, document: Known) -> bool:
    """Whether the document got new vectors."""
    if document.path is not None:
        text = (await to_thread.run_sync(source.read, context, document.path)).text
        if document.model == embeddings.MODEL and document.sha256 == index.digest(text):
            return False
    elif document.model == embeddings.MODEL:
        return False
    else:
        text = await catalogue.text_of(document.id)
    cut = await to_thread.run_sync(index.embed, context, text)
    return await index.refill(context, document.id, document.revision, text, cut)
