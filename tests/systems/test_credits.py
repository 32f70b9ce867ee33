"""System D's credits as their owners used them: many jobs on one purse, and books that balance."""

from __future__ import annotations

import uuid

from tests.support.deployment import JOBS, Deployment
from tests.systems.owner import call, run, smoke


def test_many_jobs_at_once_spend_no_cent_twice(site: Deployment) -> None:
    account = f"user-{uuid.uuid4().hex[:8]}"
    granted = run(site, "tasks.credits.grant", account, 1000, reason="welcome")
    assert (granted["status"], granted["queue"], granted["result"]["balance"]) == ("SUCCESS", "credits", 1000)
    # Each wish twice, as when a client is not sure that it was heard.
    wishes = [
        {"task": "tasks.credits.deduct", "kwargs": {"account": account, "cents": 100, "key": f"order-{number // 2}"}}
        for number in range(24)
    ]
    accepted = call(site, "POST", f"{JOBS}:batch", {"jobs": wishes}, 202)["jobs"]
    ended = [site.ended(job, within=60) for job in accepted]
    made = {job["result"]["id"] for job in ended if job["status"] == "SUCCESS"}
    assert len(made) == 10
    assert {job["error"]["type"] for job in ended if job["status"] == "FAILURE"} == {"FatalError"}
    assert call(site, "GET", f"/api/credits/accounts/{account}")["cents"] == 0
    assert run(site, "tasks.credits.balance", account)["result"]["cents"] == 0
    lines = call(site, "GET", f"/api/credits/accounts/{account}/statement")["lines"]
    assert [line["cents"] for line in lines] == [-100] * 10 + [1000]
    assert run(site, "tasks.credits.expire")["status"] == "SUCCESS"
    assert run(site, "tasks.credits.audit")["result"]["balanced"]


def test_the_smoke_command(site: Deployment) -> None:
    assert "balance" in smoke(site, "credits")
