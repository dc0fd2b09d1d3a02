"""A job is done: fetch its video, prove it, and put it into the archive, where nothing unproved is
ever seen.

One GET is relayed through one small buffer into one PutObject. What goes wrong leaves as an
exception and no object: LinkDead, SourceUnreachable, ForbiddenAddress, Unwelcome (wire.py),
NotAVideo (mp4.py), ArchiveUnavailable (bucket.py). The workflow waits and asks the provider for a
fresh link.
"""

from __future__ import annotations

import base64
import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TypedDict, Unpack

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.download import download
from functions.download.connection import LEAST_BYTES_PER_SECOND
from functions.download.download import Changed, DeadlinePassed, Download, Range, SourceUnreachable
from functions.tasks import queries
from functions.tasks.task import ArchivedVideo, Next, Status, Task
from functions.videos import bucket, facts, manifest, mp4, multipart, paths
from functions.videos.bucket import (
    AlreadyThere,
    ArchiveUnavailable,
    Send,
    StoredObject,
)
from functions.videos.mp4 import NotAVideo
from functions.videos.multipart import Upload
from functions.videos.paths import ArchivePaths

BUFFER_BYTES = 256 << 10
MOST_BYTES = 8 << 30  # an hour of video at 18 Mbit/s: what is more is a mistake or an attack
MOST_IN_ONE_PUT = 5 << 30
RESERVE_SECONDS = 20.0  # to complete an upload and to write the manifest
REREAD_BYTES_PER_SECOND = 40 << 20  # from S3, in its own region: a careful guess
ESTIMATE_AFTER_SECONDS = 10.0
MOST_LOOKS = 50

logger = Logger()


class TooSlow(Exception):
    """At this speed one request would outlast the invocation."""


class HandOver(Exception):
    """The time of this invocation is over; another one continues the upload. The workflow catches
    it by this name."""


class NotDone(Exception):
    """No video is known yet: only Watch can find one. A function of the previous version ended a
    wait in the way of its own."""


class ArchiveInput(TypedDict):
    task_id: str
    attempt: int


class ArchiveOutput(TypedDict):
    """`archived` is what settle is given; `next` is for executions of the previous definition."""

    next: Next
    archived: ArchivedVideo


def handler(event: ArchiveInput, context: LambdaContext) -> ArchiveOutput:
    """Run twice, it answers the same."""
    task = queries.load(event["task_id"])
    if task is None or not task.wants_its_archive or task.attempt != event["attempt"]:
        if task and task.status is Status.SUBMITTED and task.attempt == event["attempt"]:
            raise NotDone(f"the job of task {task.task_id} has not ended")
        return {"next": Next.SETTLE, "archived": {}}  # settle sees the same, and ends it
    path = paths.of(task)
    stored = bucket.find(path)
    archived = _manifest_of(path) if stored else None
    if archived is None:
        ends_at = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
        try:
            archived = _bring(task, path, stored, ends_at)
        except HandOver as reason:
            logger.info("handing over", task_id=task.task_id, reason=str(reason))
            raise
    logger.info("archived", task_id=task.task_id, bytes=archived["bytes"], key=archived["key"])
    return {"next": Next.SETTLE, "archived": {**archived, "job_id": task.job_id}}


def _manifest_of(path: ArchivePaths) -> ArchivedVideo | None:
    try:
        return manifest.read(path)
    except (
        manifest.ManifestDamaged
    ) as error:  # the video is proved anew; `verify` reports the manifest
        logger.error("the manifest is damaged", key=path.manifest_key, reason=str(error))
        return None


@dataclass(frozen=True)
class Brought:
    """What was just uploaded. `sha256` is None where earlier invocations read a part of the bytes;
    `checksum` is what S3 must answer for it."""

    sha256: bytes | None
    seconds: float
    checksum: str


def _bring(
    task: Task, path: ArchivePaths, stored: StoredObject | None, ends_at: float
) -> ArchivedVideo:
    """What an earlier invocation uploaded before it crashed is not fetched again: its link may be
    dead."""
    brought: Brought | None = None
    if stored is None:
        with suppress(AlreadyThere):  # another invocation was faster
            brought = _relay(task, path, ends_at)
        stored = bucket.look(path)
    if brought and stored.checksum != brought.checksum:
        raise ArchiveUnavailable("S3 stored something else than it was sent")
    if brought and brought.sha256:
        sha256, seconds = brought.sha256, brought.seconds
    else:
        sha256, seconds = _reread(task, path, stored, ends_at)
    video = facts.of_stored(task, path, stored, sha256, seconds)
    if "warning" in video:
        logger.warning("duration", task_id=task.task_id, warning=video["warning"])
    manifest.write(task, path, video, stored)
    return video


def _relay(task: Task, path: ArchivePaths, ends_at: float) -> Brought:
    with _open(task, ends_at) as video:
        if _fits_into_one(video, path, ends_at):
            try:
                return _in_one(task, path, video, ends_at)
            except (TooSlow, SourceUnreachable, ArchiveUnavailable) as reason:
                if not _can_go_on(video, reason):
                    raise
                logger.info("going on in parts", task_id=task.task_id, reason=str(reason))
    found = multipart.find(path)
    upload = found or multipart.start(path, **manifest.object_headers(task))
    if found is None and time.monotonic() >= ends_at:
        raise HandOver(
            "too slow for one request"
        )  # the upload just opened tells the next invocation: once only
    return _in_parts(task, upload, ends_at)


