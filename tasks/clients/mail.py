"""Mail over SMTP: one session, any number of letters, and what became of each for each recipient.

Nothing that a caller gives can become a header or a recipient of its own: addresses are taken one by one, and a line
break in a header is refused.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime
from typing import Literal, Protocol

from msgspec import Struct

from tasks.errors import FatalError, InvalidArguments, JobgateError, explain

#: By SMTP's limits: octets of a local part, of a domain, of a subject here.
_LOCAL, _DOMAIN, _SUBJECT = 64, 255, 500
#: What a subject cannot hold: controls, ends of lines, halves of characters.
_NO_SUBJECT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


Outcome = Literal["sent", "deferred", "refused"]


class MailDeferred(JobgateError):
    """The mail server cannot take mail now; it may later."""


class MailRefused(FatalError):
    """The mail server will not take this, now or later."""


class Server(Struct, frozen=True, kw_only=True):
    """Where mail is handed in. `starttls`: encrypt, or send nothing; `authorities`: a PEM file in place of the usual
    certificate authorities; `timeout` seconds for each step."""

    host: str
    port: int = 587
    user: str = ""
    password: str = ""
    starttls: bool = True
    authorities: str = ""
    timeout: float = 30.0


class Letter(Struct, frozen=True, kw_only=True):
    """What is sent. `sender`: an address, or `Name <address>`; `key`: the same for every run of one job, so that its
    Message-ID is the same; `to` and `copies` are shown in the letter, who else gets it is the envelope's."""

    sender: str
    to: tuple[str, ...]
    subject: str
    text: str
    key: str
    date: datetime
    html: str = ""
    copies: tuple[str, ...] = ()
    reply_to: str = ""
    headers: Mapping[str, str] = {}


class Delivery(Struct, frozen=True, kw_only=True):
    """What the server said to one recipient: `sent`, `deferred` (4xx: try again) or `refused` (5xx: do not)."""

    recipient: str
    outcome: Outcome
    code: int
    reply: str


def address(text: str) -> str:
    """The one address that `text` is, in the form for the wire. Raises InvalidArguments for anything else."""
    try:
        parsed = Address(addr_spec=text)
        domain = parsed.domain.encode("idna").decode("ascii")
        plain = Address(username=parsed.username, domain=domain).addr_spec
    except (ValueError, IndexError, MessageError, UnicodeError) as error:
        raise InvalidArguments(f"{text[:200]!r} is not a mail address: {error}") from None
    if not parsed.username or len(parsed.username) > _LOCAL or len(domain) > _DOMAIN or not plain.isascii():
        raise InvalidArguments(f"{text[:200]!r} is not a mail address that every server takes")
    if any(not character.isprintable() or character in " ,;<>" for character in plain):
        raise InvalidArguments(f"{text[:200]!r} is not one mail address")
    return plain


def mailbox(text: str) -> Address:
    """`Name <address>` or an address. Raises InvalidArguments."""
    if not text.isprintable():
        raise InvalidArguments(f"{text[:200]!r}: a mail address holds no line breaks")
    name, opening, spec = text.rpartition("<") if text.endswith(">") else ("", "", text)
    return Address(name.strip().strip('"'), addr_spec=address(spec.removesuffix(">") if opening else spec))


def message_id(key: str, sender: str) -> str:
    """The Message-ID of a letter: a rerun of its job makes the same one, by which mailboxes know a double."""
    return f"<{key}@{mailbox(sender).domain}>"


def compose(letter: Letter) -> EmailMessage:
    """The message. Raises InvalidArguments for what cannot be one."""
    if _NO_SUBJECT.search(letter.subject) or len(letter.subject) > _SUBJECT:
        raise InvalidArguments(f"a subject has at most {_SUBJECT} characters, no line break and no control")
    try:
        return _composed(letter)
    except (ValueError, MessageError) as error:
        raise InvalidArguments(f"this cannot be a letter: {explain(error)}") from error


def _composed(letter: Letter) -> EmailMessage:
    message = EmailMessage(policy=WIRE)
    headers = {
        "Message-ID": message_id(letter.key, letter.sender),
        "Date": format_datetime(letter.date),
        "From": mailbox(letter.sender),
        "To": [mailbox(one) for one in letter.to],
        "Cc": [mailbox(one) for one in letter.copies],
        "Reply-To": mailbox(letter.reply_to) if letter.reply_to else "",
        "Subject": letter.subject,
        **letter.headers,
    }
    for name, value in headers.items():
        if value:
            message[name] = value
    message.set_content(letter.text)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    return message


class Session(Protocol):
    """A session with the server."""

    async def send(self, letter: Letter, recipients: Sequence[str] = ()) -> list[Delivery]:
        """Hand one letter in, for `recipients` or else for all it names; what became of it for each, in their order.

        Raises InvalidArguments for a bad letter, MailDeferred when the server does not go on, MailRefused when it does
        not take the sender or the letter.
        """


def session(server: Server) -> AbstractAsyncContextManager[Session]:
    """Connect, encrypt and log in. Raises MailDeferred for what may pass, MailRefused for what will not.

    Needs the extra `mail`, which is imported here and not before.
    """
    wire = importlib.import_module("tasks.clients.smtp")
    opened: AbstractAsyncContextManager[Session] = wire.session(server)
    return opened
