"""A file that may be far away, read in pieces: a sniff of its head costs one request, a scan
streams in flat memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

FIRST_READ_BYTES = (
    1 << 18
)  # holds the header of nearly every picture and sound, at the price of one request
LONGEST_READ_BYTES = 1 << 22  # a scan reads ahead twice as far each time, up to this


class Damaged(Exception):
    """The bytes break a promise that earlier bytes made. The text completes "voice.mp3 is damaged:
    …"."""


@dataclass
class Source:
    """`read_range(start, end)` gives the bytes from `start` up to, not including, `end`; it is
    never asked past `size`.

    `name` is what a person calls the file: it begins every message.
    """

    name: str
    size: int
    read_range: Callable[[int, int], bytes]
    _start: int = field(default=0, init=False, repr=False)
    _window: bytes = field(default=b"", init=False, repr=False)
    _ahead: int = field(default=FIRST_READ_BYTES, init=False, repr=False)

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`: fewer at the end of the file, none behind it."""
        end = min(start + length, self.size)
        if end <= start:
            return b""
        if start < self._start or end > self._start + len(self._window):
            self._look(start, end)
        return self._window[start - self._start : end - self._start]

    def exactly(self, start: int, length: int) -> bytes:
        """The `length` bytes from `start`, or Damaged: the file ends before them."""
        found = self.read(start, length)
        if len(found) < length:
            raise Damaged("it is cut off")
        return found

    def find(self, mark: bytes, start: int = 0) -> int:
        """Where `mark` stands first at or behind `start`; -1 if nowhere. Reads to the end if it
        must."""
        while start < self.size:
            piece = self.read(start, FIRST_READ_BYTES)
            found = piece.find(mark)
            if found >= 0:
                return start + found
            if start + len(piece) >= self.size:
                break
            start += len(piece) - len(mark) + 1
        return -1

    def _look(self, start: int, end: int) -> None:
        """Move the window. One that moves on steadily is a scan, and looks ever further ahead; a
        leap starts anew."""
        seen = self._start + len(self._window)
        goes_on = bool(self._window) and self._start < start <= seen + FIRST_READ_BYTES
        self._ahead = min(self._ahead * 2, LONGEST_READ_BYTES) if goes_on else FIRST_READ_BYTES
        end = min(max(end, start + self._ahead), self.size)
        window = self.read_range(start, end)
        if len(window) != end - start:
            raise OSError(
                f"{self.name}: asked for {end - start} bytes from {start}, got {len(window)}"
            )
        self._start, self._window = start, window


def of_bytes(name: str, content: bytes) -> Source:
    return Source(name, len(content), lambda start, end: content[start:end])


def in_bucket(s3: S3Client, bucket: str, key: str, version_id: str, size: int) -> Source:
    """One version of an object: what is looked at now is what the provider will be sent."""

    def read_range(start: int, end: int) -> bytes:
        wanted = f"bytes={start}-{end - 1}"
        answer = s3.get_object(Bucket=bucket, Key=key, VersionId=version_id, Range=wanted)
        return answer["Body"].read()

    return Source(key.rpartition("/")[2], size, read_range)