def _can_go_on(video: Download, reason: Exception) -> bool:
    """A source that breaks off again and again must not start from zero each time: parts stay. S3
    itself closes the connection when the source is slow for long; once it has all the bytes, its
    answer stands."""
    if video.etag is None or isinstance(reason, Changed):
        return False
    return not isinstance(reason, ArchiveUnavailable) or video.position != video.length


def _fits_into_one(video: Download, path: ArchivePaths, ends_at: float) -> bool:
    if video.length is None or video.length > MOST_IN_ONE_PUT:
        return False
    # Even the slowest source that is accepted ends in time: no need to look for parts.
    surely = video.length < LEAST_BYTES_PER_SECOND * (ends_at - time.monotonic())
    return surely or multipart.find(path) is None


def _in_one(task: Task, path: ArchivePaths, video: Download, ends_at: float) -> Brought:
    length, walk, digest, began = video.length or 0, mp4.Walk(), hashlib.sha256(), time.monotonic()

    def pour(send: Send) -> bytes:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        while count := video.readinto(buffer):
            view = buffer[:count]
            walk.feed(view)
            digest.update(view)
            send(view)
            spent = time.monotonic() - began
            owed = (length - video.position) * spent / video.position
            if spent > ESTIMATE_AFTER_SECONDS and owed > ends_at - time.monotonic() and video.etag:
                raise TooSlow(f"{video.position} bytes in {spent:.0f} s of {length}")
        facts.prove(
            walk, task
        )  # S3 has not had the last word yet: what is no video never becomes visible
        return digest.digest()

    bucket.put_stream(path, length, pour, **manifest.object_headers(task))
    sha256 = digest.digest()
    return Brought(sha256, facts.prove(walk, task), base64.b64encode(sha256).decode())


def _in_parts(task: Task, upload: Upload, ends_at: float) -> Brought:
    rest = _rest(task, upload, ends_at) if upload.parts else None
    is_anew = rest is None and bool(upload.parts)
    if is_anew:
        upload.abort()
        upload = multipart.start(upload.path, **manifest.object_headers(task))
    before, offset = len(upload.parts), upload.total_bytes
    walk, digest = mp4.Walk(), hashlib.sha256()
    with rest or _open(task, ends_at) as video:
        try:
            _look_ahead(task, walk, offset, video.etag, ends_at)
            buffer = bytearray(multipart.PART_BYTES)
            while count := video.readinto(memoryview(buffer)):
                content = buffer if count == len(buffer) else buffer[:count]
                walk.feed(content)
                digest.update(content)
                upload.add(content)
            seconds = facts.prove(walk, task)
        except DeadlinePassed as reason:
            if len(upload.parts) == before or video.etag is None or is_anew:
                raise  # to hand over what cannot be gone on from would go on for ever
            raise HandOver(f"{upload.total_bytes} bytes are there") from reason
        except NotAVideo:
            upload.abort()
            raise
    upload.complete()
    return Brought(
        None if offset else digest.digest(), seconds, multipart.checksum_of_parts(upload.parts)
    )


def _rest(task: Task, upload: Upload, ends_at: float) -> Download | None:
    """What the link gives from where the parts end, if that is the same file: the first and the
    last part tell. Whole ones, since S3 gives a checksum of a whole part, and neither a part's
    bytes nor the metadata of an upload."""
    try:
        for part in dict.fromkeys((upload.parts[0], upload.parts[-1])):
            start = (part.number - 1) * multipart.PART_BYTES
            with _open(task, ends_at, range_from=start, range_to=start + part.bytes) as piece:
                content = memoryview(bytearray(part.bytes))
                if (
                    piece.readinto(content) != part.bytes
                    or multipart.checksum_of(content) != part.checksum
                ):
                    return None
        if piece.length is not None and upload.total_bytes >= piece.length:
            # it is all there: the last part is sent once more, since no source serves an empty rest
            upload.parts.pop()
        return _open(task, ends_at, range_from=upload.total_bytes, validator=piece.etag)
    except Changed:
        return None


def _look_ahead(task: Task, walk: mp4.Walk, offset: int, etag: str | None, ends_at: float) -> None:
    """Walk the boxes of what earlier invocations uploaded: their headers are read from the source
    once more."""
    looks = 0
    while walk.wants < offset:
        looks += 1
        if looks > MOST_LOOKS:
            raise NotAVideo("it has too many boxes to be gone on from")
        start = walk.wants
        walk.skip_to(start)
        with _open(
            task,
            ends_at,
            range_from=start,
            range_to=min(start + (64 << 10), offset),
            validator=etag,
        ) as piece:
            buffer = memoryview(bytearray(64 << 10))
            walk.feed(buffer[: piece.readinto(buffer)])
    if walk.position < offset:
        walk.skip_to(offset)


def _reread(
    task: Task, path: ArchivePaths, stored: StoredObject, ends_at: float
) -> tuple[bytes, float]:
    if stored.bytes / REREAD_BYTES_PER_SECOND > ends_at - time.monotonic():
        raise HandOver("it is there, and has to be read once more for its manifest")
    walk, reading = mp4.Walk(), multipart.Reading(stored.checksum)
    for piece in bucket.read_back(path, stored.version_id):
        walk.feed(piece)
        reading.update(piece)
    if not reading.agrees():
        raise ArchiveUnavailable("the archive gives other bytes than S3's checksum is of")
    return reading.sha256.digest(), facts.prove(walk, task)


def _open(task: Task, ends_at: float, **part: Unpack[Range]) -> Download:
    return download.open_url(
        task.video_url,
        max_bytes=MOST_BYTES,
        deadline_seconds=ends_at - time.monotonic(),
        trusted_host=task.trusted_host,
        **part,
    )
