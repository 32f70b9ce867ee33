"""D's file tasks, in both kinds of deployment: from files on the server to documents that are found, and a ZIP."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.corpus import CHINESE, ENGLISH
from tests.support.deployment import Deployment
from tests.systems.support import result, run, smoke


@pytest.fixture(scope="session")
def delivery(incoming: Path) -> Path:
    """What lies on the server: two files, and a link that leads out."""
    folder = incoming / "delivery"
    (folder / "中文").mkdir(parents=True)
    (folder / "dogs.txt").write_text(ENGLISH["dogs"])
    (folder / "中文" / "长城.txt").write_text(CHINESE["长城"], encoding="gb18030")
    (folder / "link.txt").symlink_to("/etc/hosts")
    return folder


def test_a_delivery_is_taken_in_found_and_packed(site: Deployment, delivery: Path) -> None:
    root = site.folder / "files"
    job = run(site, "tasks.file.bulk_upload", [str(delivery), "/etc/passwd"], process=True, knowledge_base="delivery")
    assert (job["status"], job["queue"], job["mode"]) == ("SUCCESS", "file_tasks", site.mode), job["error"]
    counts = job["result"]
    assert (counts["copied"], counts["unchanged"], counts["refused"]) == (2, 0, 2)
    taken = [one for one in counts["files"] if one["status"] == "copied"]
    assert [one["target"] for one in taken] == ["uploads/delivery/dogs.txt", "uploads/delivery/中文/长城.txt"]
    assert all((root / one["target"]).read_bytes() == Path(one["path"]).read_bytes() for one in taken)
    for one in taken:
        processed = site.ended(one["job_id"], 60)
        assert (processed["task"], processed["queue"]) == ("tasks.file.process_file", "file_tasks")
        assert processed["result"]["document_id"] == one["target"], processed["error"]
        assert processed["result"]["chunks"] == 1
    for question, target in [("When does a young pet get its shots?", taken[0]), ("古人为什么修建城墙？", taken[1])]:
        found = site.client.get("/api/knowledge/search", params={"q": question, "knowledge_base": "delivery"}).json()
        assert found["results"][0]["path"] == target["target"], found

    again = result(site, "tasks.file.bulk_upload", [str(delivery)])
    assert (again["copied"], again["unchanged"], again["refused"]) == (0, 2, 1)

    paths = [one["target"] for one in taken]
    job = run(site, "tasks.file.export_file", paths, "delivery.zip")
    assert (job["status"], job["queue"]) == ("SUCCESS", "export")
    with zipfile.ZipFile(root / job["result"]["path"]) as package:
        assert package.testzip() is None
        assert package.namelist() == paths
        assert all(package.read(path) == (root / path).read_bytes() for path in paths)


def test_a_document_is_analysed(site: Deployment) -> None:
    job = run(site, "tasks.file.analyze_file", "minutes.docx")
    assert (job["status"], job["queue"]) == ("SUCCESS", "file_tasks")
    assert job["result"]["words"] > 50
    assert job["result"]["size"] == (site.folder / "files" / "minutes.docx").stat().st_size


def test_the_smoke_test(site: Deployment) -> None:
    assert smoke(site, "files").endswith("files: works\n")
