"""A job that a person names is the task's only after the provider answered for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.handlers import submit, sweep
from functions.tasks.table import Update, later
from functions.tasks.task import Status, Task, key_of
from tests.doors.conftest import CONTEXT, Workshop, sqs_event
from tests.doors.test_api import call
from tests.doors.test_the_paid_way import JOB, OTHER, UNKNOWN, pay, ready, record

__all__ = ["ready"]


@pytest.fixture
def held(shop: Workshop, ready: Task) -> Task:
    """Its one POST has no answer, and a person must look."""
    task = pay(shop, "cut")
    Update(key_of(task.task_id)).set(
        status="HELD", error={"code": "AMBIGUOUS", "message": "lost"}, lease_until=task.created_at
    ).run()
    return shop.the_task()


def name(shop: Workshop, task: Task, job_id: str = JOB) -> dict[str, Any]:
    """A person names the job; the message for the function that holds the key."""
    shop.messages(shop.submissions)
    answer = call("POST", f"/tasks/{task.task_id}/adopt", {"job_id": job_id, "why": "in its logs"})
    assert answer[0] == 200, answer
    (message,) = shop.messages(shop.submissions)
    found: dict[str, Any] = message
    return found


def test_a_job_that_the_provider_proves_is_adopted_and_watched(shop: Workshop, held: Task) -> None:
    message = name(shop, held)
    assert (shop.the_task().status, shop.the_task().job_id) == (Status.HELD, "")
    shop.paper.answers = [record(shop, "waiting")]
    assert submit.handler(sqs_event(message), CONTEXT) == {"batchItemFailures": []}
    after = shop.the_task()
    assert (after.status, after.job_id, shop.paper.posts) == (Status.SUBMITTED, JOB, 1)
    assert after.adopted_by
    assert not after.lookup
    assert shop.executions() == [f"{after.task_id}-1"]


def test_a_job_that_the_provider_does_not_know_is_refused_in_clear_words(
    shop: Workshop, held: Task
) -> None:
    message = name(shop, held)
    shop.paper.answers = [UNKNOWN]
    submit.handler(sqs_event(message), CONTEXT)
    shown = call("GET", f"/tasks/{held.task_id}")[1]
    assert (shown["status"], "knows no job" in shown["lookup"]["refusal"]) == ("HELD", True)
    assert shown["history"][-1]["what"] == "NOT ADOPTED"


def test_a_job_that_was_made_for_another_task_is_refused(shop: Workshop, held: Task) -> None:
    other = "c" * 32
    theirs = record(shop, "waiting")
    theirs["data"]["param"] = theirs["data"]["param"].replace(held.task_id, other)
    standing = {"task_id": other, "status": "SUBMITTED", "created_at": held.created_at}
    Update(key_of(other)).set(**standing).run()
    message = name(shop, held)
    shop.paper.answers = [theirs]
    submit.handler(sqs_event(message), CONTEXT)
    shown = call("GET", f"/tasks/{held.task_id}")[1]
    assert shown["status"] == "HELD"
    assert shown["lookup"]["refusal"] == f"job {JOB} of kie was made for task {other}"


def test_a_provider_that_cannot_be_queried_is_queried_again(shop: Workshop, held: Task) -> None:
    message = name(shop, held)
    shop.paper.answers = [(503, b"<html>down</html>")]
    submit.handler(sqs_event(message), CONTEXT)
    assert call("GET", f"/tasks/{held.task_id}")[1]["lookup"]["refusal"] is None
    assert shop.the_task().due_at <= later(seconds=300)
    Update(key_of(held.task_id)).set(due_at=held.created_at).run()
    sweep.handler({}, CONTEXT)
    (again,) = shop.messages(shop.submissions)
    shop.paper.answers = [record(shop, "waiting")]
    submit.handler(sqs_event(again), CONTEXT)
    assert shop.the_task().status is Status.SUBMITTED


def test_the_last_job_named_counts(shop: Workshop, held: Task) -> None:
    first = name(shop, held)
    second = name(shop, held, OTHER)
    shop.paper.answers = [record(shop, "waiting", taskId=OTHER)]
    submit.handler(sqs_event(first), CONTEXT)
    assert shop.the_task().status is Status.HELD
    submit.handler(sqs_event(second), CONTEXT)
    assert shop.the_task().job_id == OTHER


def test_a_wrong_adoption_is_corrected_and_the_wrong_job_is_free_again(
    shop: Workshop, held: Task
) -> None:
    """A record that names no task leaves it to the person's word, which may be wrong."""
    nameless = json.dumps({"model": "infinitalk/from-audio"})
    for job_id in (OTHER, JOB, OTHER):
        message = name(shop, held, job_id)
        shop.paper.answers = [record(shop, "waiting", taskId=job_id, param=nameless)]
        submit.handler(sqs_event(message), CONTEXT)
        assert (shop.the_task().status, shop.the_task().job_id) == (Status.SUBMITTED, job_id)
    assert shop.the_task().history[-1]["why"] == f"{OTHER}: not {JOB}: in its logs"


def test_a_job_that_the_provider_answered_itself_is_not_corrected(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, {"code": 200, "msg": "success", "data": {"taskId": JOB}})
    answer = call("POST", f"/tasks/{task.task_id}/adopt", {"job_id": OTHER, "why": "no idea"})
    assert (answer[0], "written once" in answer[1]["detail"]) == (409, True)
