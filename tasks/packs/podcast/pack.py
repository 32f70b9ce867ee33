"""What the deployment switches on: the pack's settings, tables and smoke test."""

from __future__ import annotations

from tasks.errors import ConfigurationError
from tasks.pack import Pack
from tasks.packs.podcast.settings import Settings
from tasks.packs.podcast.smoke import smoke
from tasks.packs.podcast.tables import DATABASE


def _told(settings: Settings) -> None:
    if settings.celery_task_soft_time_limit >= settings.celery_task_time_limit:
        soft, hard = settings.celery_task_soft_time_limit, settings.celery_task_time_limit
        raise ConfigurationError(f"CELERY_TASK_SOFT_TIME_LIMIT={soft:g} must be below CELERY_TASK_TIME_LIMIT={hard:g}")
    if bool(settings.podcast_chat_url) != bool(settings.podcast_chat_model):
        raise ConfigurationError("PODCAST_CHAT_URL and PODCAST_CHAT_MODEL go together: set both, or neither")


PODCAST = Pack("podcast", Settings, database=DATABASE, told=_told, smoke=smoke)
