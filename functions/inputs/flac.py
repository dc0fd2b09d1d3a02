"""FLAC: what its header says of the length, proved by its last frame (RFC 9639).

A FLAC that was cut off still says how long it was, and its frames carry no length: only the last
one, found from the end and proved by its checksum, shows that all of it is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from functions.inputs.source import Damaged, Source

_TAIL_BYTES = 4096  # a tag or blanks behind the last frame
_MOST_FRAME_BYTES = 1 << 21  # 65,535 samples of 8 channels and 32 bits, not compressed
_MOST_CANDIDATES = 4  # places that look like a frame's beginning and are none
_MOST_SYNCS = 20_000  # of chance there are some 60 in the longest frame
_MOST_HEAD_BYTES = 16
_SYNC = re.compile(rb"\xff[\xf8\xf9]")


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    made = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
        made.append(value & (1 << bits) - 1)
    return tuple(made)


_CRC_8, _CRC_16 = _table(0x107, 8), _table(0x18005, 16)


@dataclass(frozen=True)
class _Info:
    """The block STREAMINFO. `frame_bytes` and `samples` are 0 where its writer could not know."""

    block: int
    frame_bytes: int
    hertz: int
    samples: int


def seconds(source: Source) -> float:
    """How long it plays. Raises Damaged where its end is missing."""
    info = _info(source)
    if not info.hertz or not info.block:
        raise Damaged("it does not say how many samples a second has")
    length = min(info.frame_bytes or _MOST_FRAME_BYTES, _MOST_FRAME_BYTES) + _TAIL_BYTES
    start = max(source.size - length, 42)
    last = _last_sample(source.read(start, length), info)
    if last is None:
        raise Damaged("it is cut off: its last frame is not there, or not whole")
    return last / info.hertz


def _info(source: Source) -> _Info:
    block = source.exactly(8, 18)
    facts = int.from_bytes(block[10:])
    return _Info(
        block=int.from_bytes(block[:2]),
        frame_bytes=int.from_bytes(block[7:10]),
        hertz=facts >> 44,
        samples=facts & (1 << 36) - 1,
    )


def _last_sample(tail: bytes, info: _Info) -> int | None:
    """Where the frame ends that ends with the file; None where there is none. Of a file that names
    its samples, only the frame that ends with the last of them."""
    frames = []
    for place, last in _frames(tail, info):
        if info.samples in (0, last):
            frames.append((place, last))
        if len(frames) == _MOST_CANDIDATES:
            break
    ends = _ends(tail)
    return next((last for place, last in frames if _is_whole(tail, place, ends)), None)


def _ends(tail: bytes) -> frozenset[int]:
    """Where the sound may end: with the file, before an ID3v1 tag, before blanks. Zeros behind a
    frame leave its checksum as it is."""
    blank = len(tail.rstrip(b"\r\n \t"))
    tag = len(tail) - 128 if tail[-128:-125] == b"TAG" else blank
    # The checksum itself may end in what looks blank.
    return frozenset({len(tail), tag, blank, blank + 1, blank + 2})


def _is_whole(tail: bytes, place: int, ends: frozenset[int]) -> bool:
    """The checksum of a frame with its checksum is 0."""
    value = 0
    for position, byte in enumerate(tail[place:], place + 1):
        value = value << 8 & 0xFFFF ^ _CRC_16[value >> 8 ^ byte]
        if not value and position in ends:
            return True
    return False


def _frames(tail: bytes, info: _Info) -> Iterator[tuple[int, int]]:
    """Whatever looks like a frame's beginning, the last first, and the sample it ends before."""
    places = [found.start() for found in _SYNC.finditer(tail)]
    for place in places[: -_MOST_SYNCS - 1 : -1]:
        if last := _frame_end(tail[place : place + _MOST_HEAD_BYTES], info):
            yield place, last


def _frame_end(head: bytes, info: _Info) -> int | None:
    """RFC 9639, 9.1: sync, codes, number, the sizes that the codes leave out, checksum."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or not head[2] >> 4:
        return None
    number, place = _number(head)
    if not place:
        return None
    size, place = _block(head, place)
    place += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)  # the sample rate, where it is no usual one
    if place >= len(head) or _checksum(head[: place + 1]):
        return None
    return (number if head[1] & 1 else number * info.block) + size


def _number(head: bytes) -> tuple[int, int]:
    """Coded as UTF-8 codes a letter, up to 36 bits; and where it ends, 0 where it is none."""
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    if ones in (1, 8) or 5 + max(ones - 1, 0) > len(head):
        return 0, 0
    value = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + ones]:
        value = value << 6 | byte & 0x3F
    return value, 4 + max(ones, 1)


def _block(head: bytes, place: int) -> tuple[int, int]:
    """Samples in the block, and where the rest of the header goes on."""
    code = head[2] >> 4
    if code in (6, 7):
        wide = code - 5
        return int.from_bytes(head[place : place + wide]) + 1, place + wide
    return (192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8), place


def _checksum(head: bytes) -> int:
    value = 0
    for byte in head:
        value = _CRC_8[value ^ byte]
    return value
