"""Turns become sound: two voices, WAV and MP3. Imports what the extra `podcast` brings, so it is imported late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from hibari import Hibari
from msgspec import Struct
from numpy.typing import NDArray

from tasks.errors import FatalError
from tasks.packs.podcast.profile import Speaker
from tasks.packs.podcast.script import Turn

Sound = NDArray[np.float32]

#: Samples a second, of one channel.
RATE = 24_000
#: Seconds of silence after a turn.
PAUSE = 0.35
#: The voice fills a third of what a sample can hold.
LOUDER = 2.0


class Made(Struct, frozen=True, kw_only=True):
    """What lies on the disk."""

    duration_ms: int
    wav_bytes: int
    mp3_bytes: int


class Voice:
    """The process's voice. It keeps one core busy while it speaks, and speaks for one job at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Hibari | None = None

    def say(self, text: str, speaker: Speaker) -> Iterator[Sound]:
        """Sentence by sentence; the same samples for the same words."""
        pitch = speaker.pitch or 1.0
        with self._lock:
            if self._model is None:
                self._model = Hibari(threads=1)
            sentences = self._model.stream(text, speed=speaker.pace / pitch, seed=0)
        while True:
            with self._lock:
                sound = next(sentences, None)
            if sound is None:
                return
            yield np.clip(_lowered(sound, pitch) * LOUDER, -1, 1).astype(np.float32)


VOICE = Voice()


def record(
    turns: Sequence[Turn],
    speakers: Sequence[Speaker],
    wav: Path,
    mp3: Path,
    watch: Callable[[int, Turn], None],
) -> Made:
    """Write both files. `watch` is told the number of each turn before each of its sentences, and may raise.

    Raises FatalError for a turn of which the voice can say nothing.
    """
    who = {speaker.name: speaker for speaker in speakers}
    pause = np.zeros(round(PAUSE * RATE), np.float32)
    with (
        soundfile.SoundFile(wav, "w", RATE, 1, format="WAV", subtype="PCM_16") as plain,
        soundfile.SoundFile(mp3, "w", RATE, 1, format="MP3") as packed,
    ):
        for number, turn in enumerate(turns):
            watch(number, turn)
            heard = 0
            for sound in VOICE.say(turn.text, who[turn.speaker]):
                watch(number, turn)
                heard += len(sound)
                plain.write(sound)
                packed.write(sound)
            if not heard:
                raise FatalError(f"the voice speaks English only; of {turn.text[:80]!r} it can say nothing")
            plain.write(pause)
            packed.write(pause)
        samples = plain.frames
    return Made(duration_ms=samples * 1000 // RATE, wav_bytes=wav.stat().st_size, mp3_bytes=mp3.stat().st_size)


def _lowered(sound: Sound, pitch: float) -> Sound:
    """Played slower: lower in the same measure. Whoever speaks was told to hurry accordingly."""
    if pitch == 1:
        return sound
    places = np.arange(round(len(sound) / pitch)) * pitch
    lowered: Sound = np.interp(places, np.arange(len(sound)), sound).astype(np.float32)
    return lowered
