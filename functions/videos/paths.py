"""Where a task's video belongs in the archive bucket: known before it exists, and always the
same."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from functions.settings import get
from functions.tasks.task import Task

# What S3 advises against in keys, but for the percent sign: every client encodes it, and people
# write it in names.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_AVOIDED = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff/\\{}^`\[\]"<>~#|]')


@dataclass(frozen=True)
class ArchivePaths:
    """The keys of a video and of the manifest beside it."""

    bucket: str
    key: str
    manifest_key: str


def of(task: Task) -> ArchivePaths:
    """`videos/{yyyy}/{mm}/{dd}/{task_id}/{stem}.mp4`, by the UTC day the task was made, with a mark
    behind the stem where it is of a later attempt or of a job that a person named; a piece's
    is `pieces/{parent}/{task_id}/{stem}.mp4`."""
    folder = f"videos/{task.created_at[:10].replace('-', '/')}/{task.task_id}"
    if task.parent:  # of use until the whole is joined: apart, where they may expire
        folder = f"pieces/{task.parent}/{task.task_id}"
    mark = _mark(task)
    key = f"{folder}/{safe_stem(task.stem)}{mark}.mp4"
    return ArchivePaths(get().archive, key, f"{folder}/manifest{mark}.json")


def _mark(task: Task) -> str:
    """A later attempt, and a job that a person named, have objects of their own: what a copy of the
    job before leaves must not pass for their video. So has a copy of an earlier piece's: under one
    key there is one content."""
    if task.reused:
        return f"-{task.reused['sha256'][:16]}"
    if task.attempt == 1 and not task.adopted_by:
        return ""
    return f"-{hashlib.sha256(f'{task.attempt}#{task.job_id}'.encode()).hexdigest()[:8]}"


def is_manifest(key: str) -> bool:
    name = key.rpartition("/")[2]
    return name.startswith("manifest") and name.endswith(".json")


def safe_stem(stem: str) -> str:
    """The stem without what S3 advises against in keys, and short enough; letters of any script
    stay."""
    name = _AVOIDED.sub("_", stem.rsplit("/", 1)[-1]).strip() or "video"
    return name.encode()[:200].decode(errors="ignore")
