"""The POST's answer names a job, and the task has one already: at a gateway, whose callbacks name
the vendor's ids, this may be the same job; anywhere else it is one too many."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from functions.tasks.task import Status, Task
from tests.paid.desk import JOB, Desk
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
