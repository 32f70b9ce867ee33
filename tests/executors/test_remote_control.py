"""Celery's remote control: any client of the broker may send it, so a deployment can switch it off."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from tests.executors.conftest import Deploy


def test_a_worker_that_a_broker_client_shuts_down_exits_with_0_and_comes_back(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str]
) -> None:
    """Every unit file starts a process again after exit code 0: see tests/gateway/cli/test_server_files.py."""
    url = make_broker("redis")
    deployment = deploy(make_database("sqlite"), pool="prefork", broker_url=url, slots=1)
    (worker,) = deployment.workers
    Celery(broker=url).control.shutdown()
    assert worker.ends(30)
    assert worker.code == 0
    waiting = deployment.submit("add", 1)
    deployment.start_worker()
    assert deployment.ended(waiting)["status"] == "SUCCESS"


def test_without_remote_control_a_broker_client_ends_nothing(
    deploy: Deploy, make_database: Callable[[str], str], make_broker: Callable[[str], str]
) -> None:
    url = make_broker("redis")
    environment = {"JOBGATE_REMOTE_CONTROL": "0"}
    deployment = deploy(make_database("sqlite"), pool="prefork", broker_url=url, slots=2, environment=environment)
    (worker,) = deployment.workers
    attacker = Celery(broker=url).control
    with deployment.busy(1) as running:
        attacker.shutdown()
        attacker.revoke(running.ids, terminate=True, signal="SIGKILL")
        attacker.cancel_consumer("celery")
        assert attacker.ping(timeout=1) == []
        assert deployment.run("add", 1)["status"] == "SUCCESS"
    assert worker.code is None
    (name,) = {each["name"] for each in deployment.client.get("/api/v1/workers").json()["workers"] if each["slots"]}
    for verb, argument in (("grow", {"n": 1}), ("consume", {"queue": "celery"})):
        answer = deployment.client.post(f"/api/v1/workers/{name}/{verb}", params={"wait": 20, **argument}).json()
        (command,) = answer["commands"]
        assert (command["state"], "JOBGATE_REMOTE_CONTROL=0" in command["outcome"]) == ("failed", True), command
