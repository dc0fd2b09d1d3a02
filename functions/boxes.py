"""The boxes of an ISO base media file (MP4, M4A, MOV), walked from the start in one pass.

The walk does no reading of its own: it names the bytes it needs, so that a film streams through it
and a voice is read by range. It counts what the sample tables and the fragments hold, never what a
header claims of the whole.

Layout: ISO/IEC 14496-12, as in https://www.w3.org/TR/mse-byte-stream-format-isobmff/ and
https://developer.apple.com/documentation/quicktime-file-format.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

MOST_BOXES = 200_000  # an hour in fragments of a second has some 22,000, in all and at every depth
MOST_TABLE_BYTES = 64 << 20  # of all sample tables: an hour at 60 pictures a second needs 1.7 MB
_PIECE_BYTES = 1 << 16  # of a table, at once; a multiple of every row's width below
_HEADER_BYTES = 256  # of a box whose beginning is read
_ENDLESS = 1 << 62  # the end of a box of size 0: the end of the file

_PARENTS: Mapping[bytes, frozenset[bytes]] = {
    b"": frozenset({b"moov", b"moof"}),
    b"moov": frozenset({b"trak", b"mvex"}),
    b"trak": frozenset({b"mdia", b"edts"}),
    b"mdia": frozenset({b"minf"}),
    b"minf": frozenset({b"stbl"}),
    b"moof": frozenset({b"traf"}),
}
_TAIL = b"\0\r\n \t"  # what uploads and editors leave behind a whole file
_TAG_BYTES = 128  # ID3v1
_AFTER = frozenset({b"mdat", b"moov", b"moof", b"mfra", b"free", b"skip", b"uuid", b"wide"})
# A promised length and the counted one differ by an encoder's padding and a late start.
_SLACK_SECONDS, _SLACK = 0.25, 0.01

# The descriptors in an `esds` before the object type, ISO/IEC 14496-1, 7.2.6.
_LENGTH = rb"[\x80-\xff]{0,3}[\0-\x7f]"
_OBJECT_TYPE = re.compile(rb"esds.{4}\x03" + _LENGTH + rb".{3}\x04" + _LENGTH + rb"(.)", re.DOTALL)

Steps = Generator[int, bytes, None]


@dataclass
class Track:
    """What the tables and fragments of one track hold. Units are ticks of its own `timescale`."""

    number: int = 0
    kind: str = ""  # "soun", "vide"
    codec: str = ""  # "mp4a", "avc1"
    object_type: int = 0  # of an mp4a: 0x40 is AAC
    timescale: int = 0
    units: int = 0
    data_bytes: int = 0
    begin: int | None = None  # of the first fragment, by its own time
    end: int = 0  # of the last
    skipped: int = 0  # at the beginning, by the edit list: an encoder's padding
    edited: int = 0  # what the edit list plays, in ticks of the movie's timescale

    @property
    def length(self) -> int:
        """In units. By the fragments' own times where their samples name less: some writers leave
        a sample's length out."""
        spanned = self.end - self.begin if self.begin is not None else 0
        return max(self.units, spanned)


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


