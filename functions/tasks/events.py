"""The facts we announce: one model, versioned, and no link in it that grants access. Samples:
tests/events/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Literal

from functions.tasks.shares import MotionFacts, PlanFile
from functions.tasks.task import (
    ArchivedVideo,
    Status,
    StoredFile,
    Task,
    TaskError,
)
from functions.tasks.task import Consent as GivenConsent

SOURCE = "talkdrop"

# A status that is of no use to a consumer has no detail type.
DETAIL_TYPES = {
    Status.WAITING: "Task Waiting",
    Status.READY: "Task Ready",
    Status.SUBMITTED: "Task Submitted",
    Status.COMPLETED: "Task Completed",
    Status.FAILED: "Task Failed",
    Status.HELD: "Task Held",
    Status.EXPIRED: "Task Expired",
    Status.CANCELLED: "Task Cancelled",
}
SECOND_CHARGE = "Possible Second Charge"


@dataclass(frozen=True, kw_only=True)
class Input:
    """An object of the inbox, by bucket, key and version. `etag` and `checksum` are S3's: the
    checksum of the whole object with its algorithm before it, in base64, where S3 has one."""

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    checksum: str | None = None


@dataclass(frozen=True, kw_only=True)
class VideoMotion:
    """The mean difference between pictures 0.12 s apart, in steps of 255 from black to white: of
    the whole picture, and of where a portrait's mouth is."""

    whole: float
    mouth: float


@dataclass(frozen=True, kw_only=True)
class Video:
    """Where the finished video lies, and what it is: `sha256` in hex, `seconds` of play.
    `warning`: it is notably longer or shorter than its voice, or (STILL) nothing moves in it;
    `motion` was measured of a video that was joined."""

    bucket: str
    key: str
    version_id: str | None = None
    manifest_key: str
    sha256: str
    bytes: int
    seconds: float
    ai_generated: bool | None = None
    motion: VideoMotion | None = None
    warning: str | None = None


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Who agreed to be shown and heard, to what, until which day, and what was signed."""

    who: str
    scope: str
    until: str | None = None
    document_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Error:
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Of a long voice: how many there are in all, and how many of them were made before, for the
    tasks `reused_of`, and are not paid again."""

    all: int
    reused: int
    reused_of: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class TaskEvent:
    """`detail` of every event. `event_id` is the same however often the event is delivered:
    consumers drop repeats."""

    version: Literal["1"] = "1"
    event_id: str
    task_id: str
    status: Status
    attempt: int
    at: str
    stem: str
    provider: str
    model: str
    portrait: Input | None = None
    audio: Input | None = None
    video: Video | None = None
    error: Error | None = None
    model_reason: str | None = None
    max_usd: str | None = None
    quote_usd: str | None = None
    charge_usd: str | None = None
    waits_for: str | None = None
    not_before: str | None = None
    second_job: str | None = None
    consent: Consent | None = None
    pieces: Pieces | None = None

    def json(self) -> str:
        """As it is announced: what there is nothing to say of is left out."""
        return json.dumps(_present(asdict(self)), ensure_ascii=False, separators=(",", ":"))


def of(task: Task) -> TaskEvent:
    """The event that says where this task now stands."""
    return TaskEvent(
        event_id=task.event_id,
        task_id=task.task_id,
        status=task.status,
        attempt=task.attempt,
        at=task.changed_at,
        stem=task.stem,
        provider=task.provider,
        model=task.model,
        portrait=_input(task.portrait),
        audio=_input(task.audio),
        video=_video(task.archived) if task.status is Status.COMPLETED else None,
        error=_error(task.error),
        model_reason=task.model_reason or None,
        max_usd=_amount(task.max_usd),
        quote_usd=_amount(task.quote_usd),
        charge_usd=_amount(task.charge_usd),
        waits_for=task.waits_for or None,
        not_before=(task.not_before or None) if task.waits_for else None,
        consent=_consent(task.consent),
        pieces=_pieces(task.plan),
    )


def of_second_job(task: Task, job_id: str) -> TaskEvent:
    """The event that says that one attempt has a job too many: perhaps a second charge."""
    event_id = f"{task.task_id}#SECOND_JOB#{task.attempt}#{job_id}"
    return replace(of(task), event_id=event_id, second_job=job_id)


def _pieces(plan: PlanFile | None) -> Pieces | None:
    if plan is None:
        return None
    reused_of = list(plan.get("reused_of", ()))
    reused = int(plan.get("reused", 0))
    return Pieces(all=int(plan["pieces"]), reused=reused, reused_of=reused_of or None)


def _error(error: TaskError) -> Error | None:
    return Error(code=error["code"], message=error["message"]) if error else None


def _amount(usd: Decimal | int | None) -> str | None:
    return None if usd is None else str(usd)


def _input(file: StoredFile) -> Input | None:
    if not file.get("key"):
        return None
    return Input(
        bucket=file["bucket"],
        key=file["key"],
        version_id=file.get("version_id"),
        etag=file.get("etag"),
        checksum=file.get("checksum"),
    )


def _video(archived: ArchivedVideo) -> Video:
    return Video(
        bucket=archived["bucket"],
        key=archived["key"],
        version_id=archived.get("version_id"),
        manifest_key=archived["manifest_key"],
        sha256=archived["sha256"],
        bytes=int(archived["bytes"]),
        seconds=float(archived["seconds"]),
        ai_generated=archived.get("ai_generated"),
        motion=_motion(archived.get("motion")),
        warning=archived.get("warning"),
    )


def _motion(measured: MotionFacts | None) -> VideoMotion | None:
    if measured is None:
        return None
    return VideoMotion(whole=float(measured["whole"]), mouth=float(measured["mouth"]))


def _consent(given: GivenConsent) -> Consent | None:
    if not given:
        return None
    return Consent(
        who=given["who"],
        scope=given["scope"],
        until=given.get("until"),
        document_sha256=given.get("document_sha256"),
    )


def _present(fields: Mapping[str, object]) -> dict[str, object]:
    return {
        name: _present(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }
