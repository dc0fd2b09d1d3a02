"""Does the archive still hold what the task's row and the manifest say? The bytes themselves are read again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from functions import bucket, index, manifest
from functions.bucket import ArchiveUnavailable, Place
from functions.tasks import S, Task

_FACTS = ("bucket", "key", "version_id", "etag", "sha256", "bytes", "seconds", "manifest_key")


def disagreements(task: Task) -> Iterator[str]:
    """Whatever does not agree, in a person's words; nothing if all does."""
    row = dict(task.archived)
    if not row:
        yield "its row names no video"
        return
    place = Place(row["bucket"], row["key"], row["manifest_key"])
    try:
        told = manifest.read(place)
    except ArchiveUnavailable as error:
        yield f"the manifest cannot be read: {error}"
        return
    if told is None:
        yield f"there is no manifest s3://{place.bucket}/{place.manifest_key}, or you may not read it"
    else:
        differing = [name for name in _FACTS if not _same(told.get(name), row.get(name))]
        yield from (f"{name}: the row says {row.get(name)}, the manifest {told.get(name)}" for name in differing)
    yield from _bytes(place, row)


def _bytes(place: Place, row: dict[str, Any]) -> Iterator[str]:
    digest, count = hashlib.sha256(), 0
    try:
        for piece in bucket.read_back(place, str(row.get("version_id", ""))):
            digest.update(piece)
            count += len(piece)
    except ArchiveUnavailable as error:
        yield f"the video cannot be read: {error}"
        return
    if count != row.get("bytes"):
        yield f"the video has {count} bytes, the row says {row.get('bytes')}"
    if digest.hexdigest() != row.get("sha256"):
        yield f"the video's sha256 is {digest.hexdigest()}, the row says {row.get('sha256')}"


def _same(one: Any, other: Any) -> bool:
    return str(one) == str(other) or (_is_number(one) and _is_number(other) and float(one) == float(other))


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def completed() -> Iterator[Task]:
    """Every completed task, newest first."""
    cursor = ""
    while True:
        found, cursor = index.page(S.COMPLETED, before=cursor, limit=100)
        yield from found
        if not cursor:
            return
