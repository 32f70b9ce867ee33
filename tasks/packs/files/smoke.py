"""The smoke test: the samples are analysed, packed, and found by what stands in them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlencode

from tasks.smoke import Smoke

_SAMPLES = ["report.pdf", "minutes.docx", "states.html", "guide-gb18030.txt"]


def smoke(gateway: Smoke) -> Iterator[str]:
    """Needs the samples in the files root, where a gateway with FILES_SAMPLES=1 puts them."""
    seen = gateway.job("tasks.file.analyze_file", "report.pdf")
    gateway.check(seen["type"] == "application/pdf" and seen["pages"] == 2, "report.pdf is a PDF of two pages")
    yield f"tasks.file.analyze_file: report.pdf has {seen['words']} words"
    packed = gateway.job("tasks.file.export_file", _SAMPLES)
    gateway.check(packed["files"] == len(_SAMPLES), "all samples are in the ZIP")
    yield f"tasks.file.export_file: {packed['path']}, {packed['compressed_bytes']} bytes"
    base = f"smoke-{uuid.uuid4().hex}"
    names = [f"{base}/{path}" for path in _SAMPLES]
    for path, name in zip(_SAMPLES, names, strict=True):
        made = gateway.job("tasks.file.process_file", path, document_id=name, knowledge_base=base)
        yield f"tasks.file.process_file: {path} has {made['characters']} characters in {made['chunks']} passages"
    query = urlencode({"q": "quarterly report on background jobs", "knowledge_base": base})
    found = gateway.get(f"/api/knowledge/search?{query}")["results"]
    gateway.check(found and found[0]["document_id"] == names[0], "the report is found by its title")
    gone = gateway.job("delete_knowledge_vectors", names)
    gateway.check(gone["deleted"] == names, "the documents are deleted")
    yield f"search: the report comes first, score {found[0]['score']}; all deleted again"
