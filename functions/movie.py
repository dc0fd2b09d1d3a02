"""What the boxes of a film or an M4A hold: tracks, and how long each of them plays.

The sample tables and the fragments are counted; what a header claims of the whole is not believed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from functions.boxes import BoxWalk, Steps, shown

# A promised length and the counted one differ by an encoder's padding and a late start.
_SLACK_SECONDS, _SLACK = 0.25, 0.01

# The descriptors in an `esds` before the object type, ISO/IEC 14496-1, 7.2.6.
_LENGTH = rb"[\x80-\xff]{0,3}[\0-\x7f]"
_OBJECT_TYPE = re.compile(rb"esds.{4}\x03" + _LENGTH + rb".{3}\x04" + _LENGTH + rb"(.)", re.DOTALL)


@dataclass
class Track:
    """What the tables and fragments of one track hold. Units are ticks of its own `timescale`."""

    number: int = 0
    kind: str = ""  # "soun", "vide"
    codec: str = ""  # "mp4a", "avc1"
    object_type: int = 0  # of an mp4a: 0x40 is AAC
    timescale: int = 0
    units: int = 0
    usual: int = 0  # units of the first sample
    last: int = 0  # and of the last
    data_bytes: int = 0
    begin: int | None = None  # of the first fragment, by its own time
    end: int = 0  # of the last
    skipped: int = 0  # at the beginning, by the edit list: an encoder's padding
    edited: int = 0  # what the edit list plays, in ticks of the movie's timescale

    def note(self, *units: int) -> None:
        """Samples of these lengths follow."""
        self.usual = self.usual or units[0]
        self.last = units[-1]

    @property
    def length(self) -> int:
        """In units. By the fragments' own times where their samples name less: some writers leave
        a sample's length out. The last sample of a sound may be named shorter than its frame: it
        is decoded whole, where no edit ends before."""
        spanned = self.end - self.begin if self.begin is not None else 0
        unnamed = max(self.usual - self.last, 0) if self.kind == "soun" else 0
        return max(self.units, spanned) + unnamed


@dataclass
class Movie:
    """What a whole file holds. `is_indexed`: a cut at the border of two fragments would have been
    found."""

    tracks: list[Track] = field(default_factory=list)
    timescale: int = 0
    declared: int = 0  # by the movie header
    fragments: int = 0
    promised: int = 0  # by the fragments' header (mehd), in ticks of the movie's timescale
    is_fragmented: bool = False
    is_indexed: bool = True

    def seconds(self, track: Track) -> float:
        """How long a track plays: after its edits, fragments included; 0 where nothing says."""
        if not track.timescale:
            return 0.0
        # Of pictures an edit's beginning is the delay of their reordering, and nothing is left out.
        skipped = track.skipped if track.kind == "soun" else 0
        played = max(track.length - skipped, 0) / track.timescale
        if track.edited and self.timescale and not self.is_fragmented:
            return min(played, track.edited / self.timescale)
        return played

    @property
    def header_seconds(self) -> float:
        """What the headers say of the whole: for a file whose tables say nothing."""
        ticks = self.declared or self.promised
        return ticks / self.timescale if self.timescale else 0.0


class Reader(BoxWalk):
    """Feed it the file from the start and call `result` at the end."""

    def __init__(self, broken: Callable[[str], Exception]) -> None:
        self._indexes = self._index_end = 0  # segment indexes, and where their last segment ends
        self._presets: dict[int, tuple[int, int]] = {}  # units and bytes of a track's sample
        self._track = Track()
        self._preset = (0, 0)
        self._time = 0  # in the fragment that is read
        self._movie = Movie()
        super().__init__(broken)

    def result(self) -> Movie:
        """The bytes are at their end: what they hold."""
        self.close()
        return self._movie

    def _enter(self, parent: bytes, name: bytes) -> None:
        if name == b"trak":
            self._track = Track()
            self._movie.tracks.append(self._track)
        if not parent and name == b"moof":
            self._movie.fragments += 1
            self._movie.is_fragmented = True

    def _reader(self, parent: bytes, name: bytes, end: int) -> Steps | None:
        reader = _READERS.get((parent, name))
        return reader(self, end) if reader else None

    def _check(self, held: int) -> None:
        named = sum(track.data_bytes for track in self._movie.tracks)
        if not held:
            raise self._broken("it holds no sound and no pictures, only their index")
        if named > held:
            raise self._broken(f"it is cut off: {held:,} of {named:,} bytes of media are there")
        if self._index_end > self.position:
            raise self._broken(
                f"it is cut off: {self.position:,} of {self._index_end:,} bytes are there"
            )
        if self._movie.is_fragmented:
            self._check_fragments()

    def _check_fragments(self) -> None:
        """A header may promise the length of all fragments; some writers put that of the first
        into it."""
        movie = self._movie
        counted = max((movie.seconds(track) for track in movie.tracks), default=0.0)
        promised = max(movie.declared, movie.promised) / max(movie.timescale, 1)
        slack = _SLACK_SECONDS + _SLACK * promised
        if promised > counted + slack:
            raise self._broken(f"it is cut off: {counted:.1f} of {promised:.1f} seconds are there")
        is_segmented = 0 < self._indexes < movie.fragments
        movie.is_indexed = b"mfra" in self._found or is_segmented or promised > counted - slack

    def _movie_header(self, end: int) -> Steps:
        self._movie.timescale, self._movie.declared = _clock((yield from self._content(end, 20)))
        if not self._movie.timescale:
            raise self._broken("its clock stands still")

    def _media_header(self, end: int) -> Steps:
        self._track.timescale, _ = _clock((yield from self._content(end, 20)))

    def _track_header(self, end: int) -> Steps:
        content = yield from self._content(end, 24)
        self._track.number = int.from_bytes(content[20:24] if content[0] == 1 else content[12:16])

    def _handler(self, end: int) -> Steps:
        content = yield from self._content(end, 12)
        self._track.kind = shown(content[8:12])

    def _description(self, end: int) -> Steps:
        content = yield from self._content(end, 8)
        self._track.codec = shown(content[12:16])
        if found := _OBJECT_TYPE.search(content):
            self._track.object_type = found[1][0]

    def _edits(self, end: int) -> Steps:
        head = yield 8
        form = ">QqI" if head[0] == 1 else ">IiI"
        track, is_first = self._track, True

        def played(rows: bytes) -> int:
            nonlocal is_first
            ticks = 0
            for length, begin, _ in struct.iter_unpack(form, rows):
                if begin >= 0:
                    track.skipped, is_first = (begin if is_first else track.skipped), False
                    ticks += length
            return ticks

        count = int.from_bytes(head[4:])
        track.edited = yield from self._sum(end, count, struct.calcsize(form), played)

    def _times(self, end: int) -> Steps:
        track, count = self._track, int.from_bytes((yield 8)[4:])

        def played(rows: bytes) -> int:
            runs = [*struct.iter_unpack(">II", rows)]
            track.note(runs[0][1], runs[-1][1])
            return sum(number * each for number, each in runs)

        track.units += yield from self._sum(end, count, 8, played)

    def _sizes(self, end: int) -> Steps:
        _, size, count = struct.unpack(">III", (yield 12))
        if size:
            self._track.data_bytes += size * count
        else:
            self._track.data_bytes += yield from self._sum(end, count, 4, _words)

    def _fragments_header(self, end: int) -> Steps:
        content = yield from self._content(end, 8)
        self._movie.promised = _time(content[4:12] if content[0] == 1 else content[4:8])

    def _track_preset(self, end: int) -> Steps:
        number, _, units, size = struct.unpack(">4x4I", (yield from self._content(end, 24))[:20])
        self._presets[number] = units, size
        self._movie.is_fragmented = True

    def _fragment_header(self, end: int) -> Steps:
        content = yield from self._content(end, 8)
        flags, number = struct.unpack(">II", content[:8])
        known = (track for track in self._movie.tracks if track.number == number)
        self._track = next(known, Track())
        units, size = self._presets.get(number, (0, 0))
        place = 8 + 8 * (flags & 1) + 4 * (flags >> 1 & 1)
        if flags & 8:
            units = int.from_bytes(content[place : place + 4])
        if flags & 16:
            place += 4 * (flags >> 3 & 1)
            size = int.from_bytes(content[place : place + 4])
        self._preset = units, size
        self._time = self._track.length

    def _run(self, end: int) -> Steps:
        """A run names each sample's length and size, or the fragment does, or the file."""
        flags, count = struct.unpack(">II", (yield 8))
        if skipped := 4 * (flags & 1) + 4 * (flags >> 2 & 1):
            yield skipped
        fields = [bit for bit in (8, 9, 10, 11) if flags >> bit & 1]
        units, size = (preset * count for preset in self._preset)
        self._track.note(self._preset[0])
        if 8 in fields or 9 in fields:
            width, sums = len(fields), [0, 0]

            def add(rows: bytes) -> int:
                numbers = struct.unpack(f">{len(rows) // 4}I", rows)
                for which, bit in enumerate((8, 9)):
                    if bit in fields:
                        sums[which] += sum(numbers[fields.index(bit) :: width])
                if 8 in fields:
                    self._track.note(*numbers[::width])
                return 0

            yield from self._sum(end, count, 4 * width, add)
            units = sums[0] if 8 in fields else units
            size = sums[1] if 9 in fields else size
        self._track.units += units
        self._track.data_bytes += size
        self._time += units
        self._track.end = max(self._track.end, self._time)

    def _fragment_time(self, end: int) -> Steps:
        content = yield from self._content(end, 8)
        self._time = int.from_bytes(content[4:12] if content[0] == 1 else content[4:8])
        if self._track.begin is None:
            self._track.begin = self._time - self._track.units

    def _segment_index(self, end: int) -> Steps:
        head = yield 28 if (yield 4)[0] == 1 else 20
        first = int.from_bytes(head[-12:-4] if len(head) == 28 else head[-8:-4])
        count = int.from_bytes(head[-2:])
        length = yield from self._sum(end, count, 12, _references)
        self._indexes += 1
        self._index_end = max(self._index_end, end + first + length)


