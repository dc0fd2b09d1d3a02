"""A task as a caller sees it: no link that grants access, no secret, nothing of the machinery."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NotRequired, cast

from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from functions.inputs import drops
from functions.tasks import decisions, queries
from functions.tasks.task import Status, Task


class ErrorView(TypedDict):
    code: str
    message: str


class LookupView(TypedDict):
    """The job that a person named: `refusal` is null while the provider is queried for it."""

    job_id: str
    at: str
    refusal: str | None


class FileView(TypedDict, total=False):
    """A portrait or a voice: the exact object version, and what was found in it."""

    bucket: str
    key: str
    version_id: str
    etag: str
    checksum: str
    content_type: str
    bytes: int
    width: int
    height: int
    seconds: float


class MotionView(TypedDict):
    """The mean difference between pictures 0.12 s apart, in steps of 255 from black to white."""

    whole: float
    mouth: float


class VideoView(TypedDict, total=False):
    """Where the finished video lies, and what it is: `sha256` in hex, `seconds` of play. `warning`:
    it is notably longer or shorter than its voice, or (STILL) nothing moves in it; `motion` was
    measured of a video that was joined."""

    bucket: str
    key: str
    version_id: str | None
    etag: str
    sha256: str
    bytes: int
    seconds: float
    manifest_key: str
    ai_generated: bool
    motion: MotionView
    warning: str


class HistoryView(TypedDict, total=False):
    """One change of the task: when, to what, by whom, and why."""

    at: str
    what: str
    who: str
    why: str


class ConsentView(TypedDict, total=False):
    """Who agreed, to what, until which day, and the SHA-256 of what was signed."""

    who: str
    scope: str
    until: str
    document_sha256: str


class PiecesView(TypedDict):
    """How far the pieces of a long voice are; `stopped` are those that failed or are held, and
    `reused` those whose videos were made before, for another voice, and are not paid again."""

    all: int
    done: int
    stopped: int
    reused: int


class PieceView(TypedDict):
    """Which part of its `parent`'s voice a piece is."""

    parent: str
    number: int
    start_seconds: float
    end_seconds: float


class TaskView(TypedDict):
    """Money is USD, `_at` an instant in UTC. `folder` and `stem` are the voice's own;
    `watermark`: the provider gave the video with its mark and without, and this one was `kept` or
    `left`; `pieces` where a long voice is made in pieces, `piece` where this is one of them;
    `turn`: about its number among those that wait for a turn at its provider, 1 being the next, and
    null beyond the hundredth;
    `actions` are what may be done now, each with its risk in words; `history` comes with a single
    task only."""

    task_id: str
    status: str
    attempt: int
    folder: str
    stem: str
    provider: str
    model: str
    model_reason: str | None
    consent: ConsentView | None
    watermark: str | None
    prompt: str
    settings: dict[str, object]
    portrait: FileView
    audio: FileView
    video: VideoView | None
    error: ErrorView | None
    lookup: LookupView | None
    quote_usd: float | None
    charge_usd: float | None
    created_at: str
    changed_at: str
    submitted_at: str | None
    not_before: str | None
    waits_for: str | None
    turn: int | None
    usual_seconds: int | None
    pieces: PiecesView | None
    piece: PieceView | None
    actions: dict[str, str]
    history: NotRequired[list[HistoryView]]


class LinkView(TypedDict):
    """A presigned link, and for how many seconds it lives."""

    url: str
    seconds: int


class TaskPage(TypedDict):
    """A page, newest first. `cursor` asks for the next one; null on the last. A page may be empty
    and still have a cursor: it looks at a bounded number of tasks."""

    tasks: list[TaskView]
    cursor: str | None


def view(task: Task) -> TaskView:
    return views([task])[0]


def views(tasks: Sequence[Task]) -> list[TaskView]:
    """Where tasks wait for a turn: one query a provider says which one is theirs."""
    turns = queries.turn_numbers(tasks)
    return [_view(task, turns.get(task.task_id)) for task in tasks]


def _view(task: Task, turn: int | None) -> TaskView:
    return {
        "task_id": task.task_id, "status": task.status, "attempt": task.attempt,
        "folder": folder_of(task),
        "stem": task.stem,
        "provider": task.provider,
        "model": task.model,
        "model_reason": task.model_reason or None,
        "consent": cast(ConsentView, dict(task.consent)) or None,
        "watermark": task.watermark or None,
        "prompt": task.prompt,
        "settings": dict(task.settings),
        "portrait": cast(FileView, dict(task.portrait)),
        "audio": cast(FileView, dict(task.audio)),
        "video": cast(VideoView, dict(task.archived)) if task.status is Status.COMPLETED else None,
        "error": _error(task),
        "lookup": _lookup(task),
        "quote_usd": _usd(task.quote_usd),
        "charge_usd": _usd(task.charge_usd),
        "created_at": task.created_at,
        "changed_at": task.changed_at or task.created_at,
        "submitted_at": task.submitted_at or None,
        "not_before": task.not_before or None,
        "waits_for": task.waits_for or None,
        "turn": turn,
        "usual_seconds": decisions.usual_seconds(task),
        "pieces": _pieces(task),
        "piece": _piece(task),
        "actions": decisions.possible(task),
    }  # fmt: skip


def _error(task: Task) -> ErrorView | None:
    error = task.error
    return {"code": error["code"], "message": error["message"]} if error else None


def _lookup(task: Task) -> LookupView | None:
    named = task.lookup
    if not named:
        return None
    return {"job_id": named["job_id"], "at": named["at"], "refusal": named.get("refusal")}


def _pieces(task: Task) -> PiecesView | None:
    if not task.pieces:
        return None
    counted = task.pieces
    return PiecesView(
        all=int(counted["all"]),
        done=int(counted["done"]),
        stopped=int(counted["stopped"]),
        reused=int(task.plan.get("reused", 0)) if task.plan else 0,
    )


def _piece(task: Task) -> PieceView | None:
    if not task.segment:
        return None
    return {
        "parent": task.parent,
        "number": int(task.segment["number"]),
        "start_seconds": float(task.segment["start_seconds"]),
        "end_seconds": float(task.segment["end_seconds"]),
    }


def _usd(amount: Decimal | int | None) -> float | None:
    return None if amount is None else float(amount)


def folder_of(task: Task) -> str:
    return drops.folder_of(task.audio, task.portrait)
