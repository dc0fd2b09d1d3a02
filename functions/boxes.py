"""The boxes of an ISO base media file (MP4, M4A, MOV), walked from the start in one pass: how they
lie in each other, and that each of them is whole.

The walk does no reading of its own: it names the bytes it needs, so that a film streams through it
and a voice is read by range. What stands in the boxes is `movie.py`'s.

Layout: ISO/IEC 14496-12, as in https://www.w3.org/TR/mse-byte-stream-format-isobmff/ and
https://developer.apple.com/documentation/quicktime-file-format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping

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

Steps = Generator[int, bytes, None]


class BoxWalk(ABC):
    """Feed it the file from the start and call `close` at the end; either raises `broken`, with
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

    def close(self) -> None:
        """The bytes are at their end. `_check` is called when every box is whole."""
        if not self.position:
            raise self._broken("it is empty")
        self._check_end()
        if missing := [name.decode() for name in (b"moov", b"mdat") if name not in self._found]:
            raise self._broken(f"it has no {' and no '.join(missing)}")
        held = self._found[b"mdat"]
        if self._endless_data:
            held += self.position - self._endless_data
        self._check(held)

    @abstractmethod
    def _enter(self, parent: bytes, name: bytes) -> None:
        """A box begins; its content is read next."""

    @abstractmethod
    def _reader(self, parent: bytes, name: bytes, end: int) -> Steps | None:
        """What reads the content of this box up to `end`; None where it is passed over."""

    @abstractmethod
    def _check(self, held: int) -> None:
        """The file is whole, and so many bytes of media lie in it: is that all of it?"""

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
            self._enter(parent, name)
            if name in _PARENTS.get(parent, ()):
                self._parents.append((name, end))
                continue
            if reader := self._reader(parent, name, end):
                yield from reader
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
            raise self._broken(f"its box {shown(name)} has no room for its own header")
        if start + size > last:
            raise self._broken(f"its box {shown(name)} reaches past the box that holds it")
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


def shown(name: bytes) -> str:
    return name.decode("latin-1")
