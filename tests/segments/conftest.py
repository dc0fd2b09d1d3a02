"""A voice of beeps, in every format; and a model that makes a video of each piece, too long by a
few frames."""

from __future__ import annotations

import math
import random
import subprocess
import wave
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from functions.segments import cut, join, pieces
from functions.segments.voice import Voice
from local.simulator import flashes

TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
}
# Pieces of 2 s instead of 15: the same arithmetic in a tenth of the time.
SMALL = cut.Limits(most_seconds=2.0)


@dataclass(frozen=True)
class Spoken:
    """A voice as the customer dropped it, its samples as they were spoken (one channel), and when
    it beeps, in seconds."""

    voice: Voice
    samples: array[int]
    rate: int
    beeps: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def sentences(seconds: float, rate: int, seed: int) -> tuple[array[int], tuple[float, ...]]:
    """Noise with a beep in it, then a pause, and so on."""
    random_ = random.Random(seed)
    samples, beeps = array("h"), []
    while len(samples) < seconds * rate:
        sentence = [
            int(random_.gauss(0, 1500)) for _ in range(int(random_.uniform(0.5, 0.9) * rate))
        ]
        at = int(random_.uniform(0.1, 0.3) * rate)
        for number in range(int(0.04 * rate)):
            sentence[at + number] = int(28_000 * math.sin(2 * math.pi * 1000 * number / rate))
        beeps.append((len(samples) + at) / rate)
        samples.extend(sentence)
        samples.extend([0] * int(random_.uniform(0.15, 0.4) * rate))
    samples = samples[: int(seconds * rate)]
    return samples, tuple(beep for beep in beeps if beep < seconds - 0.1)


def saved(samples: array[int], folder: Path, name: str, rate: int, channels: int) -> Path:
    """The samples on each channel, in the format that the name's ending says; encoded by FFmpeg's
    own program."""
    path, wav = folder / name, folder / f"{name}.source.wav"
    with wave.open(str(wav), "wb") as out:
        out.setparams((channels, 2, rate, 0, "NONE", ""))
        out.writeframes(array("h", (value for value in samples for _ in range(channels))).tobytes())
    subprocess.run(
        [get_ffmpeg_exe(), "-y", "-loglevel", "error", "-i", wav, "-b:a", "64k", path], check=True
    )
    return path


@pytest.fixture
def speak(tmp_path: Path) -> Callable[..., Spoken]:
    def speak_(
        seconds: float = 7.013,
        ending: str = "wav",
        rate: int = 16_000,
        channels: int = 1,
        seed: int = 7,
    ) -> Spoken:
        samples, beeps = sentences(seconds, rate, seed)
        path = saved(samples, tmp_path, f"voice.{ending}", rate, channels)
        return Spoken(Voice(path, TYPES[ending]), samples, rate, beeps)

    return speak_


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Voice]:
    """Any samples as a WAV."""

    def record_(samples: list[int], rate: int = 16_000) -> Voice:
        return Voice(saved(array("h", samples), tmp_path, "voice.wav", rate, 1), "audio/wav")

    return record_


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., list[join.Made]]:
    """The model: a video of each piece. `surplus` frames by piece; `options` of the encoder and
    sizes by piece number."""

    def make_(
        voice: Voice,
        plan: cut.Plan,
        surplus: tuple[int, ...] = (0, 1, 5, 2, 0, 3),
        **by_number: dict[str, Any],
    ) -> list[join.Made]:
        made = []
        for piece in pieces.write(voice, plan, pieces.Form("audio/wav")):
            path = tmp_path / f"piece-{piece.segment.number}.mp4"
            extra = surplus[(piece.segment.number - 1) % len(surplus)]
            flashes.render(
                piece.content,
                path,
                surplus=extra,
                **by_number.get(f"piece_{piece.segment.number}", {}),
            )
            made.append(join.Made(piece.segment, path))
        return made

    return make_
