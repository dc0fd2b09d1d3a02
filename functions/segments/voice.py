"""Decode a voice, streaming: its samples one after another, in flat memory.

The decoder is told what the file is, as intake found it in the bytes. Left to guess, it would open
a playlist as well, and with it files and URLs that somebody else chose.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
from av.audio.resampler import AudioResampler
from av.container import InputContainer

# A path, or a file that can seek; such a file is read from its start each time.
Source = str | os.PathLike[str] | BinaryIO

BYTES_PER_SAMPLE = 2  # signed 16 bits, little endian
_MOST_PADDING_SAMPLES = 2048  # the longest frame of AAC: padding fills up the last one
MOST_BROKEN_PACKETS = 100  # players skip a few, and so does intake; beyond that it is a broken file

# What FFmpeg calls the format: https://ffmpeg.org/ffmpeg-formats.html#Demuxers
_FORMATS = {
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mp4": "mp4",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "video/mp4": "mp4",
}


class Undecodable(Exception):
    """The file cannot be decoded: fail the task, with what stands here."""


@dataclass(frozen=True)
class Voice:
    """`content_type` as found in the bytes (audio/mpeg, audio/wav, audio/mp4, audio/aac, audio/ogg,
    audio/flac)."""

    source: Source
    content_type: str


@contextmanager
def opened(source: Source, content_type: str) -> Iterator[InputContainer]:
    """Raises Undecodable, here and for whatever the decoder finds while the block runs."""
    if not isinstance(source, (str, os.PathLike)):
        source.seek(0)
    try:
        # Only what was opened here is read: no link inside the file is followed.
        options = {"protocol_whitelist": "file"}
        with av.open(source, "r", format=_FORMATS[content_type], options=options) as container:
            yield container
    except av.error.FFmpegError as error:
        raise Undecodable(
            f"it cannot be decoded as {content_type} ({error.strerror}): make it anew"
        ) from error


def frames(voice: Voice) -> Iterator[av.AudioFrame]:
    """The voice as frames of packed 16-bit samples, mono or stereo, all at the rate of its first
    frame.

    Sample 0 is the first that a player plays, the last one the last: what an encoder put before and
    behind the voice is taken off where the file states it.
    """
    with opened(voice.source, voice.content_type) as container:
        if not container.streams.audio:
            raise Undecodable("it holds no sound")
        # FFmpeg takes off the delay of all formats, and the padding at the end of all but MP4.
        stated = container.duration if voice.content_type == "audio/mp4" else None
        yield from _up_to(_uniform(_decoded(container)), stated)


def pcm(frame: av.AudioFrame) -> bytes:
    """The samples of a frame of `frames`, interleaved; without the padding that its buffer may
    have."""
    return bytes(frame.planes[0])[: frame.samples * frame.layout.nb_channels * BYTES_PER_SAMPLE]


def frame_of(content: bytes, rate: int, channels: int, at: int = 0) -> av.AudioFrame:
    """A frame of these samples, interleaved, the first of which is sample `at`."""
    samples = len(content) // (channels * BYTES_PER_SAMPLE)
    frame = av.AudioFrame(
        format="s16", layout="mono" if channels == 1 else "stereo", samples=samples
    )
    frame.planes[0].update(content)
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    return frame


def _uniform(decoded: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    resampler = came = None
    for frame in decoded:
        layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None:
            resampler = AudioResampler("s16", layout, frame.sample_rate)
        # Files that were joined may change in the middle: to the form of the first.
        elif shape != came:
            yield from resampler.resample(None)
            resampler = AudioResampler("s16", resampler.layout, resampler.rate)
        came = shape
        # Samples are counted: a gap in the timestamps must not become one in the voice.
        frame.pts = None
        yield from resampler.resample(frame)
    if resampler is None:
        raise Undecodable("it holds no sound that can be decoded: make it anew")
    yield from resampler.resample(None)


def _up_to(uniform: Iterable[av.AudioFrame], stated: int | None) -> Iterator[av.AudioFrame]:
    """Without an encoder's padding behind the `stated` end (microseconds). If more lies there, the
    header is wrong."""
    behind: list[av.AudioFrame] = []
    samples = beyond = 0
    for frame in uniform:
        end = round(stated * frame.sample_rate / 1_000_000) if stated else 0
        samples += frame.samples
        if not stated or samples <= end:
            yield frame
            continue
        behind.append(frame)
        beyond = samples - end
        if beyond > _MOST_PADDING_SAMPLES:
            yield from behind
            behind, stated = [], None
    for frame in behind:
        size = frame.layout.nb_channels * BYTES_PER_SAMPLE
        if kept := frame.samples - beyond if frame is behind[0] else 0:
            yield frame_of(pcm(frame)[: kept * size], frame.sample_rate, frame.layout.nb_channels)


def _decoded(container: InputContainer) -> Iterator[av.AudioFrame]:
    broken = 0
    for packet in container.demux(container.streams.audio[0]):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError as error:
            broken += 1
            if broken > MOST_BROKEN_PACKETS:
                raise Undecodable(
                    f"more than {MOST_BROKEN_PACKETS} packets of it are broken: make it anew"
                ) from error
