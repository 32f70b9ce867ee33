"""The smoke test: a call to what API_SMOKE_URL names, and one that must be refused."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.smoke import Smoke

#: Where clouds keep their machines' credentials.
_FORBIDDEN = "http://169.254.169.254/latest/meta-data/"


def smoke(gateway: Smoke) -> Iterator[str]:
    policy = gateway.get("/api/external/policy")
    done = gateway.job("tasks.api.call_external_api", "GET", policy["smoke_url"])
    gateway.check(done["status"] < 400, "the address answers")
    yield f"{done['url']} answers {done['status']}"
    made = gateway.post("/api/v1/jobs", {"task": "tasks.api.call_external_api", "args": ["GET", _FORBIDDEN]})
    job = gateway.get(f"/api/v1/jobs/{made['id']}?wait=20")
    gateway.check(job["status"] == "FAILURE", "an address that is not public is refused")
    yield f"refused: {job['error']['message']}"
