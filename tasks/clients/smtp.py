"""The session with a mail server, as `tasks.clients.mail` promises it; the one place that needs the extra `mail`."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponse,
    SMTPResponseException,
)

from tasks.clients.mail import Delivery, Letter, MailDeferred, MailRefused, Outcome, Server, compose, mailbox
from tasks.errors import ConfigurationError, explain, printable

#: What stands for the answer to those who were refused one by one.
_NONE_LEFT = SMTPResponse(554, "no recipient was accepted")


class SmtpSession:
    """Open until its `async with` ends."""

    def __init__(self, smtp: SMTP) -> None:
        self._smtp = smtp

    async def send(self, letter: Letter, recipients: Sequence[str] = ()) -> list[Delivery]:
        to = [mailbox(one).addr_spec for one in (recipients or (*letter.to, *letter.copies))]
        data, sender = compose(letter).as_bytes(), mailbox(letter.sender).addr_spec
        with _told():
            try:
                refused, reply = await self._smtp.sendmail(sender, to, data)
                accepted = SMTPResponse(250, reply)
            except SMTPRecipientsRefused as error:
                refused = {one.recipient: SMTPResponse(one.code, one.message) for one in error.recipients}
                accepted = _NONE_LEFT
            except SMTPDataError as error:
                refused, accepted = {}, SMTPResponse(error.code, error.message)
        return [_delivery(one, refused.get(one, accepted)) for one in to]


@asynccontextmanager
async def session(server: Server) -> AsyncIterator[SmtpSession]:
    smtp = SMTP(
        hostname=server.host,
        port=server.port,
        start_tls=False,
        timeout=server.timeout,
    )
    try:
        with _told():
            await smtp.connect()
            if server.starttls:
                await _encrypt(smtp, server)
            if server.user:
                await smtp.login(server.user, server.password)
        yield SmtpSession(smtp)
    finally:
        await _leave(smtp)


async def _encrypt(smtp: SMTP, server: Server) -> None:
    await smtp.ehlo()
    if not smtp.supports_extension("starttls"):
        raise MailRefused(f"{server.host}:{server.port} does not offer STARTTLS; SMTP_STARTTLS=0 sends in clear text")
    await smtp.starttls(tls_context=_trust(server.authorities))


async def _leave(smtp: SMTP) -> None:
    try:
        if smtp.is_connected:
            await smtp.quit()
    except (SMTPException, OSError):
        # What was accepted stays accepted, however the session ends.
        smtp.close()


@contextmanager
def _told() -> Iterator[None]:
    """The library's errors in our words: what may pass, and what will not."""
    try:
        yield
    except SMTPAuthenticationError as error:
        raise _answered(error.code, f"to SMTP_USER and SMTP_PASSWORD: {error.message}") from error
    except SMTPResponseException as error:
        raise _answered(error.code, error.message) from error
    except SMTPNotSupported as error:
        raise MailRefused(f"the mail server does not offer what is set: {explain(error)}") from error
    except ssl.SSLCertVerificationError as error:
        raise MailRefused(f"the mail server's certificate is not trusted: {error.verify_message}") from error
    except (SMTPException, OSError) as error:
        raise MailDeferred(f"the mail server cannot be talked to: {explain(error)}") from error


def _answered(code: int, reply: str) -> MailDeferred | MailRefused:
    kind = MailDeferred if 400 <= code < 500 else MailRefused
    return kind(f"the mail server says {code} {_readable(reply)}")


def _delivery(recipient: str, said: SMTPResponse) -> Delivery:
    outcome: Outcome = "sent" if 200 <= said.code < 300 else "deferred" if 400 <= said.code < 500 else "refused"
    return Delivery(recipient=recipient, outcome=outcome, code=said.code, reply=_readable(said.message))


def _readable(reply: str) -> str:
    # A server may say any bytes, and what it said of a letter that was sent must be written down.
    return printable(" ".join(reply.split()), 500)


def _trust(authorities: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities or None)
    except OSError as error:
        raise ConfigurationError(f"the certificate authorities in {authorities} cannot be read: {error}") from error
