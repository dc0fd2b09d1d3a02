"""A job beside the task's own. Named by the POST's answer it may be the same one at a gateway,
whose callbacks name the vendor's ids; anywhere else it is one too many. And where the task's own
fails, the other may have the video."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from functions.tasks.task import Status, Task
from tests.paid.desk import JOB, Desk, kie_record
from tests.paid.test_decisions import decide
from tests.paid.test_submit import OTHER, as_it_is_accepted, ready
from tests.paid.test_watch import HOUR, OTHER_JOB, ago, record_of_a_relay

MADE_AT = 1790000000123


def kept(task: Task, **changes: Any) -> dict[str, Any]:
    return {"task_id": task.task_id, "attempt": 1, "accepted": OTHER_JOB, **changes}


def named_by_a_callback(desk: Desk, **facts: Any) -> Task:
    """The vendor's id was adopted before the gateway's could be written."""
    return desk.row(Status.SUBMITTED, provider="relay", **desk.sent(**facts))


def records(desk: Desk, own: int, other: int) -> None:
    desk.answers(record_of_a_relay(JOB, own), to=JOB)
    desk.answers(record_of_a_relay(OTHER_JOB, other), to=OTHER_JOB)


@pytest.mark.parametrize(("apart", "is_second"), [(0, False), (1000, True)])
def test_a_kept_job_at_a_gateway_is_the_tasks_own_if_it_was_made_at_one_time(
    desk: Desk, apart: int, is_second: bool
) -> None:
    task = named_by_a_callback(desk)
    records(desk, MADE_AT, MADE_AT + apart)
    assert desk.message("submit", kept(task)) == []
    after = desk.task(task.task_id)
    assert (after.status, after.job_id) == (Status.SUBMITTED, JOB)
    assert list(after.second_jobs) == ([OTHER_JOB] if is_second else [])
    assert after.job_alias == ("" if is_second else OTHER_JOB)
    before = len(desk.requests)
    assert desk.message("submit", kept(task)) == []
    assert (len(desk.requests) == before) is not is_second  # a known name is not asked about again


@pytest.mark.parametrize(("hours", "is_second"), [(6, False), (6.001, True)])
def test_while_the_gateway_cannot_say_the_job_is_kept_and_at_last_announced(
    desk: Desk, hours: float, is_second: bool
) -> None:
    task = named_by_a_callback(desk, first_sent_at=ago(hours * HOUR))
    desk.answers(httpx.ConnectError("down"), to=OTHER_JOB)
    assert desk.message("submit", kept(task)) == []
    assert desk.messages() == ([] if is_second else [kept(task)])
    assert list(desk.task(task.task_id).second_jobs) == ([OTHER_JOB] if is_second else [])


def test_a_gateways_task_with_another_name_already_has_one_job_too_many(desk: Desk) -> None:
    task = named_by_a_callback(desk, job_alias="880000000500000009")
    records(desk, MADE_AT, MADE_AT)
    assert desk.message("submit", kept(task)) == []
    after = desk.task(task.task_id)
    assert (after.job_alias, after.second_jobs) == ("880000000500000009", (OTHER_JOB,))


def test_a_kept_job_that_is_another_tasks_is_not_queried(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTING, provider="relay", **desk.doubtful())
    desk.put(f"job#relay#{OTHER_JOB}", task_id="somebody else's", attempt=1)
    assert desk.message("submit", kept(task)) == []
    after = desk.task(task.task_id)
    assert (after.job_id, after.second_jobs, desk.requests) == ("", (OTHER_JOB,), [])


def test_an_answer_that_comes_after_the_callback_was_adopted_is_kept_and_not_held(
    desk: Desk,
) -> None:
    """To ask the gateway at once might fail, and what was bought is known to this invocation
    alone."""
    task = ready(desk, provider="relay")
    accepted = {"code": 0, "message": "SUCCEED", "data": {"task_id": OTHER_JOB}}
    desk.answers(accepted, to="POST")
    adopted = {"status": "SUBMITTED", "job_id": JOB}
    desk.before("TransactWriteItems", lambda: desk.before("TransactWriteItems", move))

    def move() -> None:
        desk.note(task.task_id, **adopted)

    desk.put("slots#relay", leases={})
    after = desk.submit(task)
    assert (after.status, after.job_id, after.second_jobs) == (Status.SUBMITTED, JOB, ())
    assert desk.messages() == [kept(task)]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_job_of_an_attempt_that_a_person_gave_up_is_noted(desk: Desk, is_kept: bool) -> None:
    if is_kept:
        task = desk.row(Status.READY, attempt=2)
        job_id, message = OTHER, kept(task, accepted=OTHER)
        assert desk.message("submit", message) == []
        after = desk.task(task.task_id)
    else:
        task, job_id = ready(desk), JOB
        as_it_is_accepted(desk, lambda: desk.note(task.task_id, attempt=2))
        after = desk.submit(task)
    line = after.history[-1]
    assert (line["what"], line["why"]) == ("PAST CALLBACK", f"attempt 1, job {job_id}")
    assert (desk.metrics["CallbackForPastAttempt"], after.second_jobs) == (1, ())


def test_a_kept_job_whose_task_is_resubmitted_as_it_is_written_comes_again(desk: Desk) -> None:
    """It is no second job of the new attempt."""
    task = desk.row(Status.SUBMITTING, **desk.doubtful())
    move = {"attempt": 2, "status": "SUBMITTED", "job_id": JOB}
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, **move))
    assert desk.message("submit", kept(task, accepted=OTHER)) == ["0"]
    assert desk.message("submit", kept(task, accepted=OTHER)) == []
    after = desk.task(task.task_id)
    assert (after.second_jobs, after.history[-1]["what"]) == ((), "PAST CALLBACK")


def test_of_an_attempt_that_never_was_nothing_is_noted(desk: Desk) -> None:
    task = desk.row(Status.READY)
    assert desk.message("submit", kept(task, attempt=3)) == []
    assert desk.task(task.task_id) == task


def test_a_refused_submit_that_called_back_counts_again_once_it_is_held(desk: Desk) -> None:
    """Its books were closed, as nothing had been accepted."""
    desk.options(budget_usd_per_day=5)
    task = desk.row(
        Status.READY, callbacks_received=1, last_callback_at=ago(7 * HOUR),
        quote_usd=Decimal("0.18"), counted_usd=Decimal(0),
    )  # fmt: skip
    after = desk.watch(task)
    assert after.status is Status.HELD
    (budget,) = after.booked
    assert budget.startswith("budget#")
    assert desk.item(budget)["spent_usd"] == Decimal("0.18")


# The task's own job failed, and another one of the attempt did not.


def beside(desk: Desk, states: tuple[str, str], **facts: Any) -> Task:
    """A job and a second job of one attempt at kie, and what its record says of each."""
    facts = {"status": Status.SUBMITTED, "second_jobs": [OTHER], **desk.sent(), **facts}
    task = desk.row(facts.pop("status"), **facts)
    for job_id, state in zip((JOB, OTHER), states, strict=True):
        desk.answers(kie_record(task, state, job_id), to=job_id)
    return task


@pytest.mark.parametrize("state", ["success", "generating"])
@pytest.mark.parametrize("is_noted", [True, False])
def test_a_failed_job_beside_one_that_did_not_fail_is_held(
    desk: Desk, state: str, is_noted: bool
) -> None:
    hint = {"callbacks_received": 1, "job_hints": {OTHER: ago(60)}, "second_jobs": []}
    task = beside(desk, ("fail", state), **({} if is_noted else hint))
    after = desk.watch(task)
    assert (after.status, after.error["code"]) == (Status.HELD, "ANOTHER_JOB")
    assert JOB in after.error["message"]
    assert OTHER in after.error["message"]
    assert after.second_jobs == (OTHER,)
    desk.wait(60)
    assert desk.watch(after).error == after.error


def test_where_every_job_of_the_attempt_failed_the_task_did(desk: Desk) -> None:
    after = desk.watch(beside(desk, ("fail", "fail")))
    assert after.status is Status.FAILED


def test_a_second_job_that_is_gone_may_have_been_charged(desk: Desk) -> None:
    task = beside(desk, ("fail", "success"))
    desk.answers({"code": 422, "msg": "recordInfo is null", "data": None}, to=OTHER)
    assert desk.watch(task).status is Status.HELD


def test_while_the_second_job_cannot_be_queried_nothing_is_decided(desk: Desk) -> None:
    task = beside(desk, ("fail", "success"))
    desk.answers(httpx.ConnectError("down"), to=OTHER)
    assert desk.watch(task).status is Status.SUBMITTED


@pytest.mark.parametrize("status", [Status.HELD, Status.FAILED])
def test_the_second_job_may_be_adopted_and_both_stay_the_tasks(desk: Desk, status: Status) -> None:
    task = beside(desk, ("fail", "success"), status=status)
    desk.put(f"job#kie#{JOB}", task_id=task.task_id, attempt=1)
    assert decide(desk, task, "adopt", {"job_id": OTHER, "why": "it has the video"})[0] == 200
    desk.message("submit", *desk.messages())
    after = desk.task(task.task_id)
    assert (after.status, after.job_id, after.adopted_by) == (Status.SUBMITTED, OTHER, "ada")
    for job_id in (JOB, OTHER):
        assert desk.item(f"job#kie#{job_id}")["task_id"] == task.task_id


def test_an_adopted_second_job_that_fails_is_the_end(desk: Desk) -> None:
    task = beside(desk, ("fail", "fail"), job_id=OTHER, adopted_by="ada")
    assert desk.watch(task).status is Status.FAILED
