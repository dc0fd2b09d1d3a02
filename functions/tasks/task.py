"""A task: its row as the table has it, its statuses, and the names of its keys.

WAITING → READY → SUBMITTING → SUBMITTED → ARCHIVING → COMPLETED
WAITING → READY → IN_PIECES → COMPLETED          a long voice, whose pieces are tasks of their own
beside them FAILED · HELD · EXPIRED · CANCELLED
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NotRequired, TypedDict

from functions.tasks.shares import InPieces, MotionFacts, Number
from functions.tasks.table import TASK_PREFIX, Item

SHARDS = 4


class Status(StrEnum):
    WAITING = "WAITING"
    READY = "READY"
    IN_PIECES = "IN_PIECES"
    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    ARCHIVING = "ARCHIVING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    HELD = "HELD"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class Next(StrEnum):
    """What the workflow does next: wait for a callback or the clock, or go on. CUT, GATHER and JOIN
    are steps of a long voice."""

    WATCH = "watch"
    ARCHIVE = "archive"
    CUT = "cut"
    GATHER = "gather"
    JOIN = "join"
    SETTLE = "settle"
    DONE = "done"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED})
RESTING = TERMINAL | {Status.HELD, Status.WAITING}
# A job that the provider proves to be this attempt's is taken over from these: what is paid counts.
LATE = frozenset({Status.HELD, Status.FAILED, Status.CANCELLED})


class StoredFile(TypedDict, total=False):
    """A portrait or a voice: the exact object version, and what was found in it."""

    bucket: str
    key: str
    version_id: str
    etag: str
    checksum: str  # S3's own of the whole object, "sha256:…" in base64, where it has one
    content_type: str
    bytes: int
    width: int
    height: int
    seconds: Number


class ArchivedVideo(TypedDict, total=False):
    """Where the finished video lies, and what it is: `sha256` in hex, `seconds` of play."""

    bucket: str
    key: str
    version_id: str | None
    etag: str
    sha256: str
    bytes: int
    seconds: Number
    manifest_key: str
    ai_generated: bool
    motion: MotionFacts
    warning: str
    job_id: str  # on the way from the archive to the settling only


class Consent(TypedDict, total=False):
    """Who agreed to be shown and heard, to what, until which day, and the SHA-256 of what was
    signed."""

    who: str
    scope: str
    until: str
    document_sha256: str


def is_over(consent: Consent, day: date) -> bool:
    """The last day that it allows has passed."""
    return consent.get("until", "9999-12-31") < day.isoformat()


class TaskError(TypedDict, total=False):
    """Why a task is FAILED, HELD, EXPIRED or CANCELLED. `evidence`: what the balance suggests."""

    code: str
    message: str
    evidence: str


class HistoryLine(TypedDict):
    at: str
    what: str
    who: str
    why: NotRequired[str]


class Lookup(TypedDict, total=False):
    """A job that a person says is this task's, until it is adopted. `refusal`: why it was not."""

    job_id: str
    who: str
    why: str
    at: str
    refusal: str


class PastAttempt(TypedDict, total=False):
    attempt: int
    job_id: str
    charge_usd: Decimal | int | None
    error: TaskError


