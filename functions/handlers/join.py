"""Every piece of a long voice is made: join them, prove the video, put it into the archive.

The pictures are copied, the customer's own voice is laid over them once. Everything is on the disk
and in the archive, nothing comes from outside; killed at any point, another run does it again, and
the conditional PutObject leaves one video.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NotRequired, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import TalkdropError
from functions.segments import join, motion
from functions.segments.cut import Limits, Plan, Segment
from functions.segments.join import Joined, Made, Unjoinable
from functions.segments.motion import Motion
from functions.segments.voice import Voice
from functions.settings import aws
from functions.tasks import pieces, plans, queries, reuse
from functions.tasks.plans import PiecePlan, PlannedPiece
from functions.tasks.shares import MotionFacts
from functions.tasks.table import ConditionFailed
from functions.tasks.task import ArchivedVideo, Next, Status, StoredFile, Task, TaskError
from functions.videos import bucket, facts, manifest, mp4, paths
from functions.videos.bucket import AlreadyThere, ArchiveUnavailable, Send, StoredObject
from functions.videos.paths import ArchivePaths

logger = Logger()

_BUFFER_BYTES = 1 << 20


class TooLarge(TalkdropError):
    """The pieces are all made, and too much for one video: a person must decide."""


class JoinInput(TypedDict):
    task_id: str
    attempt: int


class JoinOutput(TypedDict):
    next: Next
    archived: NotRequired[ArchivedVideo]  # empty: settle has nothing to do


@logger.inject_lambda_context(clear_state=True)
def handler(event: JoinInput, context: LambdaContext) -> JoinOutput:
    """Run twice, it answers the same. What fails leaves as an exception, and is tried again."""
    logger.append_keys(task_id=event["task_id"], attempt=event["attempt"])
    task = queries.load(event["task_id"])
    if task is None or task.attempt != event["attempt"] or not pieces.may_join(task):
        return {"next": Next.SETTLE, "archived": {}}  # settle sees the same, and ends it
    path = paths.of(task)
    found = _archived_before(path)
    if found is None:
        made = pieces.of(task)
        if not all(one.status is Status.COMPLETED for one in made):
            return {"next": Next.GATHER}
        try:
            found = _join(task, path, made)
        except Unjoinable as unfit:
            cure = "Resubmit this task to make that piece anew, paid anew; or fail it"
            _hold(task, pieces.UNFIT, f"{unfit}. {cure}", unfit=unfit.segment.number)
            reuse.drop(made[unfit.segment.number - 1])
            return {"next": Next.GATHER}
        except TooLarge as error:
            _hold(task, pieces.TOO_LARGE, str(error))
            return {"next": Next.GATHER}
    return {"next": Next.SETTLE, "archived": found}


def _archived_before(path: ArchivePaths) -> ArchivedVideo | None:
    """What an earlier run finished before it crashed."""
    return manifest.read(path) if bucket.find(path) else None


def _hold(task: Task, code: str, message: str, *, unfit: int = 0) -> None:
    logger.error("held", code=code, reason=message)
    try:
        pieces.unjoinable(task, TaskError(code=code, message=message), unfit=unfit)
    except ConditionFailed:
        logger.info("the task moved meanwhile")


def _join(task: Task, path: ArchivePaths, made: Sequence[Task]) -> ArchivedVideo:
    if task.plan is None:
        raise ValueError(f"task {task.task_id} has no plan")
    _check_size(made)
    plan = plans.read(task.plan)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        joined = _joined(task, plan, made, folder)
        length, sha256, seconds = _proved(task, folder / "joined.mp4")
        seen = motion.measure(folder / "joined.mp4")
        with suppress(AlreadyThere):  # another run was faster
            _upload(task, path, folder / "joined.mp4", length)
    stored = bucket.look(path)
    if stored.checksum != base64.b64encode(sha256).decode():
        sha256, seconds = _read_back(task, path, stored)
    moved = MotionFacts(whole=seen.whole, mouth=seen.mouth)
    video = facts.of_stored(task, path, stored, sha256, seconds, moved, _warning(seen))
    manifest.write(task, path, video, stored, pieces=_lines(plan, made, joined))
    _let_expire(made)
    logger.info("joined", pieces=len(made), bytes=stored.bytes, reencoded=len(joined.reencoded))
    return video


def _check_size(made: Sequence[Task]) -> None:
    total = sum(int(one.archived["bytes"]) for one in made)
    if total > (most := pieces.MOST_JOINED_BYTES):
        raise TooLarge(
            f"the {len(made)} pieces have {total / 1e9:.1f} GB, and at most {most / 1e9:.1f} "
            "are joined here: they stay in the archive below pieces/, to be joined elsewhere. "
            "Then fail the task"
        )


def _warning(seen: Motion) -> str:
    if not seen.is_still:
        return ""
    return (
        f"STILL: nothing moves where a mouth is ({seen.mouth:g}; one that speaks has over "
        f"{motion.STILL:g}): look at it"
    )


def _joined(task: Task, plan: PiecePlan, made: Sequence[Task], folder: Path) -> Joined:
    voice = Voice(folder / "voice", task.audio["content_type"])
    _download(task.audio, folder / "voice")
    videos = []
    for one, segment in zip(made, _segments(plan), strict=True):
        place = folder / f"{segment.number}.mp4"
        _download(one.archived, place)
        videos.append(Made(segment, place))
    return join.join(voice, _as_cut(plan), videos, folder / "joined.mp4", folder)


def _segments(plan: PiecePlan) -> Iterator[Segment]:
    return (
        Segment(one.number, one.start, one.end, 0.0, one.why, one.in_pause) for one in plan.pieces
    )


def _as_cut(plan: PiecePlan) -> Plan:
    limits = Limits(plan.most_seconds, plan.least_seconds, plan.spare_frames)
    return Plan(plan.samples, plan.rate, plan.channels, limits, tuple(_segments(plan)))


def _download(file: StoredFile | ArchivedVideo, place: Path) -> None:
    version_id = str(file["version_id"])
    stored = aws("s3").get_object(Bucket=file["bucket"], Key=file["key"], VersionId=version_id)
    body = stored["Body"]
    with place.open("wb") as out:
        shutil.copyfileobj(body, out, _BUFFER_BYTES)


def _proved(task: Task, place: Path) -> tuple[int, bytes, float]:
    """Its bytes, SHA-256 and seconds. Raises NotAVideo."""
    walk, digest = mp4.Walk(), hashlib.sha256()
    with place.open("rb") as file:
        while piece := file.read(_BUFFER_BYTES):
            walk.feed(piece)
            digest.update(piece)
    return place.stat().st_size, digest.digest(), facts.prove(walk, task)


def _upload(task: Task, path: ArchivePaths, place: Path, length: int) -> None:
    def pour(send: Send) -> bytes:
        digest = hashlib.sha256()
        with place.open("rb") as file:
            while piece := file.read(_BUFFER_BYTES):
                digest.update(piece)
                send(memoryview(piece))
        return digest.digest()

    bucket.put_stream(path, length, pour, **manifest.object_headers(task))


def _read_back(task: Task, path: ArchivePaths, stored: StoredObject) -> tuple[bytes, float]:
    """Another run's video: whole and this task's, or nothing goes on."""
    walk, digest = mp4.Walk(), hashlib.sha256()
    for piece in bucket.read_back(path, stored.version_id):
        walk.feed(piece)
        digest.update(piece)
    if stored.checksum != base64.b64encode(digest.digest()).decode():
        raise ArchiveUnavailable("the archive gives other bytes than S3's checksum is of")
    return digest.digest(), facts.prove(walk, task)


def _lines(plan: PiecePlan, made: Sequence[Task], joined: Joined) -> list[dict[str, object]]:
    """The manifest's line for each piece: what went in, what was paid, what the join did."""
    return [_line(one, task, joined) for one, task in zip(plan.pieces, made, strict=True)]


def _line(one: PlannedPiece, task: Task, joined: Joined) -> dict[str, object]:
    return {
        "number": one.number,
        **one.segment,
        "cut": one.why,
        "voice_sha256": one.sha256,
        "task_id": task.task_id,
        "attempt": task.attempt,
        "job_id": task.job_id,
        "charge_usd": task.charge_usd,
        "past": [dict(past) for past in task.past],
        "video_key": task.archived["key"],
        "video_sha256": task.archived["sha256"],
        "reused": dict(task.reused) if task.reused else None,
        "frames_held": joined.held.get(one.number, 0),
        "frames_surplus": joined.surplus.get(one.number, 0),
        "reencoded": joined.reencoded.get(one.number),
    }


def _let_expire(made: Sequence[Task]) -> None:
    """The join is proved: the pieces are of no more use, and the archive's lifecycle takes those
    with this tag."""
    for one in made:
        bucket.tag(one.archived["bucket"], one.archived["key"], {"joined": "true"})
