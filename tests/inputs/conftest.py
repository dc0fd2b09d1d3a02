"""Sounds made by ffmpeg, pictures made by Pillow: what real tools write, and how long ffmpeg plays
it."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pytest
from PIL import Image

from functions.inputs import source

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
TONE = "sine=frequency=440:sample_rate={rate}:duration={seconds}"

Make = Callable[..., bytes]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`sound("voice.mp3", "-b:a", "64k")`: the bytes of a tone, made once a session."""
    made: dict[tuple[object, ...], bytes] = {}
    folder = tmp_path_factory.mktemp("sounds")

    def make(
        name: str, *options: str, seconds: float = 3.3, rate: int = 44100, pipe: str = ""
    ) -> bytes:
        wanted = (name, options, seconds, rate, pipe)
        if wanted not in made:
            tone = TONE.format(seconds=seconds, rate=rate)
            command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", tone, *options]
            if pipe:
                made[wanted] = subprocess.run(
                    [*command, "-f", pipe, "-"], check=True, capture_output=True
                ).stdout
            else:
                subprocess.run([*command, str(folder / name)], check=True)
                made[wanted] = (folder / name).read_bytes()
        return made[wanted]

    return make


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes, str], float]:
    """How many seconds ffmpeg plays: decoded to the end, and counted."""
    folder = tmp_path_factory.mktemp("truth")

    def seconds(content: bytes, name: str) -> float:
        path: Path = folder / name
        path.write_bytes(content)
        command = [
            FFMPEG,
            "-v",
            "quiet",
            "-i",
            str(path),
            "-map",
            "0:a",
            "-f",
            "s16le",
            "-ac",
            "1",
            "-ar",
            "8000",
            "-",
        ]
        return len(subprocess.run(command, check=True, capture_output=True).stdout) / 16000

    return seconds


def picture(kind: str, width: int, height: int, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, **options)
    return file.getvalue()


class Ledger:
    """A far file that records the size of each read."""

    def __init__(self, name: str, content: bytes) -> None:
        self.content = content
        self.read_sizes: list[int] = []
        self.source = source.Source(name, len(content), self.read_range)

    def read_range(self, start: int, end: int) -> bytes:
        assert 0 <= start < end <= len(self.content)
        self.read_sizes.append(end - start)
        return self.content[start:end]
