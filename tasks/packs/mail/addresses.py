"""The mail pack over HTTP: whether it can send, and what became of what it sent."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.address import address
from tasks.errors import NotFound
from tasks.packs.mail import post
from tasks.packs.mail.settings import MAIL, needs


class Sender(Struct, frozen=True, kw_only=True):
    """Who mail is from and through which server; `lacks` is what is missing, or ""."""

    sender: str
    host: str
    port: int
    starttls: bool
    lacks: str


@address("GET", "/api/mail/sender")
async def read_sender() -> Sender:
    """Whether mail can be sent, and from whom."""
    told = MAIL.settings
    return Sender(
        sender=told.mail_from, host=told.smtp_host, port=told.smtp_port, starttls=told.smtp_starttls, lacks=needs()
    )


@address("GET", "/api/mail/jobs/{job_id}/deliveries")
async def read_deliveries(job_id: Annotated[str, Meta(pattern=r"\A[0-9a-zA-Z-]{1,36}\Z")]) -> list[post.Received]:
    """What the mail server said for each recipient of a job."""
    found = await post.of_job(job_id)
    if not found:
        raise NotFound(f"no letter of a job {job_id} was handed in")
    return found
