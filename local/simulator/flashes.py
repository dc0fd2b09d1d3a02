"""A video that flashes where its voice beeps, and is a few frames too long: what tells whether lips
fit a voice.

As real models do, it shows each 1/25 s what is heard in it, encodes the voice anew (which shifts
it), and returns a few frames more or fewer than it was given.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.audio.resampler import AudioResampler

FRAMES_PER_SECOND = 25
DARK, LIT = 40, 220
_BEEP = 16_000  # the loudest sample of a beep is above, that of a voice below

X264 = {"preset": "ultrafast", "bf": "2", "g": "250"}


def render(
    voice: bytes,
    path: Path,
    *,
    surplus: int = 0,
    width: int = 64,
    height: int = 64,
    options: Mapping[str, str] = X264,
    frames_per_second: int = FRAMES_PER_SECOND,
) -> None:
    """Write an MP4 of `voice` (any file that FFmpeg reads) to `path`, `surplus` frames longer than
    the voice."""
    samples, rate = _mono(voice)
    with av.open(str(path), "w") as out:
        pictures = out.add_stream("libx264", rate=frames_per_second, options=dict(options))
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        sound = out.add_stream("aac", rate=rate)
        sound.layout = "mono"
        for frame in _frames(samples, rate, frames_per_second, surplus, width, height):
            out.mux(pictures.encode(frame))
        out.mux(pictures.encode(None))
        for voiced in _voice(samples, rate):
            out.mux(sound.encode(voiced))
        out.mux(sound.encode(None))


def _mono(voice: bytes) -> tuple[array[int], int]:
    samples = array("h")
    with av.open(io.BytesIO(voice), "r") as container:
        stream = container.streams.audio[0]
        resampler = AudioResampler("s16", "mono", stream.rate)
        for frame in (*container.decode(stream), None):
            for mono in resampler.resample(frame):
                samples.frombytes(bytes(mono.planes[0])[: mono.samples * 2])
        return samples, stream.rate


def _frames(
    samples: array[int], rate: int, frames_per_second: int, surplus: int, width: int, height: int
) -> Iterator[av.VideoFrame]:
    heard = -(-len(samples) * frames_per_second // rate)
    for number in range(max(1, heard + surplus)):
        part = samples[
            number * rate // frames_per_second : (number + 1) * rate // frames_per_second
        ]
        light = LIT if part and max(map(abs, part)) > _BEEP else DARK
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, value in zip(frame.planes, (light, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = number, Fraction(1, frames_per_second)
        yield frame


def _voice(samples: array[int], rate: int) -> Iterator[av.AudioFrame]:
    for start in range(0, len(samples), 1024):
        part = samples[start : start + 1024]
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(part))
        frame.planes[0].update(part.tobytes())
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield frame
