"""`jobgate smoke` where packs lack something: one exit code, and a sentence with what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.cli.conftest import Shell
from tests.support.deployment import Deployment, Shape


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A gateway with packs for which nothing is set."""
    folder: Path = tmp_path_factory.mktemp("smoke")
    shape = Shape(
        database_url=f"sqlite:///{folder / 'jobs.db'}",
        environment={"JOBGATE_PACKS": "mail,assistant,citations,stats", "MAIL_FROM": ""},
    )
    deployment = Deployment(shape, folder)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        ("mail", "set SMTP_HOST"),
        ("assistant", "set ASSISTANT_CHAT_URL"),
        ("citations", "no platform"),
        ("credits", "has it switched off: start it with JOBGATE_PACKS=credits"),
    ],
)
def test_a_pack_that_cannot_run_there_ends_with_one_code_and_says_what_it_needs(
    bare: Deployment, pack: str, words: str
) -> None:
    done = Shell({"JOBGATE_URL": str(bare.client.base_url)})("smoke", pack, exit=5)
    *lacks, last = done.stderr.splitlines()
    assert last.startswith(f"jobgate: {pack}: cannot run in this deployment: ")
    assert words in last
    assert all(line.startswith(f"{pack}: ") and " cannot run there: " in line for line in lacks)
    assert bool(lacks) == (pack != "credits"), "what its tasks need is said first"


def test_a_pack_that_lacks_nothing_works(bare: Deployment) -> None:
    assert Shell({"JOBGATE_URL": str(bare.client.base_url)}).out("smoke", "stats").endswith("stats: works")
