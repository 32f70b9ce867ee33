"""Episode profiles (what an episode is like) and speaker profiles (who speaks), as owners write them and find them."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct, structs
from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from tasks.errors import InvalidArguments, NotFound, StateConflict
from tasks.packs.podcast.tables import DATABASE, EPISODE_PROFILES, SPEAKER_PROFILES, SPEAKERS

P = TypeVar("P")

#: The second voice is the first one, this much lower: `pitch` times the frequency.
LOWER = 0.82

Name = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^/\x00-\x1f\x7f]+$(?!\n)")]
Words = Annotated[str, Meta(max_length=10_000, pattern=r"^[^\x00]*$(?!\n)")]
#: It is spoken, and begins the lines of a script.
SpeakerName = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z][A-Za-z .'-]*$(?!\n)")]


class EpisodeProfile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`turns`: how many turns the dialogue has at most. `briefing`: what a model that writes the script is told."""

    name: Name
    description: Words = ""
    briefing: Words = ""
    turns: Annotated[int, Meta(ge=2, le=60)] = 8


class Speaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`pitch` and `pace` are shares of the voice's own; without `pitch` the second speaker's is lower."""

    name: SpeakerName
    pitch: Annotated[float, Meta(ge=0.75, le=1)] | None = None
    pace: Annotated[float, Meta(ge=0.7, le=1.4)] = 1.0


class SpeakerProfile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two speakers; the first one leads."""

    name: Name
    description: Words = ""
    speakers: Annotated[list[Speaker], Meta(min_length=2, max_length=2)]

    @property
    def complete(self) -> SpeakerProfile:
        """With every pitch. Raises InvalidArguments where both have one name."""
        if self.speakers[0].name.lower() == self.speakers[1].name.lower():
            raise InvalidArguments("the two speakers need different names", "/speakers/1/name")
        usual = (1.0, LOWER)
        speakers = [
            structs.replace(speaker, pitch=pitch) if speaker.pitch is None else speaker
            for speaker, pitch in zip(self.speakers, usual, strict=True)
        ]
        return structs.replace(self, speakers=speakers)


async def add_episode(profile: EpisodeProfile) -> EpisodeProfile:
    """Raises StateConflict where the name is taken."""
    await _add("episode", EPISODE_PROFILES, structs.asdict(profile), [])
    return profile


async def add_speakers(profile: SpeakerProfile) -> SpeakerProfile:
    """Raises StateConflict where the name is taken."""
    profile = profile.complete
    row = {"name": profile.name, "description": profile.description}
    await _add("speaker", SPEAKER_PROFILES, row, _rows(profile))
    return profile


async def change_episode(name: str, profile: EpisodeProfile) -> EpisodeProfile:
    """Raises NotFound."""
    _refuse_renaming(name, profile.name)
    async with DATABASE.writing() as tables:
        await _change(tables, "episode", EPISODE_PROFILES, structs.asdict(profile))
    return profile


async def change_speakers(name: str, profile: SpeakerProfile) -> SpeakerProfile:
    """Raises NotFound."""
    _refuse_renaming(name, profile.name)
    profile = profile.complete
    async with DATABASE.writing() as tables:
        row = {"name": name, "description": profile.description}
        await _change(tables, "speaker", SPEAKER_PROFILES, row)
        await tables.execute(delete(SPEAKERS).where(SPEAKERS.c.profile == name))
        await tables.execute(insert(SPEAKERS), _rows(profile))
    return profile


async def episode(name: str) -> EpisodeProfile:
    """Raises NotFound."""
    return _only("episode", name, await episodes(name))


async def speakers(name: str) -> SpeakerProfile:
    """Raises NotFound."""
    return _only("speaker", name, await speaker_profiles(name))


async def episodes(name: str | None = None) -> list[EpisodeProfile]:
    wanted = select(EPISODE_PROFILES).order_by(EPISODE_PROFILES.c.name)
    if name is not None:
        wanted = wanted.where(EPISODE_PROFILES.c.name == name)
    async with DATABASE.reading() as tables:
        return [EpisodeProfile(**row) for row in (await tables.execute(wanted)).mappings()]


async def speaker_profiles(name: str | None = None) -> list[SpeakerProfile]:
    who = SPEAKERS.c["name", "pitch", "pace"]
    wanted = select(SPEAKER_PROFILES.c.name.label("profile"), SPEAKER_PROFILES.c.description, *who)
    wanted = wanted.join(SPEAKERS).order_by(SPEAKERS.c.profile, SPEAKERS.c.position)
    if name is not None:
        wanted = wanted.where(SPEAKERS.c.profile == name)
    found: dict[str, SpeakerProfile] = {}
    async with DATABASE.reading() as tables:
        for profile, description, *speaker in await tables.execute(wanted):
            entry = found.setdefault(profile, SpeakerProfile(name=profile, description=description, speakers=[]))
            entry.speakers.append(Speaker(**dict(zip(("name", "pitch", "pace"), speaker, strict=True))))
    return list(found.values())


async def remove_episode(name: str) -> None:
    """Raises NotFound; StateConflict while a run was made with it."""
    await _remove("episode", EPISODE_PROFILES, name)


async def remove_speakers(name: str) -> None:
    """Raises NotFound; StateConflict while a run was made with it."""
    await _remove("speaker", SPEAKER_PROFILES, name)


def _rows(profile: SpeakerProfile) -> list[dict[str, Any]]:
    return [
        {"profile": profile.name, "position": position, **structs.asdict(speaker)}
        for position, speaker in enumerate(profile.speakers)
    ]


async def _add(kind: str, table: Table, row: dict[str, Any], speakers: list[dict[str, Any]]) -> None:
    try:
        async with DATABASE.writing() as tables:
            await tables.execute(insert(table).values(**row))
            if speakers:
                await tables.execute(insert(SPEAKERS), speakers)
    except IntegrityError as error:
        raise StateConflict(f"the {kind} profile {row['name']!r} is there already: change it with PUT") from error


async def _change(tables: AsyncConnection, kind: str, table: Table, row: dict[str, Any]) -> None:
    changed = await tables.execute(update(table).where(table.c.name == row["name"]).values(**row))
    if not changed.rowcount:
        raise _unknown(kind, row["name"])


async def _remove(kind: str, table: Table, name: str) -> None:
    try:
        async with DATABASE.writing() as tables:
            if not (await tables.execute(delete(table).where(table.c.name == name))).rowcount:
                raise _unknown(kind, name)
    except IntegrityError as error:
        raise StateConflict(f"runs were made with the {kind} profile {name!r}: delete those first") from error


def _refuse_renaming(name: str, other: str) -> None:
    if name != other:
        raise InvalidArguments(f"the address says {name!r}: a profile keeps its name", "/name")


def _only(kind: str, name: str, found: list[P]) -> P:
    if not found:
        raise _unknown(kind, name)
    return found[0]


def _unknown(kind: str, name: str) -> NotFound:
    return NotFound(f"there is no {kind} profile {name!r}")
