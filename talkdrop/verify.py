"""Does the archive still hold what the tasks' rows and the manifests say? The bytes themselves are
read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from functions.settings import aws, get
from functions.tasks import queries
from functions.tasks.task import ArchivedVideo, Status, Task
from functions.videos import bucket, manifest, paths
from functions.videos.bucket import ArchiveUnavailable
from functions.videos.multipart import Reading
from functions.videos.paths import ArchivePaths


def everything() -> Iterator[tuple[str, list[str]]]:
    """Every completed task and, since rows go before videos do, every folder of the archive that no
    row names: its name, and whatever does not agree."""
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
    """Whatever does not agree, in words; nothing if all does."""
    row = task.archived
    if not row:
        yield "its row names no video"
        return
    path = ArchivePaths(row["bucket"], row["key"], row["manifest_key"])
    try:
        facts = manifest.read(path)
    except manifest.ManifestDamaged as error:
        yield f"the manifest is damaged: {error}"
    except ArchiveUnavailable as error:
        yield f"the manifest cannot be read: {error}"
    else:
        if facts is None:
            yield (
                f"there is no manifest s3://{path.bucket}/{path.manifest_key}, or you may not "
                "read it"
            )
        else:
            written: Mapping[str, object] = facts
            differing = [name for name in manifest.FACTS if not _same(written[name], row.get(name))]
            yield from (
                f"{name}: the row says {row.get(name)}, the manifest {written[name]}"
                for name in differing
            )
    yield from _video(path, row, "row")


def _unseen(folder: str, keys: list[str]) -> Iterator[tuple[str, list[str]]]:
    task = queries.load(folder.rpartition("/")[2])
    if task is None or (task.status is Status.COMPLETED and _folder(task) != folder):
        yield folder, list(_without_row(keys))
    elif task.status is Status.COMPLETED:  # since we asked
        yield task.task_id, list(disagreements(task))


def _without_row(keys: list[str]) -> Iterator[str]:
    """A later attempt, and a job that a person named, have a manifest of their own."""
    manifests = [key for key in keys if paths.is_manifest(key)]
    named = set(manifests)
    for key in manifests:
        facts, trouble = _facts_of(ArchivePaths(get().archive, "", key))
        if facts is None:
            yield trouble
            return
        named.add(str(facts["key"]))
        yield from _video(ArchivePaths(get().archive, str(facts["key"]), key), facts, "manifest")
    if not manifests:
        yield f"neither a row nor a manifest names {', '.join(keys)}"
        return
    yield from (f"nothing names {key}" for key in keys if key not in named)


def _facts_of(path: ArchivePaths) -> tuple[ArchivedVideo | None, str]:
    """What the manifest says, or why it says nothing."""
    try:
        return manifest.read(path), "the manifest is gone"
    except manifest.ManifestDamaged as error:
        return None, f"the manifest is damaged: {error}"
    except ArchiveUnavailable as error:
        return None, f"the manifest cannot be read: {error}"


def _video(path: ArchivePaths, facts: Mapping[str, object], source: str) -> Iterator[str]:
    """The version that is named, and whether it is the current one: S3 gives an old one like a new
    one."""
    version_id = str(facts.get("version_id") or "")
    try:
        stored = bucket.find(path)
        if stored is None:
            yield f"the video is gone, or you may not read it: nothing is at s3://{path.bucket}/{path.key}"
        elif version_id and stored.version_id != version_id:
            yield (
                f"the video's current version is {stored.version_id}, the {source} says "
                f"{version_id}"
            )
        if stored and stored.replication == "FAILED":
            yield f"no copy of it is in the replica: ReplicationStatus FAILED of {path.key}"
        is_current = stored is not None and stored.version_id == version_id
        reading = Reading(stored.checksum if stored and is_current else "")
        for piece in bucket.read_back(path, version_id):
            reading.update(piece)
    except ArchiveUnavailable as error:
        yield f"the video cannot be read: {error}"
        return
    if not _same(reading.bytes, facts.get("bytes")):
        yield f"the video has {reading.bytes} bytes, the {source} says {facts.get('bytes')}"
    if reading.sha256.hexdigest() != facts.get("sha256"):
        yield (
            f"the video's sha256 is {reading.sha256.hexdigest()}, the {source} says "
            f"{facts.get('sha256')}"
        )
    if not reading.agrees():
        yield f"the video is not what S3's checksum {stored.checksum if stored else ''} is of"


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
