"""Does the archive still hold what the tasks' rows and the manifests say? The bytes themselves are
read again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from functions.settings import aws, get
from functions.tasks import queries
from functions.tasks.task import Status, Task
from functions.videos import bucket, manifest
from functions.videos.bucket import ArchiveUnavailable
from functions.videos.multipart import Reading
from functions.videos.paths import ArchivePaths


def everything() -> Iterator[tuple[str, list[str]]]:
    """Every completed task and, since rows go before videos do, every folder of the archive that no
    row tells of: its name, and whatever does not agree."""
    seen = set()
    for task in completed():
        seen.add(_folder(task))
        yield task.task_id, list(disagreements(task))
    try:
        for folder, keys in _folders():
            if folder not in seen:
                yield from _unseen(folder, keys)
    except ArchiveUnavailable as error:
        yield (
            "the archive",
            [f"it cannot be walked for videos without a row, which takes s3:ListBucket: {error}"],
        )


def completed() -> Iterator[Task]:
    """Every completed task, newest first."""
    cursor = ""
    while True:
        found, cursor = queries.page(Status.COMPLETED, before=cursor, limit=100)
        yield from found
        if not cursor:
            return


def disagreements(task: Task) -> Iterator[str]:
    """Whatever does not agree, in a person's words; nothing if all does."""
    row = dict(task.archived)
    if not row:
        yield "its row names no video"
        return
    place = ArchivePaths(row["bucket"], row["key"], row["manifest_key"])
    try:
        told = manifest.read(place)
    except manifest.Damaged as error:
        yield f"the manifest is damaged: {error}"
    except ArchiveUnavailable as error:
        yield f"the manifest cannot be read: {error}"
    else:
        if told is None:
            yield (
                f"there is no manifest s3://{place.bucket}/{place.manifest_key}, or you may not "
                "read it"
            )
        else:
            differing = [name for name in manifest.FACTS if not _same(told[name], row.get(name))]
            yield from (
                f"{name}: the row says {row.get(name)}, the manifest {told[name]}"
                for name in differing
            )
    yield from _video(place, row, "row")


def _unseen(folder: str, keys: list[str]) -> Iterator[tuple[str, list[str]]]:
    task = queries.load(folder.rpartition("/")[2])
    if task is None or (task.status is Status.COMPLETED and _folder(task) != folder):
        yield folder, list(_without_row(folder, keys))
    elif task.status is Status.COMPLETED:  # since we asked
        yield task.task_id, list(disagreements(task))


def _without_row(folder: str, keys: list[str]) -> Iterator[str]:
    place = ArchivePaths(get().archive, "", f"{folder}/manifest.json")
    try:
        told = manifest.read(place)
    except manifest.Damaged as error:
        yield f"the manifest is damaged: {error}"
        return
    except ArchiveUnavailable as error:
        yield f"the manifest cannot be read: {error}"
        return
    if told is None:
        yield f"neither a row nor a manifest tells of {', '.join(keys)}"
        return
    yield from (
        f"nothing tells of {key}" for key in keys if key not in (place.manifest_key, told["key"])
    )
    yield from _video(
        ArchivePaths(place.bucket, str(told["key"]), place.manifest_key), told, "manifest"
    )


def _video(place: ArchivePaths, told: dict[str, Any], teller: str) -> Iterator[str]:
    """The version that is told of, and whether that is what stands there now: S3 gives an old one
    like a new one."""
    version_id = str(told.get("version_id") or "")
    try:
        standing = bucket.find(place)
        if standing is None:
            yield f"the video is gone, or you may not read it: nothing stands under s3://{place.bucket}/{place.key}"
        elif version_id and standing.version_id != version_id:
            yield (
                f"the video's current version is {standing.version_id}, the {teller} says "
                f"{version_id}"
            )
        is_current = standing is not None and standing.version_id == version_id
        reading = Reading(standing.checksum if standing and is_current else "")
        for piece in bucket.read_back(place, version_id):
            reading.update(piece)
    except ArchiveUnavailable as error:
        yield f"the video cannot be read: {error}"
        return
    if not _same(reading.bytes, told.get("bytes")):
        yield f"the video has {reading.bytes} bytes, the {teller} says {told.get('bytes')}"
    if reading.sha256.hexdigest() != told.get("sha256"):
        yield (
            f"the video's sha256 is {reading.sha256.hexdigest()}, the {teller} says "
            f"{told.get('sha256')}"
        )
    if not reading.agrees():
        yield f"the video is not what S3's checksum {standing.checksum if standing else ''} is of"


def _folder(task: Task) -> str:
    return str(task.archived.get("manifest_key", "")).rpartition("/")[0]


def _folders() -> Iterator[tuple[str, list[str]]]:
    """The archive's folders, one a task, with the keys in each."""
    for folder, keys in groupby(_keys(), key=lambda key: key.rpartition("/")[0]):
        yield folder, list(keys)


def _keys() -> Iterator[str]:
    with bucket.refusals():
        for page in (
            aws("s3")
            .get_paginator("list_objects_v2")
            .paginate(Bucket=get().archive, Prefix="videos/")
        ):
            yield from (entry["Key"] for entry in page.get("Contents", []))


def _same(one: Any, other: Any) -> bool:
    return str(one) == str(other) or (
        _is_number(one) and _is_number(other) and float(one) == float(other)
    )


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
