"""Tasks: open one, look at one, list them, and the links to their files."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.metrics import MetricUnit

from functions import links, providers
from functions.api import compose, lookup
from functions.api.app import Problem, answer, app, body_as, query, redirect
from functions.api.shapes import INSTANT, NewTask
from functions.api.views import LinkView, TaskView, folder_of, view, views
from functions.inputs.refusals import Refusal
from functions.tasks import queries, queues, steps
from functions.tasks.table import ConditionFailed, stamp
from functions.tasks.task import Status, Task, id_of

metrics = Metrics()

PAGE, MOST_ON_A_PAGE = 50, 200
_MOST_KEY = 255
_CURSOR = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{8,15}Z#[0-9a-f]{32}", re.ASCII)
# An instant of the table is compared as text; this stands behind every id of the same millisecond.
_AFTER_EVERY_ID = "#~"
_LINK_SECONDS = 900
LINK_SHAPES = ("redirect", "link", "attachment")

Filter = Callable[[Task], bool]


@app.post("/tasks")
def open_task() -> Response[str]:
    """The same Idempotency-Key and body answer the same task, however often they are sent, and cost
    nothing more."""
    body = body_as(NewTask)
    key = (app.current_event.headers or {}).get("idempotency-key", "")
    if len(key) > _MOST_KEY:
        message = f"the Idempotency-Key is longer than {_MOST_KEY} characters: send a UUID"
        raise Problem(HTTPStatus.BAD_REQUEST, message)
    task_id = id_of("api", key) if key else uuid.uuid4().hex
    known = queries.load(task_id) if key else None
    if known is None:
        try:
            task = steps.open_task(compose.new_task(body, task_id))
        except ConditionFailed:  # the same request, twice at once: the other opened it
            known = queries.load(task_id)
        else:
            metrics.add_metric("TaskOpened", MetricUnit.Count, 1)
            _send_on_its_way(task)
            return _shown(HTTPStatus.CREATED, task)
    if known is None or known.request_hash != compose.hash_of(body):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used for another request: send a new key for a new task",
            [_KEY_REUSED],
        )
    _send_on_its_way(known)  # should our first answer have died before this, the repeat mends it
    return _shown(HTTPStatus.OK, known)


_KEY_REUSED = Refusal(
    "KEY_REUSED", "Idempotency-Key", "the body differs from the one first sent with this key"
)


def _shown(status: HTTPStatus, task: Task) -> Response[str]:
    return answer(status, view(task), Location=f"/tasks/{task.task_id}")


def _send_on_its_way(task: Task) -> None:
    if task.status is Status.READY:
        queues.submit(task.task_id, task.not_before)
    elif task.status is Status.WAITING and task.imports:
        queues.bring_in(task.task_id)


def found(name: str) -> Task:
    """The task of this name. Raises Problem: 404 none, 409 more than one."""
    try:
        return lookup.find(name)
    except lookup.NotOneTask as error:
        raise Problem(error.status, str(error)) from None


@app.get("/tasks/<task_id>")
def show_task(task_id: str) -> Response[str]:
    task = found(task_id)
    return answer(HTTPStatus.OK, {**view(task), "history": [dict(line) for line in task.history]})


@app.get("/tasks")
def list_tasks() -> Response[str]:
    """Newest first; `cursor` of one page asks for the next."""
    wanted = query()
    if unknown := sorted(set(wanted) - _PARAMETERS):
        message = f"there is no parameter {unknown[0][:40]!r}: use {', '.join(sorted(_PARAMETERS))}"
        raise Problem(HTTPStatus.BAD_REQUEST, message)
    if "key" in wanted and len(wanted) > 1:
        raise Problem(HTTPStatus.BAD_REQUEST, "key stands alone: it names one task, or none")
    if "key" in wanted:
        return answer(HTTPStatus.OK, {"tasks": _of_key(wanted["key"]), "cursor": None})
    until = _instant(wanted, "until")
    before = cursor_as(wanted.get("cursor", "")) or (until + _AFTER_EVERY_ID if until else "")
    tasks, last = queries.page(
        _status(wanted.get("status", "")),
        before=before,
        since=_instant(wanted, "since"),
        limit=_limit(wanted.get("limit", "")),
        keep=_filter(wanted),
    )
    return answer(HTTPStatus.OK, {"tasks": views(tasks), "cursor": as_cursor(last)})


_PARAMETERS = frozenset(
    {"status", "since", "until", "prefix", "provider", "q", "key", "limit", "cursor"}
)


def _of_key(key: str) -> list[TaskView]:
    """The task of the voice that lies under this key now. A gateway may decode a %2F of the path
    before it looks for the route, so a key is safe only as a parameter."""
    try:
        return [view(lookup.find(key))]
    except lookup.NotOneTask:
        return []


def _status(name: str) -> Status | None:
    if name and name.upper() not in Status.__members__:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"there is no status {name[:40]!r}: use one of {', '.join(Status)}",
        )
    return Status(name.upper()) if name else None


def _limit(text: str) -> int:
    text = text or str(PAGE)
    if not (
        text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST_ON_A_PAGE
    ):
        message = f"limit must be a number from 1 to {MOST_ON_A_PAGE}"
        raise Problem(HTTPStatus.BAD_REQUEST, message)
    return int(text)


def _instant(wanted: Mapping[str, str], name: str) -> str:
    """A day or an instant, as the table compares it; a day as `until` is the whole day."""
    text = wanted.get(name, "")
    if not text:
        return ""
    try:
        if not re.fullmatch(INSTANT, text):
            raise ValueError(text)
        at = datetime.fromisoformat(text)
        if name == "until" and len(text) <= len("2026-11-21"):
            at = at.replace(hour=23, minute=59, second=59, microsecond=999_000)
        return stamp(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        message = f"{name} is {text[:40]!r}: write a day (2026-11-21) or an instant (…T09:30:00Z)"
        raise Problem(HTTPStatus.BAD_REQUEST, message) from None


def _filter(wanted: Mapping[str, str]) -> Filter | None:
    """What a task must be to be listed: no piece of another (the index of a status has them), its
    folder begins with `prefix`, its provider is this one,
    and `q` stands in its id, name, prompt or error."""
    prefix, provider = wanted.get("prefix", ""), wanted.get("provider", "")
    text = wanted.get("q", "").casefold()
    if provider and provider not in providers.NAMES:
        known = ", ".join(providers.NAMES)
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"there is no provider {provider[:40]!r}: use one of {known}"
        )
    if not (prefix or provider or text or wanted.get("status")):
        return None  # the index of all tasks holds no piece
    return lambda task: (
        task.origin != "piece"
        and f"{folder_of(task)}{task.stem}".startswith(prefix)
        and provider in ("", task.provider)
        and (not text or text in _words(task))
    )


def _words(task: Task) -> str:
    error = task.error.get("message", "")
    return f"{task.task_id} {folder_of(task)}{task.stem} {task.prompt} {error}".casefold()


def as_cursor(last: str) -> str | None:
    return base64.urlsafe_b64encode(last.encode()).decode() if last else None


def cursor_as(cursor: str) -> str:
    """Where the page before ended. Raises Problem for what is no cursor of ours."""
    try:
        last = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        last = "not one of ours"
    if cursor and not _CURSOR.fullmatch(last):
        message = "this cursor is not one of ours: take it from the page before"
        raise Problem(HTTPStatus.BAD_REQUEST, message)
    return last if cursor else ""


@app.get("/tasks/<task_id>/video")
def video(task_id: str) -> Response[str]:
    task = found(task_id)
    if task.status is not Status.COMPLETED:
        raise _no_file(task, "video", "it comes when the task is COMPLETED")
    stored = task.archived
    return _link(stored["bucket"], stored["key"], stored.get("version_id"), f"{task.stem}.mp4")


@app.get("/tasks/<task_id>/manifest")
def manifest(task_id: str) -> Response[str]:
    task = found(task_id)
    if task.status is not Status.COMPLETED:
        raise _no_file(task, "manifest", "it comes when the task is COMPLETED")
    return _link(task.archived["bucket"], task.archived["manifest_key"], None)


@app.get("/tasks/<task_id>/portrait")
def portrait(task_id: str) -> Response[str]:
    task = found(task_id)
    if not task.portrait.get("key"):
        raise _no_file(task, "portrait", "it is not there yet")
    return _link(task.portrait["bucket"], task.portrait["key"], task.portrait.get("version_id"))


@app.get("/tasks/<task_id>/voice")
def voice(task_id: str) -> Response[str]:
    task = found(task_id)
    if not task.audio.get("key"):
        raise _no_file(task, "voice", "it is not there yet, or the provider speaks a text")
    return _link(task.audio["bucket"], task.audio["key"], task.audio.get("version_id"))


def _link(bucket: str, key: str, version_id: str | None, name: str | None = None) -> Response[str]:
    """A redirect, or the link itself: a page of another origin cannot follow the redirect of a
    signed request, since S3 would see no origin that it could allow. `name` is the file's own
    where it is not the key's."""
    shape = query().get("as", "redirect")
    if shape not in LINK_SHAPES:
        message = f"as is {shape[:40]!r}: use {', '.join(LINK_SHAPES)}"
        raise Problem(HTTPStatus.BAD_REQUEST, message)
    saved = (name or key.rpartition("/")[2]) if shape == "attachment" else None
    url = links.presign(bucket, key, version_id, seconds=_LINK_SECONDS, save_as=saved)
    if shape == "redirect":
        return redirect(url)
    return answer(HTTPStatus.OK, LinkView(url=url, seconds=_LINK_SECONDS))


def _no_file(task: Task, what: str, why: str) -> Problem:
    message = f"task {task.task_id[:8]} is {task.status} and has no {what}: {why}"
    return Problem(HTTPStatus.NOT_FOUND, message)
