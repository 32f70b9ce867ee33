"""The pack itself, apart from what it holds, which needs it."""

from __future__ import annotations

from tasks.clients.guard import check_allowed
from tasks.errors import ConfigurationError
from tasks.pack import Pack
from tasks.packs.assistant.settings import Settings
from tasks.packs.assistant.smoke import smoke
from tasks.packs.assistant.tables import DATABASE


def _told(settings: Settings) -> None:
    try:
        check_allowed(settings.assistant_webhook_hosts)
    except ConfigurationError as error:
        raise ConfigurationError(f"ASSISTANT_WEBHOOK_HOSTS: {error.detail}") from None


ASSISTANT = Pack("assistant", Settings, database=DATABASE, told=_told, smoke=smoke)
