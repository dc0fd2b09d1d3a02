"""A voice is longer than its model takes: decode it, plan where it is cut, write its pieces, and
copy the videos of those that were made before.

Nothing is paid and nothing is booked here, so all of it may be repeated: a repeat finds the same
places, and the same pieces go under the same keys.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions import TalkdropError, providers
from functions.inputs import limits
from functions.providers.base import Model
from functions.segments import cut, marks
from functions.segments import pieces as segments
from functions.segments.cut import Levels, Limits, Plan
from functions.segments.marks import Kept, Mark, Marker
from functions.segments.pieces import NoForm, Piece
from functions.segments.voice import Undecodable, Voice
from functions.settings import aws, get
from functions.tasks import pieces, plans, queries, reuse, steps, table
from functions.tasks.plans import PiecePlan, PlannedPiece
from functions.tasks.shares import ReusedPiece
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Next, Status, StoredFile, Task

if TYPE_CHECKING:
    from botocore.response import StreamingBody

logger = Logger()

_SUFFIXES = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/mp4": "m4a"}


class CutInput(TypedDict):
    task_id: str
    attempt: int


class CutOutput(TypedDict):
    next: Next


class VoiceGone(TalkdropError):
    """The voice cannot be read any more: the task fails, and nothing was paid."""


@dataclass(frozen=True)
class Heard:
    """The voice, how loud it is, and by which places it is known again."""

    voice: Voice
    levels: Levels
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Choice:
    """What one model would make of the voice: where it is cut, and what that costs. `made` are
    earlier pieces whose videos may serve, by the keys of their contents."""

    model: Model
    plan: Plan
    quotes: tuple[Decimal, ...]
    contents: tuple[str, ...] = ()
    made: Mapping[str, Task] = field(default_factory=dict)

    @property
    def cost(self) -> tuple[Decimal, int]:
        """The least in all is chosen; at equal price, that with fewer joins."""
        contents = self.contents or [""] * len(self.quotes)
        paid = zip(self.quotes, contents, strict=True)
        usd = sum((usd for usd, content in paid if content not in self.made), Decimal(0))
        return usd, len(self.quotes)

    @property
    def words(self) -> str:
        usd, count = self.cost
        return f"{self.model.id} in {count} piece{'s' * (count > 1)}, {usd:.2f} USD"


@logger.inject_lambda_context(clear_state=True)
def handler(event: CutInput, context: LambdaContext) -> CutOutput:
    """Gather goes on from whatever is there then. What else fails leaves as an exception, and is
    tried again."""
    logger.append_keys(task_id=event["task_id"], attempt=event["attempt"])
    task = queries.load(event["task_id"])
    if task is not None and task.attempt == event["attempt"] and _is_to_be_cut(task):
        try:
            _cut(task)
        except (Undecodable, NoForm) as error:
            _refuse(task, "NOT_CUT", f"{_name(task)} could not be cut: {error}")
        except VoiceGone as gone:
            _refuse(task, "INPUT_GONE", str(gone))
        except ConditionFailed as lost:
            if table.is_busy(lost):
                raise
            logger.info("the task moved meanwhile")
    return {"next": Next.GATHER}


def _is_to_be_cut(task: Task) -> bool:
    return task.status is Status.READY and task.is_long and not task.plan


def _name(task: Task) -> str:
    return str(task.audio["key"]).rpartition("/")[2]


def _refuse(task: Task, code: str, message: str) -> None:
    logger.warning("refused", code=code, reason=message)
    steps.refuse(task, code, f"{message}; nothing was paid")


def _cut(task: Task) -> None:
    with tempfile.TemporaryDirectory() as folder:
        voice, marker = _fetch(task, Path(folder) / "voice"), Marker()
        heard = Heard(voice, cut.listen(voice, marker), marker.marks())
        portrait = _portrait_sha256(task)
        chosen, reason = _choose(task, heard, portrait)
        plan = _planned(chosen, reason, tuple(_write(task, voice, chosen, portrait)))
    plans.write_marks(task, [(one.sample, one.checksum) for one in heard.marks])
    pieces.planned(task, plans.write(task, plan), plan)
    reuse.remember(task)
    logger.info(
        "cut",
        pieces=len(plan.pieces),
        reused=len(plan.reused),
        model=plan.model,
        quote_usd=str(plan.quote_usd),
    )


def _fetch(task: Task, path: Path) -> Voice:
    """Exactly the version that the task was made of, on the disk: it is decoded more than once."""
    body = _body(task.audio)
    if body is None:
        raise VoiceGone(f"{_name(task)} is no longer in the inbox: drop the voice again")
    with path.open("wb") as file:
        shutil.copyfileobj(body, file, 1 << 20)
    return Voice(path, task.audio["content_type"])


def _body(file: StoredFile) -> StreamingBody | None:
    """None where it is gone; without the right to list, S3 says 403 then."""
    try:
        return aws("s3").get_object(
            Bucket=file["bucket"], Key=file["key"], VersionId=file["version_id"]
        )["Body"]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
        return None


def _portrait_sha256(task: Task) -> str:
    """Empty where the portrait is gone: then its pieces are withdrawn before they are paid."""
    body, digest = _body(task.portrait), hashlib.sha256()
    if body is None:
        return ""
    for part in body.iter_chunks(1 << 18):
        digest.update(part)
    return digest.hexdigest()


def _choose(task: Task, heard: Heard, portrait: str) -> tuple[Choice, str]:
    """The plan that costs least in all, and why in words."""
    before = reuse.earlier(task) if task.reuse else None
    choices = _choices(task, heard, portrait, before)
    if before and not _most_common_whole(choices):  # of its pieces none is there any more
        before, choices = None, _choices(task, heard, portrait, None)
    if before is None and (whole := _most_common_whole(choices)):
        choices = _choices(task, heard, portrait, whole)
    reason = f"{heard.levels.seconds:.0f} s of voice: {'; '.join(one.words for one in choices)}"
    return choices[0], reason


def _choices(task: Task, heard: Heard, portrait: str, before: Task | None) -> list[Choice]:
    """By each model that may be taken; the cheapest first."""
    models = providers.get(task.provider).models
    named = [limits.lifted(models[one]) for one in task.candidates or (task.model,)]
    earlier = _plan_of(before) if before else None
    choices = (_choice(task, model, heard, portrait, earlier) for model in named)
    return sorted(choices, key=lambda one: one.cost)


def _most_common_whole(choices: Sequence[Choice]) -> Task | None:
    """The long voice that most of the videos that were found were made for."""
    wholes = Counter(made.parent for one in choices for made in one.made.values())
    return queries.load(wholes.most_common(1)[0][0]) if wholes else None


def _plan_of(whole: Task) -> tuple[PiecePlan, list[Mark]] | None:
    """Where it was cut, and its marks; None where the inbox keeps them no longer."""
    found = plans.read_earlier(whole)
    return found and (found[0], [Mark(sample, checksum) for sample, checksum in found[1]])


def _choice(
    task: Task,
    model: Model,
    heard: Heard,
    portrait: str,
    earlier: tuple[PiecePlan, list[Mark]] | None,
) -> Choice:
    most, least = limits.piece_seconds(model)
    kept = _kept(*earlier, heard) if earlier and earlier[0].model == model.id else []
    plan = cut.plan(heard.levels, Limits(most_seconds=most, least_seconds=least), kept)
    quotes = tuple(model.price(seconds, task.settings) for seconds in plan.paid_seconds)
    choice = Choice(model, plan, quotes)
    if not task.reuse or not portrait:
        return choice
    samples = segments.hashes(heard.voice, plan)
    contents = tuple(reuse.content_key(task, model.id, portrait, one) for one in samples)
    return replace(choice, contents=contents, made=reuse.made_before(contents))


def _kept(earlier: PiecePlan, before: list[Mark], heard: Heard) -> list[Kept]:
    """Where the earlier plan's pieces lie in this voice."""
    levels = heard.levels
    if (earlier.rate, earlier.channels) != (levels.rate, levels.channels):
        return []
    places = [_samples(earlier, one) for one in earlier.pieces]
    return [
        Kept(
            cut.frame_at(one.start, levels.rate),
            cut.frame_at(one.end, levels.rate),
            earlier.pieces[one.number - 1].why,
            earlier.pieces[one.number - 1].in_pause,
        )
        for one in marks.moved(places, before, heard.marks, levels.rate)
    ]


