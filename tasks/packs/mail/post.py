"""Letters of a job, handed in and written down one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from tasks import Context, FatalError, Retry
from tasks.clients import mail
from tasks.clients.mail import Delivery, Letter
from tasks.moment import moment
from tasks.packs.mail.settings import MAIL, server
from tasks.packs.mail.tables import DATABASE, DELIVERIES

#: Seconds: no letter waits longer before it is tried again.
_MAX_WAIT = 3600.0


class Received(Struct, frozen=True, kw_only=True):
    """What the mail server said last for one recipient of a job."""

    job_id: str
    recipient: str
    message_id: str
    outcome: mail.Outcome
    code: int
    reply: str
    tries: int
    at: str


class Sent(Struct, frozen=True, kw_only=True):
    """A job's mail in the end. `refused` for good; the job has failed if there is nobody in `sent`."""

    sent: list[str]
    refused: list[Received]
    message_ids: list[str]


class Envelope(Struct, frozen=True):
    """A letter, and who gets it."""

    letter: Letter
    recipients: tuple[str, ...]


async def deliver(context: Context, envelopes: Sequence[Envelope]) -> Sent:
    """Send what has not been sent or refused before. Raises Retry while some are deferred, FatalError if all refuse."""
    recipients = [recipient for envelope in envelopes for recipient in envelope.recipients]
    _refuse_domains(recipients)
    over = {row.recipient for row in await of_job(context.idempotency_key) if row.outcome != "deferred"}
    left = [(envelope, tuple(one for one in envelope.recipients if one not in over)) for envelope in envelopes]
    if any(still for _, still in left):
        try:
            await _hand_in(context, left)
        except mail.MailDeferred as error:
            raise Retry(error.detail, _wait(context)) from error
    return _summed_up(context, await of_job(context.idempotency_key), len(recipients))


async def _hand_in(context: Context, left: Sequence[tuple[Envelope, tuple[str, ...]]]) -> None:
    async with mail.session(server()) as session:
        for number, (envelope, still) in enumerate(left, start=1):
            context.progress(number, len(left))
            if still:
                await _to_its_end(_one(context, session, envelope.letter, still))


async def _one(context: Context, session: mail.Session, letter: Letter, still: Sequence[str]) -> None:
    await _keep(context, letter, await session.send(letter, still))


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """An interruption waits for it: a letter that was sent without its row would be sent again."""
    going = asyncio.ensure_future(work)
    try:
        await asyncio.shield(going)
    except BaseException:
        await asyncio.wait([going])
        raise


async def of_job(job_id: str) -> list[Received]:
    """What became of its letters so far."""
    wanted = select(DELIVERIES).where(DELIVERIES.c.job_id == job_id).order_by(DELIVERIES.c.recipient)
    async with DATABASE.reading() as tables:
        return [_received(row) for row in await tables.execute(wanted)]


def _summed_up(context: Context, rows: Sequence[Received], count: int) -> Sent:
    deferred = [row for row in rows if row.outcome == "deferred"]
    if deferred:
        raise Retry(f"{len(deferred)} of {count} recipients must wait: {_words(deferred[0])}", _wait(context))
    refused = [row for row in rows if row.outcome == "refused"]
    if len(refused) == len(rows):
        raise FatalError(f"the mail server refuses all {count} recipients: {_words(refused[0])}")
    sent = [row.recipient for row in rows if row.outcome == "sent"]
    return Sent(sent=sent, refused=refused, message_ids=sorted({row.message_id for row in rows}))


async def _keep(context: Context, letter: Letter, deliveries: Sequence[Delivery]) -> None:
    """Written at once: a process that dies later must not send these again."""
    message_id = mail.message_id(letter.key, letter.sender)
    async with DATABASE.writing() as tables:
        make = postgresql_insert if tables.dialect.name == "postgresql" else sqlite_insert
        for one in deliveries:
            said = {"outcome": one.outcome, "code": one.code, "reply": one.reply, "at": time.time_ns() // 1_000_000}
            fields = {"job_id": context.idempotency_key, "recipient": one.recipient, "message_id": message_id}
            made = make(DELIVERIES).values(**fields, **said, tries=1)
            again = made.on_conflict_do_update(
                index_elements=["job_id", "recipient"], set_={**said, "tries": DELIVERIES.c.tries + 1}
            )
            await tables.execute(again)
            context.log(f"{one.recipient}: {one.outcome} ({one.code} {one.reply})")


def _refuse_domains(recipients: Sequence[str]) -> None:
    allowed = {domain.lower() for domain in MAIL.settings.mail_domains}
    for recipient in recipients:
        if allowed and recipient.rpartition("@")[2].lower() not in allowed:
            raise FatalError(f"{recipient}: mail goes only to {', '.join(sorted(allowed))} (MAIL_DOMAINS)")


def _wait(context: Context) -> float:
    return float(min(MAIL.settings.mail_retry_wait * 2.0 ** min(context.retries, 20), _MAX_WAIT))


def _words(row: Received) -> str:
    return f"{row.recipient}: {row.code} {row.reply}"


def _received(row: Row[Any]) -> Received:
    fields = {name: getattr(row, name) for name in Received.__struct_fields__ if name != "at"}
    return Received(**fields, at=moment(row.at))
