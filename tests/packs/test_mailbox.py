"""The mail server of the tests does what real ones do; the library that the mail pack uses is the judge."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage

import pytest
from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from tests.support.mail import Mailbox


def client(mailbox: Mailbox, password: str = Mailbox.password) -> SMTP:
    trust = ssl.create_default_context(cafile=str(mailbox.certificate))
    return SMTP(
        hostname=mailbox.host, port=mailbox.port, start_tls=True, tls_context=trust,
        username=mailbox.user, password=password, timeout=20,
    )  # fmt: skip


def note(*recipients: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "us@jobgate.example", ", ".join(recipients), "Grüße 你好"
    message.set_content("Héllo.")
    return message


async def test_mail_arrives_by_tls_from_who_may_send(mailbox: Mailbox) -> None:
    async with client(mailbox) as smtp:
        await smtp.send_message(note("a@there.example"))
    (mail,) = mailbox.mails
    assert (mail.sender, mail.recipients) == ("us@jobgate.example", ["a@there.example"])
    assert (mail.encrypted, mail.authenticated) == (True, True)
    assert mail.message["Subject"] == "Grüße 你好"
    assert mail.message.get_content().strip() == "Héllo."


async def test_who_may_not_send_is_told_so(mailbox: Mailbox) -> None:
    with pytest.raises(SMTPAuthenticationError):
        async with client(mailbox, "wrong"):
            pass
    async with SMTP(hostname=mailbox.host, port=mailbox.port, start_tls=False) as smtp:
        with pytest.raises(SMTPResponseException, match="STARTTLS"):
            await smtp.send_message(note("a@there.example"))
    assert mailbox.mails == []


async def test_a_certificate_nobody_knows_is_not_trusted(mailbox: Mailbox) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await SMTP(hostname=mailbox.host, port=mailbox.port, start_tls=True).connect()


async def test_refusals_for_now_and_for_good(mailbox: Mailbox) -> None:
    mailbox.refuse("busy@there.example", 451, times=1)
    mailbox.refuse("gone@there.example", 550)
    async with client(mailbox) as smtp:
        refused, _ = await smtp.send_message(note("a@there.example", "busy@there.example", "gone@there.example"))
        assert {who: answer.code for who, answer in refused.items()} == {
            "busy@there.example": 451,
            "gone@there.example": 550,
        }
        await smtp.send_message(note("busy@there.example"))
        with pytest.raises(SMTPRecipientsRefused):
            await smtp.send_message(note("gone@there.example"))
    assert [mail.recipients for mail in mailbox.mails] == [["a@there.example"], ["busy@there.example"]]


async def test_a_message_refused_at_its_end_and_one_whose_reply_is_lost(mailbox: Mailbox) -> None:
    mailbox.refuse("DATA", 452, times=1)
    async with client(mailbox) as smtp:
        with pytest.raises(SMTPResponseException, match="later"):
            await smtp.send_message(note("a@there.example"))
    assert mailbox.mails == []
    mailbox.lose_replies()
    smtp = client(mailbox)
    await smtp.connect()
    with pytest.raises(SMTPServerDisconnected):
        await smtp.send_message(note("a@there.example"))
    assert len(mailbox.mails) == 1


def test_another_port_knows_neither_tls_nor_passwords(mailbox: Mailbox) -> None:
    with smtplib.SMTP(mailbox.host, mailbox.plain_port, timeout=20) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("starttls")
        assert not smtp.has_extn("auth")
        smtp.send_message(note("a@there.example"))
    assert not mailbox.mails[0].encrypted
