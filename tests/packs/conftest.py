"""A files root of one's own, and what the packs talk to. Other processes reach these servers too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.packs import files
from tests.packs.support import SAMPLES
from tests.support.answers import AnswerEngines, answer_engines
from tests.support.mail import Mailbox
from tests.support.model import model_server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty root that the pack is configured with."""
    folder = tmp_path / "root"
    folder.mkdir()
    files.configure(folder)
    return folder


@pytest.fixture
def samples() -> Path:
    """The samples' own folder as the root; nothing may be written there."""
    files.configure(SAMPLES)
    return SAMPLES


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file beside the root that must never be read."""
    path = tmp_path / "secret.txt"
    path.write_text("outside the root")
    return path


@pytest.fixture(scope="session")
def engines() -> Iterator[AnswerEngines]:
    with answer_engines() as engines:
        yield engines


@pytest.fixture
def answers(engines: AnswerEngines) -> AnswerEngines:
    """The answer engines, all well and without requests: `answers.url("you")`, `answers.key`, `answers.switch(…)`."""
    engines.reset()
    return engines


@pytest.fixture(scope="session")
def model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a small real model answers as OpenAI's API does, /v1 included; any key does."""
    with model_server(tmp_path_factory.mktemp("model")) as url:
        yield url


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    with Mailbox(tmp_path_factory.mktemp("mail")).running() as mailbox:
        yield mailbox


@pytest.fixture
def mailbox(mail_server: Mailbox) -> Mailbox:
    """An empty mailbox behind a server that takes everything until `refuse` or `lose_replies` say otherwise."""
    mail_server.reset()
    return mail_server