def _samples(plan: PiecePlan, one: PlannedPiece) -> tuple[int, int]:
    start, end = (
        min(plan.samples, round(frame * plan.rate / cut.FRAMES_PER_SECOND))
        for frame in (one.start, one.end)
    )
    return start, end


def _write(task: Task, voice: Voice, chosen: Choice, portrait: str) -> Iterator[PlannedPiece]:
    """Each piece into the inbox, under our own prefix: it makes no task by itself. One that was
    made before is written too, should its video not fit."""
    taken = chosen.model.limits
    form = segments.choose_form(chosen.plan, taken.audio_types, taken.audio_bytes)
    written = segments.write(voice, chosen.plan, form)
    for piece, quote_usd in zip(written, chosen.quotes, strict=True):
        one, content = piece.segment, ""
        if portrait:
            content = reuse.content_key(task, chosen.model.id, portrait, piece.pcm_sha256)
        planned = PlannedPiece(
            number=one.number,
            start=one.start,
            end=one.end,
            why=one.why,
            in_pause=one.in_pause,
            sha256=piece.pcm_sha256,
            quote_usd=quote_usd,
            file=_stored(task, piece, form.content_type, chosen.plan.rate),
            content_key=content,
        )
        made = chosen.made.get(content)
        yield _with_video(task, chosen.model.id, planned, made) if made else planned


