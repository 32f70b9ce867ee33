"""What a deployment says about its podcasts."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=316_224_000)]


class Settings(Struct, frozen=True, kw_only=True):
    """`podcast_root`: where the audio lies, one folder a run.

    With `podcast_chat_url` (OpenAI-compatible, with its `/v1`) and `podcast_chat_model` that model writes the scripts;
    without, they are drawn from the sources. A run has `celery_task_soft_time_limit` seconds, and is ended after
    `celery_task_time_limit`: making audio takes longer than what those variables are for other tasks.
    """

    podcast_root: str = "var/podcasts"
    podcast_chat_url: str = ""
    podcast_chat_key: str = ""
    podcast_chat_model: str = ""
    celery_task_soft_time_limit: Seconds = 1800.0
    celery_task_time_limit: Seconds = 3600.0