@dataclass(frozen=True)
class Task(InPieces):
    """A task as the table has it; what an older row lacks has its default.

    `model_reason` says why this model, where the task named none, and `max_usd` the most it may
    cost, where it says so itself. `attempt` is the attempt that is or would be paid next;
    `intended_at` when it was last claimed; `sent_at` when its POST was about to leave;
    `first_sent_at` the same of its first POST, kept while it may have made a job; `resends` how
    often the same id was sent again in that doubt; `account` a fingerprint of the provider's
    account that it was sent to; `doubt` since when its answer counts as lost, and `doubt_why`.
    `counted_usd` is what its closed books were settled to; `returns` how often it came back unsent
    and `returned_why`; `waits_for` why it waits, and `waits_place` its place among those that wait
    for a turn at the provider. `callbacks_received` counts genuine callbacks, `callbacks_handled`
    those that have a definite answer; `job_hints` are the jobs that they named and nothing is known
    of yet, `hints_dropped` how many found no room; `second_jobs` those proved to be one more of
    an attempt, `announced_jobs` those of them whose event is out; `job_alias` another name of the
    task's own job, as the vendor behind a gateway calls it. `speech_intended_at`: the paid POST of
    its speech was about to leave, and what it brought is not known. `watermark`: of a video that
    the provider gives with its mark and without, the one with it was `kept` or `left`. `archived`
    says where the video lies; `archiving_since` when its link was first known; `archive_verdicts`
    how often the whole download was refused; `revived` is the suffix of the execution that was last
    started in place of a dead one; `past` are the attempts before this one; `adopted_by` the person
    whose word the job id rests on; `lookup` the job that a person named last."""

    task_id: str
    status: Status
    created_at: str
    changed_at: str = ""
    attempt: int = 1
    origin: str = "files"
    provider: str = ""
    model: str = ""
    model_reason: str = ""
    prompt: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    stem: str = ""
    consent: Consent = field(default_factory=Consent)
    portrait: StoredFile = field(default_factory=StoredFile)
    audio: StoredFile = field(default_factory=StoredFile)
    imports: Mapping[str, str] = field(default_factory=dict)
    max_usd: Decimal | int | None = None
    quote_usd: Decimal | int | None = None
    charge_usd: Decimal | int | None = None
    counted_usd: Decimal | int | None = None
    booked: tuple[str, ...] = ()
    request_hash: str = ""
    owner: str = ""
    lease_until: str = ""
    intended_at: str = ""
    sent_at: str = ""
    first_sent_at: str = ""
    resends: int = 0
    account: str = ""
    speech_intended_at: str = ""
    not_before: str = ""
    waits_for: str = ""
    waits_place: int = 0
    returns: int = 0
    returned_why: str = ""
    doubt: str = ""
    doubt_why: str = ""
    job_id: str = ""
    adopted_by: str = ""
    lookup: Lookup = field(default_factory=Lookup)
    submitted_at: str = ""
    job_hint: str = ""
    job_hints: Mapping[str, str] = field(default_factory=dict)
    hints_dropped: int = 0
    job_alias: str = ""
    second_jobs: tuple[str, ...] = ()
    announced_jobs: tuple[str, ...] = ()
    callbacks_received: int = 0
    callbacks_handled: int = 0
    last_callback_at: str = ""
    last_query_at: str = ""
    polls_done: int = 0
    task_token: str = ""
    video_url: str = ""
    trusted_host: str = ""
    watermark: str = ""
    archiving_since: str = ""
    archive_tried_at: str = ""
    archive_verdicts: int = 0
    archived: ArchivedVideo = field(default_factory=ArchivedVideo)
    error: TaskError = field(default_factory=TaskError)
    announced: str = ""
    entered: Mapping[str, int] = field(default_factory=dict)
    due_at: str = ""
    due_shard: str = ""
    revived: str = ""
    history: tuple[HistoryLine, ...] = ()
    past: tuple[PastAttempt, ...] = ()

    @classmethod
    def of(cls, item: Item) -> Task:
        known = {f.name: item[f.name] for f in fields(cls) if f.name in item}
        known["status"] = Status(known["status"])
        lists = ("history", "past", "booked", "second_jobs", "announced_jobs", "candidates")
        for name in lists:
            known[name] = tuple(known.get(name, ()))
        return cls(**known)

    @property
    def event_id(self) -> str:
        """One id for one fact: a status entered again within an attempt (refused, mended, refused)
        counts on."""
        times = self.entered.get(f"{self.status}#{self.attempt}", 1)
        return f"{self.task_id}#{self.status}#{self.attempt}" + (f"#{times}" if times > 1 else "")

    @property
    def external_id(self) -> str:
        """Our id at the provider: the same for the same attempt, whenever it is sent."""
        return f"{self.task_id}-{self.attempt}"

    @property
    def never_intended(self) -> bool:
        return not self.intended_at

    @property
    def has_open_callbacks(self) -> bool:
        """A genuine callback has no definite answer yet."""
        return self.callbacks_received > self.callbacks_handled

    @property
    def open_hints(self) -> list[str]:
        """The jobs that callbacks named, other than the task's own, and that nothing is known of
        yet."""
        known = {self.job_id, self.job_alias, *self.second_jobs}
        return [hint for hint in self.job_hints if hint not in known]

    @property
    def silent_second_jobs(self) -> list[str]:
        return [job_id for job_id in self.second_jobs if job_id not in self.announced_jobs]

    @property
    def is_unfinished(self) -> bool:
        """Whatever its status: a job that a callback or a person named has no answer, or a second
        job no event."""
        return bool(self.open_hints or self.silent_second_jobs or self.is_looked_up)

    @property
    def is_looked_up(self) -> bool:
        """A person named a job, and the provider has not answered for it yet."""
        return bool(self.lookup) and not self.lookup.get("refusal")

    @property
    def is_waiting(self) -> bool:
        """READY, and called when a turn at its provider is free."""
        return self.status is Status.READY and self.due_shard == waiting_shard(self.provider)

    @property
    def wants_its_archive(self) -> bool:
        """The provider named a video that is not archived yet; a held one is tried all the same."""
        return self.status is Status.ARCHIVING or (
            self.status is Status.HELD and bool(self.archiving_since and self.video_url)
        )

    @property
    def charge_differs(self) -> bool:
        """What the provider says it took is more than a tenth away from the quote. A job that
        failed may well have cost less."""
        if not self.quote_usd or self.charge_usd is None:
            return False
        is_less = self.status is Status.COMPLETED and self.charge_usd * 10 < self.quote_usd * 9
        return is_less or self.charge_usd * 10 > self.quote_usd * 11

    @property
    def query_pause_seconds(self) -> int:
        """How far apart queries are kept: nothing for the callbacks of a normal job, more where
        they come in a flood."""
        return 0 if self.callbacks_received <= 8 else 10 if self.callbacks_received <= 60 else 60

    @property
    def follows_its_files(self) -> bool:
        """What the files in the inbox say now may still change it: nothing was ever intended, and
        no person ended it."""
        ended = {Status.COMPLETED, Status.CANCELLED}
        return self.never_intended and self.status not in ended


def id_of(*parts: str) -> str:
    """The id of the task that these words make: the same words can never make two tasks."""
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def key_of(task_id: str) -> str:
    return f"{TASK_PREFIX}{task_id}"


def id_shard(task_id: str) -> str:
    """Where the index of ids has this one: by its first digit, so that a prefix is one query."""
    return f"ids#{task_id[:1]}"


def waiting_shard(provider: str) -> str:
    """Where the index `due` has the tasks that wait for a turn at this provider."""
    return f"waits#{provider}"


def list_shard(shard: int) -> str:
    """One of the parts that the index of all tasks is spread over."""
    return f"tasks#{shard}"


def list_attributes(task: Task) -> dict[str, str]:
    """The attributes by which the indexes of all tasks and of ids find a task. A piece is found by
    its id and is in no list."""
    shard = zlib.crc32(task.task_id.encode()) % SHARDS
    lists = {} if task.parent else {"list_shard": list_shard(shard)}
    return {"id_shard": id_shard(task.task_id), **lists}


def job_key(provider: str, job_id: str) -> str:
    return f"job#{provider}#{job_id}"