def _with_video(task: Task, model: str, one: PlannedPiece, made: Task) -> PlannedPiece:
    """The piece with a copy of the video that was made before; as it is where that is gone."""
    from functions.videos import copies, facts, manifest, paths

    charge = None if made.charge_usd is None else str(made.charge_usd)
    origin = made.reused or ReusedPiece(
        task_id=made.task_id,
        parent=made.parent,
        job_id=made.job_id,
        charge_usd=charge,
        sha256=made.archived["sha256"],
    )
    with_origin = replace(one, reused=origin)
    piece = pieces.of_plan(task, model, with_origin)
    path = paths.of(piece)
    stored = copies.copy(made.archived, path, **manifest.object_headers(piece))
    if stored is None:
        logger.warning("a piece is made again: its video is gone", piece=made.task_id)
        return one
    sha256, seconds = bytes.fromhex(origin["sha256"]), float(made.archived["seconds"])
    video = facts.of_stored(piece, path, stored, sha256, seconds)
    manifest.write(piece, path, video, stored, reused=dict(origin))
    return replace(with_origin, video=video)


def _stored(task: Task, piece: Piece, content_type: str, rate: int) -> StoredFile:
    suffix = _SUFFIXES[content_type]
    name = f"{piece.segment.number:03d}-{piece.pcm_sha256[:16]}.{suffix}"
    place = {"bucket": get().inbox, "key": f"{plans.folder_of(task)}{name}"}
    stored = aws("s3").put_object(
        Bucket=place["bucket"], Key=place["key"], Body=piece.content, ContentType=content_type
    )
    return StoredFile(
        bucket=place["bucket"],
        key=place["key"],
        version_id=stored.get("VersionId", ""),
        etag=stored["ETag"].strip('"'),
        content_type=content_type,
        bytes=len(piece.content),
        seconds=Decimal(str(round(piece.samples / rate, 3))),
    )


def _planned(chosen: Choice, reason: str, written: tuple[PlannedPiece, ...]) -> PiecePlan:
    plan = chosen.plan
    return PiecePlan(
        samples=plan.samples,
        rate=plan.rate,
        channels=plan.channels,
        most_seconds=plan.limits.most_seconds,
        least_seconds=plan.limits.least_seconds,
        spare_frames=plan.limits.spare_frames,
        model=chosen.model.id,
        reason=reason + _reused_in_words(written),
        pieces=written,
    )


def _reused_in_words(written: Sequence[PlannedPiece]) -> str:
    reused = [one.reused for one in written if one.reused]
    if not reused:
        return ""
    wholes = ", ".join(sorted({one["parent"][:8] for one in reused}))
    paid = len(written) - len(reused)
    return f"; {len(reused)} of {len(written)} pieces reused of task {wholes}, {paid} paid"
