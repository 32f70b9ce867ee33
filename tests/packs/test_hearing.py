"""The recogniser understands what it should, and only that: otherwise it would prove nothing."""

from __future__ import annotations

from pathlib import Path

import soundfile
from hibari import Hibari

from tests.support.hearing import hear, share_heard

SCRIPT = "The library opens at nine in the morning on weekdays."


def test_speech_is_heard_and_another_script_is_not(tmp_path: Path) -> None:
    voice = Hibari(threads=1)
    path = tmp_path / "speech.mp3"
    soundfile.write(path, voice(SCRIPT, seed=0), voice.sample_rate, format="MP3")
    heard = hear(path)
    assert share_heard(heard, SCRIPT) >= 0.8
    assert share_heard(heard, "Coffee machines need water, electricity and somebody who cleans them often.") < 0.3


def test_silence_says_no_script(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, [0.0] * 24_000, 24_000)
    assert share_heard(hear(path), SCRIPT) == 0
