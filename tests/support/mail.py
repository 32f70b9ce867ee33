"""A real mail server with STARTTLS and AUTH, for other processes too; its mailbox is in the test process."""

from __future__ import annotations

import email
import email.policy
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.processes import free_port


class Mail(NamedTuple):
    """A message that was taken."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    raw: bytes
    encrypted: bool
    authenticated: bool


class Mailbox:
    """Two ports: `port` takes mail only after STARTTLS and AUTH; `plain_port` offers neither."""

    host = "localhost"
    user = "sender"
    password = "secret-of-the-mail"

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        #: The certificate of the authority that signed the server's; a client that does not trust it must not send.
        self.certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.certificate))
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self._tls)
        self._lock = threading.Lock()
        self.port, self.plain_port = free_port(), free_port()
        self.reset()

    def reset(self) -> None:
        """Empty, and everything is taken."""
        with self._lock:
            self._mails: list[Mail] = []
            self._refusals: dict[str, tuple[int, int | None]] = {}
            self._lost_replies = 0

    @property
    def mails(self) -> list[Mail]:
        """What was taken since the test began."""
        with self._lock:
            return list(self._mails)

    def refuse(self, recipient: str, code: int, times: int | None = None) -> None:
        """Answer RCPT TO with 4xx or 5xx, always or so often; "*" is anybody, "DATA" the message itself."""
        with self._lock:
            self._refusals[recipient] = (code, times)

    def lose_replies(self, times: int = 1) -> None:
        """Take a message and close the connection instead of saying so: the sender cannot know."""
        with self._lock:
            self._lost_replies = times

    def _refusal(self, *names: str) -> str | None:
        with self._lock:
            name = next((name for name in names if name in self._refusals), None)
            if name is None:
                return None
            code, times = self._refusals.pop(name)
            if times is None or times > 1:
                self._refusals[name] = (code, None if times is None else times - 1)
        return f"{code} {'4.2.0 Try again later' if code < 500 else '5.1.1 No such recipient'}"

    async def handle_RCPT(  # noqa: N802 - the server looks for this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        refusal = self._refusal(address, "*")
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        refusal = self._refusal("DATA")
        if refusal:
            return refusal
        raw = envelope.content
        assert isinstance(raw, bytes)
        message: Any = email.message_from_bytes(raw, policy=email.policy.default)
        sender, recipients = envelope.mail_from or "", list(envelope.rcpt_tos)
        mail = Mail(sender, recipients, message, raw, session.ssl is not None, bool(session.authenticated))
        with self._lock:
            self._mails.append(mail)
            lost = self._lost_replies > 0
            self._lost_replies -= lost
        if lost and server.transport is not None:
            server.transport.abort()
        return "250 OK"

    def _authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _kind: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and data == LoginPassword(self.user.encode(), self.password.encode())
        # Not handled: the server itself then says 535.
        return AuthResult(success=known, handled=False)

    @contextmanager
    def running(self) -> Iterator[Mailbox]:
        closed = Controller(
            self, "127.0.0.1", self.port, tls_context=self._tls, require_starttls=True, auth_required=True,
            authenticator=self._authenticate,
        )  # fmt: skip
        plain = Controller(self, "127.0.0.1", self.plain_port)
        closed.start()
        plain.start()
        try:
            yield self
        finally:
            closed.stop()
            plain.stop()


def mail_variables(mailbox: Mailbox) -> dict[str, str]:
    """What the mail pack is told, so that it hands its letters in here."""
    server = {"SMTP_HOST": mailbox.host, "SMTP_PORT": str(mailbox.port), "SMTP_AUTHORITIES": str(mailbox.certificate)}
    account = {"SMTP_USER": mailbox.user, "SMTP_PASSWORD": mailbox.password}
    return {**server, **account, "MAIL_FROM": "Jobgate <us@jobgate.example>", "MAIL_RETRY_WAIT": "0"}
