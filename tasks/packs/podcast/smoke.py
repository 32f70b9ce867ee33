"""The pack on a running gateway: two sources become an episode of a few seconds."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.admission import new_id
from tasks.smoke import Smoke

_TEXTS = {
    "The town library": "The library opens at nine in the morning on weekdays. Everybody is welcome there.",
    "The weekly market": "The market sells fresh bread and flowers. It begins early on Saturday.",
}


def smoke(gateway: Smoke) -> Iterator[str]:
    name = f"smoke {new_id()}"
    speakers = [{"name": "Anna"}, {"name": "Ben"}]
    gateway.post("/api/podcast/episode-profiles", {"name": name, "turns": 4})
    gateway.post("/api/podcast/speaker-profiles", {"name": name, "speakers": speakers})
    sources = [_source(gateway, title, text) for title, text in _TEXTS.items()]
    wanted = {
        "episode_profile": name,
        "speaker_profile": name,
        "episode_name": "Our town",
        "source_ids": sources,
    }
    made = gateway.post("/api/podcast/generate", wanted)
    gateway.check(made["status"] == "pending", "a run is pending when it is accepted")
    yield f"run {made['run_id']} is accepted, mode {made['mode']}"
    job = gateway.get(f"/api/podcast/runs/{made['run_id']}")["job_id"]
    gateway.check(gateway.wait(job) == {"run_id": made["run_id"], "status": "done"}, "the task says that it is done")
    task = gateway.get(f"/api/podcast/celery/task/{job}")
    gateway.check(task["ready"] and task["successful"], "the task is ready and successful")
    run = gateway.get(f"/api/podcast/runs/{made['run_id']}")
    gateway.check({turn["speaker"] for turn in run["script"]} == {"Anna", "Ben"}, "both speakers speak")
    gateway.check(run["status"] == "success" and run["duration"] > 1, "there is audio")
    yield f"{len(run['script'])} turns, {run['duration']:.1f} s of audio"
    _clear(gateway, name, made["run_id"], sources)
    yield "what it made is deleted again"


def _source(gateway: Smoke, title: str, text: str) -> str:
    made: str = gateway.post("/api/podcast/sources", {"title": title, "text": text})["id"]
    return made


def _clear(gateway: Smoke, name: str, run_id: str, source_ids: list[str]) -> None:
    gateway.delete(f"/api/podcast/runs/{run_id}")
    for source_id in source_ids:
        gateway.delete(f"/api/podcast/sources/{source_id}")
    gateway.delete(f"/api/podcast/episode-profiles/{name}")
    gateway.delete(f"/api/podcast/speaker-profiles/{name}")
