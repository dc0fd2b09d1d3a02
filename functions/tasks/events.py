"""The facts we announce: one model, versioned, and no link in it that grants access. Samples:
tests/events/."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from functions.tasks.task import ArchivedVideo, Status, StoredFile, Task, TaskError

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


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Part):
    """An object of the inbox, by bucket, key and version."""

    bucket: str
    key: str
    version_id: str | None = None


class Video(_Part):
    """Where the finished video lies, and what it is: `sha256` in hex, `seconds` of play.
    `warning`: it is notably longer or shorter than its voice."""

    bucket: str
    key: str
    version_id: str | None = None
    manifest_key: str
    sha256: str
    bytes: int
    seconds: float
    ai_generated: bool | None = None
    warning: str | None = None


class Consent(_Part):
    """Who agreed to be shown and heard, to what, until which day, and what was signed."""

    who: str
    scope: str
    until: str | None = None
    document_sha256: str | None = None


class Error(_Part):
    code: str
    message: str


class TaskEvent(_Part):
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
        consent=Consent.model_validate(task.consent) if task.consent else None,
    )


def of_second_job(task: Task, job_id: str) -> TaskEvent:
    """The event that says that one attempt has a job too many: perhaps a second charge."""
    event_id = f"{task.task_id}#SECOND_JOB#{task.attempt}#{job_id}"
    return of(task).model_copy(update={"event_id": event_id, "second_job": job_id})


def _error(error: TaskError) -> Error | None:
    return Error(code=error["code"], message=error["message"]) if error else None


def _amount(usd: Decimal | int | None) -> str | None:
    return None if usd is None else str(usd)


def _input(file: StoredFile) -> Input | None:
    if not file.get("key"):
        return None
    return Input(bucket=file["bucket"], key=file["key"], version_id=file.get("version_id"))


def _video(archived: ArchivedVideo) -> Video:
    return Video.model_validate({name: archived.get(name) for name in Video.model_fields})
