"""The inbox, walked round by round: files that lie there and that no event announced.

S3 lists by key and not by time, so a round lists all of it, at 1,000 objects a request; looked up
in the table is only what was uploaded since the round before. A voice that has no task keeps its
time in view until it has one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from functions.inputs import drops
from functions.inputs.drops import Role
from functions.settings import aws, get
from functions.tasks import queries, queues, table
from functions.tasks.table import Update, instant, now, stamp
from functions.tasks.task import Status

logger = Logger(child=True)

_STATE = "sweep#inbox"
_AGAIN = timedelta(minutes=35)  # from a round's beginning; with the next line, within the hour
_SETTLED = timedelta(minutes=15)  # a younger upload still has its event under way
_CLOCKS = timedelta(minutes=1)  # S3's clock and ours may differ by so much
# An object uploaded in parts bears the time at which its upload began; the bucket ends one that
# takes longer than a day.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
_IN_PARTS = timedelta(days=1)
_IN_VIEW = timedelta(days=2)  # so long a voice without a task is looked up at every round
_ALWAYS = "1970-01-01T00:00:00.000Z"


@dataclass
class Round:
    """How far a round has come. What was modified before `floor` was dealt with in an earlier one;
    `oldest_missing` is the time of the oldest voice that had no task."""

    began: datetime
    floor: datetime
    oldest_missing: datetime
    markers: dict[str, str]

    def is_due(self, version: Any) -> bool:
        at: datetime = version["LastModified"]
        slack = _IN_PARTS if "-" in version.get("ETag", "") else timedelta()
        return self.floor - slack <= at <= now() - _SETTLED


@dataclass
class Found:
    """Voices without a task; texts that may want to be spoken; and what else is new, by folder and
    stem."""

    missing: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    new: set[tuple[str, str]] = field(default_factory=set)


def go_on(has_time: Callable[[], bool]) -> int:
    """Walk on while there is time, and have intake look at what was found. How many voices had no
    task."""
    state = table.read(_STATE) or {}
    if state.get("again_at", "") > stamp(now()):
        return 0
    walked, found, is_over = _resumed(state), Found(), False
    while not is_over and has_time():
        markers: Any = walked.markers
        answer: Any = aws("s3").list_object_versions(Bucket=get().inbox, **markers)
        _look_through([*answer.get("Versions", [])], walked, found)
        names = ("KeyMarker", "VersionIdMarker")
        walked.markers = {name: at for name in names if (at := answer.get(f"Next{name}"))}
        is_over = not answer.get("IsTruncated")
    queues.look_at([*found.missing, *found.texts, *_waiting(found.new)])
    _save(walked, is_over=is_over)
    return len(found.missing)


def _resumed(state: Any) -> Round:
    return Round(
        instant(state["began"]) if state.get("began") else now(),
        instant(state.get("floor") or _ALWAYS),
        instant(state["oldest_missing"]) if state.get("oldest_missing") else now(),
        {name: state[name] for name in ("KeyMarker", "VersionIdMarker") if state.get(name)},
    )


def _save(walked: Round, *, is_over: bool) -> None:
    if is_over:
        in_view = max(walked.oldest_missing, walked.began - _IN_VIEW)
        floor = min(walked.began - _SETTLED - _CLOCKS, in_view)
        again_at = stamp(walked.began + _AGAIN)
        part = {"KeyMarker": "", "VersionIdMarker": "", "began": "", "oldest_missing": ""}
    else:
        floor, again_at = walked.floor, ""
        times = {"began": walked.began, "oldest_missing": walked.oldest_missing}
        part = {"KeyMarker": "", "VersionIdMarker": "", **walked.markers}
        part |= {name: stamp(at) for name, at in times.items()}
    Update(_STATE).set(floor=stamp(floor), again_at=again_at, **part).run()


def _look_through(versions: list[Any], walked: Round, found: Found) -> None:
    current = [one for one in versions if one["IsLatest"]]
    voices = {_place(one["Key"]) for one in current if drops.kind_of(one["Key"]) is Role.VOICE}
    for version in filter(walked.is_due, current):
        key, kind = str(version["Key"]), drops.kind_of(version["Key"])
        if kind is Role.VOICE:
            _look_up(version, walked, found)
        elif kind in {Role.PORTRAIT, Role.PROMPT, Role.SETTINGS}:
            found.new.add(_place(key))
            if kind is Role.SETTINGS and _may_be_spoken(version, voices):
                found.texts.append(key)


def _look_up(version: Any, walked: Round, found: Found) -> None:
    try:
        if _has_task(version):
            return
        found.missing.append(version["Key"])
    except ClientError as error:  # throttled, say: the next round looks again
        logger.warning("could not look up a voice", code=error.response["Error"]["Code"])
    walked.oldest_missing = min(walked.oldest_missing, version["LastModified"])


def _place(key: str) -> tuple[str, str]:
    """Folder and stem, however the stem is spelled."""
    folder, stem, _ = drops.split(key)
    return folder, unicodedata.normalize("NFC", stem)


def _may_be_spoken(version: Any, voices: set[tuple[str, str]]) -> bool:
    """Most settings belong to a voice beside them, and make no task."""
    place = _place(version["Key"])
    is_shared = place[1] in {"settings", "portrait"}
    return not is_shared and place not in voices and not _has_task(version)


def _has_task(version: Any) -> bool:
    """Looked up by the id that this version's event would have given it."""
    task_id = drops.task_id_of(get().inbox, version["Key"], version["VersionId"])
    return queries.load(task_id) is not None


def _waiting(new: set[tuple[str, str]]) -> Iterator[str]:
    """The voices that wait for what is new beside them, or in their folder."""
    cursor = ""
    while new:
        tasks, cursor = queries.page(Status.WAITING, before=cursor, limit=200)
        for task in tasks:
            key = str(task.audio.get("key") or "")
            folder, stem = _place(key)
            if key and {(folder, stem), (folder, "portrait"), (folder, "settings")} & new:
                yield key
        if not cursor:
            return
