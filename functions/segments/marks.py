"""Places by which a voice is known again after an edit, to the sample: the loudest sample of half a
second around it, and a checksum of what is heard there.

    new voice ─▶ Marks ┐
                       ├─▶ moved ─▶ Kept ─▶ fitting ─▶ where the new plan cuts as the earlier did
    earlier voice's ───┘

A mark depends on its half seconds alone, so it stands in an edited voice wherever its surroundings
are the same samples, however far they were moved. What is found here is only where to cut: whether
a piece is the same is said by the hash of its samples.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_RADIUS_SECONDS = 0.5  # about one mark a second
_AROUND = 32  # samples on either side that the checksum is of
ROUNDING = 1e-6  # frames: places that are no further apart are one
_QUIETEST = 64  # of 32,768: below it noise of an encoder would make marks


@dataclass(frozen=True)
class Mark:
    """The loudest sample of its surroundings: its number, and a checksum of its neighbours."""

    sample: int
    checksum: int


@dataclass(frozen=True)
class Moved:
    """A piece of an earlier plan by its number there, and its samples in this voice."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Kept:
    """A piece of an earlier plan, at its frames of 1/25 s in this voice: cut there again."""

    start: float
    end: float
    why: str
    in_pause: bool


class Marker:
    """Finds the marks of a voice that goes by, in the memory of some seconds of its first
    channel."""

    def __init__(self) -> None:
        self._waiting = array("h")
        self._begins = 0
        self._block = 0
        self._found: list[Mark] = []

    def hear(self, pcm: bytes, channels: int, rate: int) -> None:
        self._block = self._block or max(2 * _AROUND, round(rate * _RADIUS_SECONDS / 2))
        self._waiting.extend(array("h", pcm)[::channels])
        if len(self._waiting) >= 60 * self._block:
            self._measure()

    def marks(self) -> tuple[Mark, ...]:
        """Those of what was heard: the last half second has none."""
        if self._block:
            self._measure()
        return tuple(self._found)

    def _measure(self) -> None:
        """A block is half as long as a mark reaches, so the blocks beside it count whole; a mark
        needs two of them on either side."""
        block, waiting = self._block, self._waiting
        count = len(waiting) // block
        loudest = [max(waiting[at * block : (at + 1) * block]) for at in range(count)]
        for at in range(2, count - 2):
            near = max(loudest[at - 1], loudest[at + 1], _QUIETEST)
            if loudest[at] > near and (mark := self._mark(at, loudest[at])):
                self._found.append(mark)
        if count > 4:
            gone = (count - 4) * block
            self._begins += gone
            del waiting[:gone]

    def _mark(self, block: int, loudest: int) -> Mark | None:
        waiting = self._waiting
        place = waiting.index(loudest, block * self._block)
        around = waiting[place - 2 * self._block : place + 2 * self._block + 1]
        if max(around) > loudest or around.count(loudest) > 1:
            return None
        neighbours = waiting[place - _AROUND : place + _AROUND + 1].tobytes()
        return Mark(self._begins + place, zlib.crc32(neighbours))


def moved(
    pieces: Sequence[tuple[int, int]], earlier: Sequence[Mark], now: Sequence[Mark], rate: int
) -> list[Moved]:
    """The pieces (from, up to, in samples of the earlier voice) that lie in this voice unchanged,
    as far as their marks show it, in their order."""
    distances = _distances(earlier, now)
    # Nearer to its ends a mark depends on what is beside the piece; a voice has none at its own.
    reach = round(2 * rate * _RADIUS_SECONDS)
    found: list[Moved] = []
    last = Moved(0, 0, 0)
    for number, (start, end) in enumerate(pieces, 1):
        inside = [
            distances.get(one.sample)
            for one in earlier
            if start + reach <= one.sample < end - reach
        ]
        by = inside[0] if len(set(inside)) == 1 else None
        if not inside and last.number == number - 1:  # silence: it moves with the piece before it
            by = last.end - start
        if by is not None:
            last = Moved(number, start + by, end + by)
            found.append(last)
    return found


def _distances(earlier: Sequence[Mark], now: Sequence[Mark]) -> dict[int, int]:
    """How far each mark of the earlier voice that is found again was moved, by its sample there.
    The order stays: what changed its place is not found."""
    before, after = ([one.checksum for one in marks] for marks in (earlier, now))
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    pairs = (
        (earlier[first + offset].sample, now[second + offset].sample)
        for first, second, count in matcher.get_matching_blocks()
        for offset in range(count)
    )
    return {there: here - there for there, here in pairs}


def fitting(kept: Iterable[Kept], least: float, most: float, whole: float) -> list[Kept]:
    """Those that are pieces for these limits, and leave no rest of the `whole` that is too short
    for a piece of its own. All of it in frames."""

    def leaves_none(rest: float) -> bool:
        return abs(rest) <= ROUNDING or rest >= least

    found: list[Kept] = []
    for one in kept:
        is_piece = least <= one.end - one.start <= most + ROUNDING
        if is_piece and leaves_none(one.start - (found[-1].end if found else 0)):
            found.append(one)
    while found and not leaves_none(whole - found[-1].end):
        found.pop()
    return found
