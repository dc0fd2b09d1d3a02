"""The files a provider is given: fetched or decoded, kept by their hash, and looked at for what
they really are."""

from __future__ import annotations

import functools
import hashlib
import re
import ssl
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import imageio_ffmpeg

MOST_BYTES = (
    105 * 1024 * 1024
)  # no provider here takes more than 100 MB; what lies beyond is only known to be too much
FETCH_TIMEOUT = httpx.Timeout(30.0)
FETCHES = 24  # at the same time

# The files of the providers' own examples are not fetched from the internet: our sample stands for
# them, so that the examples work as they stand in the documentation.
EXAMPLE_FILES = (
    "https://file.aiquickdraw.com/custom-page/",
    "https://h2.inkwai.com/bs2/upload-ylab-stunt/",
)
SAMPLES = Path(__file__).parents[1] / "samples"

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


@functools.cache
def trusted() -> ssl.SSLContext:
    """Read once: it is most of what an HTTP client costs to make."""
    return httpx.create_ssl_context()


class UnreachableError(Exception):
    """A URL gave no file: refused, redirected, not 200, too slow, no such host."""


@dataclass(frozen=True)
class Medium:
    """A file we hold. What it is comes from its bytes; `kind` is "" for what we do not know."""

    name: str
    kind: str
    size: int
    width: int = 0
    height: int = 0
    seconds: float = 0.0


class Library:
    """Files by their SHA-256; the same bytes are stored and examined once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Future[Medium]] = {}
        self._lock = threading.Lock()
        self._lookers = ThreadPoolExecutor(2, thread_name_prefix="simulator-look")
        self._slots = threading.Semaphore(FETCHES)
        self._client = httpx.Client(
            timeout=FETCH_TIMEOUT,
            verify=trusted(),
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=FETCHES),
        )

    def close(self) -> None:
        self._client.close()
        self._lookers.shutdown(wait=True, cancel_futures=True)

    def path(self, name: str) -> Path:
        return self._folder / name

    def fetch(self, url: str) -> Medium:
        """As providers do: one GET, no redirects, 30 seconds. UnreachableError tells why there is
        no file."""
        if url.startswith(EXAMPLE_FILES):
            return self.sample("voice.mp3" if url.endswith(".mp3") else "portrait.png")
        try:
            with self._slots, self._client.stream("GET", url) as answer:
                if answer.status_code != 200:
                    raise UnreachableError(f"HTTP {answer.status_code}")
                return self._store(answer.iter_bytes())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise UnreachableError(type(error).__name__) from error

    def keep(self, content: bytes) -> Medium:
        return self._store([content])

    def sample(self, name: str) -> Medium:
        return self.keep((SAMPLES / name).read_bytes())

    def _store(self, pieces: Iterable[bytes]) -> Medium:
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                if size > MOST_BYTES:
                    break
                file.write(piece)
        name = digest.hexdigest()
        Path(file.name).replace(self.path(name))
        with self._lock:  # a burst of the same voice is examined once
            if name not in self._known:
                self._known[name] = self._lookers.submit(_look, name, self.path(name), size)
        return self._known[name].result()


def _look(name: str, path: Path, size: int) -> Medium:
    with path.open("rb") as file:
        head = file.read(1 << 18)
    kind = sniff(head)
    if kind.startswith("image/"):
        width, height = pixels(kind, head)
        return Medium(name, kind, size, width, height)
    if kind.startswith("audio/"):
        return Medium(name, kind, size, seconds=seconds(path))
    return Medium(name, kind, size)


def sniff(head: bytes) -> str:
    """The media type by the first bytes, or ""."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"WAVE"):
        return "image/webp" if head[8:12] == b"WEBP" else "audio/wav"
    if head[4:8] == b"ftyp":
        return (
            "video/mp4"
            if b"vide" in head or (b"soun" not in head and head[8:11] != b"M4A")
            else "audio/mp4"
        )
    if head.startswith(b"OggS"):
        return "audio/ogg"
    if head.startswith(b"fLaC"):
        return "audio/flac"
    if head.startswith(b"ID3"):
        return "audio/mpeg"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "audio/aac" if head[1] & 0x06 == 0 else "audio/mpeg"  # layer bits are 0 in ADTS only
    return {b"GIF8": "image/gif"}.get(head[:4], "image/bmp" if head.startswith(b"BM") else "")


def pixels(kind: str, head: bytes) -> tuple[int, int]:
    """Width and height, (0, 0) where the header does not say."""
    if kind == "image/png" and len(head) >= 24:
        return struct.unpack(">II", head[16:24])
    if kind == "image/jpeg":
        return _jpeg_pixels(head)
    if kind == "image/webp" and len(head) >= 30:
        if head[12:16] == b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(
                head[27:30], "little"
            )
        if head[12:16] == b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        wide, high = struct.unpack("<HH", head[26:30])
        return wide & 0x3FFF, high & 0x3FFF
    return 0, 0


def _jpeg_pixels(head: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            high, wide = struct.unpack(">HH", head[at + 5 : at + 9])
            return wide, high
        at += 1 if marker == 0xFF else 2 + length
    return 0, 0


def seconds(path: Path) -> float:
    """How long it plays, by decoding all of it: headers lie. 0 for what does not decode."""
    command = [
        FFMPEG,
        "-hide_banner",
        "-nostdin",
        "-threads",
        "1",
        "-i",
        str(path),
        "-map",
        "0:a:0",
        "-f",
        "null",
        "-",
    ]
    output = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    ).stderr
    times = re.findall(rb"time=(\d+):(\d\d):(\d\d\.\d+)", output)
    if not times:
        return 0.0
    hours, minutes, rest = times[-1]
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)
