"""Podcasts: sources become a dialogue, two voices speak it, WAV and MP3 come out.

What speaks (the extra `podcast`) is imported by the first run that is made, never here.
"""

from tasks.packs.podcast.pack import PODCAST
from tasks.packs.podcast.production import check_timeout_tasks
from tasks.packs.podcast.production import generate as generate_podcast
from tasks.packs.podcast.profile_addresses import (
    add_episode_profile,
    add_speaker_profile,
    change_episode_profile,
    change_speaker_profile,
    list_episode_profiles,
    list_speaker_profiles,
    read_episode_profile,
    read_speaker_profile,
    remove_episode_profile,
    remove_speaker_profile,
)
from tasks.packs.podcast.run_addresses import (
    cancel,
    download,
    generate,
    list_runs,
    read_run,
    read_task,
    remove_run,
    start,
)
from tasks.packs.podcast.source_addresses import add_source, change_source, list_sources, read_source, remove_source

__all__ = [
    "PODCAST",
    "add_episode_profile",
    "add_source",
    "add_speaker_profile",
    "cancel",
    "change_episode_profile",
    "change_source",
    "change_speaker_profile",
    "check_timeout_tasks",
    "download",
    "generate",
    "generate_podcast",
    "list_episode_profiles",
    "list_runs",
    "list_sources",
    "list_speaker_profiles",
    "read_episode_profile",
    "read_run",
    "read_source",
    "read_speaker_profile",
    "read_task",
    "remove_episode_profile",
    "remove_run",
    "remove_source",
    "remove_speaker_profile",
    "start",
]
