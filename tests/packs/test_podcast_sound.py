"""What the voices say: heard again by a recogniser, told apart by their pitch, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks import Cancelled, FatalError
from tasks.packs.podcast import speech
from tasks.packs.podcast.profile import LOWER, Speaker
from tasks.packs.podcast.script import Turn
from tests.support.hearing import hear, share_heard

SPEAKERS = [Speaker(name="Anna", pitch=1.0), Speaker(name="Ben", pitch=LOWER)]
SAID = "The library opens at nine in the morning on weekdays."
TURNS = [Turn("Anna", SAID), Turn("Ben", SAID)]


def record(folder: Path, turns: list[Turn]) -> speech.Made:
    return speech.record(turns, SPEAKERS, folder / "wav", folder / "mp3", lambda number, turn: None)


def pitch(sound: speech.Sound) -> float:
    """The voice's frequency in Hz: the middle one of all pieces that repeat themselves."""
    found = []
    for start in range(0, len(sound) - 1200, 600):
        piece = sound[start : start + 1200] - sound[start : start + 1200].mean()
        like = np.correlate(piece, piece, "full")[1199:]
        lag = 60 + int(np.argmax(like[60:300]))  # 80 to 400 Hz
        if like[0] > 1 and like[lag] > 0.6 * like[0]:
            found.append(speech.RATE / lag)
    return float(np.median(found))


def test_both_voices_say_the_script_and_differ(tmp_path: Path) -> None:
    made = record(tmp_path, TURNS)
    sound, rate = soundfile.read(tmp_path / "wav", dtype="float32")
    packed = soundfile.info(tmp_path / "mp3")
    assert (packed.format, packed.samplerate, packed.channels) == ("MP3", rate, 1)
    assert abs(len(sound) / rate - made.duration_ms / 1000) < 0.01
    assert abs(packed.duration - made.duration_ms / 1000) < 0.2
    assert made.mp3_bytes == (tmp_path / "mp3").stat().st_size < made.wav_bytes / 3
    halves = np.array_split(sound, 2)
    assert all(np.sqrt(np.mean(half**2)) > 0.02 for half in halves), "neither is silent"
    assert 0.74 < pitch(halves[1]) / pitch(halves[0]) < 0.9
    assert share_heard(hear(tmp_path / "mp3"), f"{SAID} {SAID}") >= 0.7


def test_it_sounds_the_same_every_time(tmp_path: Path) -> None:
    record(tmp_path, TURNS[1:])
    first = (tmp_path / "wav").read_bytes(), (tmp_path / "mp3").read_bytes()
    record(tmp_path, TURNS[1:])
    assert ((tmp_path / "wav").read_bytes(), (tmp_path / "mp3").read_bytes()) == first


def test_of_chinese_it_says_that_it_can_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="English only"):
        record(tmp_path, [Turn("Anna", "你好，世界。")])


def test_it_stops_between_two_sentences(tmp_path: Path) -> None:
    heard: list[int] = []

    def watch(number: int, turn: Turn) -> None:
        heard.append(number)
        if len(heard) == 3:
            raise Cancelled

    turns = [Turn("Anna", "One is here. Two are there. Three are gone.")]
    with pytest.raises(Cancelled):
        speech.record(turns, SPEAKERS, tmp_path / "wav", tmp_path / "mp3", watch)
    assert heard == [0, 0, 0]
