"""The tasks API: open a task, look at one, list them. Behind IAM: who may sign for it may call it.

Errors are problem details (RFC 9457) that name the field and the cure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import uuid
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from functions.inputs import drops, request, url_inputs
from functions.inputs.refusals import Refusal
from functions.settings import get
from functions.tasks import queries, queues, steps
from functions.tasks.table import ConditionFailed, now, stamp
from functions.tasks.task import Status, Task, id_of

logger = Logger()
metrics = Metrics()
app = APIGatewayHttpResolver()

_MOST_BODY_BYTES = 256 << 10
_PAGE = 50

Place = Annotated[str, StringConstraints(min_length=1, max_length=8192)]


class NewTask(BaseModel):
    """What `POST /tasks` takes. `portrait` and `audio` are keys of the inbox or https URLs; `audio`
    may be left out where the provider speaks `settings.text` itself."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    portrait: Place
    audio: Place | None = None
    prompt: str = ""
    provider: str | None = None
    model: str | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    max_usd: Decimal | None = Field(default=None, gt=0)


class Problem(Exception):
    """An answer that is no: becomes `application/problem+json`."""

    def __init__(self, status: HTTPStatus, detail: str, refusals: Sequence[Refusal] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.refusals = refusals


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return app.resolve(event, context)


@app.post("/tasks")
def open_task() -> Response[str]:
    """The same Idempotency-Key and body answer the same task, however often they are sent, and cost
    nothing more."""
    asked = _asked()
    key = (app.current_event.headers or {}).get("idempotency-key", "")
    if len(key) > 255:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "the Idempotency-Key is longer than 255 characters: send a UUID"
        )
    task_id = id_of("api", key) if key else uuid.uuid4().hex
    request_hash = hashlib.sha256(asked.model_dump_json().encode()).hexdigest()
    standing = queries.load(task_id) if key else None
    if standing is None:
        try:
            task = steps.open_task(_task(asked, task_id, request_hash))
        except ConditionFailed:  # the same request, twice at once: the other opened it
            standing = queries.load(task_id)
        else:
            metrics.add_metric("TaskOpened", MetricUnit.Count, 1)
            _send_on_its_way(task)
            return _answer(HTTPStatus.CREATED, _view(task), Location=f"/tasks/{task_id}")
    if standing is None or standing.request_hash != request_hash:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used for another request: send a new key for a new task",
            [
                Refusal(
                    "KEY_REUSED",
                    "Idempotency-Key",
                    "the body differs from the one first sent with this key",
                )
            ],
        )
    _send_on_its_way(standing)  # should our first answer have died before this, the repeat mends it
    return _answer(HTTPStatus.OK, _view(standing), Location=f"/tasks/{task_id}")


@app.get("/tasks/<task_id>")
def show_task(task_id: str) -> Response[str]:
    task = queries.load(task_id) if len(task_id) == 32 else None
    if task is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no task {task_id[:64]!r}")
    return _answer(HTTPStatus.OK, _view(task) | {"history": [dict(line) for line in task.history]})


@app.get("/tasks")
def list_tasks() -> Response[str]:
    """Newest first; `cursor` of one page asks for the next."""
    asked = app.current_event.query_string_parameters or {}
    status = asked.get("status", "").upper()
    if status and status not in Status.__members__:
        known = ", ".join(Status)
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"there is no status {asked['status'][:40]!r}: use one of {known}",
        )
    limit = asked.get("limit", str(_PAGE))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= 200:
        raise Problem(HTTPStatus.BAD_REQUEST, "limit must be a number from 1 to 200")
    before = _opened(asked.get("cursor", ""))
    found, last = queries.page(Status(status) if status else None, before=before, limit=int(limit))
    cursor = base64.urlsafe_b64encode(last.encode()).decode() if last else None
    return _answer(HTTPStatus.OK, {"tasks": [_view(task) for task in found], "cursor": cursor})


def _opened(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "this cursor is none of ours: take it from the last page"
        ) from None


def _asked() -> NewTask:
    body = app.current_event.decoded_body or ""
    if len(body) > _MOST_BODY_BYTES:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "the body is larger than 256 KiB: media go by key or URL",
        )
    try:
        return NewTask.model_validate_json(body)
    except ValidationError as error:
        refusals = [
            Refusal("INVALID", ".".join(str(part) for part in line["loc"]) or "body", line["msg"])
            for line in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        detail = "; ".join(f"{refusal.field}: {refusal.message}" for refusal in refusals[:5])
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, refusals) from None


