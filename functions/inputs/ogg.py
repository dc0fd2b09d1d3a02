"""Ogg: Vorbis and Opus, page by page (RFC 3533, RFC 7845).

A page's granule is a position in samples. It need not begin at nothing: what was cut out of a live
stream goes on counting from where the stream was.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from functions.inputs.source import Damaged, Source

# Streams are written a page for each 20 ms: 66 minutes of them, more than any limit allows.
MOST_PAGES = 200_000

_TAIL_BYTES = 4096
_FIRST, _LAST = 2, 4  # flags of a page
_OPUS_HERTZ = 48000
# Samples of one frame by an Opus packet's configuration, RFC 6716, 3.1.
_OPUS_FRAME = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4


def codec(source: Source) -> str:
    """ "vorbis", "opus", or "" for anything else an Ogg file may hold."""
    packet = source.read(28, 8)
    return "vorbis" if packet[:7] == b"\x01vorbis" else "opus" if packet == b"OpusHead" else ""


@dataclass
class _Stream:
    """One logical stream: files joined one behind the other have several."""

    is_opus: bool
    hertz: int
    skipped: int = 0  # samples a player leaves out at the beginning
    longest: int = 0  # samples a packet of Vorbis can hold
    begin: int = 0
    granule: int = 0
    is_over: bool = False

    @property
    def seconds(self) -> float:
        played = self.granule - max(self.begin, 0) - self.skipped
        return max(played, 0) / self.hertz if self.hertz else 0.0


@dataclass(frozen=True)
class _Page:
    is_first: bool
    is_last: bool
    granule: int
    lacing: bytes
    body: int
    end: int


def seconds(source: Source) -> float:
    """How long all its streams play. Raises Damaged: also for one that is not ended, since a file
    cut between two pages looks just so."""
    played, position, pages = 0.0, 0, 0
    stream, mark = _Stream(False, 0, is_over=True), source.read(28, 7)
    while page := _page(source, position):
        pages += 1
        if pages > MOST_PAGES:
            raise Damaged(f"it has more than {MOST_PAGES:,} pages")
        if page.is_first:
            played += stream.seconds
            stream = _begin(source, page, mark, stream)
        elif page.granule > 0:
            if not stream.granule:
                stream.begin = page.granule - _samples(source, page, stream)
            stream.granule = max(stream.granule, page.granule)
        stream.is_over = page.is_last
        position = page.end
    if not stream.is_over:
        raise Damaged("it is cut off: the page that ends it is missing")
    return played + stream.seconds


def _page(source: Source, position: int) -> _Page | None:
    """The page at `position`; None where only blanks are left."""
    if not source.read(position, _TAIL_BYTES).strip(b"\0\r\n"):
        return None
    head = source.exactly(position, 27)
    magic, flags, granule = struct.unpack("<4sxBq", head[:14])
    if magic != b"OggS":
        raise Damaged("its pages do not follow one another")
    lacing = source.exactly(position + 27, head[26])
    body = position + 27 + len(lacing)
    end = body + sum(lacing)
    if end > source.size:
        raise Damaged("it is cut off within a page")
    return _Page(bool(flags & _FIRST), bool(flags & _LAST), granule, lacing, body, end)


def _begin(source: Source, page: _Page, mark: bytes, before: _Stream) -> _Stream:
    head = source.exactly(page.body, 19)
    if head[:7] != mark or not before.is_over:
        raise Damaged("it holds something beside the sound, or its first part is cut off")
    if mark == b"OpusHea":
        return _Stream(True, _OPUS_HERTZ, skipped=int.from_bytes(head[10:12], "little"))
    longest = 1 << (source.exactly(page.body + 28, 1)[0] >> 4)
    return _Stream(False, int.from_bytes(head[12:16], "little"), longest=longest // 2)


def _samples(source: Source, page: _Page, stream: _Stream) -> int:
    """At most so many samples end on this page: exactly so many of Opus."""
    if not stream.is_opus:
        return stream.longest * sum(size < 255 for size in page.lacing)
    samples, place, is_start = 0, page.body, True
    for size in page.lacing:
        if is_start:
            samples += _opus_samples(source.read(place, 2).ljust(2, b"\0"))
        is_start, place = size < 255, place + size
    return samples


def _opus_samples(packet: bytes) -> int:
    frames = (1, 2, 2, packet[1] & 63)[packet[0] & 3]
    return frames * _OPUS_FRAME[packet[0] >> 3]
