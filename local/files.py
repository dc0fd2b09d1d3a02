"""A face and a voice on this machine, looked at before anything is started."""

from __future__ import annotations

from pathlib import Path

from functions.inputs import filetypes
from local.follow import NotCompleted


def check(face: Path, voice: Path) -> None:
    """Raises NotCompleted for what can never become a task: a file that is missing, or of another
    kind. Names are not believed, first bytes are."""
    for path in (face, voice):
        if not path.is_file():
            raise NotCompleted(f"there is no file {path}: give a portrait and a voice")
    of_face, of_voice = (_kind(path) for path in (face, voice))
    if of_face.family == "sound" and of_voice.family == "picture":
        raise NotCompleted(
            f"{face} is {of_face.words} and {voice} is {of_voice.words}: the face comes first, so "
            f"run {voice} {face}"
        )
    if of_face.family not in ("picture", "unknown"):
        raise NotCompleted(f"{face} is {of_face.words}: the face must be a picture")
    if of_voice.family not in ("sound", "unknown"):
        raise NotCompleted(f"{voice} is {of_voice.words}: the voice must be a sound{_cure(voice)}")


def _kind(path: Path) -> filetypes.Kind:
    with path.open("rb") as file:
        return filetypes.kind(file.read(64))


def _cure(voice: Path) -> str:
    if voice.suffix.lower() not in (".mp4", ".mov", ".mkv", ".webm", ".avi"):
        return ""
    return f"; take it out of the film: ffmpeg -i {voice} -vn {voice.with_suffix('.mp3').name}"
