"""What a person decides about a task: cancel it or a whole folder, adopt, resubmit, fail."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response

from functions.api.app import Problem, answer, app, body_as, caller
from functions.api.shapes import Adoption, Cancellation, Failure, FolderCancellation, Resubmission
from functions.api.tasks import as_cursor, cursor_as, found
from functions.api.views import folder_of, view
from functions.tasks import decisions, queries
from functions.tasks.task import Status, Task


@app.post("/tasks/<task_id>/cancel")
def cancel(task_id: str) -> Response[str]:
    why = body_as(Cancellation).why
    return _decide(task_id, lambda task: decisions.cancel(task, caller(), why))


@app.post("/tasks/<task_id>/adopt")
def adopt(task_id: str) -> Response[str]:
    body = body_as(Adoption)
    return _decide(task_id, lambda task: decisions.adopt(task, body.job_id, caller(), body.why))


@app.post("/tasks/<task_id>/resubmit")
def resubmit(task_id: str) -> Response[str]:
    body = body_as(Resubmission)
    accepted = body.i_accept_a_second_charge
    return _decide(
        task_id,
        lambda task: decisions.resubmit(task, caller(), body.why, accepts_a_second_charge=accepted),
    )


@app.post("/tasks/<task_id>/fail")
def fail(task_id: str) -> Response[str]:
    body = body_as(Failure)
    return _decide(task_id, lambda task: decisions.fail(task, caller(), body.why))


def _decide(name: str, decide: Callable[[Task], str]) -> Response[str]:
    task = found(name)
    try:
        result = decide(task)
    except decisions.Refused as refused:
        raise Problem(HTTPStatus.CONFLICT, str(refused)) from None
    return answer(HTTPStatus.OK, {"result": result, "task": view(found(task.task_id))})


@app.post("/cancel")
def cancel_folder() -> Response[str]:
    """One page of a folder's tasks that were not sent yet; `cursor` is null when that was all."""
    body = body_as(FolderCancellation)
    tasks, last = queries.page(
        None,
        before=cursor_as(body.cursor),
        limit=200,
        keep=lambda task: (
            task.status in {Status.WAITING, Status.READY}
            and f"{folder_of(task)}{task.stem}".startswith(body.prefix)
        ),
    )
    cancelled: list[str] = []
    refused: list[dict[str, str]] = []
    for task in tasks:
        try:
            decisions.cancel(task, caller(), body.why)
        except decisions.Refused as error:
            refused.append({"task_id": task.task_id, "why": str(error)})
        else:
            cancelled.append(task.task_id)
    return answer(
        HTTPStatus.OK, {"cancelled": cancelled, "refused": refused, "cursor": as_cursor(last)}
    )
