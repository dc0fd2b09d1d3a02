"""What lies together in the inbox: which files make one task.

    hello.mp3  + hello.png            one task: the portrait with the voice's own stem
    01.mp3, 02.mp3, … + portrait.jpg  a task for each voice: the portrait of the folder
    hello.json (with "text") + …      a task whose voice the provider speaks
    hello.txt, hello.json             the prompt and the settings of that voice; settings.json: of
    its folder

Nothing is remembered between events: S3 is asked what is there now, and its listings are strongly
consistent (https://aws.amazon.com/s3/consistency/). Two portraits for one voice: the newest counts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from functions.inputs import source
from functions.settings import aws
from functions.tasks.task import StoredFile, id_of

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import ObjectTypeDef

OURS = "_talkdrop/"  # where we keep what we brought in ourselves; the inbox's rule leaves it out
UPLOADS = OURS + "uploads/"  # what came by the API's upload forms; below it, the caller's folders
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_MOST_KEY_BYTES = 1024

# Formats no provider takes are here too: a file that is dropped deserves a reason, not silence.
_VOICES = frozenset(
    {"mp3", "wav", "m4a", "aac", "ogg", "oga", "opus", "flac", "mp2", "wma", "aif", "aiff", "amr"}
    | {"caf", "m4b", "mp4", "m4v", "mov", "3gp", "webm", "mkv", "avi", "wave", "mpga", "weba"}
)
_PORTRAITS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "heic", "avif", "tif", "tiff"})


class Role(StrEnum):
    """What a file is by its name."""

    VOICE = "voice"
    PORTRAIT = "portrait"
    PROMPT = "prompt"
    SETTINGS = "settings"
    OTHER = "other"


@dataclass(frozen=True)
class File:
    """One object of the inbox, as it is now."""

    bucket: str
    key: str
    version_id: str
    size: int
    etag: str
    checksum: str = ""  # as a task's row has it; only where the object itself was looked at

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    def named(self) -> StoredFile:
        """As a task's row names it."""
        named: StoredFile = {
            "bucket": self.bucket,
            "key": self.key,
            "version_id": self.version_id,
            "etag": self.etag,
        }
        return {**named, "checksum": self.checksum} if self.checksum else named

    def source(self, name: str = "") -> source.Source:
        """To look into it, piece by piece; `name` is what messages call it."""
        looked_at = source.in_bucket(aws("s3"), self.bucket, self.key, self.version_id, self.size)
        looked_at.name = name or looked_at.name
        return looked_at


@dataclass(frozen=True)
class Drop:
    """What lies in the inbox for one voice."""

    voice: File
    portrait: File | None
    prompt: File | None
    settings: tuple[File, ...]
    has_note: bool

    @property
    def stem(self) -> str:
        return split(self.voice.key)[1]

    @property
    def note_key(self) -> str:
        folder, stem, _ = split(self.voice.key)
        return f"{folder}{stem}.error.json"


def split(key: str) -> tuple[str, str, str]:
    """Folder (with its slash), stem and lower-case extension of a key."""
    folder, slash, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    return folder + slash, stem if dot else name, extension.lower() if dot else ""


def folder_of(audio: StoredFile, portrait: StoredFile) -> str:
    """The folder that the caller knows: of the voice in the inbox, without our own prefix."""
    key = str(audio.get("key") or portrait.get("key") or "")
    if key.startswith(UPLOADS):
        return split(key.removeprefix(UPLOADS))[0]
    return "" if key.startswith(OURS) else split(key)[0]


def kind_of(key: str) -> Role:
    _, stem, extension = split(key)
    if key.startswith(OURS) or not stem or key.endswith(".error.json"):
        return Role.OTHER
    if extension in _VOICES:
        return Role.VOICE
    if extension in _PORTRAITS:
        return Role.PORTRAIT
    return {"txt": Role.PROMPT, "json": Role.SETTINGS}.get(extension, Role.OTHER)


def is_picture(key: str) -> bool:
    """By its name, wherever it lies: what we brought in ourselves too."""
    return split(key)[2] in _PORTRAITS


def is_lone_portrait(key: str) -> bool:
    """Is this the portrait of one voice, and not that of a folder?"""
    return kind_of(key) is Role.PORTRAIT and split(key)[1] != "portrait"


def task_id_of(bucket: str, key: str, version_id: str) -> str:
    """The same upload can never be two tasks, whatever repeats."""
    return id_of("drop", bucket, key, version_id)


def gather(bucket: str, voice_key: str) -> Drop | None:
    """Everything that lies there for this voice; None if the voice itself is gone."""
    voice = head(bucket, voice_key)
    if voice is None:
        return None
    folder, stem, _ = split(voice_key)
    beside = [item for item in _with_stem(bucket, folder, stem) if item["Key"] != voice_key]
    of_folder = _with_stem(bucket, folder, "portrait")
    own = [item for item in beside if kind_of(item["Key"]) is Role.PORTRAIT]
    shared = [item for item in of_folder if kind_of(item["Key"]) is Role.PORTRAIT]
    portrait = _newest(own) or _newest(shared)
    prompt = _newest([item for item in beside if kind_of(item["Key"]) is Role.PROMPT])
    own_settings = _newest([item for item in beside if kind_of(item["Key"]) is Role.SETTINGS])
    settings = [head(bucket, f"{folder}settings.json"), _file(bucket, own_settings)]
    return Drop(
        voice=voice,
        portrait=_file(bucket, portrait),
        prompt=_file(bucket, prompt),
        settings=tuple(file for file in settings if file and file.key != voice_key),
        has_note=any(item["Key"].endswith(".error.json") for item in beside),
    )


