"""A script written by a model, where a deployment has one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tasks.clients.chat import Endpoint, complete
from tasks.packs.podcast.profile import EpisodeProfile
from tasks.packs.podcast.script import Script, Turn
from tasks.packs.podcast.settings import Settings
from tasks.packs.podcast.source import Source
from tasks.packs.podcast.utterance import is_speakable, plain

#: Characters of all sources together that the model is shown.
MAX_SHOWN = 24_000
#: Characters of one turn that are spoken.
MAX_TURN = 1_500

_TOLD = """You write the script of a podcast in English. Two speakers talk: {host} leads, {guest} explains.
Write {turns} turns at most, each on a line of its own that begins with the speaker's name and a colon, like this:
{host}: Welcome.
{guest}: Thank you.
Say only what the sources say. No headings, no stage directions, no other text. {briefing}"""


class UnusableScript(ValueError):
    """What the model wrote is no dialogue of the two speakers in English."""


def endpoint(settings: Settings) -> Endpoint | None:
    """The model that the deployment names, or None."""
    if not (settings.podcast_chat_url and settings.podcast_chat_model):
        return None
    return Endpoint(
        base_url=settings.podcast_chat_url, model=settings.podcast_chat_model, key=settings.podcast_chat_key
    )


async def write(
    model: Endpoint, profile: EpisodeProfile, episode: str, speakers: Sequence[str], sources: Sequence[Source]
) -> Script:
    """Ask the model. Raises UnusableScript for an answer that is none, and as `tasks.clients.chat.complete`."""
    host, guest = speakers
    told = _TOLD.format(host=host, guest=guest, turns=profile.turns, briefing=profile.briefing)
    asked = f"The episode is called {episode!r}. The sources:\n\n{_shown(sources)}"
    answer = await complete(
        model, [{"role": "system", "content": told}, {"role": "user", "content": asked}], temperature=0.3
    )
    return parse(answer.text, speakers, profile.turns)


def parse(text: str, speakers: Sequence[str], turns: int) -> Script:
    """The turns in a model's answer. Raises UnusableScript."""
    said = [turn for turn in _turns(text, speakers) if turn.text][:turns]
    if {turn.speaker for turn in said} != set(speakers):
        raise UnusableScript(f"it has no turns of both {' and '.join(speakers)}")
    if unsaid := next((turn for turn in said if not is_speakable(turn.text)), None):
        raise UnusableScript(f"the voice speaks English only, not {unsaid.text[:40]!r}")
    return Script(turns=said, by="model")


def _turns(text: str, speakers: Sequence[str]) -> Iterator[Turn]:
    names = {name.lower(): name for name in speakers}
    begins = re.compile(rf"^\W*({'|'.join(map(re.escape, names))})\W*:(.*)$", re.IGNORECASE)
    speaker, words = "", ""
    for line in text.splitlines():
        if match := begins.match(line):
            if speaker:
                yield _turn(speaker, words)
            speaker, words = names[match[1].lower()], match[2]
        else:
            words += f" {line}"
    if speaker:
        yield _turn(speaker, words)


def _turn(speaker: str, words: str) -> Turn:
    words = plain(words)
    return Turn(speaker, words if len(words) <= MAX_TURN else f"{words[:MAX_TURN].rpartition(' ')[0]}.")


def _shown(sources: Sequence[Source]) -> str:
    share = MAX_SHOWN // len(sources)
    return "\n\n".join(f"# {source.title}\n{source.text[:share]}" for source in sources)
