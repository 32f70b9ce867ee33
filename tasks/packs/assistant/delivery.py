"""One notification to many: what each recipient's server said, kept so that a rerun asks nobody twice."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import delete, select, text

from tasks.clients import mail, web
from tasks.errors import FatalError, InvalidArguments, printable
from tasks.packs.assistant.settings import Settings
from tasks.packs.assistant.tables import DATABASE, DELIVERIES

_NOTE = text("""INSERT INTO assistant_deliveries (job_id, recipient, outcome, detail, at)
    VALUES (:job_id, :recipient, :outcome, :detail, :at) ON CONFLICT (job_id, recipient) DO NOTHING""")
#: Answers to a webhook after which it is tried again, besides all 5xx.
_PASSING = (408, 425, 429)


class Notice(Struct, frozen=True, kw_only=True):
    """What is told, by which job."""

    job_id: str
    subject: str
    message: str
    data: Mapping[str, Any] | None


class Outcome(Struct, frozen=True, kw_only=True):
    """`outcome` is sent, refused or deferred; `wait`: seconds that the other side asks to be left alone."""

    outcome: str
    detail: str = ""
    wait: float | None = None


def is_webhook(recipient: str) -> bool:
    return recipient.startswith(("https://", "http://"))


async def outcomes(job_id: str) -> dict[str, Outcome]:
    """What earlier runs of the job have settled, by recipient."""
    async with DATABASE.reading() as tables:
        columns = (DELIVERIES.c.recipient, DELIVERIES.c.outcome, DELIVERIES.c.detail)
        wanted = select(*columns).where(DELIVERIES.c.job_id == job_id)
        rows = (await tables.execute(wanted)).all()
    return {row.recipient: Outcome(outcome=row.outcome, detail=row.detail) for row in rows}


async def post(notice: Notice, url: str, settings: Settings) -> Outcome:
    """Tell a webhook."""
    told = {"id": notice.job_id, "subject": notice.subject, "message": notice.message, "data": notice.data}
    headers = {"content-type": "application/json", "idempotency-key": notice.job_id}
    try:
        wanted = web.Call(method="POST", url=url, headers=headers, body=json.dumps(told).encode())
        answer = await web.call(wanted, settings.webhooks)
    except web.Unreachable as error:
        return await _note(notice, url, Outcome(outcome="deferred", detail=error.detail))
    except FatalError as error:
        return await _note(notice, url, Outcome(outcome="refused", detail=error.detail))
    said = f"it answered {answer.status}"
    if answer.ok:
        return await _note(notice, url, Outcome(outcome="sent", detail=said))
    passing = answer.status >= 500 or answer.status in _PASSING
    outcome = Outcome(outcome="deferred" if passing else "refused", detail=said, wait=answer.retry_after)
    return await _note(notice, url, outcome)


async def send(notice: Notice, recipients: Mapping[str, int], settings: Settings) -> dict[str, Outcome]:
    """Mail a letter to each; the numbers tell the letters of one job apart. Raises MailDeferred and MailRefused for a
    server that takes none."""
    found: dict[str, Outcome] = {}
    async with mail.session(settings.mail) as session:
        for recipient, number in recipients.items():
            found[recipient] = await _note(
                notice, recipient, await _hand_in(session, notice, recipient, number, settings)
            )
    return found


async def forget(before: int) -> int:
    """Delete what was settled before that moment; how many those were."""
    async with DATABASE.writing() as tables:
        return (await tables.execute(delete(DELIVERIES).where(DELIVERIES.c.at < before))).rowcount


async def _hand_in(session: mail.Session, notice: Notice, recipient: str, number: int, settings: Settings) -> Outcome:
    text = notice.message if notice.data is None else f"{notice.message}\n\n{json.dumps(notice.data, indent=2)}"
    letter = mail.Letter(
        sender=settings.mail_from,
        to=(recipient,),
        subject=notice.subject,
        text=text,
        key=f"{notice.job_id}.{number}",
        date=datetime.now(UTC),
    )
    try:
        (delivery,) = await session.send(letter)
    except InvalidArguments as error:
        return Outcome(outcome="refused", detail=error.detail)
    return Outcome(outcome=delivery.outcome, detail=f"{delivery.code} {delivery.reply}")


async def _note(notice: Notice, recipient: str, outcome: Outcome) -> Outcome:
    """Keep what is settled; what was deferred is not."""
    if outcome.outcome != "deferred":
        now = time.time_ns() // 1_000_000
        row = {"job_id": notice.job_id, "recipient": recipient, "outcome": outcome.outcome, "at": now}
        async with DATABASE.writing() as tables:
            await tables.execute(_NOTE, {**row, "detail": printable(outcome.detail, 500)})
    return outcome
