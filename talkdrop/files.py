"""Files on this machine: what they are, which of them make a task, and how they are sent."""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from functions.inputs import drops, filetypes, request, source, validation
from functions.inputs.drops import Role
from functions.inputs.request import TaskRequest
from functions.inputs.validation import Validation

_HEAD_BYTES = 64


class Unusable(Exception):
    """These files make no task; the message says which, why, and the cure."""


@dataclass(frozen=True)
class Submission:
    """One task's files and settings, before anything is sent. `folder` is where it will be listed
    and downloaded to."""

    face: Path
    voice: Path | None
    folder: str
    prompt: str = ""
    provider: str | None = None
    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_usd: float | None = None
    consent: Mapping[str, Any] | None = None
    long_voice: str | None = None
    reuse: bool | None = None

    @property
    def name(self) -> str:
        return f"{self.folder}/{(self.voice or self.face).stem}".lstrip("/")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_type(path: Path) -> str:
    """By its first bytes; by its name where those say nothing."""
    with path.open("rb") as file:
        found = filetypes.kind(file.read(_HEAD_BYTES)).content_type
    guessed = found or mimetypes.guess_type(path.name)[0] or ""
    if not guessed.startswith(("image/", "audio/")):
        raise Unusable(f"{path} is neither a picture nor a sound: give a JPEG or PNG and an MP3")
    return guessed


def upload_key(folder: str, name: str) -> str:
    """The key of the inbox that POST /uploads gives to this file."""
    return drops.UPLOADS + "/".join([*(part for part in folder.split("/") if part), name])


class Counted:
    """A file that tells how much of it was read: httpx sends it in pieces."""

    def __init__(self, file: BinaryIO, size: int, progress: Any) -> None:
        self._file, self._size, self._progress = file, size, progress

    def read(self, most: int = -1) -> bytes:
        piece = self._file.read(most)
        if self._progress:
            self._progress(self._file.tell(), self._size)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()


def check(submission: Submission, default_provider: str) -> Validation:
    """What the API will find in these files, found here before anything is uploaded."""
    flat = {**submission.settings, "provider": submission.provider or default_provider}
    flat |= {"model": submission.model, "max_usd": submission.max_usd}
    flat |= {"consent": submission.consent, "long_voice": submission.long_voice}
    flat |= {"reuse": submission.reuse}
    composed: TaskRequest = request.compose(flat, submission.prompt)
    voice = _source(submission.voice) if submission.voice else None
    return validation.validate(composed, _source(submission.face), voice)


def _source(path: Path) -> source.Source:
    def read_range(start: int, end: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    return source.Source(path.name, path.stat().st_size, read_range)


def of_paths(face: Path, voices: list[Path], folder: str) -> list[Submission]:
    """A face and its voices, a task each."""
    for path in (face, *voices):
        if not path.is_file():
            raise Unusable(f"there is no file {path}: give a portrait and one or more voices")
    if drops.kind_of(face.name) is Role.VOICE and drops.kind_of(voices[0].name) is Role.PORTRAIT:
        raise Unusable(
            f"{face.name} is a sound and {voices[0].name} a picture: the face comes first, then "
            "its voices"
        )
    return [Submission(face, voice, folder) for voice in voices]


def of_directory(directory: Path, folder: str) -> list[Submission]:
    """Every voice below the directory, with the portrait, prompt and settings that lie beside it:
    the same rules as for dropped files. Raises Unusable."""
    found: list[Submission] = []
    for inside in [directory, *sorted(one for one in directory.rglob("*") if one.is_dir())]:
        below = "/".join(filter(None, [folder, *inside.relative_to(directory).parts]))
        found += _in_folder(inside, below)
    if not found:
        raise Unusable(
            f"{directory} holds no voice: put an MP3 and a portrait of the same name, or "
            "portrait.png, into it"
        )
    return found


def _in_folder(directory: Path, folder: str) -> Iterator[Submission]:
    paths = sorted(one for one in directory.iterdir() if one.is_file() and one.name[0] != ".")
    kinds = {path: drops.kind_of(path.name) for path in paths}
    faces = {path.stem: path for path in paths if kinds[path] is Role.PORTRAIT}
    shared = _settings(directory / "settings.json")
    for voice in (path for path in paths if kinds[path] is Role.VOICE):
        face = faces.get(voice.stem) or faces.get("portrait")
        if face is None:
            raise Unusable(
                f"{voice} has no portrait: put {voice.stem}.png or portrait.png beside it"
            )
        flat = {**shared, **_settings(voice.with_suffix(".json"))}
        yield _submission(face, voice, folder, flat, _prompt(voice.with_suffix(".txt"), flat))


def _submission(
    face: Path, voice: Path, folder: str, flat: Mapping[str, Any], prompt: str
) -> Submission:
    own = {name: value for name, value in flat.items() if name not in request.RESERVED}
    return Submission(
        face,
        voice,
        folder,
        prompt,
        flat.get("provider"),
        flat.get("model"),
        own,
        flat.get("max_usd"),
        flat.get("consent"),
        flat.get("long_voice"),
        flat.get("reuse"),
    )


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return request.parse(path.read_text(encoding="utf-8-sig"), path.name)
    except (request.Refused, UnicodeDecodeError) as error:
        raise Unusable(f"{path}: {error}") from error


def _prompt(path: Path, flat: Mapping[str, Any]) -> str:
    if not path.is_file():
        return str(flat.get("prompt") or "")
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise Unusable(f"{path} is not UTF-8 text: save it as UTF-8") from error


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=str)


def safe_folder(folder: str) -> Path:
    """A task's folder as a path below the download directory, whatever its key says."""
    parts = [part for part in folder.split("/") if part not in ("", ".", "..")]
    return Path(*(part.replace("\\", "_").replace("\0", "_") for part in parts))
