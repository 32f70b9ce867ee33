"""What a deployment says of its mail server; the variable of each field is its name in capitals."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tasks.clients import mail
from tasks.errors import ConfigurationError, InvalidArguments
from tasks.pack import Pack, not_installed
from tasks.packs.mail.smoke import smoke
from tasks.packs.mail.tables import DATABASE


class Settings(Struct, frozen=True, kw_only=True):
    """The server (`smtp_authorities`: a PEM file in place of the usual certificate authorities), who all mail is from,
    the domains that mail may go to (none: all), and the pause before a letter is tried again (then twice that)."""

    smtp_host: str = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65535)] = 587
    smtp_user: str = ""
    smtp_password: str = ""
    smtp_starttls: bool = True
    smtp_authorities: str = ""
    smtp_timeout: Annotated[float, Meta(gt=0, le=120)] = 30.0
    mail_from: str = ""
    mail_domains: tuple[str, ...] = ()
    mail_retry_wait: Annotated[float, Meta(ge=0, le=3600)] = 60.0


def _told(settings: Settings) -> None:
    if settings.mail_from:
        try:
            mail.mailbox(settings.mail_from)
        except InvalidArguments as error:
            raise ConfigurationError(f"MAIL_FROM: {error.detail}") from error


MAIL = Pack("mail", Settings, database=DATABASE, told=_told, smoke=smoke)


def needs() -> str:
    """What this deployment lacks to send mail, or ""."""
    return not_installed("mail", "aiosmtplib") or MAIL.lacks("smtp_host", "mail_from")


def server() -> mail.Server:
    told = MAIL.settings
    return mail.Server(
        host=told.smtp_host,
        port=told.smtp_port,
        user=told.smtp_user,
        password=told.smtp_password,
        starttls=told.smtp_starttls,
        authorities=told.smtp_authorities,
        timeout=told.smtp_timeout,
    )