_READERS: Mapping[tuple[bytes, bytes], Callable[[Reader, int], Steps]] = {
    (b"", b"sidx"): Reader._segment_index,
    (b"moov", b"mvhd"): Reader._movie_header,
    (b"mvex", b"mehd"): Reader._fragments_header,
    (b"mvex", b"trex"): Reader._track_preset,
    (b"trak", b"tkhd"): Reader._track_header,
    (b"edts", b"elst"): Reader._edits,
    (b"mdia", b"mdhd"): Reader._media_header,
    (b"mdia", b"hdlr"): Reader._handler,
    (b"stbl", b"stsd"): Reader._description,
    (b"stbl", b"stts"): Reader._times,
    (b"stbl", b"stsz"): Reader._sizes,
    (b"traf", b"tfhd"): Reader._fragment_header,
    (b"traf", b"tfdt"): Reader._fragment_time,
    (b"traf", b"trun"): Reader._run,
}


def _clock(content: bytes) -> tuple[int, int]:
    """Ticks per second and length in ticks, of an `mvhd` or `mdhd`."""
    if content[0] == 1:
        return int.from_bytes(content[20:24]), _time(content[24:32])
    return int.from_bytes(content[12:16]), _time(content[16:20])


def _time(content: bytes) -> int:
    """A duration; all ones means that the file does not know."""
    return 0 if content == b"\xff" * len(content) else int.from_bytes(content)


def _words(rows: bytes) -> int:
    return sum(struct.unpack(f">{len(rows) // 4}I", rows))


def _references(rows: bytes) -> int:
    return sum(size & 0x7FFFFFFF for size, *_ in struct.iter_unpack(">III", rows))
