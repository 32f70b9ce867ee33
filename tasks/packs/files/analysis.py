"""The task that says what a document is and what is in it."""

from __future__ import annotations

from tasks import Context, FatalError, task
from tasks.packs.files import folder, library
from tasks.packs.files.content import Analysis
from tasks.packs.files.folder import RelativePath

#: Bytes of the largest file that is taken; it is held in memory.
MAX_BYTES = 64 << 20


@task(name="tasks.file.analyze_file", queue="file_tasks", bind=True, soft_time_limit=120, time_limit=180)
def analyze_file(context: Context, path: RelativePath) -> Analysis:
    """Type, encoding, language, counts, keywords and an excerpt of a PDF, DOCX, HTML or text file in any encoding.

    The type is told from the content, never from the name.
    """
    context.progress(0, 100, f"reading {path}")
    data = _read(context, path)
    analysis: Analysis = library.load("inspection").inspect(path, data, context)
    context.log(f"{path}: {analysis.type}, {analysis.size} bytes, {analysis.words} words")
    context.progress(100, 100, "done")
    return analysis


def _read(context: Context, path: str) -> bytes:
    with folder.opened(path) as file:
        _refuse_size(path, folder.size(file))
        data = bytearray()
        for chunk in folder.chunks(file, context.check):
            data += chunk
            # Once more, because a file can grow while it is read.
            _refuse_size(path, len(data))
    return bytes(data)


def _refuse_size(path: str, size: int) -> None:
    if size > MAX_BYTES:
        raise FatalError(f"{path!r} has {size} bytes; at most {MAX_BYTES} are analysed")
