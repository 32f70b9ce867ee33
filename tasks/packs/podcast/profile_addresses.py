"""The addresses of profiles."""

from __future__ import annotations

from tasks.address import address
from tasks.packs.podcast import profile
from tasks.packs.podcast.profile import EpisodeProfile, Name, SpeakerProfile


@address("GET", "/api/podcast/episode-profiles")
async def list_episode_profiles() -> list[EpisodeProfile]:
    """List episode profiles, by name."""
    return await profile.episodes()


@address("POST", "/api/podcast/episode-profiles", status=201)
async def add_episode_profile(body: EpisodeProfile) -> EpisodeProfile:
    """Add an episode profile."""
    return await profile.add_episode(body)


@address("GET", "/api/podcast/episode-profiles/{name}")
async def read_episode_profile(name: Name) -> EpisodeProfile:
    """Read an episode profile."""
    return await profile.episode(name)


@address("PUT", "/api/podcast/episode-profiles/{name}")
async def change_episode_profile(name: Name, body: EpisodeProfile) -> EpisodeProfile:
    """Change an episode profile."""
    return await profile.change_episode(name, body)


@address("DELETE", "/api/podcast/episode-profiles/{name}")
async def remove_episode_profile(name: Name) -> None:
    """Delete an episode profile that no run was made with."""
    await profile.remove_episode(name)


@address("GET", "/api/podcast/speaker-profiles")
async def list_speaker_profiles() -> list[SpeakerProfile]:
    """List speaker profiles, by name."""
    return await profile.speaker_profiles()


@address("POST", "/api/podcast/speaker-profiles", status=201)
async def add_speaker_profile(body: SpeakerProfile) -> SpeakerProfile:
    """Add a speaker profile."""
    return await profile.add_speakers(body)


@address("GET", "/api/podcast/speaker-profiles/{name}")
async def read_speaker_profile(name: Name) -> SpeakerProfile:
    """Read a speaker profile."""
    return await profile.speakers(name)


@address("PUT", "/api/podcast/speaker-profiles/{name}")
async def change_speaker_profile(name: Name, body: SpeakerProfile) -> SpeakerProfile:
    """Change a speaker profile."""
    return await profile.change_speakers(name, body)


@address("DELETE", "/api/podcast/speaker-profiles/{name}")
async def remove_speaker_profile(name: Name) -> None:
    """Delete a speaker profile that no run was made with."""
    await profile.remove_speakers(name)
