"""A long voice whose pieces are all alike, and the real film that serves each of them."""

from __future__ import annotations

import io
import random
import struct
import wave
from functools import cache

import av

SIDE = 32
RATE = 8000
PIECE_SECONDS = 14.0
_PAUSE_SECONDS = 0.24
_RATE = 5  # pictures a second: the join decodes them all
_FRAMES = 71  # 14.2 s: some too many, as models return


@cache
def long_wav(pieces: int = 2) -> bytes:
    """So many stretches of noise with a pause at the end of each: that is where it is cut."""
    return _wav(_stretch(11) * pieces)


@cache
def edited_wav() -> bytes:
    """The same, and the second of its stretches is another, which is shorter by part of a frame."""
    return _wav(_stretch(11) + _stretch(12, fewer=107))


@cache
def moved_wav() -> bytes:
    """The edited one, with another first stretch that is longer by part of a frame."""
    return _wav(_stretch(13, fewer=-41) + _stretch(12, fewer=107))


def _stretch(seed: int, fewer: int = 0) -> bytes:
    chance = random.Random(seed)
    count = int((PIECE_SECONDS - _PAUSE_SECONDS) * RATE) - fewer
    noise = [int(chance.gauss(0, 3000)) for _ in range(count)]
    return struct.pack(f"<{len(noise)}h", *noise) + bytes(int(_PAUSE_SECONDS * RATE) * 2)


def _wav(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(samples)
    return file.getvalue()


def film() -> bytes:
    """A real MP4: the join copies its packets."""
    return _film(step=3)


def still() -> bytes:
    """One in which nothing moves."""
    return _film(step=0)


@cache
def _film(step: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=_RATE, options={"preset": "ultrafast"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(_FRAMES):
            frame = av.VideoFrame(SIDE, SIDE, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([(number * step * 5) % 256]) * plane.buffer_size)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def film_of(job_id: str) -> bytes:
    """The same film, with a box behind it that is this job's alone."""
    content = job_id.encode()
    return film() + struct.pack(">I4s", len(content) + 8, b"free") + content
