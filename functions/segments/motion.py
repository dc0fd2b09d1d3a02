"""Did the mouth move? A score of how much a video's pictures change, as a whole and where the mouth
is.

A warning and never a refusal: a model may return the portrait as it was, and charge for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import sub

from functions.segments.voice import Source, opened

# Pixels that a picture is scaled to: encoder noise is averaged away, a mouth is still some pixels.
_SIDE = 96
_EVERY_SECONDS = 0.12  # a syllable lasts 0.2 s
_THIRD = _SIDE // 3
# Where the mouth of a portrait is: the middle third of the width, and a third of the height from
# its middle down.
_MOUTH = [
    row * _SIDE + _THIRD + column
    for row in range(_SIDE // 2, _SIDE // 2 + _THIRD)
    for column in range(_THIRD)
]

# Below this score of the mouth nothing moves. Measured at x264's CRF 18 to 35 on 480 × 480 pixels:
# a still 0.00, a mouth that opens by 3 pixels either way 0.11 to 0.21, by 16 pixels 0.66 to 0.74
# (drawn: bench/long_voice.py; no real model's video was at hand). A zoom of 1 % scores 0.6 to 1.0:
# a still that is moved as a whole is not found.
STILL = 0.1


@dataclass(frozen=True)
class Motion:
    """The mean difference between pictures 0.12 s apart, in steps of 255 from black to white."""

    whole: float
    mouth: float

    @property
    def is_still(self) -> bool:
        return self.mouth < STILL


def measure(video: Source) -> Motion:
    """Decode an MP4, one picture in memory at a time. Raises voice.Undecodable."""
    whole = mouth = 0.0
    pairs = 0
    before: bytes | None = None
    for picture in _pictures(video):
        if before is not None:
            differences = list(map(abs, map(sub, picture, before)))
            whole += sum(differences) / len(differences)
            mouth += sum(map(differences.__getitem__, _MOUTH)) / len(_MOUTH)
            pairs += 1
        before = picture
    return Motion(round(whole / pairs, 3), round(mouth / pairs, 3)) if pairs else Motion(0.0, 0.0)


def _pictures(video: Source) -> Iterator[bytes]:
    """Every 0.12 s a picture in shades of grey, scaled down."""
    due = float("-inf")
    with opened(video, "video/mp4") as container:
        for frame in container.decode(video=0):
            time = frame.time or 0.0
            if time < due - 1e-6:
                continue
            due = time + _EVERY_SECONDS
            plane = frame.reformat(_SIDE, _SIDE, "gray").planes[0]
            content = bytes(plane)  # rows may be padded
            yield b"".join(content[row * plane.line_size :][:_SIDE] for row in range(_SIDE))
