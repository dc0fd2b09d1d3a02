"""Is it a video, whole? The boxes of an MP4, walked while the bytes stream by; nothing but a few
headers is kept.

Box layout: ISO/IEC 14496-12, as in https://www.w3.org/TR/mse-byte-stream-format-isobmff/ and
https://developer.apple.com/documentation/quicktime-file-format.
"""

from __future__ import annotations

from collections.abc import Generator

MOST_BOXES = 200_000  # an hour in fragments of a second has some 7,200
_MOST_HEADER = 128  # the part of mvhd, mehd or hdlr that we read
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"mvex"})
_READ = frozenset({b"ftyp", b"mvhd", b"mehd", b"hdlr"})


class NotAVideo(Exception):
    """What came is not a whole MP4 video."""


class Walk:
    """Feed it the file from the start and ask `finish` at the end; either raises NotAVideo.

    `wants` is the offset of the next byte it will look at: what lies before may be left out with
    `skip_to`.
    """

    def __init__(self) -> None:
        self.position = 0
        self._at = 0  # where the next header or its content begins
        self._kept = b""
        self._found: dict[bytes, int] = {}
        self._timescale = self._duration = self._fragments = 0
        self._has_pictures = False
        self._open_end = False
        self._steps = self._walk()
        self._needs = next(self._steps)

    @property
    def wants(self) -> int:
        return self._at + len(self._kept)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        end = self.position + len(view)
        while self.wants < end:
            start = self.wants - self.position
            piece = bytes(view[start : start + self._needs - len(self._kept)])
            self._kept += piece
            if len(self._kept) < self._needs:
                break
            kept, self._kept = self._kept, b""
            self._at += len(kept)
            self._needs = self._steps.send(kept)
        self.position = end

    def skip_to(self, offset: int) -> None:
        if not self.position <= offset <= self.wants:
            raise ValueError("what is looked at cannot be left out")
        self.position = offset

    def finish(self) -> float:
        """The bytes are at their end: the video's length in seconds, 0 where the file does not say
        (fragments)."""
        if self.position == 0:
            raise NotAVideo("it is empty")
        missing = [name.decode() for name in (b"ftyp", b"moov", b"mdat") if name not in self._found]
        if missing:
            raise NotAVideo(f"it has no {' and no '.join(missing)}")
        if self._kept or (self._at > self.position and not self._open_end):
            raise NotAVideo(
                f"it is cut off: {self.position} bytes, and its boxes promise at least {self._at}"
            )
        if not self._found[b"mdat"] and not self._open_end:
            raise NotAVideo("it holds no pictures")
        if not self._has_pictures:
            raise NotAVideo("it has no video track")
        duration = self._duration or self._fragments
        if not duration and b"moof" not in self._found:
            raise NotAVideo("it lasts no time")
        return duration / self._timescale if self._timescale else 0.0

    def _walk(self) -> Generator[int, bytes, None]:
        """Yields how many bytes it needs next; leaves out what lies between by moving `_at`."""
        ends: list[int] = []
        boxes = 0
        while True:
            while ends and self._at >= ends[-1]:
                if self._at > ends.pop():
                    raise NotAVideo("a box reaches past the box that holds it")
            start = self._at
            name, end = yield from self._header()
            boxes += 1
            if boxes > MOST_BOXES:
                raise NotAVideo(f"it has more than {MOST_BOXES} boxes")
            if not ends:
                self._note(name, start, end)
            elif end is None or end > ends[-1]:
                raise NotAVideo(f"its box {_shown(name)} reaches past the box that holds it")
            if name in _PARENTS and end is not None:
                ends.append(end)
                continue
            if name in _READ and end is not None:
                content = yield from self._content(end)
                self._read(name, content)
            self._at = end if end is not None else 1 << 62

    def _header(self) -> Generator[int, bytes, tuple[bytes, int | None]]:
        start = self._at
        head = yield 8
        size, name = int.from_bytes(head[:4]), head[4:]
        if start == 0 and name != b"ftyp":
            raise NotAVideo(f"it does not begin as an MP4 does: {head!r}")
        if size == 1:
            size = int.from_bytes((yield 8))
            if size < 16:
                raise NotAVideo(f"its box {_shown(name)} has no room for its own header")
        elif size == 0:
            return name, None
        elif size < 8:
            raise NotAVideo(f"its box {_shown(name)} has no room for its own header")
        return name, start + size

    def _content(self, end: int) -> Generator[int, bytes, bytes]:
        length = min(end - self._at, _MOST_HEADER)
        return (yield length) if length else b""

    def _note(self, name: bytes, start: int, end: int | None) -> None:
        if not all(32 <= letter < 127 or letter == 0xA9 for letter in name):
            raise NotAVideo(f"at byte {start} there is no box")
        if name == b"moov" and name in self._found:
            raise NotAVideo("it has two moov boxes")
        size = end - self._at if end is not None else 0
        self._found[name] = self._found.get(name, 0) + size
        if end is None:
            if name != b"mdat":
                raise NotAVideo(f"its box {_shown(name)} has no end")
            self._open_end = True

    def _read(self, name: bytes, content: bytes) -> None:
        if name == b"hdlr":
            self._has_pictures = self._has_pictures or content[8:12] == b"vide"
        elif name == b"mvhd":
            if len(content) < 32:
                raise NotAVideo("its movie header is too short")
            is_long = content[0] == 1
            self._timescale = int.from_bytes(content[20:24] if is_long else content[12:16])
            self._duration = _time(content[24:32] if is_long else content[16:20])
            if not self._timescale:
                raise NotAVideo("its clock stands still")
        elif name == b"mehd":
            self._fragments = _time(content[4:12] if content[:1] == b"\x01" else content[4:8])


def _time(content: bytes) -> int:
    """A duration; all ones means that the file does not know."""
    return 0 if content == b"\xff" * len(content) else int.from_bytes(content)


def _shown(name: bytes) -> str:
    return name.decode("latin-1")
