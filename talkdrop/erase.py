"""Erase what is known of a person: portrait, voice, prompt and video in all their versions, the
copies in a replica, and the task's row.

Files go first and the row last: it alone says where they lie, so an interrupted run is repeated,
and the sweep never finds a voice without its row. What cannot be reached from here is named.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from typing import Any

from botocore.exceptions import ClientError

from functions.api import lookup
from functions.inputs import drops
from functions.settings import aws, get
from functions.tasks import decisions, plans, queries, reuse, table
from functions.tasks.table import ConditionFailed, Update, now, stamp
from functions.tasks.task import TERMINAL, Status, Task, job_key, key_of
from functions.videos import paths

BACKUP_DAYS = 35  # of the table's point-in-time recovery, see infra/context.py
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_IN_A_REQUEST = 1000  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
_CANCELLABLE = frozenset({Status.WAITING, Status.READY})


@dataclass(frozen=True)
class Version:
    """One version of an object, or the marker of its deletion; `upload_id` of one that was never
    completed."""

    bucket: str
    key: str
    version_id: str = ""
    etag: str = ""
    upload_id: str = ""


@dataclass(frozen=True)
class Plan:
    """What would go. `kept` says what does not, and why."""

    tasks: tuple[Task, ...] = ()
    versions: tuple[Version, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.tasks and not self.versions


@dataclass
class Receipt:
    """What went, and when. `locked` names versions that Object Lock keeps and until when; `failed`
    what could not be deleted: run it again; `remains` what is out of reach."""

    at: str
    by: str
    tasks: list[str] = field(default_factory=list)
    versions: list[dict[str, str]] = field(default_factory=list)
    locked: list[dict[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)


def of_task(name: str) -> Plan:
    """A task's own files, its video and its row; by its whole id also when the row has gone.
    Raises NotOneTask, and Refused while it is under way."""
    try:
        task = lookup.find(name)
    except lookup.NotOneTask:
        left = [one for folder, found in _archived() if folder.endswith(name) for one in found]
        if len(name) != 32 or not left:
            raise
        return Plan(versions=_once(left))
    return _plan([task])


def of_portrait(name: str) -> Plan:
    """Everything that was made of one portrait: by its key in the inbox, or by the SHA-256 of its
    content. Raises Refused while any of it is under way."""
    pictures = _of_content(name) if _SHA256.fullmatch(name) else _of_key(name)
    wanted = _Portrait(
        name,
        frozenset(picture.version_id for picture in pictures),
        frozenset(picture.etag for picture in pictures) - {""},
    )
    seen: set[str] = set()
    tasks = [task for task in _all_tasks(seen) if wanted.is_of(task.portrait)]
    without_row = [
        version
        for folder, found in _archived()
        if folder.rpartition("/")[2] not in seen and wanted.is_of(_input_of(found))
        for version in found
    ]
    return _plan(tasks, [*pictures, *without_row])


@dataclass(frozen=True)
class _Portrait:
    """What a row or a manifest names when it means this portrait."""

    key: str
    version_ids: Collection[str]
    etags: Collection[str]

    def is_of(self, named: Any) -> bool:
        return (
            named.get("key") == self.key
            or named.get("version_id") in self.version_ids
            or named.get("etag") in self.etags
        )


def carry_out(plan: Plan, who: str, *, bypass_lock: bool = False) -> Receipt:
    """Delete it. Raises Refused when a task was sent meanwhile."""
    tasks = [_at_rest(task, who) for task in plan.tasks]
    receipt = Receipt(stamp(now()), who)
    _delete(receipt, plan.versions, bypass_lock=bypass_lock)
    _delete_copies(receipt, plan.versions, bypass_lock=bypass_lock)
    for task in tasks:
        _forget(receipt, task)
    receipt.remains += _out_of_reach(tasks)
    return receipt


def _plan(found: Sequence[Task], more: Sequence[Version] = ()) -> Plan:
    tasks = [one for task in found for one in (*_pieces(task), task)]
    busy = [task for task in tasks if task.status not in TERMINAL | _CANCELLABLE]
    if busy:
        names = ", ".join(f"{task.task_id[:8]} is {task.status}" for task in busy)
        cure = "wait for its end, or end a HELD one with talkdrop fail"
        raise decisions.Refused(f"nothing was erased, {names}: {cure}")
    versions = _once([*more, *(version for task in tasks for version in _of_task(task))])
    keys = {version.key for version in versions}
    kept = {message for task in tasks if (message := _kept(task, keys))}
    return Plan(tuple(tasks), versions, tuple(sorted(kept)))


def _pieces(task: Task) -> list[Task]:
    """The pieces of a long voice go with it, and before it: its row alone names them."""
    keys = [key_of(task_id) for task_id in plans.ids_ever_made(task)] if task.plan else []
    return [Task.of(row) for row in queries.read_many(keys).values()]


def _of_task(task: Task) -> Iterator[Version]:
    yield from _versions(get().inbox, f"{drops.OURS}{task.task_id}/")
    if task.is_long:
        yield from _versions(get().inbox, f"{plans.FOLDER}{task.task_id}/")
        yield from _versions(get().archive, f"pieces/{task.task_id}/")
    voice = str(task.audio.get("key") or "")
    if voice:
        yield from _exactly(get().inbox, voice)
    if task.origin == "files":
        folder, _, _ = drops.split(voice or str(task.portrait.get("key") or ""))
        yield from _beside(folder, task.stem)
    folders = {paths.of(task).manifest_key, str(task.archived.get("manifest_key") or "")}
    for key in sorted(folders - {""}):
        yield from _versions(get().archive, f"{key.rpartition('/')[0]}/")


def _beside(folder: str, stem: str) -> Iterator[Version]:
    """What was dropped with the voice: its own portrait, prompt, settings and error note."""
    for spelled in drops.spellings(stem):
        note = f"{folder}{spelled}.error.json"
        for version in _versions(get().inbox, f"{folder}{spelled}."):
            if drops.split(version.key)[:2] == (folder, spelled) or version.key == note:
                yield version


def _kept(task: Task, keys: Collection[str]) -> str:
    """A portrait that other voices may share stays, unless it is what was named."""
    key = str(task.portrait.get("key") or "")
    if not key or key in keys:
        return ""
    return f"{key} may serve other tasks and stays: talkdrop erase --portrait {key}"


def _once(versions: Iterable[Version]) -> tuple[Version, ...]:
    return tuple(dict.fromkeys(versions))


def _exactly(bucket: str, key: str) -> list[Version]:
    return [version for version in _versions(bucket, key) if version.key == key]


def _versions(bucket: str, prefix: str) -> Iterator[Version]:
    """Every version under a prefix, hidden ones, marks of deletion and unfinished uploads too."""
    s3 = aws("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Versions", []):
            yield Version(bucket, one["Key"], one["VersionId"], one["ETag"].strip('"'))
        for mark in page.get("DeleteMarkers", []):
            yield Version(bucket, mark["Key"], mark["VersionId"])
    for uploads in s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, Prefix=prefix
    ):
        for upload in uploads.get("Uploads", []):
            yield Version(bucket, upload["Key"], upload_id=upload["UploadId"])


def _archived() -> Iterator[tuple[str, list[Version]]]:
    """The archive's folders, one a task, with all versions of what is in each."""
    ordered = sorted(_versions(get().archive, "videos/"), key=lambda version: version.key)
    for folder, found in groupby(ordered, key=lambda version: version.key.rpartition("/")[0]):
        yield folder, list(found)


