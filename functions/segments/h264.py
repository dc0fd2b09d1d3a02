"""The parameter sets of an H.264 track (SPS, PPS) as MP4 keeps them, and two such records made one.

A track has one record for all its pictures, and every picture names the PPS that it was made with
by number. So pieces from two encoders may share a track if their numbers differ: the record then
holds the sets of both.

The avcC record: ISO/IEC 14496-15, 5.3.3.1. SPS and PPS: https://www.itu.int/rec/T-REC-H.264,
7.3.2.1 and 7.3.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

PROFILES = {66: "baseline", 77: "main", 100: "high", 110: "high10", 122: "high422", 244: "high444"}
_MOST_SPS_ID = 31


class BadRecord(Exception):
    """The bytes are no avcC record that we understand."""


@dataclass(frozen=True)
class Record:
    """`extra` is what profiles from High on add behind the sets: chroma format and bit depths."""

    profile: int
    compatibility: int
    level: int
    length_bytes: int
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    extra: bytes

    @classmethod
    def of(cls, data: bytes) -> Record:
        if len(data) < 7 or data[0] != 1:
            raise BadRecord("its parameter sets are not kept as MP4 keeps them")
        sps, position = _sets(data, 6, data[5] & 0x1F)
        if position >= len(data):
            raise BadRecord("its parameter sets break off")
        pps, position = _sets(data, position + 1, data[position])
        return cls(data[1], data[2], data[3], (data[4] & 3) + 1, sps, pps, data[position:])

    def __bytes__(self) -> bytes:
        head = bytes(
            [1, self.profile, self.compatibility, self.level, 0xFC | self.length_bytes - 1]
        )
        sps = b"".join(len(one).to_bytes(2) + one for one in self.sps)
        pps = b"".join(len(one).to_bytes(2) + one for one in self.pps)
        return (
            head + bytes([0xE0 | len(self.sps)]) + sps + bytes([len(self.pps)]) + pps + self.extra
        )

    @property
    def ids(self) -> set[int]:
        """Every number that a parameter set of this record goes by, of either kind."""
        return {_exp_golomb(one[4:]) for one in self.sps} | {
            _exp_golomb(one[1:]) for one in self.pps
        }

    def free_id(self) -> int:
        """A number for the sets of another encoder. Raises BadRecord if all are taken."""
        free = [number for number in range(_MOST_SPS_ID + 1) if number not in self.ids]
        if not free:
            raise BadRecord("all numbers of its parameter sets are taken")
        return free[0]

    def with_sets_of(self, other: Record) -> Record:
        """Raises BadRecord if a decoder could not tell the sets of the two apart."""
        if self.ids & other.ids or self.length_bytes != other.length_bytes:
            raise BadRecord("its parameter sets go by the same numbers")
        return Record(
            max(self.profile, other.profile),
            self.compatibility & other.compatibility,
            max(self.level, other.level),
            self.length_bytes,
            self.sps + other.sps,
            self.pps + other.pps,
            self.extra or other.extra,
        )


def _sets(data: bytes, position: int, count: int) -> tuple[tuple[bytes, ...], int]:
    sets = []
    for _ in range(count):
        length = int.from_bytes(data[position : position + 2])
        one = data[position + 2 : position + 2 + length]
        if len(one) < max(length, 5 if one[:1] and one[0] & 0x1F == 7 else 2):
            raise BadRecord("its parameter sets break off")
        sets.append(one)
        position += 2 + length
    return tuple(sets), position


def _exp_golomb(data: bytes) -> int:
    """The unsigned number that these bits begin with. (Emulation bytes cannot occur in so small a
    number.)"""
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "0", 2) - 1
