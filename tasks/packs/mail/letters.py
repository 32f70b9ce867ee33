"""The tasks: one letter to some, or one letter to each of many."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta

from tasks import Context, FatalError, task
from tasks.clients import mail
from tasks.clients.mail import Letter
from tasks.packs.mail import post
from tasks.packs.mail.post import Envelope, Sent
from tasks.packs.mail.settings import MAIL, needs

#: Recipients of one job.
MAX_SHOWN, MAX_EACH = 100, 5000

Address = Annotated[str, Meta(pattern=r"\A[^\s@<>,;]+@[^\s@<>,;]+\Z", max_length=320, examples=["ann@example.com"])]
# Without the pattern, which next to a list spoils msgspec's memory: what is no address is refused when it is looked at.
OneAddress = Annotated[str, Meta(max_length=320, examples=["ann@example.com"])]
Addresses = Annotated[list[Address], Meta(max_length=MAX_SHOWN)]
Subject = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\A[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z")]
Body = Annotated[str, Meta(max_length=500_000)]

_OPTIONS: dict[str, Any] = {"queue": "email_tasks", "bind": True, "max_retries": 8, "needs": needs}


@task(name="tasks.email.send_email", **_OPTIONS)
async def send_email(  # noqa: PLR0913, PLR0917 - a letter has so many parts
    context: Context,
    to: OneAddress | Addresses,
    subject: Subject,
    body: Body,
    html: Body = "",
    cc: Addresses = [],  # noqa: B006 - only read
    bcc: Addresses = [],  # noqa: B006 - only read
    reply_to: Address | None = None,
) -> Sent:
    """Send one letter that all of `to` and `cc` see each other in; `bcc` get it as well."""
    shown, copies = _addresses([to] if isinstance(to, str) else to), _addresses(cc)
    if not shown:
        raise FatalError("`to` names nobody")
    letter = Letter(
        sender=MAIL.settings.mail_from,
        to=shown,
        copies=copies,
        subject=subject,
        text=body,
        html=html,
        key=context.idempotency_key,
        date=datetime.now(UTC),
        reply_to=reply_to or "",
    )
    everybody = tuple(dict.fromkeys((*shown, *copies, *_addresses(bcc))))
    return await post.deliver(context, [Envelope(letter, everybody)])


@task(name="tasks.email.send_notification", **_OPTIONS)
async def send_notification(
    context: Context,
    recipients: Annotated[list[Address], Meta(min_length=1, max_length=MAX_EACH)],
    subject: Subject,
    body: Body,
    html: Body = "",
) -> Sent:
    """Send each recipient a letter of his own; nobody sees the others."""
    return await post.deliver(
        context,
        [
            Envelope(_note(f"{context.idempotency_key}.{number}", one, subject, body, html), (one,))
            for number, one in enumerate(_addresses(recipients))
        ],
    )


def _note(key: str, recipient: str, subject: str, body: str, html: str) -> Letter:
    return Letter(
        sender=MAIL.settings.mail_from,
        to=(recipient,),
        subject=subject,
        text=body,
        html=html,
        key=key,
        date=datetime.now(UTC),
        # So that nobody's absence note answers it.
        headers={"Auto-Submitted": "auto-generated"},
    )


def _addresses(texts: list[str]) -> tuple[str, ...]:
    """Each once, as the wire wants them."""
    return tuple(dict.fromkeys(mail.address(text) for text in texts))