class Walk:
    """Feed it the file from the start and call `result` at the end; either raises `broken`, with
    words that complete "the file is damaged: …".

    `wants` is the offset of the next byte it needs, `needs` how many from there: what lies before
    may be left out with `skip_to`.
    """

    def __init__(self, broken: Callable[[str], Exception]) -> None:
        self.position = 0
        self._broken = broken
        self._at = 0  # where the next header or its content begins
        self._kept = b""
        self._may_end = False  # between two boxes at the top
        self._boxes = self._table_bytes = 0
        self._parents: list[tuple[bytes, int]] = []
        self._found: dict[bytes, int] = {}  # bytes in the boxes at the top
        self._endless_data = 0  # where an mdat begins that ends with the file
        self._indexes = self._index_end = 0  # segment indexes, and where their last segment ends
        self._presets: dict[int, tuple[int, int]] = {}  # units and bytes of a track's sample
        self._track = Track()
        self._preset = (0, 0)
        self._time = 0  # in the fragment that is read
        self._movie = Movie()
        self._steps = self._walk()
        self._needed = next(self._steps)

    @property
    def wants(self) -> int:
        return self._at + len(self._kept)

    @property
    def needs(self) -> int:
        return self._needed - len(self._kept)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        end = self.position + len(view)
        while self.wants < end:
            start = self.wants - self.position
            self._kept += bytes(view[start : start + self.needs])
            if len(self._kept) < self._needed:
                break
            kept, self._kept = self._kept, b""
            self._at += len(kept)
            self._needed = self._steps.send(kept)
        self.position = end

    def skip_to(self, offset: int) -> None:
        if not self.position <= offset <= self.wants:
            raise ValueError("what is needed cannot be left out")
        self.position = offset

    def result(self) -> Movie:
        """The bytes are at their end: what they hold."""
        if not self.position:
            raise self._broken("it is empty")
        self._check_end()
        if missing := [name.decode() for name in (b"moov", b"mdat") if name not in self._found]:
            raise self._broken(f"it has no {' and no '.join(missing)}")
        self._check_data()
        if self._movie.is_fragmented:
            self._check_fragments()
        return self._movie

    def _check_end(self) -> None:
        """Every box that began is over; behind the last there may be blanks."""
        is_blank = self._is_complete() and not self._kept.strip(_TAIL)
        promised = [self._at, *(end for _, end in self._parents)]
        end = max(one for one in (0, *promised) if one < _ENDLESS)
        if end > self.position or not self._may_end or (self._kept and not is_blank):
            raise self._broken(
                f"it is cut off: {self.position:,} bytes are there, and its boxes promise at "
                f"least {max(end, self.wants + 1):,}"
            )

    def _check_data(self) -> None:
        held = self._found[b"mdat"]
        if self._endless_data:
            held += self.position - self._endless_data
        named = sum(track.data_bytes for track in self._movie.tracks)
        if not held:
            raise self._broken("it holds no sound and no pictures, only their index")
        if named > held:
            raise self._broken(f"it is cut off: {held:,} of {named:,} bytes of media are there")
        if self._index_end > self.position:
            raise self._broken(
                f"it is cut off: {self.position:,} of {self._index_end:,} bytes are there"
            )

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

    def _is_complete(self) -> bool:
        return b"moov" in self._found and b"mdat" in self._found

    def _walk(self) -> Steps:
        while True:
            self._leave_parents()
            parent = self._parents[-1][0] if self._parents else b""
            start = self._at
            self._may_end = all(end == _ENDLESS for _, end in self._parents)
            head = yield 8
            if not parent and self._is_tail(head):
                yield from self._read_tail(head)
            self._may_end = False
            name, end = yield from self._header(head, start)
            if not parent:
                self._note(name, start, end)
            if name == b"trak":
                self._track = Track()
                self._movie.tracks.append(self._track)
            if name in _PARENTS.get(parent, ()):
                self._parents.append((name, end))
                continue
            if reader := _READERS.get((parent, name)):
                yield from reader(self, end)
                if self._at > end:
                    raise self._broken("a header in it is too short")
            self._at = end

    def _leave_parents(self) -> None:
        """Up from the boxes that are over; fewer than 8 bytes in one are padding."""
        while self._parents and self._at + 8 > (end := self._parents[-1][1]):
            if self._at > end:
                raise self._broken("a box reaches past the box that holds it")
            self._at = end
            self._parents.pop()

    def _header(self, head: bytes, start: int) -> Generator[int, bytes, tuple[bytes, int]]:
        size, name = int.from_bytes(head[:4]), head[4:]
        if start == 0 and name != b"ftyp":
            raise self._broken(f"it does not begin as an MP4 does: {head!r}")
        self._boxes += 1
        if self._boxes > MOST_BOXES:
            raise self._broken(f"it has more than {MOST_BOXES:,} boxes")
        last = self._parents[-1][1] if self._parents else _ENDLESS
        if size == 0:
            return name, last
        if size == 1:
            size = int.from_bytes((yield 8))
        if start + size < self._at:
            raise self._broken(f"its box {_shown(name)} has no room for its own header")
        if start + size > last:
            raise self._broken(f"its box {_shown(name)} reaches past the box that holds it")
        return name, start + size

    def _note(self, name: bytes, start: int, end: int) -> None:
        """A box at the top."""
        if not all(32 <= letter < 127 or letter == 0xA9 for letter in name):
            raise self._broken(f"at byte {start:,} there is no box")
        if name == b"moov" and name in self._found:
            raise self._broken("it has two moov boxes")
        if name == b"mdat" and end == _ENDLESS:
            self._endless_data = self._at
        size = end - self._at if end < _ENDLESS else 0
        self._found[name] = self._found.get(name, 0) + size
        if name == b"moof":
            self._movie.fragments += 1
            self._movie.is_fragmented = True

    def _is_tail(self, head: bytes) -> bool:
        is_tag = head.startswith(b"TAG") and head[4:] not in _AFTER
        return self._is_complete() and (is_tag or not head.strip(_TAIL))

    def _read_tail(self, head: bytes) -> Steps:
        """An ID3v1 tag, blanks, or both: to the end of the file."""
        start = self._at - len(head)
        while True:
            if head.startswith(b"TAG"):
                self._may_end = False
                yield _TAG_BYTES - len(head)
            elif head.strip(_TAIL):
                raise self._broken(f"behind byte {start:,} there is no box")
            self._may_end = True
            head = yield 8

    def _content(self, end: int, least: int) -> Generator[int, bytes, bytes]:
        """The beginning of a box that is read whole or to its first facts."""
        if end - self._at < least:
            raise self._broken("a header in it is too short")
        return (yield min(end - self._at, _HEADER_BYTES))

    def _sum(
        self, end: int, count: int, width: int, total: Callable[[bytes], int]
    ) -> Generator[int, bytes, int]:
        """The rows of a table, added up piece by piece."""
        left, summed = count * width, 0
        if self._at + left > end:
            raise self._broken("a table in it is shorter than it says")
        self._table_bytes += left
        if self._table_bytes > MOST_TABLE_BYTES:
            raise self._broken(f"its tables are larger than {MOST_TABLE_BYTES:,} bytes")
        while left:
            piece = yield min(left, _PIECE_BYTES // width * width)
            summed += total(piece)
            left -= len(piece)
        return summed

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
        self._track.kind = _shown(content[8:12])

    def _description(self, end: int) -> Steps:
        content = yield from self._content(end, 8)
        self._track.codec = _shown(content[12:16])
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
        count = int.from_bytes((yield 8)[4:])
        self._track.units += yield from self._sum(end, count, 8, _runs)

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
        if 8 in fields or 9 in fields:
            width, sums = len(fields), [0, 0]

            def add(rows: bytes) -> int:
                numbers = struct.unpack(f">{len(rows) // 4}I", rows)
                for which, bit in enumerate((8, 9)):
                    if bit in fields:
                        sums[which] += sum(numbers[fields.index(bit) :: width])
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


_READERS: Mapping[tuple[bytes, bytes], Callable[[Walk, int], Steps]] = {
    (b"", b"sidx"): Walk._segment_index,
    (b"moov", b"mvhd"): Walk._movie_header,
    (b"mvex", b"mehd"): Walk._fragments_header,
    (b"mvex", b"trex"): Walk._track_preset,
    (b"trak", b"tkhd"): Walk._track_header,
    (b"edts", b"elst"): Walk._edits,
    (b"mdia", b"mdhd"): Walk._media_header,
    (b"mdia", b"hdlr"): Walk._handler,
    (b"stbl", b"stsd"): Walk._description,
    (b"stbl", b"stts"): Walk._times,
    (b"stbl", b"stsz"): Walk._sizes,
    (b"traf", b"tfhd"): Walk._fragment_header,
    (b"traf", b"tfdt"): Walk._fragment_time,
    (b"traf", b"trun"): Walk._run,
}


def _clock(content: bytes) -> tuple[int, int]:
    """Ticks per second and length in ticks, of an `mvhd` or `mdhd`."""
    if content[0] == 1:
        return int.from_bytes(content[20:24]), _time(content[24:32])
    return int.from_bytes(content[12:16]), _time(content[16:20])


def _time(content: bytes) -> int:
    """A duration; all ones means that the file does not know."""
    return 0 if content == b"\xff" * len(content) else int.from_bytes(content)


def _runs(rows: bytes) -> int:
    return sum(count * each for count, each in struct.iter_unpack(">II", rows))


def _words(rows: bytes) -> int:
    return sum(struct.unpack(f">{len(rows) // 4}I", rows))


def _references(rows: bytes) -> int:
    return sum(size & 0x7FFFFFFF for size, *_ in struct.iter_unpack(">III", rows))


def _shown(name: bytes) -> str:
    return name.decode("latin-1")
