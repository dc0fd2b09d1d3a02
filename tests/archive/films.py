"""Small MP4 files made box by box: as large, as long and as wrong as a test wants."""

from __future__ import annotations

import random


def box(name: bytes, content: bytes = b"") -> bytes:
    return (len(content) + 8).to_bytes(4) + name + content


def movie_header(seconds: float, *, timescale: int = 1000) -> bytes:
    return box(
        b"mvhd",
        bytes(12) + timescale.to_bytes(4) + int(seconds * timescale).to_bytes(4) + bytes(80),
    )


def track(kind: bytes = b"vide") -> bytes:
    return box(
        b"trak", box(b"tkhd", bytes(84)) + box(b"mdia", box(b"hdlr", bytes(8) + kind + bytes(13)))
    )


def moov(seconds: float = 12.267, *tracks: bytes) -> bytes:
    return box(b"moov", movie_header(seconds) + b"".join(tracks or (track(b"soun"), track())))


def fragmented_moov(*promises: bytes) -> bytes:
    """An index of one track of pictures, number 1, whose samples are in fragments: milliseconds."""
    number = box(b"tkhd", bytes(12) + (1).to_bytes(4) + bytes(68))
    clock = box(b"mdhd", bytes(12) + (1000).to_bytes(4) + bytes(8))
    trak = box(b"trak", number + box(b"mdia", clock + box(b"hdlr", bytes(8) + b"vide" + bytes(13))))
    preset = box(b"trex", bytes(4) + (1).to_bytes(4) + (1).to_bytes(4) + bytes(12))
    return box(b"moov", movie_header(0) + trak + box(b"mvex", b"".join(promises) + preset))


def fragment(seconds: float, size: int = 500) -> bytes:
    """One sample of this length, with its own pictures behind it."""
    sample = int(seconds * 1000).to_bytes(4) + size.to_bytes(4)
    run = box(b"trun", (0x300).to_bytes(4) + (1).to_bytes(4) + sample)
    traf = box(b"traf", box(b"tfhd", bytes(4) + (1).to_bytes(4)) + run)
    return box(b"moof", traf) + box(b"mdat", bytes(size))


FTYP = box(b"ftyp", b"isom\x00\x00\x02\x00isomiso2avc1mp41")


def film(
    size: int = 100_000, *, seconds: float = 12.267, seed: int = 7, moov_first: bool = True
) -> bytes:
    """A whole film of about this size; the same seed gives the same bytes."""
    pictures = box(b"mdat", random.Random(seed).randbytes(size))
    return FTYP + (moov(seconds) + pictures if moov_first else pictures + moov(seconds))
