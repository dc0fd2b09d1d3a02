"""MP3 and AAC: sounds made of frames, each of which is counted.

What a header says of the length is wrong in files that were cut, joined or streamed, and what a bit
rate suggests is wrong in more.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from functions.inputs.source import Damaged, Source

# A frame of sound: its length in bytes, its samples, and samples per second. A reader gives None
# for what is none.
Frame = tuple[int, int, int]
FrameReader = Callable[[bytes], Frame | None]

FRAME_HEAD_BYTES = 7
FIRST_FRAME_WITHIN_BYTES = 1 << 16  # encoders and taggers leave padding before the first frame
# Between frames, in all: a few broken frames are played over, more is a broken file.
MOST_JUNK_BYTES = 1 << 16
# Places where frames do not follow one another: junk, or the tags of files that were joined.
MOST_BREAKS = 1000
# Counting stops here. The shortest frames, 1,024 samples at 96 kHz, are 6,400 seconds by then: more
# than any limit allows.
MOST_FRAMES = 600_000

# bits per second / 1000 of MPEG layer III: version 1, then versions 2 and 2.5
_KBPS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
)
_MP3_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_AAC_HERTZ = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350
)  # fmt: skip
_XING = re.compile(rb"Xing|Info")
_VBRI_AT = 36  # behind the header of the frame and 32 bytes


@lru_cache(maxsize=512)
def _layer_three(head: bytes) -> Frame | None:
    sync, second, third = head
    version, rate = second >> 3 & 3, third >> 2 & 3
    kbps = _KBPS[version != 3][third >> 4]
    if (
        sync != 0xFF
        or second >> 5 != 7
        or second >> 1 & 3 != 1
        or version == 1
        or rate == 3
        or not kbps
    ):
        return None
    hertz = _MP3_HERTZ[version][rate]
    samples = 1152 if version == 3 else 576
    return samples // 8 * kbps * 1000 // hertz + (third >> 1 & 1), samples, hertz


def mp3_frame(head: bytes) -> Frame | None:
    return _layer_three(head[:3]) if len(head) >= 4 else None


def adts_frame(head: bytes) -> Frame | None:
    if len(head) < FRAME_HEAD_BYTES or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate = head[2] >> 2 & 15
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(_AAC_HERTZ) or length < FRAME_HEAD_BYTES:
        return None
    return length, 1024 * ((head[6] & 3) + 1), _AAC_HERTZ[rate]


def is_free_format(head: bytes) -> bool:
    """An MP3 frame without a bit rate: legal, and played by almost nothing."""
    return (
        len(head) > 2
        and head[0] == 0xFF
        and head[1] >> 5 == 7
        and head[1] >> 1 & 3 == 1
        and head[2] >> 4 == 0
    )


def after_tags(source: Source, position: int = 0) -> int:
    """Where ID3 and APE tags that begin at `position`, cover pictures and all, are over."""
    for _ in range(16):
        position += _tag_bytes(source.read(position, 32))
    return position


def _tag_bytes(head: bytes) -> int:
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) == 32:
        is_header = head[23] & 0x20  # else it is the footer, and the tag lay before it
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    return 128 if head[:3] == b"TAG" else 0


def first_frame(source: Source, reader: FrameReader) -> int | None:
    """Where the frames begin, if this is a sound made of such frames at all: three in a row, soon
    after any tags."""
    start = after_tags(source)
    return _next_frame(source, reader, start, start + FIRST_FRAME_WITHIN_BYTES, 3)


def _next_frame(
    source: Source, reader: FrameReader, start: int, end: int, in_a_row: int
) -> int | None:
    area = source.read(start, end - start)
    found = area.find(b"\xff")
    while found >= 0:
        if _in_a_row(source, reader, start + found, in_a_row):
            return start + found
        found = area.find(b"\xff", found + 1)
    return None


def _in_a_row(source: Source, reader: FrameReader, position: int, wanted: int) -> bool:
    for _ in range(wanted):
        frame = reader(source.read(position, FRAME_HEAD_BYTES))
        if frame is None:
            return False
        position += frame[0]
    return True


@dataclass(frozen=True)
class Index:
    """What the first frame of an MP3 says of the rest, if it is an index and no sound.

    `frames` and `end` (a position in the file) are 0 where it does not say; `trimmed` seconds are
    padding that a player leaves out.
    """

    begin: int
    frames: int = 0
    end: int = 0
    trimmed: float = 0.0


@dataclass
class _Part:
    """The frames of one file; several may be joined, each behind its own tags."""

    index: Index
    frames: int = 0
    played: float = 0.0

    @property
    def seconds(self) -> float:
        return max(self.played - self.index.trimmed, 0.0)

    def check_end(self, size: int) -> None:
        """At the end of the part. Bytes that the index names are missing; or, of an index without
        bytes, a second of sound."""
        wanted = self.index.frames
        if self.frames < wanted and (self.index.end > size or self.frames < wanted - 40):
            raise Damaged(f"it is cut off: {self.frames:,} of {wanted:,} frames are there")


def seconds(source: Source, reader: FrameReader, start: int) -> float:
    """Every frame to the end, over tags and a little junk between them. Raises Damaged."""
    parts = [_Part(_index(source, reader, start))]
    position, frames, junk, breaks = parts[0].index.begin, 0, 0, 0
    while position < source.size and frames < MOST_FRAMES:
        frame = reader(source.read(position, FRAME_HEAD_BYTES))
        if frame is not None:
            position += frame[0]
            if position <= source.size:
                parts[-1].played += frame[1] / frame[2]
                parts[-1].frames += 1
                frames += 1
            continue
        if position + FRAME_HEAD_BYTES > source.size and source.read(position, 1) == b"\xff":
            position += FRAME_HEAD_BYTES
            break  # a header that is not all there
        behind = _behind_junk(source, reader, position)
        junk += behind - position if after_tags(source, position) == position else 0
        breaks += 1
        if junk > MOST_JUNK_BYTES or breaks > MOST_BREAKS:
            raise Damaged(f"{junk:,} bytes in {breaks:,} places of it are no sound")
        index = _index(source, reader, behind)
        position = index.begin
        if index.frames:
            parts[-1].check_end(source.size)
            parts.append(_Part(index))
    parts[-1].check_end(source.size)
    if position > source.size and parts[-1].frames != parts[-1].index.frames:
        raise Damaged("it is cut off within its last frame, or within a tag behind it")
    return sum(part.seconds for part in parts)


def _behind_junk(source: Source, reader: FrameReader, position: int) -> int:
    behind = after_tags(source, position)
    if behind > position:
        return behind
    found = _next_frame(source, reader, position + 1, position + MOST_JUNK_BYTES, 2)
    return source.size if found is None else found


def _index(source: Source, reader: FrameReader, start: int) -> Index:
    frame = mp3_frame(source.read(start, FRAME_HEAD_BYTES))
    if reader is not mp3_frame or not frame:
        return Index(start)
    first = source.read(start, frame[0])
    if first[_VBRI_AT : _VBRI_AT + 4] == b"VBRI" and len(first) >= _VBRI_AT + 18:
        return _vbri(first, start)
    mark = _XING.search(first, 4, 48)
    if not mark or len(first) < mark.end() + 4:
        return Index(start)
    return _xing(first, mark.end(), start, frame[2])


def _vbri(first: bytes, start: int) -> Index:
    """Fraunhofer's: version, delay and quality, then bytes and frames, the first one included.
    https://www.codeproject.com/Articles/8295/MPEG-Audio-Frame-Header#VBRIHeader"""
    length, frames = struct.unpack_from(">II", first, _VBRI_AT + 10)
    return Index(start + len(first), max(frames - 1, 0), start + length if length else 0)


def _xing(first: bytes, place: int, start: int, hertz: int) -> Index:
    """http://gabriel.mp3-tech.org/mp3infotag.html"""
    flags, rest = first[place + 3], place + 4
    frames = int.from_bytes(first[rest : rest + 4]) if flags & 1 else 0
    rest += 4 * (flags & 1)
    length = int.from_bytes(first[rest : rest + 4]) if flags & 2 else 0
    rest += 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    trims = first[rest + 21 : rest + 24].ljust(3, b"\0")
    trimmed = (trims[0] << 4 | trims[1] >> 4) + ((trims[1] & 15) << 8 | trims[2])
    end = start + length if length else 0
    return Index(start + len(first), frames, end, trimmed / hertz)
