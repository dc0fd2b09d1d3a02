"""Small portraits and voices, drawn when a test needs them."""

from __future__ import annotations

import functools
import io
import struct
import subprocess
import tempfile
import wave
from pathlib import Path

import imageio_ffmpeg
from PIL import Image

MB = 1024 * 1024


@functools.cache
def portrait(width: int = 320, height: int = 320, kind: str = "PNG") -> bytes:
    paper = io.BytesIO()
    Image.new("RGB", (width, height), (180, 120, 90)).save(paper, kind)
    return paper.getvalue()


@functools.cache
def voice(seconds: float = 3.0) -> bytes:
    """A WAV of silence: small, and exactly as long as it says."""
    paper = io.BytesIO()
    with wave.open(paper, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * round(8000 * seconds))
    return paper.getvalue()


@functools.cache
def encoded(suffix: str, *how: str) -> bytes:
    """Three seconds in another format."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"voice.{suffix}"
        source = ["-f", "lavfi", "-i", "sine=frequency=220:duration=3"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *source, *how, str(path)]
        subprocess.run(command, check=True)
        return path.read_bytes()


def padded(content: bytes, size: int) -> bytes:
    """The same file with meaningless bytes after its end; in a WAV they are a chunk, or it would
    take ages to play."""
    more = size - len(content)
    head = b"JUNK" + struct.pack("<I", more - 8) if content.startswith(b"RIFF") else b""
    return content + head + bytes(more - len(head))


def length(video: bytes) -> float:
    """Seconds of sound in a video."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(video)
        file.flush()
        decode = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-i",
            file.name,
            "-map",
            "0:a:0",
            "-f",
            "s16le",
            "-ar",
            "8000",
        ]
        sound = subprocess.run([*decode, "-ac", "1", "-"], capture_output=True, check=True).stdout
    return len(sound) / 2 / 8000


def frame(video: bytes) -> tuple[int, int]:
    """Width and height of its picture."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "video.mp4").write_bytes(video)
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-loglevel",
            "error",
            "-i",
            "video.mp4",
            "-frames:v",
            "1",
            "one.png",
        ]
        subprocess.run(command, check=True, cwd=folder)
        with Image.open(Path(folder) / "one.png") as picture:
            return picture.size
