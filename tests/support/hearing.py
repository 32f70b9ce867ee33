"""A recogniser listens to what a pack has spoken: English only, and it takes up to half as long as the speech."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

#: What the recogniser's model was made for, in Hz.
_RATE = 16_000


def hear(path: Path, seconds: float | None = None) -> str:
    """The words in a WAV or MP3, of its beginning if told so. In silence it may hear a word: look at the samples."""
    import numpy as np
    import soundfile
    from pocketsphinx import Decoder

    samples, rate = soundfile.read(path, dtype="float32", frames=-1 if seconds is None else int(seconds * 24_000))
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    count = int(len(samples) * _RATE / rate)
    resampled = np.interp(np.arange(count) * rate / _RATE, np.arange(len(samples)), samples)
    decoder = Decoder(samprate=_RATE, loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw((np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    heard = decoder.hyp()
    return str(heard.hypstr) if heard else ""


def share_heard(heard: str, script: str) -> float:
    """How much of a script's words were heard, from 0 to 1: each word as often as it is said."""
    said = Counter(_words(script))
    return (said & Counter(_words(heard))).total() / said.total()


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())
