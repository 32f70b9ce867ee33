"""Contexts and documents for the tests of the packs."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks import Cancelled, Context, SoftTimeLimitExceeded
from tasks.job import Attempt
from tasks.packs import files
from tasks.packs.files.content import Analysis
from tasks.packs.files.export import Export

SAMPLES = Path(files.__file__).parent / "samples"


class Recorder:
    """A context whose reports are kept."""

    def __init__(self, job: str = "job-1", attempt: int = 1) -> None:
        self.progress: list[dict[str, Any]] = []
        self.log: list[tuple[str, str]] = []
        self._watch: Callable[[], None] = lambda: None
        self.context = Context(_attempt(job, attempt), self._take)

    def _take(self, kind: str, *words: str) -> None:
        if kind == "progress":
            self.progress.append(json.loads(words[0]))
        else:
            self.log.append((words[0], words[1]))
        self._watch()

    def stop_after(self, reports: int, reason: type[Cancelled | SoftTimeLimitExceeded]) -> None:
        """Ask the job to stop when it has reported progress so often."""
        self.when(lambda: len(self.progress) == reports, lambda: self.context.stop(reason))

    def when(self, holds: Callable[[], bool], act: Callable[[], object]) -> None:
        """Act once, after the first progress report for which the condition holds."""
        acted = False

        def watch() -> None:
            nonlocal acted
            if not acted and self.progress and holds():
                acted = True
                act()

        self._watch = watch


def _attempt(job: str, number: int) -> Attempt:
    return Attempt(
        id=job,
        task="tests",
        queue="default",
        priority=0,
        arguments="[[],{}]",
        attempt=number,
        failures=number - 1,
        losses=0,
        max_retries=3,
        max_losses=3,
        soft_time_limit=None,
        time_limit=None,
        started_at=0,
        owner="tests",
    )


def analyze(path: str) -> Analysis:
    return files.analyze_file(Recorder().context, path)


def export(paths: list[str], name: str = "export.zip", **options: Any) -> Export:
    return files.export_file(Recorder(**options).context, paths, name)


def rezip(source: bytes, changes: Mapping[str, bytes]) -> bytes:
    """A package with some parts replaced or added."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in dict.fromkeys([*old.namelist(), *changes]):
            new.writestr(name, changes[name] if name in changes else old.read(name))
    return target.getvalue()


def pdf(*objects: bytes) -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalog."""
    data, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size, start = len(objects) + 1, len(data)
    return data + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        size, table, size, start,
    )  # fmt: skip


def stream(content: bytes, extra: bytes = b"") -> bytes:
    packed = zlib.compress(content, 9)
    return b"<</Length %d/Filter/FlateDecode%s>>stream\n%s\nendstream" % (len(packed), extra, packed)


def one_page(content: bytes, resources: bytes = b"<</Font<</F1 5 0 R>>>>", *more: bytes) -> bytes:
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources %s>>" % resources,
        content,
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *more,
    )
