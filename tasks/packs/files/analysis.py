"""The task that says what a document is and what is in it."""

from __future__ import annotations

from tasks import Context, task
from tasks.packs.files import library, reading
from tasks.packs.files.content import Analysis
from tasks.packs.files.folder import RelativePath


@task(name="tasks.file.analyze_file", queue="file_tasks", bind=True, soft_time_limit=120, time_limit=180)
def analyze_file(context: Context, path: RelativePath) -> Analysis:
    """Type, encoding, language, counts, keywords and an excerpt of a PDF, DOCX, HTML or text file in any encoding.

    The type is told from the content, never from the name.
    """
    context.progress(0, 100, f"reading {path}")
    data = reading.data_of(context, path)
    analysis: Analysis = library.load("inspection").inspect(path, data, context)
    context.log(f"{path}: {analysis.type}, {analysis.size} bytes, {analysis.words} words")
    context.progress(100, 100, "done")
    return analysis
