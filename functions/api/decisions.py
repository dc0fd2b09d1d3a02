"""What a person decides about a task: adopt, resubmit, fail."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response

from functions.api.app import Problem, answer, app, body_as, caller
from functions.api.shapes import Adoption, Failure, Resubmission
from functions.api.tasks import found
from functions.api.views import view
from functions.tasks import decisions
from functions.tasks.task import Task


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
