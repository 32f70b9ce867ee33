"""Mail through a real server: who gets what, once, and what is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from executors import assembly, packs
from executors.environment import read
from executors.settings import Settings
from gateway.app import create_app
from tasks.clients import mail
from tasks.clients.smtp import SmtpSession
from tasks.errors import ConfigurationError, FatalError
from tasks.packs import mail as mail_pack
from tasks.packs.mail import post
from tasks.packs.mail.tables import DATABASE
from tasks.testing import Recorder
from tests.gateway.conftest import client_of
from tests.support.mail import Mailbox, mail_variables

Run = Callable[..., Awaitable[dict[str, Any]]]


def environment(mailbox: Mailbox, **changes: str) -> dict[str, str]:
    return {**mail_variables(mailbox), **changes}


@pytest.fixture
async def client(database_url: str, mailbox: Mailbox) -> AsyncIterator[httpx2.AsyncClient]:
    settings = Settings(
        database_url=database_url,
        task_modules=("tasks.packs.mail",),
        threads=2,
        environment=environment(mailbox),
    )
    found = assembly.load_tasks(settings)
    await packs.create_tables(found)
    async with assembly.gateway(settings) as control, client_of(create_app(control)) as client:
        yield client
    await packs.close(found)


@pytest.fixture
def run(client: httpx2.AsyncClient) -> Run:
    async def run(task: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        made = await client.post("/api/v1/jobs", json={"task": f"tasks.email.{task}", "args": args, "kwargs": kwargs})
        assert made.status_code == 202, made.text
        job: dict[str, Any] = (await client.get(f"/api/v1/jobs/{made.json()['id']}?wait=20")).json()
        return job

    return run


async def test_a_letter_goes_encrypted_to_all_and_is_written_down(
    client: httpx2.AsyncClient, run: Run, mailbox: Mailbox
) -> None:
    job = await run(
        "send_email",
        ["ann@there.example", "bob@there.example"],
        "Grüße",
        "Hello.",
        html="<p>Hello.</p>",
        cc=["carl@there.example"],
        bcc=["dora@there.example"],
    )
    assert (job["status"], job["queue"]) == ("SUCCESS", "email_tasks"), job
    (letter,) = mailbox.mails
    assert (letter.encrypted, letter.authenticated, letter.sender) == (True, True, "us@jobgate.example")
    assert letter.recipients == [f"{name}@there.example" for name in ("ann", "bob", "carl", "dora")]
    assert (letter.message["Message-ID"], letter.message["Subject"]) == (f"<{job['id']}@jobgate.example>", "Grüße")
    assert "dora" not in letter.raw.decode()
    rows = (await client.get(f"/api/mail/jobs/{job['id']}/deliveries")).json()
    assert [(row["recipient"], row["outcome"]) for row in rows] == [(one, "sent") for one in letter.recipients]


async def test_for_now_is_tried_again_and_for_good_is_not(run: Run, mailbox: Mailbox) -> None:
    mailbox.refuse("busy@there.example", 451, times=2)
    mailbox.refuse("gone@there.example", 550)
    everybody = [f"{name}@there.example" for name in ("ann", "busy", "gone")]
    job = await run("send_notification", everybody, "News", "Text")
    assert (job["status"], job["attempt"]) == ("SUCCESS", 3), job
    assert job["result"]["sent"] == ["ann@there.example", "busy@there.example"]
    assert [(row["recipient"], row["code"], row["tries"]) for row in job["result"]["refused"]] == [
        ("gone@there.example", 550, 1)
    ]
    # Each got it once, and nobody sees the others.
    assert [one.message["To"] for one in mailbox.mails] == ["ann@there.example", "busy@there.example"]
    assert len({one.message["Message-ID"] for one in mailbox.mails}) == 2


async def test_who_refuses_for_good_ends_the_job_at_once(run: Run, mailbox: Mailbox) -> None:
    mailbox.refuse("*", 550)
    job = await run("send_email", "gone@there.example", "News", "Text")
    assert (job["status"], job["attempt"]) == ("FAILURE", 1)
    assert "550" in job["error"]["message"]


async def test_a_lost_reply_makes_a_second_letter_with_the_same_id(run: Run, mailbox: Mailbox) -> None:
    mailbox.lose_replies()
    job = await run("send_email", "ann@there.example", "News", "Text")
    assert (job["status"], job["attempt"]) == ("SUCCESS", 2), job
    first, second = mailbox.mails
    assert first.message["Message-ID"] == second.message["Message-ID"] == f"<{job['id']}@jobgate.example>"


async def test_a_reply_of_any_bytes_is_written_down(
    run: Run, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sendmail(*_: Any) -> tuple[dict[str, Any], str]:
        return {}, "OK \udcff\x00 queued"

    monkeypatch.setattr("tasks.clients.smtp.SMTP.sendmail", sendmail)
    job = await run("send_email", "ann@there.example", "News", "Text")
    assert (job["status"], job["attempt"], mailbox.mails) == ("SUCCESS", 1, []), job


async def test_an_interruption_does_not_part_a_letter_from_its_row(
    client: httpx2.AsyncClient, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client is not None
    sent, on = asyncio.Event(), asyncio.Event()
    real = SmtpSession.send

    async def send(*args: Any) -> Any:
        done = await real(*args)
        sent.set()
        await on.wait()
        return done

    monkeypatch.setattr(SmtpSession, "send", send)
    context = Recorder("job-1").context
    job = asyncio.ensure_future(mail_pack.send_email.function(context, "ann@there.example", "News", "Text"))
    await sent.wait()
    job.cancel()
    on.set()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert [(row.recipient, row.outcome) for row in await post.of_job("job-1")] == [("ann@there.example", "sent")]
    assert len(mailbox.mails) == 1


async def test_a_letter_that_is_not_taken_now_is_taken_later(run: Run, mailbox: Mailbox) -> None:
    mailbox.refuse("DATA", 452, times=1)
    job = await run("send_email", "ann@there.example", "News", "Text")
    assert (job["status"], job["attempt"], len(mailbox.mails)) == ("SUCCESS", 2, 1), job


async def test_no_header_and_no_recipient_is_smuggled_in(
    client: httpx2.AsyncClient, run: Run, mailbox: Mailbox
) -> None:
    for to in ("a@b.example\r\nBcc: evil@x.example", "a@b.example, evil@x.example"):
        job = await run("send_email", to, "s", "t")
        assert (job["status"], job["attempt"]) == ("FAILURE", 1), job
        assert "mail address" in job["error"]["message"]
    for args in (
        [["a@b.example\r\nBcc: evil@x.example"], "s", "t"],
        [["a@b.example, evil@x.example"], "s", "t"],
        ["a@b.example", "s\r\nBcc: evil@x.example", "t"],
    ):
        answer = await client.post("/api/v1/jobs", json={"task": "tasks.email.send_email", "args": args})
        assert answer.status_code == 422, answer.text
    assert mailbox.mails == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"SMTP_PASSWORD": "wrong"}, "SMTP_USER and SMTP_PASSWORD"),
        ({"SMTP_AUTHORITIES": ""}, "certificate is not trusted"),
        ({"MAIL_DOMAINS": "here.example"}, "MAIL_DOMAINS"),
    ],
)
async def test_what_will_not_pass_by_itself_is_told_at_once(
    mailbox: Mailbox, tmp_path: Path, changes: dict[str, str], says: str
) -> None:
    pack = mail_pack.MAIL
    pack.configure(read(pack.kind, pack.variables, environment(mailbox, **changes)))
    DATABASE.configure(f"sqlite:///{tmp_path}/packs.db")
    await DATABASE.create()
    with pytest.raises(FatalError, match=says):
        await mail_pack.send_email.function(Recorder().context, "ann@there.example", "News", "Text")
    assert mailbox.mails == []
    await DATABASE.close()


def test_without_a_server_a_submission_is_told_what_to_set(mailbox: Mailbox) -> None:
    pack = mail_pack.MAIL
    pack.configure(read(pack.kind, pack.variables, environment(mailbox, SMTP_HOST="")))
    for task in (mail_pack.send_email, mail_pack.send_notification):
        assert task.needs is not None
        assert "SMTP_HOST" in task.needs()
    with pytest.raises(ConfigurationError, match="MAIL_FROM"):
        pack.configure(read(pack.kind, pack.variables, environment(mailbox, MAIL_FROM="nobody")))


async def test_a_server_without_encryption_gets_nothing(mailbox: Mailbox) -> None:
    server = mail.Server(host=mailbox.host, port=mailbox.plain_port, starttls=True)
    with pytest.raises(mail.MailRefused, match="SMTP_STARTTLS"):
        async with mail.session(server):
            pass
    with pytest.raises(mail.MailDeferred):
        async with mail.session(mail.Server(host="127.0.0.1", port=1, starttls=False)):
            pass
