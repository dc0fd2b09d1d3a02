"""An archived video once more, under another task's key: read, compared with what was archived, and
written as any other, so that the two live and are deleted apart."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Unpack

from functions import TalkdropError
from functions.tasks.task import ArchivedVideo
from functions.videos import bucket
from functions.videos.bucket import (
    AlreadyThere,
    ArchiveUnavailable,
    ObjectHeaders,
    Send,
    StoredObject,
)
from functions.videos.paths import ArchivePaths


class NotTheSame(TalkdropError):
    """What lies there is not what was archived: nothing is copied."""


def copy(
    video: ArchivedVideo, path: ArchivePaths, **headers: Unpack[ObjectHeaders]
) -> StoredObject | None:
    """None where the video is gone, or is not what was archived. Raises ArchiveUnavailable."""
    stored = bucket.find(path)
    if stored is None:
        try:
            _copy(video, path, **headers)
        except NotTheSame:
            return None
        except ArchiveUnavailable as error:
            if bucket.is_missing(error):
                return None
            raise
        stored = bucket.look(path)
    sha256 = base64.b64encode(bytes.fromhex(video["sha256"])).decode()
    return stored if stored.checksum == sha256 else None


def _copy(video: ArchivedVideo, path: ArchivePaths, **headers: Unpack[ObjectHeaders]) -> None:
    where = ArchivePaths(video["bucket"], video["key"], "")
    content = bucket.read_back(where, "")  # one that has expired is hidden, and counts as gone
    first = next(content, b"")
    with suppress(AlreadyThere):  # another run was faster
        bucket.put_stream(
            path,
            int(video["bytes"]),
            lambda send: _pour(video, chain([first], content), send),
            **headers,
        )


def _pour(video: ArchivedVideo, content: Iterator[bytes], send: Send) -> bytes:
    digest, left = hashlib.sha256(), int(video["bytes"])
    for piece in content:
        digest.update(piece)
        left -= len(piece)
        if left < 0:
            raise NotTheSame("it is longer than what was archived")
        send(memoryview(piece))
    if digest.hexdigest() != video["sha256"]:
        raise NotTheSame("it is not what was archived")
    return digest.digest()
