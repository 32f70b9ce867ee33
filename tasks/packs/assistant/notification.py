"""The task `send_notification`: mail and webhooks, each recipient told once however often the job runs."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from tasks import BaseTaskWithRetry, Context, task
from tasks.errors import FatalError, Retry
from tasks.pack import not_installed
from tasks.packs.assistant import delivery
from tasks.packs.assistant.delivery import Notice, Outcome
from tasks.packs.assistant.pack import ASSISTANT

_END = r"$(?!\n)"
Recipient = Annotated[str, Meta(max_length=2000, pattern=rf"^(https?://\S+|[^\s@,;<>]+@[^\s@,;<>]+){_END}")]
# A list and nothing else: msgspec 0.22 spoils memory where a text with a pattern and a list are alternatives.
Recipients = Annotated[list[Recipient], Meta(min_length=1, max_length=1000)]
Subject = Annotated[str, Meta(min_length=1, max_length=500, pattern=rf"^[^\x00-\x1f\x7f]+{_END}")]
Message = Annotated[str, Meta(min_length=1, max_length=100_000)]


class Report(Struct, frozen=True, kw_only=True):
    """Who was told, and who will not be and why."""

    sent: list[str]
    refused: dict[str, str]


def lacks() -> str:
    """What is missing for any notification at all."""
    if ASSISTANT.settings.assistant_webhooks:
        return ""
    return _lacks_mail()


@task(name="send_notification", queue="notification_default", base=BaseTaskWithRetry, bind=True, needs=lacks)
async def send_notification(
    context: Context, to: Recipients, subject: Subject, message: Message, data: dict[str, Any] | None = None
) -> Report:
    """Tell each of `to`, mail addresses and webhooks. Who could not be reached is tried again, who was told is not."""
    notice = Notice(job_id=context.idempotency_key, subject=subject, message=message, data=data)
    recipients = {one: number for number, one in enumerate(to)}
    settled = await delivery.outcomes(notice.job_id)
    left = {one: number for one, number in recipients.items() if one not in settled}
    for one in filter(delivery.is_webhook, left):
        context.check()
        settled[one] = await _tell(notice, one)
        context.progress(len(settled), len(recipients))
    letters = {one: number for one, number in left.items() if not delivery.is_webhook(one)}
    if letters:
        settled.update(await _mail(notice, letters))
        context.progress(len(settled), len(recipients))
    return _report(settled)


async def _tell(notice: Notice, url: str) -> Outcome:
    if not ASSISTANT.settings.assistant_webhooks:
        return Outcome(outcome="refused", detail="webhooks are off: set ASSISTANT_WEBHOOKS=1")
    return await delivery.post(notice, url, ASSISTANT.settings)


async def _mail(notice: Notice, letters: dict[str, int]) -> dict[str, Outcome]:
    if lack := _lacks_mail():
        return dict.fromkeys(letters, Outcome(outcome="refused", detail=lack))
    return await delivery.send(notice, letters, ASSISTANT.settings)


def _report(settled: dict[str, Outcome]) -> Report:
    """Raises Retry while somebody may be reached later, FatalError if nobody was."""
    of = {
        kind: {one: said for one, said in settled.items() if said.outcome == kind} for kind in ("deferred", "refused")
    }
    if late := of["deferred"]:
        waits = [said.wait for said in late.values() if said.wait is not None]
        raise Retry(f"not reached: {_words(late)}", max(waits) if waits else None)
    if len(of["refused"]) == len(settled):
        raise FatalError(f"nobody was told: {_words(of['refused'])}")
    sent = [one for one, said in settled.items() if said.outcome == "sent"]
    return Report(sent=sent, refused={one: said.detail for one, said in of["refused"].items()})


def _words(outcomes: dict[str, Outcome]) -> str:
    return "; ".join(f"{one} ({said.detail})" for one, said in list(outcomes.items())[:20])


def _lacks_mail() -> str:
    return not_installed("mail", "aiosmtplib") or ASSISTANT.lacks("smtp_host", "mail_from")