def _input_of(found: list[Version]) -> Any:
    """The portrait that the manifest among these versions names; nothing where none can be read."""
    for version in found:
        if paths.is_manifest(version.key) and version.etag:
            try:
                return json.loads(_read(version))["inputs"]["portrait"]
            except (ValueError, KeyError, TypeError):
                continue
    return {}


def _of_key(key: str) -> list[Version]:
    """All versions under this key, and whatever pictures of the inbox have the same bytes."""
    named = _exactly(get().inbox, key)
    etags = {version.etag for version in named} - {""}
    return named + [version for version in _pictures() if version.etag in etags]


def _pictures() -> Iterator[Version]:
    found = _versions(get().inbox, "")
    return (version for version in found if version.etag and drops.is_picture(version.key))


def _of_content(sha256: str) -> list[Version]:
    """Pictures of the inbox with this content. Each content is read once: equal ETags are equal
    bytes."""
    hashes: dict[str, str] = {}
    found = []
    for version in _pictures():
        if version.etag not in hashes:
            hashes[version.etag] = hashlib.sha256(_read(version)).hexdigest()
        if hashes[version.etag] == sha256:
            found.append(version)
    return found


def _read(version: Version) -> bytes:
    answer = aws("s3").get_object(
        Bucket=version.bucket, Key=version.key, VersionId=version.version_id
    )
    return answer["Body"].read()


def _all_tasks(seen: set[str]) -> Iterator[Task]:
    """Every task, newest first; their ids are left in `seen`."""
    cursor = ""
    while True:
        found, cursor = queries.page(None, before=cursor, limit=100)
        seen |= {task.task_id for task in found}
        yield from found
        if not cursor:
            return


def _at_rest(task: Task, who: str) -> Task:
    """The task, cancelled where it waits; nobody may pay for it while its files go."""
    if task.status in _CANCELLABLE:
        decisions.cancel(task, who, "erased")
    return queries.load(task.task_id) or task


