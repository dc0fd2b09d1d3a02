"""A voice is longer than its model takes: decode it once, plan where it is cut, write its pieces.

Nothing is paid and nothing is booked here, so all of it may be repeated: a repeat finds the same
places, and the same pieces go under the same keys.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions import TalkdropError, providers
from functions.inputs import limits
from functions.providers.base import Model
from functions.segments import cut
from functions.segments import pieces as segments
from functions.segments.cut import Levels, Limits, Plan
from functions.segments.pieces import NoForm, Piece
from functions.segments.voice import Undecodable, Voice
from functions.settings import aws, get
from functions.tasks import pieces, plans, queries, steps, table
from functions.tasks.plans import PiecePlan, PlannedPiece
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Next, Status, StoredFile, Task

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
class Choice:
    """What one model would make of the voice: where it is cut, and what that costs."""

    model: Model
    plan: Plan
    quotes: tuple[Decimal, ...]

    @property
    def cost(self) -> tuple[Decimal, int]:
        """The least in all is chosen; at equal price, that with fewer joins."""
        return sum(self.quotes, Decimal(0)), len(self.quotes)

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
        voice = _fetch(task, Path(folder) / "voice")
        chosen, reason = _choose(task, cut.listen(voice))
        plan = _planned(chosen, reason, tuple(_write(task, voice, chosen)))
    pieces.planned(task, plans.write(task, plan), plan)
    logger.info("cut", pieces=len(plan.pieces), model=plan.model, quote_usd=str(plan.quote_usd))


def _fetch(task: Task, path: Path) -> Voice:
    """Exactly the version that the task was made of, on the disk: it is decoded twice."""
    try:
        body = aws("s3").get_object(
            Bucket=task.audio["bucket"],
            Key=task.audio["key"],
            VersionId=task.audio["version_id"],
        )["Body"]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
        message = f"{_name(task)} is no longer in the inbox: drop the voice again"
        raise VoiceGone(message) from error
    with path.open("wb") as file:
        shutil.copyfileobj(body, file, 1 << 20)
    return Voice(path, task.audio["content_type"])


def _choose(task: Task, levels: Levels) -> tuple[Choice, str]:
    """The plan that costs least in all, and why in words."""
    models = providers.get(task.provider).models
    named = [limits.lifted(models[one]) for one in task.candidates or (task.model,)]
    choices = sorted((_choice(task, model, levels) for model in named), key=lambda one: one.cost)
    reason = f"{levels.seconds:.0f} s of voice: {'; '.join(one.words for one in choices)}"
    return choices[0], reason


def _choice(task: Task, model: Model, levels: Levels) -> Choice:
    most, least = limits.piece_seconds(model)
    plan = cut.plan(levels, Limits(most_seconds=most, least_seconds=least))
    quotes = tuple(model.price(seconds, task.settings) for seconds in plan.paid_seconds)
    return Choice(model, plan, quotes)


def _write(task: Task, voice: Voice, chosen: Choice) -> Iterator[PlannedPiece]:
    """Each piece into the inbox, under our own prefix: it makes no task by itself."""
    taken = chosen.model.limits
    form = segments.choose_form(chosen.plan, taken.audio_types, taken.audio_bytes)
    written = segments.write(voice, chosen.plan, form)
    for piece, quote_usd in zip(written, chosen.quotes, strict=True):
        one = piece.segment
        yield PlannedPiece(
            number=one.number,
            start=one.start,
            end=one.end,
            why=one.why,
            in_pause=one.in_pause,
            sha256=piece.pcm_sha256,
            quote_usd=quote_usd,
            file=_stored(task, piece, form.content_type, chosen.plan.rate),
        )


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
        reason=reason,
        pieces=written,
    )
