"""When a running job is queried: by the model's own numbers, then by the jobs that ended."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from functions.tasks import table
from functions.tasks.task import Status, Task
from tests.paid.desk import ACCEPTED_BY_KIE, Desk

OWN = {"slow": 300, "slow_after": 4 * 600}
VIDEO = {"bucket": "archive", "key": "videos/x.mp4", "sha256": "00", "bytes": 1, "seconds": 1.0}


def end(desk: Desk, seconds: float, **facts: Any) -> Task:
    """A job that ended so long after it was accepted, archived."""
    at = table.later(seconds=-seconds)
    row = {**desk.sent(), "submitted_at": at, "archiving_since": table.stamp(table.now())}
    task = desk.row(Status.ARCHIVING, **{**row, **facts})
    desk.invoke("settle", {"task_id": task.task_id, "attempt": 1, "archived": VIDEO})
    assert desk.task(task.task_id).status is Status.COMPLETED
    return task


def known(desk: Desk, *jobs: tuple[float, int]) -> None:
    row = {f"job_{place}": [seconds, came] for place, (seconds, came) in enumerate(jobs)}
    desk.put("durations#kie#infinitalk/from-audio", **row)


def schedule(desk: Desk) -> dict[str, float]:
    """What the workflow of a task that is accepted now is given."""
    task = desk.row(Status.READY)
    desk.answers({**ACCEPTED_BY_KIE, "data": {"taskId": f"of-{task.task_id}"}}, to="createTask")
    task = desk.submit(task)
    assert task.status is Status.SUBMITTED
    given = json.loads(desk.account.workflow.inputs[-1])
    assert given["task_id"] == task.task_id
    return dict(given["polls"])


def test_where_callbacks_come_the_first_query_is_for_the_late_ones(desk: Desk) -> None:
    assert schedule(desk) == {"first": 600, "steady": 60, **OWN}


def test_where_none_come_the_first_query_is_for_the_early_ones(desk: Desk) -> None:
    desk.options(callbacks=False)
    assert schedule(desk) == {"first": 60, "steady": 18, **OWN}


def test_thirty_jobs_are_enough_to_learn_from(desk: Desk) -> None:
    jobs = [(200.0 + number, 1) for number in range(30)]
    known(desk, *jobs[:29])
    assert schedule(desk)["first"] == 600
    known(desk, *jobs)
    assert schedule(desk) == {"first": 227, "steady": 60, **OWN}


def test_callbacks_that_did_not_come_are_not_relied_on(desk: Desk) -> None:
    known(desk, *((200.0 + number, int(number >= 4)) for number in range(40)))
    assert schedule(desk)["steady"] == 60
    known(desk, *((200.0 + number, int(number >= 5)) for number in range(40)))
    assert schedule(desk) == {"first": 201, "steady": 18, **OWN}


def test_a_job_that_takes_longer_than_the_model_says_is_not_thought_slow(desk: Desk) -> None:
    known(desk, *((900.0, 1) for _ in range(30)))
    assert schedule(desk) == {"first": 900, "steady": 60, "slow": 300, "slow_after": 3600}


def test_what_the_deployment_says_counts_before_what_was_learnt(desk: Desk) -> None:
    desk.options(polls={"first": 5, "steady": 3})
    known(desk, *((900.0, 1) for _ in range(30)))
    assert schedule(desk) == {"first": 5, "steady": 3, "slow": 300, "slow_after": 3600}


@pytest.mark.parametrize(
    ("facts", "job"),
    [
        ({"callbacks_received": 1, "callbacks_handled": 1}, [240, 1]),
        ({"polls_done": 3}, [231, 0]),  # it ended within the pause before the query
        ({}, [222, 0]),  # it may have ended long before the first query
    ],
)
def test_a_job_that_ends_is_kept_with_whether_a_callback_came(
    desk: Desk, facts: dict[str, int], job: list[float]
) -> None:
    end(desk, 240, **facts)
    row = desk.item("durations#kie#infinitalk/from-audio")
    assert [kept for name, kept in row.items() if name.startswith("job_")] == [job]


def test_a_job_that_a_person_named_teaches_nothing(desk: Desk) -> None:
    end(desk, 240, adopted_by="a person")
    assert desk.item("durations#kie#infinitalk/from-audio") == {}


def test_no_more_than_sixty_four_jobs_are_kept(desk: Desk) -> None:
    for _ in range(120):
        end(desk, 240, callbacks_received=1, callbacks_handled=1)
    row = desk.item("durations#kie#infinitalk/from-audio")
    assert 30 <= len([name for name in row if name.startswith("job_")]) <= 64


def test_a_table_that_cannot_keep_it_loses_no_video(desk: Desk) -> None:
    desk.before("TransactWriteItems", lambda: desk.refuse("UpdateItem"))
    end(desk, 240)
    assert desk.item("durations#kie#infinitalk/from-audio") == {}


def test_what_cannot_be_read_is_not_waited_for(desk: Desk) -> None:
    known(desk, *((900.0, 1) for _ in range(30)))
    desk.answers(ACCEPTED_BY_KIE, to="createTask")
    task = desk.row(Status.READY)
    refused = partial(desk.refuse, "GetItem", times=1, after=1)
    # After the acceptance its row is read, and then how long such jobs take.
    desk.meanwhile = lambda: desk.before("TransactWriteItems", refused)
    desk.message("submit", {"task_id": task.task_id, "turn": ""})
    assert json.loads(desk.account.workflow.inputs[-1])["polls"]["first"] == 600
