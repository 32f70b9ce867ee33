"""The smoke test: a document goes in, answers a question, is brought up to date, and is gone without a trace."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlencode

from tasks.smoke import Smoke

_TEXT = (
    "The library opens at nine in the morning on weekdays and closes at six in the evening.\n\n"
    "Books can be kept for four weeks. Whoever brings one back late pays fifty cents for every day.\n\n"
    "员工每年有二十五天带薪年假，未用完的年假可以在次年三月底前使用。"  # noqa: RUF001 - Chinese is meant
)


def smoke(gateway: Smoke) -> Iterator[str]:
    name = f"smoke-{uuid.uuid4().hex}"
    made = gateway.job("vectorize_document", document_id=name, text=_TEXT, knowledge_base=name)
    yield f"vectorize_document: {made['characters']} characters in {made['chunks']} passages"
    for question in ("When does the library open?", "年假有几天？"):  # noqa: RUF001
        found = gateway.get(f"/api/knowledge/search?{urlencode({'q': question, 'knowledge_base': name})}")["results"]
        gateway.check(found and found[0]["document_id"] == name, f"{question!r} finds the document")
        yield f"search: {question} -> score {found[0]['score']}"
    state = gateway.job("update_knowledge_base", name)
    gateway.check(state["unchanged"] == 1, "an update finds nothing to do")
    gone = gateway.job("delete_knowledge_vectors", name)
    left = gateway.get(f"/api/knowledge/documents?{urlencode({'document_id': name})}")["documents"]
    gateway.check(gone["deleted"] == [name] and not left, "the document is gone")
    yield f"delete_knowledge_vectors: nothing is left of {gone['chunks']} passages"