def voices_for(bucket: str, key: str) -> Iterator[str]:
    """The voices that a new file may concern by its name: itself, or those of its stem."""
    kind = kind_of(key)
    folder, stem, _ = split(key)
    if kind is Role.VOICE:
        yield key
    elif kind is not Role.OTHER:
        found = [
            item["Key"]
            for item in _with_stem(bucket, folder, stem)
            if kind_of(item["Key"]) is Role.VOICE
        ]
        yield from found
        if kind is not Role.PROMPT and not found:
            yield from _spoken(bucket, folder, stem)


def is_of_folder(key: str) -> bool:
    """A file that serves every voice of its folder."""
    shared = {"portrait": Role.PORTRAIT, "settings": Role.SETTINGS}
    return shared.get(split(key)[1]) is kind_of(key)


def _spoken(bucket: str, folder: str, stem: str) -> Iterator[str]:
    """`<stem>.json` may carry a text for the provider to speak; what it holds is
    read later."""
    if stem not in {"settings", "portrait"}:
        yield from (
            item["Key"]
            for item in _with_stem(bucket, folder, stem)
            if kind_of(item["Key"]) is Role.SETTINGS
        )


def voices_in(bucket: str, key: str, after: str) -> Iterator[tuple[list[str], str]]:
    """Every voice that a folder's own file concerns, a listing of 1,000 at a time behind the key
    `after`: the voices, and the last key that was listed."""
    folder, own, _ = split(key)
    pages = (
        aws("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=bucket, Prefix=folder, Delimiter="/", StartAfter=after)
    )
    for page in pages:
        keys = [item["Key"] for item in page.get("Contents", [])]
        if keys:
            yield [one for one in keys if _is_voice_of(one, own)], keys[-1]


def _is_voice_of(key: str, own: str) -> bool:
    return kind_of(key) in {Role.VOICE, Role.SETTINGS} and split(key)[1] not in {"settings", own}


def _with_stem(bucket: str, folder: str, stem: str) -> list[ObjectTypeDef]:
    """The objects with this stem, however it is spelled."""
    found: dict[str, ObjectTypeDef] = {}
    for form in spellings(stem):
        pages = (
            aws("s3")
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=f"{folder}{form}.")
        )
        for page in pages:
            for item in page.get("Contents", []):
                if (
                    split(item["Key"])[:2] == (folder, form)
                    or item["Key"] == f"{folder}{form}.error.json"
                ):
                    found[item["Key"]] = item
    return list(found.values())


def spellings(stem: str) -> list[str]:
    """The stem as different systems compose its letters: é is one code point or two."""
    forms = {stem, unicodedata.normalize("NFC", stem), unicodedata.normalize("NFD", stem)}
    return sorted(forms)


def _newest(items: list[ObjectTypeDef]) -> ObjectTypeDef | None:
    return max(items, key=lambda item: (item["LastModified"], item["Key"]), default=None)


def _file(bucket: str, item: ObjectTypeDef | None) -> File | None:
    return head(bucket, item["Key"]) if item else None


def is_plain(text: str) -> bool:
    """Whether all of it may stand in a name that a caller chooses: no control character, half a
    surrogate pair, line's end or code point that is no character, which S3 cannot list in XML.
    Joiners, marks of direction and narrow spaces stand in the names that phones and macOS make."""
    return all(
        unicodedata.category(letter) not in {"Cc", "Cs", "Zl", "Zp"}
        and ord(letter) & 0xFFFE != 0xFFFE
        and not 0xFDD0 <= ord(letter) <= 0xFDEF
        for letter in text
    )


def may_be_key(text: str) -> bool:
    """Whether it is worth asking S3 for: it refuses what is longer, and we what is not plain."""
    return is_plain(text) and len(text.encode()) <= _MOST_KEY_BYTES


def head(bucket: str, key: str) -> File | None:
    """The object as it is now, None if there is none."""
    s3 = aws("s3")
    try:
        found = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except s3.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return None
    return File(
        bucket, key, found.get("VersionId", ""), found["ContentLength"], found["ETag"].strip('"'),
        _checksum(found),
    )  # fmt: skip


def _checksum(found: Mapping[str, object]) -> str:
    """What S3 itself reckoned of the object, the strongest first: its bytes are not read whole
    here. One of the parts' checksums says nothing of the file.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html"""
    for name in ("SHA256", "SHA1", "CRC64NVME", "CRC32C", "CRC32"):
        value = str(found.get(f"Checksum{name}") or "")
        if value and "-" not in value:
            return f"{name.lower()}:{value}"
    return ""


def read_text(file: File, *, most_bytes: int = 64 << 10) -> str:
    """A small text beside a voice. Raises ValueError, with the cure, when it is too large or not
    UTF-8."""
    if file.size > most_bytes:
        raise ValueError(f"{file.name} is {file.size:,} bytes; at most {most_bytes:,} are read")
    body = (
        aws("s3")
        .get_object(Bucket=file.bucket, Key=file.key, VersionId=file.version_id)["Body"]
        .read()
    )
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is not UTF-8 text: save it as UTF-8") from error
