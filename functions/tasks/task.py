"""A task: the row as the table has it, its statuses, and the names of its keys.

WAITING → READY → SUBMITTING → SUBMITTED → ARCHIVING → COMPLETED          beside them FAILED · HELD
· EXPIRED
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

SHARDS = 4


class Status(StrEnum):
    WAITING = "WAITING"
    READY = "READY"
    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    ARCHIVING = "ARCHIVING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    HELD = "HELD"
    EXPIRED = "EXPIRED"


RESTING = frozenset({Status.COMPLETED, Status.FAILED, Status.HELD, Status.EXPIRED, Status.WAITING})
TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.EXPIRED})


@dataclass(frozen=True)
class Task:
    """A task as the table has it. `portrait` and `audio` name the exact object version and what was
    found in it; `model_reason` says why this model, where the task named none, and `max_usd` is the
    most it may cost, where it says so itself; `attempt` is the attempt that is or would be paid next; `sent_at` when its POST was
    about to leave; `counted_usd` is what its closed books were settled to;
    `returns` how often it came back unsent; `callbacks_received` counts genuine bells and
    `callbacks_handled` those that a query has answered; `archived` says where the video lies;
    `revived` is the suffix of the execution that was last started in place of a dead one; `past`
    are the attempts before this one."""

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
    settings: Mapping[str, Any] = field(default_factory=dict)
    stem: str = ""
    portrait: Mapping[str, Any] = field(default_factory=dict)
    audio: Mapping[str, Any] = field(default_factory=dict)
    imports: Mapping[str, Any] = field(default_factory=dict)
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
    not_before: str = ""
    returns: int = 0
    doubt: str = ""
    job_id: str = ""
    submitted_at: str = ""
    job_hint: str = ""
    job_hints: Mapping[str, str] = field(default_factory=dict)
    callbacks_received: int = 0
    callbacks_handled: int = 0
    last_callback_at: str = ""
    polls_done: int = 0
    task_token: str = ""
    video_url: str = ""
    trusted_host: str = ""
    archived: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)
    announced: str = ""
    entered: Mapping[str, int] = field(default_factory=dict)
    due_at: str = ""
    revived: str = ""
    history: tuple[Mapping[str, Any], ...] = ()
    past: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Task:
        known = {f.name: item[f.name] for f in fields(cls) if f.name in item}
        known["status"] = Status(known["status"])
        known["history"] = tuple(known.get("history", ()))
        known["past"] = tuple(known.get("past", ()))
        known["booked"] = tuple(known.get("booked", ()))
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


def id_of(*parts: str) -> str:
    """The id of the task that these words make: the same words can never make two tasks."""
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def key_of(task_id: str) -> str:
    return f"task#{task_id}"


def id_shard(task_id: str) -> str:
    """Where the index of ids has this one: by its first digit, so that a prefix is one query."""
    return f"ids#{task_id[:1]}"


def list_shard(shard: int) -> str:
    """One of the parts that the index of all tasks is spread over."""
    return f"tasks#{shard}"


def listed(task_id: str) -> dict[str, str]:
    """The attributes by which the indexes of all tasks and of ids find a task."""
    shard = zlib.crc32(task_id.encode()) % SHARDS
    return {"id_shard": id_shard(task_id), "list_shard": list_shard(shard)}


def job_key(provider: str, job_id: str) -> str:
    return f"job#{provider}#{job_id}"