def _task(asked: NewTask, task_id: str, request_hash: str) -> Task:
    """The task, judged at once when its media lie in the inbox; with URLs it waits until they are
    fetched."""
    reserved = sorted(request.RESERVED & asked.settings.keys())
    if reserved:
        message = f"{reserved[0]} stands beside settings, not in it"
        raise request.Refused(Refusal("INVALID", f"settings.{reserved[0]}", message))
    composed = request.compose(
        {
            **asked.settings,
            "provider": asked.provider,
            "model": asked.model,
            "max_usd": asked.max_usd,
        },
        asked.prompt,
    )
    media = {name: where for name in ("portrait", "audio") if (where := getattr(asked, name))}
    urls = {name: where for name, where in media.items() if "://" in where}
    if bad := [found for name, url in urls.items() if (found := url_inputs.check(name, url))]:
        raise request.Refused(*bad)
    files = {name: _file(name, key) for name, key in media.items() if name not in urls}
    stem = drops.split(media.get("audio", asked.portrait).split("?")[0])[1]
    task = Task(
        task_id=task_id, status=Status.WAITING, created_at=stamp(now()), origin="api", stem=stem or "video",
        provider=composed.provider, model=composed.model, prompt=composed.prompt, settings=dict(composed.settings),
        max_usd=composed.max_usd, request_hash=request_hash, imports=urls,
        portrait=files["portrait"].named() if "portrait" in files else {},
        audio=files["audio"].named() if "audio" in files else {},
    )  # fmt: skip
    if urls:
        # What needs no look at the media is refused at once.
        if refusals := request.without_media(composed, has_audio="audio" in media):
            raise request.Refused(*refusals)
        return task
    task, validation = url_inputs.validate(task, files)
    if validation.refusals:
        raise request.Refused(*validation.refusals)
    return task


def _file(field: str, key: str) -> drops.File:
    file = drops.head(get().inbox, key)
    if file is None:
        refusal = Refusal(
            "NOT_FOUND", field, f"there is no {key!r} in the inbox {get().inbox}: upload it first"
        )
        raise request.Refused(refusal)
    return file


def _send_on_its_way(task: Task) -> None:
    if task.status is Status.READY:
        queues.submit(task.task_id, task.not_before)
    elif task.status is Status.WAITING and task.imports:
        queues.bring_in(task.task_id)


def _view(task: Task) -> dict[str, Any]:
    """A task as a caller sees it: no link that grants access, no key, nothing of the machinery."""
    video = dict(task.archived) if task.status is Status.COMPLETED else None
    return {
        "task_id": task.task_id, "status": task.status, "attempt": task.attempt, "stem": task.stem,
        "provider": task.provider, "model": task.model, "model_reason": task.model_reason, "prompt": task.prompt, "settings": dict(task.settings),
        "portrait": dict(task.portrait), "audio": dict(task.audio), "video": video, "error": dict(task.error) or None,
        "quote_usd": task.quote_usd, "charge_usd": task.charge_usd,
        "created_at": task.created_at, "changed_at": task.changed_at or task.created_at,
    }  # fmt: skip


def _answer(status: HTTPStatus, body: Any, **headers: str) -> Response[str]:
    return Response(
        status_code=status,
        content_type=content_types.APPLICATION_JSON,
        body=json.dumps(body, ensure_ascii=False, default=float),
        headers=dict(headers),
    )


@app.exception_handler(Problem)  # type: ignore[untyped-decorator]
def _problem(problem: Problem) -> Response[str]:
    return _told(problem)


def _told(problem: Problem) -> Response[str]:
    errors = [
        {"field": line.field, "code": line.code, "message": line.message}
        for line in problem.refusals
    ]
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status,
        "detail": str(problem),
    }
    return Response(
        status_code=problem.status,
        content_type="application/problem+json",
        body=json.dumps(body | ({"errors": errors} if errors else {}), ensure_ascii=False),
    )


@app.exception_handler(request.Refused)  # type: ignore[untyped-decorator]
def _refused(refused: request.Refused) -> Response[str]:
    return _told(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(refused), refused.refusals))


@app.exception_handler(NotFoundError)  # type: ignore[untyped-decorator]
def _no_such_route(_: NotFoundError) -> Response[str]:
    return _told(
        Problem(HTTPStatus.NOT_FOUND, "there is no such address: use /tasks or /tasks/{task_id}")
    )
