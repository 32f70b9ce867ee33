"""What a shell is offered for a word that is begun: what the gateway knows, quickly, and nothing where it is away."""

from __future__ import annotations

import subprocess

import pytest

from tests.gateway.cli.conftest import Shell
from tests.support.deployment import Deployment
from tests.support.processes import ROOT, clean_environment, python


def offered(url: str, line: str) -> list[str]:
    """What bash is offered for the last word of `line`."""
    environment = clean_environment(
        JOBGATE_URL=url, _JOBGATE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" "))
    )
    done = subprocess.run(
        python("-m", "gateway.cli"), cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("jobgate submit demo.", ["demo.add", "demo.count", "demo.fail", "demo.sleep"]),
        ("jobgate list --task demo.a", ["demo.add"]),
        ("jobgate submit demo.add --queue urg", ["urgent"]),
        ("jobgate queues pause urg", ["urgent"]),
        ("jobgate workers restart al", ["all"]),
        ("jobgate schedules pause night", ["nightly"]),
        ("jobgate schedules pause week", []),
    ],
)
def test_names_that_the_gateway_knows_are_completed(
    deployment: Deployment, shell: Shell, line: str, names: list[str]
) -> None:
    if "night" in line:
        shell("schedules", "add", "nightly", "demo.add", "1", "2", "--cron", "0 2 * * *")
    assert offered(str(deployment.client.base_url), line) == names


@pytest.mark.parametrize("command", ["status", "why", "cancel"])
def test_ids_of_the_newest_jobs_are_completed(deployment: Deployment, shell: Shell, command: str) -> None:
    job = shell.out("submit", "demo.add", "1", "2")
    assert offered(str(deployment.client.base_url), f"jobgate {command} {job[:-4]}") == [job]


@pytest.mark.parametrize("line", ["jobgate submit demo", "jobgate status 01", "jobgate queues pause u"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "no url"])
def test_without_a_gateway_nothing_is_offered_and_nothing_said(url: str, line: str) -> None:
    assert offered(url, line) == []
