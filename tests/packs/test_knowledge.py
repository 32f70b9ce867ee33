"""Documents that can be asked, with their tables in each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import numpy
import pytest
from sqlalchemy import func, select, update

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import create_app
from tasks import Cancelled, FatalError
from tasks.clients import embeddings
from tasks.packs import knowledge
from tasks.packs.knowledge import source
from tasks.packs.knowledge.index import Document, Indexed
from tasks.packs.knowledge.tables import CHUNKS, DATABASE, DOCUMENTS, WRITES
from tasks.testing import Recorder
from tests.gateway.conftest import client_of
from tests.support.corpus import CHINESE, ENGLISH, QUESTIONS


@pytest.fixture
async def gateway(database_url: str, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    settings = Settings(
        database_url=database_url,
        task_modules=("tasks.packs.knowledge", "tasks.packs.files"),
        threads=2,
        environment={"FILES_ROOT": str(tmp_path / "files"), "FILES_SAMPLES": "1"},
    )
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        yield client
    await packs.close(found)


async def put(name: str, text: str, job: str = "", **fields: Any) -> Indexed:
    return await knowledge.put(Recorder(job or f"job-{name}").context, Document(document_id=name, text=text, **fields))


async def run(gateway: httpx2.AsyncClient, task: str, **arguments: Any) -> dict[str, Any]:
    """The job, ended."""
    made = await gateway.post("/api/v1/jobs", json={"task": task, "kwargs": arguments})
    assert made.status_code == 202, made.text
    return (await gateway.get(f"/api/v1/jobs/{made.json()['id']}?wait=20")).json()


async def ask(gateway: httpx2.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await gateway.get("/api/knowledge/search", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


async def rows(*tables: Any) -> list[int]:
    async with DATABASE.reading() as connection:
        return [(await connection.execute(select(func.count()).select_from(table))).scalar_one() for table in tables]


@pytest.mark.usefixtures("gateway")
async def test_the_right_document_comes_first_in_english_and_in_chinese(gateway: httpx2.AsyncClient) -> None:
    """Ten of twelve in each language at least; all 24 documents compete for every question."""
    for name, text in {**ENGLISH, **CHINESE}.items():
        await put(name, text)
    right = [name for question, name in QUESTIONS if (await ask(gateway, q=question))[0]["document_id"] == name]
    assert len([name for name in right if name in ENGLISH]) >= 10, right
    assert len([name for name in right if name in CHINESE]) >= 10, right


async def test_from_a_job_to_the_passage(gateway: httpx2.AsyncClient) -> None:
    text = f"{ENGLISH['library'] * 4}\n\n{ENGLISH['coffee'] * 4}"
    job = await run(gateway, "vectorize_document", document_id="d1", text=text, title="Rules", knowledge_base="house")
    assert job["queue"] == "knowledge_default"
    assert job["result"] == {
        "document_id": "d1",
        "knowledge_base": "house",
        "characters": len(text),
        "chunks": 2,
        "model": "use-multilingual-v3",
        "dimension": 512,
    }
    first, second = await ask(gateway, q="How hot must the water be?", knowledge_base="house")
    assert (first["document_id"], first["title"], first["position"]) == ("d1", "Rules", 1)
    assert "ninety degrees" in first["passage"]
    assert first["score"] > second["score"]
    assert await ask(gateway, q="How hot must the water be?", knowledge_base="another") == []
    (entry,) = (await gateway.get("/api/knowledge/documents?knowledge_base=house")).json()["documents"]
    assert (entry["chunks"], entry["sha256"]) == (2, sha256(text.encode()).hexdigest())


@pytest.mark.usefixtures("gateway")
async def test_another_attempt_of_a_job_doubles_nothing_and_brings_nothing_back() -> None:
    first = await put("d", ENGLISH["moon"], job="job-1")
    assert await put("d", ENGLISH["moon"], job="job-1") == first
    assert await rows(DOCUMENTS, CHUNKS, WRITES) == [1, 1, 1]
    await put("d", ENGLISH["dogs"], job="job-2")
    await put("d", ENGLISH["moon"], job="job-1")
    assert "vet" in (await knowledge.search("pets"))[0].passage
    await knowledge.remove(["d"])
    await put("d", ENGLISH["dogs"], job="job-2")
    assert await rows(DOCUMENTS, CHUNKS) == [0, 0]


async def test_what_is_deleted_is_gone_from_the_tables_and_from_every_search(gateway: httpx2.AsyncClient) -> None:
    for name in ("moon", "dogs", "train"):
        await put(name, ENGLISH[name])
    assert (await ask(gateway, q=ENGLISH["moon"]))[0]["document_id"] == "moon"
    job = await run(gateway, "delete_knowledge_vectors", document_id=["moon", "sun", "train"])
    assert job["result"] == {"deleted": ["moon", "train"], "not_found": ["sun"], "chunks": 2}
    assert await rows(DOCUMENTS, CHUNKS) == [1, 1]
    assert [hit["document_id"] for hit in await ask(gateway, q=ENGLISH["moon"])] == ["dogs"]
    assert (await run(gateway, "delete_knowledge_vectors", document_id="dogs"))["result"]["chunks"] == 1
    assert await rows(DOCUMENTS, CHUNKS) == [0, 0]
    assert await ask(gateway, q=ENGLISH["moon"]) == []


@pytest.mark.usefixtures("gateway")
async def test_a_passage_has_a_vector_of_float32_with_its_model_and_dimension() -> None:
    await put("d", CHINESE["钢琴"])
    both = select(DOCUMENTS.c.model, DOCUMENTS.c.dimension, CHUNKS.c.text, CHUNKS.c.vector).join_from(DOCUMENTS, CHUNKS)
    async with DATABASE.reading() as tables:
        row = (await tables.execute(both)).one()
    assert (row.model, row.dimension, row.text) == ("use-multilingual-v3", 512, CHINESE["钢琴"])
    vector = numpy.frombuffer(row.vector, "<f4")
    assert vector.shape == (512,)
    assert numpy.allclose(vector, embeddings.encode([CHINESE["钢琴"]])[0])
    assert abs(float(vector @ vector) - 1) < 1e-5


@pytest.mark.usefixtures("gateway")
async def test_the_same_text_is_not_made_anew() -> None:
    first = await put("d", ENGLISH["garden"])
    async with DATABASE.reading() as tables:
        revision = (await tables.execute(select(DOCUMENTS.c.revision))).scalar_one()
    recorder = Recorder("job-2")
    assert await knowledge.put(recorder.context, Document(document_id="d", text=ENGLISH["garden"])) == first
    assert recorder.progress == []
    async with DATABASE.reading() as tables:
        assert (await tables.execute(select(DOCUMENTS.c.revision))).scalar_one() == revision


async def test_an_update_reads_changed_files_and_remakes_old_vectors(
    gateway: httpx2.AsyncClient, tmp_path: Path
) -> None:
    for name in ("same", "changes", "goes"):
        (tmp_path / "files" / f"{name}.txt").write_text(ENGLISH["train"])
        await put(name, ENGLISH["train"], path=f"{name}.txt")
    await put("old", CHINESE["熊猫"])
    async with DATABASE.writing() as tables:
        await tables.execute(update(DOCUMENTS).where(DOCUMENTS.c.document_id == "old").values(model="older"))
    assert not [hit for hit in await ask(gateway, q="熊猫", limit=50) if hit["document_id"] == "old"]
    (tmp_path / "files" / "changes.txt").write_text(ENGLISH["football"])
    (tmp_path / "files" / "goes.txt").unlink()
    job = await run(gateway, "update_knowledge_base")
    (failed,) = job["result"].pop("failed")
    assert job["result"] == {
        "knowledge_base": "default", "documents": 4, "updated": 2, "unchanged": 1, "not_found": [],
    }  # fmt: skip
    assert failed["document_id"] == "goes"
    assert "there is no such file" in failed["error"]
    assert (await ask(gateway, q="Who won the match?"))[0]["document_id"] == "changes"
    assert (await ask(gateway, q="熊猫吃什么？"))[0]["document_id"] == "old"
    again = await run(gateway, "update_knowledge_base", document_ids=["old", "nowhere"])
    assert (again["result"]["unchanged"], again["result"]["not_found"]) == (1, ["nowhere"])


async def test_a_file_is_read_by_the_pack_for_files(gateway: httpx2.AsyncClient) -> None:
    job = await run(gateway, "vectorize_document", document_id="guide", path="guide-gb18030.txt")
    assert job["status"] == "SUCCESS", job["error"]
    (entry,) = (await gateway.get("/api/knowledge/documents")).json()["documents"]
    assert (entry["path"], entry["characters"]) == ("guide-gb18030.txt", job["result"]["characters"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one of the two"),
        ({"text": "a", "path": "b"}, "one of the two"),
        ({"text": " \n "}, "there is no text in it"),
    ],
)
async def test_a_document_without_text_fails_at_once(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(FatalError, match=words):
        await knowledge.vectorize_document(Recorder().context, "d", **arguments)


@pytest.mark.parametrize("wrong", [{"document_id": "d" * 601}, {"knowledge_base": "b" * 61}, {"path": "p" * 1025}])
async def test_a_name_that_no_index_holds_is_refused(gateway: httpx2.AsyncClient, wrong: dict[str, str]) -> None:
    body = {"task": "vectorize_document", "kwargs": {"document_id": "a", "text": "A text.", **wrong}}
    assert (await gateway.post("/api/v1/jobs", json=body)).status_code == 422


async def test_a_wrong_question_is_refused(gateway: httpx2.AsyncClient) -> None:
    wrong = {"q=": "q", "q=a&limit=0": "limit", "q=a&limit=51": "limit", "q=a&limit=x": "limit", "q=a&lang=en": "lang"}
    for query, place in wrong.items():
        answer = await gateway.get(f"/api/knowledge/search?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, place), answer.text
    assert (await gateway.get("/api/knowledge/search")).status_code == 422
    blank = await gateway.get("/api/knowledge/search?q=%20")
    assert (blank.status_code, blank.json()["type"]) == (422, "/problems/invalid-arguments")


async def test_without_the_extra_nothing_is_accepted(
    gateway: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.pack.find_spec", lambda name: None)
    job = {"task": "vectorize_document", "kwargs": {"document_id": "d", "text": "a"}}
    for answer in [
        await gateway.post("/api/v1/jobs", json=job),
        await gateway.get("/api/knowledge/search?q=a"),
    ]:
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-configured")
        assert "jobgate[knowledge]" in answer.json()["detail"]


async def test_the_options_are_the_owners(gateway: httpx2.AsyncClient) -> None:
    tasks = {task["name"]: task for task in (await gateway.get("/api/v1/tasks")).json()["tasks"]}
    names = ("vectorize_document", "update_knowledge_base", "delete_knowledge_vectors")
    assert {tasks[name]["queue"] for name in names} == {"knowledge_default"}
    assert tasks["vectorize_document"]["rate_limit"] == "5/m"


@pytest.mark.usefixtures("gateway")
async def test_a_cancelled_job_writes_nothing() -> None:
    recorder = Recorder()
    recorder.stop_after(1, Cancelled)
    with pytest.raises(Cancelled):
        await knowledge.put(recorder.context, Document(document_id="d", text=ENGLISH["fire"]))
    assert await rows(DOCUMENTS, CHUNKS, WRITES) == [0, 0, 0]


async def test_paths_need_a_pack_that_reads_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source._Known, "reader", None)
    with pytest.raises(FatalError, match="name the pack files in JOBGATE_PACKS"):
        await knowledge.vectorize_document(Recorder().context, "d", path="a.txt")
