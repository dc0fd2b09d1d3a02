"""What a picture file really is and how many pixels it has, known from its bytes.

Names and declared types are not believed. Pictures are not decoded: a header and an end mark are
read. EXIF's rotation is not looked at: the shorter side and the ratio are the same either way up.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from functions.inputs import filetypes
from functions.inputs.refusals import NotMedia, check_any_size, damaged, not_a_picture
from functions.inputs.source import Damaged, Source

# A phone's largest that fits into 10 MB is half of it, a 50,000 × 50,000 bomb 25 times.
MOST_PIXELS = 100_000_000
MOST_SEGMENTS = 2000  # of a JPEG before its frame header
TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class Image:
    name: str
    content_type: str
    bytes: int
    width: int
    height: int


def inspect_image(source: Source) -> Image:
    """Raises NotMedia. Costs one or two reads; more only if much stands before or behind the
    picture."""
    check_any_size(source, "portrait", "IMAGE")
    kind = filetypes.kind(source.read(0, 64))
    reader = {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp}.get(kind.content_type)
    if reader is None:
        raise NotMedia("NOT_AN_IMAGE", "portrait", not_a_picture(source, kind))
    try:
        width, height = reader(source)
        if not width or not height:
            raise Damaged("it says that it has no pixels")
    except Damaged as damage:
        raise NotMedia("IMAGE_DAMAGED", "portrait", damaged(source, damage)) from damage
    if width * height > MOST_PIXELS:
        message = (
            f"{source.name} is {width} × {height} pixels, {width * height // 1_000_000} million "
            "in all; Talkdrop's own "
            f"limit is {MOST_PIXELS // 1_000_000} million: make the picture smaller."
        )
        raise NotMedia("IMAGE_TOO_MANY_PIXELS", "portrait", message)
    return Image(source.name, kind.content_type, source.size, width, height)


def _png(source: Source) -> tuple[int, int]:
    header = source.exactly(8, 25)
    length, name, width, height = struct.unpack(">I4sII", header[:16])
    if (
        length != 13
        or name != b"IHDR"
        or zlib.crc32(header[4:21]) != int.from_bytes(header[21:], "big")
    ):
        raise Damaged("its header is broken")
    _check_end(source, b"IEND\xaeB`\x82", 33)
    return width, height


def _jpeg(source: Source) -> tuple[int, int]:
    """Along the segments to the frame header, which may stand behind much of EXIF and colour
    profile."""
    position = 2
    for _ in range(MOST_SEGMENTS):
        fill, marker, length = struct.unpack(">BBH", source.exactly(position, 4))
        if fill != 0xFF or marker in (0xD9, 0xDA):
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", source.exactly(position + 5, 4))
            _check_end(source, b"\xff\xd9", position + 2 + length)
            return width, height
        bare = marker == 0x01 or 0xD0 <= marker <= 0xD8
        position += 1 if marker == 0xFF else 2 if bare else 2 + length
    raise Damaged("its header is broken")


def _webp(source: Source) -> tuple[int, int]:
    length, name = struct.unpack("<I4x4s", source.exactly(4, 12))
    if length + 8 > source.size:
        raise Damaged(f"it is cut off: {source.size:,} of {length + 8:,} bytes are there")
    facts = source.exactly(20, 10)
    if name == b"VP8X":
        return int.from_bytes(facts[4:7], "little") + 1, int.from_bytes(facts[7:10], "little") + 1
    if name == b"VP8L" and facts[0] == 0x2F:
        sides = int.from_bytes(facts[1:5], "little")
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and facts[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", facts[6:])
        return width & 0x3FFF, height & 0x3FFF
    raise Damaged("its header is broken")


def _check_end(source: Source, mark: bytes, start: int) -> None:
    """Behind its end a picture may carry more: phones append a film. So: near the end of the file,
    else anywhere."""
    tail = source.read(max(start, source.size - TAIL_BYTES), TAIL_BYTES)
    if mark not in tail and source.find(mark, start) < 0:
        raise Damaged("it is cut off: the mark of its end is missing")