def _delete(receipt: Receipt, versions: Iterable[Version], *, bypass_lock: bool) -> None:
    for bucket, found in groupby(versions, key=lambda version: version.bucket):
        batch = list(found)
        for upload in (one for one in batch if one.upload_id):
            _abort(receipt, upload)
        stored = [one for one in batch if one.version_id]
        for first in range(0, len(stored), _MOST_IN_A_REQUEST):
            part = stored[first : first + _MOST_IN_A_REQUEST]
            _delete_batch(receipt, bucket, part, bypass_lock=bypass_lock)


def _delete_batch(
    receipt: Receipt, bucket: str, batch: list[Version], *, bypass_lock: bool
) -> None:
    wanted: Any = [{"Key": one.key, "VersionId": one.version_id} for one in batch]
    more: Any = {"BypassGovernanceRetention": True} if bypass_lock else {}
    answer = aws("s3").delete_objects(Bucket=bucket, Delete={"Objects": wanted}, **more)
    refused = {(one["Key"], one.get("VersionId", "")): one for one in answer.get("Errors", [])}
    for version in batch:
        error = refused.get((version.key, version.version_id))
        if error is None:
            _note(receipt, version)
        elif until := _locked_until(version):
            _hide(bucket, version.key)
            receipt.locked.append({**_named(version), "until": until})
        else:
            receipt.failed.append(f"s3://{bucket}/{version.key}: {error.get('Code')}")


def _named(version: Version) -> dict[str, str]:
    return {"bucket": version.bucket, "key": version.key, "version_id": version.version_id}


def _note(receipt: Receipt, version: Version) -> None:
    receipt.versions.append({**_named(version), "at": stamp(now())})


def _abort(receipt: Receipt, upload: Version) -> None:
    aws("s3").abort_multipart_upload(
        Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id
    )
    _note(receipt, upload)


def _locked_until(version: Version) -> str:
    """Until when Object Lock keeps this version; empty where it does not."""
    try:
        held = aws("s3").get_object_retention(
            Bucket=version.bucket, Key=version.key, VersionId=version.version_id
        )
    except ClientError:
        return ""
    until = held["Retention"].get("RetainUntilDate")
    return stamp(until) if until and until > now() else ""


def _hide(bucket: str, key: str) -> None:
    """Nobody reads a locked version by its key any more; S3 deletes it after its lock by the
    bucket's rule for old versions."""
    aws("s3").delete_object(Bucket=bucket, Key=key)


def _delete_copies(receipt: Receipt, versions: Iterable[Version], *, bypass_lock: bool) -> None:
    """Deletions are not replicated, so the same keys are deleted in the archive's replica."""
    keys = sorted({version.key for version in versions if version.bucket == get().archive})
    for replica in _replicas() if keys else ():
        try:
            copies = [copy for key in keys for copy in _exactly(replica, key)]
            _delete(receipt, copies, bypass_lock=bypass_lock)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            receipt.remains.append(f"the copies in the replica {replica} ({code}): delete {keys}")


def _replicas() -> list[str]:
    try:
        answer = aws("s3").get_bucket_replication(Bucket=get().archive)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ReplicationConfigurationNotFoundError":
            raise
        return []
    rules = answer["ReplicationConfiguration"]["Rules"]
    return sorted({rule["Destination"]["Bucket"].rpartition(":")[2] for rule in rules})


def _forget(receipt: Receipt, task: Task) -> None:
    """The row, and what names its jobs, unless a file of it is still there or the row moved."""
    if receipt.failed:
        return
    jobs = {task.job_id, *(past.get("job_id", "") for past in task.past)} - {""}
    unchanged = Update(key_of(task.task_id)).given("{changed_at} = :at", at=task.changed_at)
    items = [unchanged, *(Update(job_key(task.provider, job)) for job in sorted(jobs))]
    try:
        table.transact(*(table.delete(item) for item in items))
    except ConditionFailed:
        receipt.failed.append(f"task {task.task_id} moved meanwhile: erase it again")
        return
    if task.content_key:
        reuse.drop(task)
    if task.plan:
        reuse.forget(reuse.voice_key(task), task)
    receipt.tasks.append(task.task_id)


def _out_of_reach(tasks: Iterable[Task]) -> Iterator[str]:
    until = stamp(now() + timedelta(days=BACKUP_DAYS))[:10]
    yield f"backups of the table hold the rows until {until}: after a restore, erase again"
    yield "logs and histories of executions hold ids and keys for log_days and 90 days"
    yield "whoever received the tasks' events or fetched a video may have copies"
    for task in tasks:
        if task.job_id:
            yield f"{task.provider} keeps job {task.job_id} by its own rules: ask it to delete it"
