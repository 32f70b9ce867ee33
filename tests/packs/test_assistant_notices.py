"""Notifications by mail and webhook: everybody once, and those who are late again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from executors import assembly
from executors.settings import Settings
from tasks.errors import ConfigurationError, FatalError, InvalidArguments, Retry
from tasks.packs.assistant import send_notification
from tasks.testing import Recorder
from tests.packs.assistant_support import JOBS, Assistant, assistant
from tests.support.mail import Mailbox
from tests.support.outside import Outside, outside

JOB = "0197c0de-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with outside(tmp_path_factory.mktemp("outside")) as world:
        yield world


@pytest.fixture
def world(_world: Outside) -> Outside:
    _world.reset()
    return _world


def variables(mailbox: Mailbox, world: Outside) -> dict[str, str]:
    return {
        "SMTP_HOST": mailbox.host,
        "SMTP_PORT": str(mailbox.port),
        "SMTP_USER": mailbox.user,
        "SMTP_PASSWORD": mailbox.password,
        "SMTP_AUTHORITIES": str(mailbox.certificate),
        "MAIL_FROM": "Jobgate <jobgate@here.example>",
        "ASSISTANT_WEBHOOKS": "1",
        "ASSISTANT_WEBHOOK_HOSTS": f"127.0.0.1:{world.port}",
    }


@pytest.fixture
async def site(database_url: str, mailbox: Mailbox, world: Outside) -> AsyncIterator[Assistant]:
    async with assistant(database_url, variables(mailbox, world)) as made:
        yield made


async def test_mail_and_webhooks_are_told(site: Assistant, mailbox: Mailbox, world: Outside) -> None:
    to = ["a@there.example", f"{world.url}/echo", "b@there.example"]
    job = await site.submit("send_notification", to, "Fertig — 完成", "It is done.", {"n": 1})
    done = await site.ended(job)
    assert (set(done["result"]["sent"]), done["result"]["refused"]) == (set(to), {})
    assert done["queue"] == "notification_default"
    assert [mail.recipients for mail in mailbox.mails] == [["a@there.example"], ["b@there.example"]]
    first = mailbox.mails[0]
    assert (first.encrypted, first.authenticated, first.message["Subject"]) == (True, True, "Fertig — 完成")
    assert "It is done." in first.message.get_content()
    (called,) = world.calls
    assert called.headers["idempotency-key"] == job
    assert json.loads(called.body) == {
        "id": job, "subject": "Fertig — 完成", "message": "It is done.", "data": {"n": 1},
    }  # fmt: skip


async def test_who_was_told_is_not_told_again(site: Assistant, mailbox: Mailbox, world: Outside) -> None:
    to = ["a@there.example", "late@there.example", "no@there.example", f"{world.url}/flaky/1/x", f"{world.url}/echo"]
    mailbox.refuse("late@there.example", 451, times=1)
    mailbox.refuse("no@there.example", 550)
    with pytest.raises(Retry, match=r"late@there.example \(451") as raised:
        await send_notification(Recorder(JOB).context, to, "s", "m")
    assert raised.value.countdown == 0, "as the webhook asked"
    report = await send_notification(Recorder(JOB, 2).context, to, "s", "m")
    assert sorted(report.sent) == sorted(one for one in to if one != "no@there.example")
    assert list(report.refused) == ["no@there.example"]
    assert "550" in report.refused["no@there.example"]
    assert [mail.recipients[0] for mail in mailbox.mails] == ["a@there.example", "late@there.example"]
    assert [call.path for call in world.calls].count("/echo") == 1
    assert await send_notification(Recorder(JOB, 3).context, to, "s", "m") == report


async def test_a_letter_whose_receipt_was_lost_has_the_same_id_again(site: Assistant, mailbox: Mailbox) -> None:
    mailbox.lose_replies(1)
    with pytest.raises(Exception, match="mail server"):
        await send_notification(Recorder(JOB).context, ["a@there.example"], "s", "m")
    await send_notification(Recorder(JOB, 2).context, ["a@there.example"], "s", "m")
    assert len({mail.message["Message-ID"] for mail in mailbox.mails}) == 1
    assert len(mailbox.mails) == 2


async def test_what_must_not_be_called_is_refused(site: Assistant, world: Outside, mailbox: Mailbox) -> None:
    for url in ("http://169.254.169.254/latest", "http://127.0.0.1:1/x", f"{world.url}/to?url=http://10.0.0.1/"):
        with pytest.raises(FatalError, match="nobody was told"):
            await send_notification(Recorder(f"{JOB[:-3]}{len(url):03}").context, [url], "s", "m")
    assert mailbox.mails == []


async def test_a_webhook_leads_nowhere_else(site: Assistant, world: Outside) -> None:
    with pytest.raises(FatalError, match="redirects, which is not followed"):
        await send_notification(Recorder(JOB).context, [f"{world.url}/to?url=/echo"], "s", "m")
    assert [call.path for call in world.calls] == ["/to"]


async def test_a_job_of_another_program_may_have_a_long_id(site: Assistant, world: Outside) -> None:
    report = await send_notification(Recorder("j" * 300).context, [f"{world.url}/echo"], "s", "m")
    assert list(report.sent) == [f"{world.url}/echo"]


@pytest.mark.parametrize(
    ("to", "subject", "pointer"),
    [
        (["a@b.example\r\nBcc: c@d.example"], "s", "/args/0/0"),
        (["a@b.example, c@d.example"], "s", "/args/0/0"),
        (["ftp://there.example"], "s", "/args/0/0"),
        ([], "s", "/args/0"),
        (["a@b.example"], "s\r\nBcc: c@d.example", "/args/1"),
        (["a@b.example"], "s\n", "/args/1"),
        ("a@b.example", "s", "/args/0"),
    ],
)
def test_no_header_comes_out_of_a_value(to: Any, subject: str, pointer: str) -> None:
    with pytest.raises(InvalidArguments) as raised:
        send_notification.signature.check([to, subject, "m"], {})
    assert raised.value.pointer == pointer


async def test_without_a_way_to_tell_anybody_the_task_is_refused(tmp_path: Any, world: Outside) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with assistant(url, {}) as site:
        wanted = {"task": "send_notification", "args": [["a@b.example"], "s", "m"]}
        answer = await site.client.post(JOBS, json=wanted)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-configured")
        assert "SMTP_HOST and MAIL_FROM" in answer.json()["detail"]
    only_hooks = {"ASSISTANT_WEBHOOKS": "1", "ASSISTANT_WEBHOOK_HOSTS": f"127.0.0.1:{world.port}"}
    async with assistant(url, only_hooks) as site:
        job = await site.submit("send_notification", ["a@b.example", f"{world.url}/echo"], "s", "m")
        result = (await site.ended(job))["result"]
    assert (result["sent"], list(result["refused"])) == ([f"{world.url}/echo"], ["a@b.example"])
    assert "SMTP_HOST" in result["refused"]["a@b.example"]


def test_a_host_that_cannot_be_one_stops_the_start() -> None:
    settings = Settings(
        database_url="sqlite:///nowhere.db",
        task_modules=("tasks.packs.assistant",),
        environment={"ASSISTANT_WEBHOOK_HOSTS": "http://hooks.example"},
    )
    with pytest.raises(ConfigurationError, match="ASSISTANT_WEBHOOK_HOSTS"):
        assembly.load_tasks(settings)
