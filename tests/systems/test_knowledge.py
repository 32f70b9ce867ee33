"""C's knowledge tasks, in both kinds of deployment: documents go in, answer in two languages, and are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from executors.packs import place_beside
from tasks.database import Database
from tasks.packs.knowledge.tables import CHUNKS, DOCUMENTS, TABLES
from tests.support.corpus import CHINESE, ENGLISH, QUESTIONS
from tests.support.deployment import Deployment
from tests.systems.support import result, smoke, submit

BASE = "company"


@pytest.fixture(autouse=True, scope="module")
def unhurried(site: Deployment) -> Iterator[None]:
    """An operator lifts the limit of five a minute, and sets it back."""
    limits = "/api/v1/tasks/vectorize_document/limits"
    assert round(60 * site.client.get(limits).json()["starts_per_second"]) == 5
    assert site.client.put(limits, json={"rate_limit": None}).status_code == 200
    yield
    assert round(60 * site.client.delete(limits).json()["starts_per_second"]) == 5


def first(site: Deployment, question: str) -> str:
    """The document that answers."""
    answer = site.client.get("/api/knowledge/search", params={"q": question, "limit": 1, "knowledge_base": BASE})
    assert answer.status_code == 200, answer.text
    (hit,) = answer.json()["results"]
    name: str = hit["document_id"]
    return name


def kept(site: Deployment, name: str) -> tuple[int, int]:
    """How many documents of that name, and passages of any document, the deployment's own tables hold."""
    database = Database(TABLES)
    database.configure(place_beside(site.shape.database_url))

    async def count() -> tuple[int, int]:
        documents = select(func.count()).where(DOCUMENTS.c.document_id == name)
        async with database.reading() as tables:
            chunks = (await tables.execute(select(func.count()).select_from(CHUNKS))).scalar_one()
            return (await tables.execute(documents)).scalar_one(), chunks

    return asyncio.run(count())


def test_from_documents_to_answers_and_to_nothing(site: Deployment) -> None:
    corpus = {**ENGLISH, **CHINESE}
    jobs = [submit(site, "vectorize_document", document_id=n, text=t, knowledge_base=BASE) for n, t in corpus.items()]
    for job in [site.ended(job, 60) for job in jobs]:
        assert (job["status"], job["queue"], job["mode"]) == ("SUCCESS", "knowledge_default", site.mode), job["error"]
    right = [name for question, name in QUESTIONS if first(site, question) == name]
    assert len([name for name in right if name in ENGLISH]) >= 10, right
    assert len([name for name in right if name in CHINESE]) >= 10, right

    state = result(site, "update_knowledge_base", knowledge_base=BASE)
    assert (state["documents"], state["unchanged"]) == (len(corpus), len(corpus))

    documents, passages = kept(site, "熊猫")
    assert documents == 1
    gone = result(site, "delete_knowledge_vectors", "熊猫")
    assert gone == {"deleted": ["熊猫"], "not_found": [], "chunks": 1}
    assert kept(site, "熊猫") == (0, passages - 1)
    assert first(site, "哪种动物喜欢吃竹子？") != "熊猫"


def test_the_smoke_test(site: Deployment) -> None:
    assert smoke(site, "knowledge").endswith("knowledge: works\n")
