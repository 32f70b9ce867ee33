"""System D's mail as its owners sent it, into a real mailbox."""

from __future__ import annotations

from tests.support.deployment import Deployment
from tests.support.mail import Mailbox
from tests.systems.owner import call, run, smoke


def test_a_letter_and_notifications_reach_the_mailbox(site: Deployment, mailbox: Mailbox) -> None:
    mailbox.refuse("busy@there.example", 451, times=1)
    mailbox.refuse("gone@there.example", 550)
    sent = run(site, "tasks.email.send_email", to="ann@there.example", subject="Welcome 你好", body="Hello, Ann.")
    assert (sent["status"], sent["queue"]) == ("SUCCESS", "email_tasks"), sent
    (letter,) = mailbox.mails
    assert letter.message["Subject"] == "Welcome 你好"
    assert letter.message.get_content().strip() == "Hello, Ann."
    assert (letter.encrypted, letter.authenticated) == (True, True)
    everybody = [f"{name}@there.example" for name in ("ann", "busy", "gone")]
    told = run(site, "tasks.email.send_notification", recipients=everybody, subject="News", body="Text")
    assert (told["status"], told["attempt"]) == ("SUCCESS", 2), told
    assert [mail.recipients for mail in mailbox.mails[1:]] == [["ann@there.example"], ["busy@there.example"]]
    rows = call(site, "GET", f"/api/mail/jobs/{told['id']}/deliveries")
    assert {row["recipient"]: (row["outcome"], row["tries"]) for row in rows} == {
        "ann@there.example": ("sent", 1),
        "busy@there.example": ("sent", 2),
        "gone@there.example": ("refused", 1),
    }


def test_the_smoke_command(site: Deployment, mailbox: Mailbox) -> None:
    assert "us@jobgate.example" in smoke(site, "mail")
    assert [mail.recipients for mail in mailbox.mails] == [["us@jobgate.example"]]
