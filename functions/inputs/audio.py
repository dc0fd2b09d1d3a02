"""How many seconds a sound really lasts. Frames and pages are counted where a format has them, and
never guessed from the size: what a header says of the length is wrong in files that were cut,
joined or streamed.

Each reader raises Damaged for a sound that breaks off or does not say how long it is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache

from functions.inputs.source import Damaged, Source

# A frame of sound: its length in bytes, its samples, and samples per second. A reader gives None
# for what is none.
Frame = tuple[int, int, int]
FrameReader = Callable[[bytes], Frame | None]

FRAME_HEAD_BYTES = 7
FIRST_FRAME_WITHIN_BYTES = 1 << 16  # encoders and taggers leave padding before the first frame
MOST_JUNK_BYTES = (
    1 << 16
)  # between frames, in all: a few broken frames are played over, more is a broken file
# places where frames do not follow one another: junk, or the tags of files that were joined
MOST_BREAKS = 1000
MOST_PARTS = 20_000  # of a WAV, or of one box of an MP4: fragments of a second, for hours
MOST_SAMPLES = 200_000  # in one fragment of an MP4
MOST_PAGES = 200_000  # of an Ogg: one for each 20 ms, as streams are written, for an hour
LONGEST_SECONDS = 3600.0  # counting stops here: nobody makes a talking video of an hour
STREAMED_BYTES = (
    0x7FFF0000  # a WAV written into a pipe claims this much or more: its writer could not know
)

# bits per second / 1000 of MPEG layer III: version 1, then versions 2 and 2.5
_KBPS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
)
_MP3_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_AAC_HERTZ = (
    96000,
    88200,
    64000,
    48000,
    44100,
    32000,
    24000,
    22050,
    16000,
    12000,
    11025,
    8000,
    7350,
)
_XING = re.compile(rb"Xing|Info")


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
        return 32 + int.from_bytes(head[12:16], "little")
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


def framed(source: Source, reader: FrameReader, start: int) -> float:
    """MP3 and AAC: every frame to the end, over tags and a little junk between them."""
    promised, trimmed, position = _xing(source, start) if reader is mp3_frame else (0.0, 0.0, start)
    seconds, junk, breaks = 0.0, 0, 0
    while position < source.size and seconds <= LONGEST_SECONDS:
        frame = reader(source.read(position, FRAME_HEAD_BYTES))
        if frame is not None:
            position += frame[0]
            if position <= source.size:
                seconds += frame[1] / frame[2]
            continue
        behind = after_tags(source, position)
        if behind == position:
            found = _next_frame(source, reader, position + 1, position + MOST_JUNK_BYTES, 2)
            behind = source.size if found is None else found
            junk += behind - position
        breaks += 1
        if junk > MOST_JUNK_BYTES or breaks > MOST_BREAKS:
            raise Damaged(f"{junk:,} bytes in {breaks:,} places of it are no sound")
        position = behind
    if seconds < min(promised, LONGEST_SECONDS) - 1.0:
        raise Damaged(f"it is cut off: {seconds:.1f} of {promised:.1f} seconds are there")
    return max(seconds - trimmed, 0.0)


def _xing(source: Source, start: int) -> tuple[float, float, int]:
    """The first frame, if it is an index and no sound: seconds it promises, seconds a player trims,
    where sound begins.

    http://gabriel.mp3-tech.org/mp3infotag.html
    """
    frame = mp3_frame(source.read(start, FRAME_HEAD_BYTES))
    index = source.read(start, frame[0]) if frame else b""
    mark = _XING.search(index, 4, 48)
    if not frame or not mark or len(index) < mark.end() + 4:
        return 0.0, 0.0, start
    length, samples, hertz = frame
    flags, rest = index[mark.end() + 3], mark.end() + 4
    frames = int.from_bytes(index[rest : rest + 4], "big") if flags & 1 else 0
    rest += 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    trims = index[rest + 21 : rest + 24]
    trimmed = (
        (trims[0] << 4 | trims[1] >> 4) + ((trims[1] & 15) << 8 | trims[2])
        if len(trims) == 3
        else 0
    )
    return frames * samples / hertz, trimmed / hertz, start + length


def wav(source: Source) -> float:
    position, bytes_per_second = 12, 0
    for _ in range(MOST_PARTS):
        if position + 8 > source.size:
            break
        name, length = struct.unpack("<4sI", source.exactly(position, 8))
        position += 8
        if name == b"fmt ":
            form, channels, hertz, stated, block = struct.unpack(
                "<HHIIH", source.exactly(position, 14)
            )
            plain = form in (
                1,
                3,
                0xFFFE,
            )  # PCM, float, extensible: the stated rate is often wrong, and not needed
            bytes_per_second = hertz * block if plain else stated
            if not channels or not bytes_per_second:
                raise Damaged("its format chunk has no sample rate")
        elif name == b"data":
            if not bytes_per_second:
                raise Damaged("its sound comes before its format")
            there = source.size - position
            if there < length < STREAMED_BYTES:
                raise Damaged(f"it is cut off: {there:,} of {length:,} bytes of sound are there")
            return (there if length >= STREAMED_BYTES or not length else length) / bytes_per_second
        position += length + (length & 1)
    raise Damaged("it holds no sound")


def flac(source: Source) -> float:
    facts = int.from_bytes(source.exactly(18, 8), "big")
    hertz, samples = facts >> 44, facts & (1 << 36) - 1
    if not hertz or not samples:
        raise Damaged("it does not say how long it is")
    return samples / hertz


def ogg_codec(source: Source) -> str:
    """ "vorbis", "opus", or "" for anything else an Ogg file may hold."""
    packet = source.read(28, 8)
    return "vorbis" if packet[:7] == b"\x01vorbis" else "opus" if packet == b"OpusHead" else ""


def ogg(source: Source) -> float:
    """Every page; files joined one behind the other each count their own."""
    mark, position, seconds = source.read(28, 7), 0, 0.0
    hertz = skipped = last = pages = 0
    while position < source.size and seconds <= LONGEST_SECONDS:
        magic, flags, granule = struct.unpack("<4sxBq", source.exactly(position, 14))
        pages += 1
        if magic != b"OggS" or pages > MOST_PAGES:
            raise Damaged("its pages do not follow one another")
        count = source.exactly(position + 26, 1)[0]
        body = position + 27 + count
        if flags & 2:
            head = source.exactly(body, 16)
            if head[:7] != mark:
                raise Damaged("it holds something beside the sound")
            seconds, last = seconds + _played(last, skipped, hertz), 0
            opus = mark == b"OpusHea"
            hertz = 48000 if opus else int.from_bytes(head[12:16], "little")
            skipped = int.from_bytes(head[10:12], "little") if opus else 0
        last = max(last, granule)
        position = body + sum(source.exactly(position + 27, count))
    if position > source.size:
        raise Damaged("it is cut off")
    return seconds + _played(last, skipped, hertz)


def _played(granule: int, skipped: int, hertz: int) -> float:
    return max(granule - skipped, 0) / hertz if hertz else 0.0


Box = tuple[bytes, int, int]


def boxes(source: Source, start: int, end: int) -> Iterator[Box]:
    """The boxes of an MP4 between two places: name, and where the content begins and ends."""
    for _ in range(MOST_PARTS):
        if start + 8 > end:
            return
        length, name = struct.unpack(">I4s", source.exactly(start, 8))
        content = start + 8
        if length == 1:
            length, content = int.from_bytes(source.exactly(content, 8), "big"), content + 8
        stop = end if length == 0 else start + length
        if stop < content or stop > end:
            raise Damaged(
                "it is cut off"
                if end == source.size
                else f"a box {name!r} in it is larger than its place"
            )
        yield name, content, stop
        start = stop
    raise Damaged(f"it has more than {MOST_PARTS:,} parts")


def _inside(source: Source, box: Box, *path: bytes) -> list[Box]:
    found = [box]
    for name in path:
        found = [
            inner for outer in found for inner in boxes(source, *outer[1:]) if inner[0] == name
        ]
    return found


def mp4_index(source: Source) -> Box:
    """The `moov` box, from which the rest is known."""
    found = {box[0]: box for box in boxes(source, 0, source.size)}
    if b"mdat" not in found or b"moov" not in found:
        raise Damaged("its index is missing" if b"mdat" in found else "it holds no sound")
    return found[b"moov"]


def mp4_tracks(source: Source, moov: Box) -> list[tuple[str, str]]:
    """What each track is and how it is coded: ("soun", "mp4a")."""
    tracks = []
    for trak in _inside(source, moov, b"trak"):
        kinds = [source.exactly(box[1] + 8, 4) for box in _inside(source, trak, b"mdia", b"hdlr")]
        codes = [
            source.exactly(box[1] + 12, 4)
            for box in _inside(source, trak, b"mdia", b"minf", b"stbl", b"stsd")
        ]
        tracks.append(
            (b"".join(kinds[:1]).decode("latin-1"), b"".join(codes[:1]).decode("latin-1"))
        )
    return tracks


def mp4(source: Source, moov: Box) -> float:
    """The length of the whole, after edits; of a file in fragments, of all its fragments."""
    for header in _inside(source, moov, b"mvhd"):
        hertz, length = _clock(source, header)
        if hertz and length and length not in (0xFFFFFFFF, (1 << 64) - 1):
            return length / hertz
    clocks = [_clock(source, header) for header in _inside(source, moov, b"trak", b"mdia", b"mdhd")]
    if len(clocks) != 1 or not clocks[0][0]:
        raise Damaged("it does not say how long it is")
    presets = [source.exactly(box[1] + 12, 4) for box in _inside(source, moov, b"mvex", b"trex")]
    preset = int.from_bytes(presets[0], "big") if presets else 0
    moofs = (box for box in boxes(source, 0, source.size) if box[0] == b"moof")
    return sum(_fragment(source, moof, preset) for moof in moofs) / clocks[0][0]


def _clock(source: Source, header: Box) -> tuple[int, int]:
    """Units per second and length in units, of an `mvhd` or `mdhd`."""
    wide = source.exactly(header[1], 1)[0] == 1
    place, form = (20, ">IQ") if wide else (12, ">II")
    hertz, length = struct.unpack(form, source.exactly(header[1] + place, struct.calcsize(form)))
    return hertz, length


def _fragment(source: Source, moof: Box, preset: int) -> int:
    """Units in one fragment: each run names every sample's, or its header one for all, or the file
    does."""
    units = 0
    for traf in _inside(source, moof, b"traf"):
        each = preset
        for _, start, _ in _inside(source, traf, b"tfhd"):
            flags = int.from_bytes(source.exactly(start, 4), "big")
            if flags & 8:
                place = start + 8 + 8 * (flags & 1) + 4 * (flags >> 1 & 1)
                each = int.from_bytes(source.exactly(place, 4), "big")
        units += sum(_run(source, trun, each) for trun in _inside(source, traf, b"trun"))
    return units


def _run(source: Source, trun: Box, each: int) -> int:
    _, start, end = trun
    flags, count = struct.unpack(">II", source.exactly(start, 8))
    if not flags & 0x100:
        return each * int(count)
    rows = start + 8 + 4 * (flags & 1) + 4 * (flags >> 2 & 1)
    width = 4 * sum(flags >> bit & 1 for bit in (8, 9, 10, 11))
    if count > MOST_SAMPLES or rows + width * count > end:
        raise Damaged("a fragment of it is shorter than it says")
    table = source.exactly(rows, width * count)
    return sum(int.from_bytes(table[at : at + 4], "big") for at in range(0, len(table), width))
