"""One turn of the workflow's watch: whether the provider is queried, what its answer does to the
task, and what the workflow does next."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from functions import secrets
from functions.tasks import table
from functions.tasks.task import Status, Task
from tests.paid.desk import (
    JOB,
    NOT_FOUND_AT_KIE,
    NOT_FOUND_AT_KLING,
    VIDEO_URL,
    Desk,
    kie_record,
    kling_answer,
    kling_record,
)

HOUR, DAY = 3600.0, 86_400.0
OTHER = "0123456789abcdef0123456789abcdef"
DOWN_AT_KIE = (503, b"<html>no server is available</html>")


def ago(seconds: float) -> str:
    return table.later(seconds=-seconds)


def queried(desk: Desk, path: str = "recordInfo") -> int:
    return sum(path in str(one.url) for one in desk.requests)


def submitted(desk: Desk, status: Status = Status.SUBMITTED, **facts: Any) -> Task:
    return desk.row(status, **desk.sent(**facts))


def doubtful(desk: Desk, hours: float = 0, **facts: Any) -> Task:
    """A lost answer, so many hours old."""
    at = ago(hours * HOUR)
    given = {"sent_at": at, "first_sent_at": at, "intended_at": at, "doubt": at, **facts}
    return desk.row(Status.SUBMITTING, **desk.doubtful(**given))


# Is the provider queried?


@pytest.mark.parametrize(
    ("polls_done", "facts", "is_queried"),
    [
        (0, {}, False),
        (1, {}, True),
        (0, {"callbacks_received": 1}, True),
        (0, {"callbacks_received": 1, "callbacks_handled": 1}, False),
        (0, {"doubt": "2026-01-01T00:00:00.000Z"}, True),
        (5, {"callbacks_received": 9, "last_query_at": 9.999}, False),
        (5, {"callbacks_received": 9, "last_query_at": 10}, True),
        (5, {"callbacks_received": 9}, True),
        (5, {"callbacks_received": 8, "last_query_at": 1}, True),
        (5, {"callbacks_received": 61, "last_query_at": 59.999}, False),
        (5, {"callbacks_received": 61, "last_query_at": 60}, True),
    ],
)
def test_the_provider_is_queried_when_an_answer_may_have_changed(
    desk: Desk, polls_done: int, facts: dict[str, Any], is_queried: bool
) -> None:
    if "last_query_at" in facts:
        facts = {**facts, "last_query_at": ago(facts["last_query_at"])}
    task = submitted(desk, **facts)
    desk.answers(kie_record(task, "generating"))
    after = desk.watch(task, polls_done)
    assert queried(desk) == is_queried
    assert after.task_token == "the workflow's"
    assert after.polls_done == is_queried
    if is_queried:
        assert after.last_query_at == table.stamp(table.now())
    assert desk.woken == []


@pytest.mark.parametrize("status", [Status.EXPIRED, Status.WAITING, Status.COMPLETED])
def test_a_task_that_is_over_ends_its_execution(desk: Desk, status: Status) -> None:
    task = submitted(desk, status)
    assert desk.watch(task) == task
    assert desk.woken == [{"next": "done"}]
    assert desk.requests == []


def test_another_attempt_and_a_task_that_is_gone_end_the_execution(desk: Desk) -> None:
    task = desk.row(Status.READY, attempt=2)
    event = {"task_id": task.task_id, "attempt": 1, "task_token": "t", "polls_done": 3}
    desk.invoke("watch", event)
    desk.invoke("watch", {**event, "task_id": "b" * 32})
    assert desk.woken == [{"next": "done"}] * 2
    assert desk.task(task.task_id) == task


@pytest.mark.parametrize("received", [0, 8])
def test_an_execution_of_before_is_answered_with_results_alone(desk: Desk, received: int) -> None:
    task = submitted(desk, callbacks_received=received, callbacks_handled=received)
    event = {"task_id": task.task_id, "attempt": 1, "task_token": "t", "polls_done": 1}
    desk.answers(kie_record(task, "generating"))
    desk.meanwhile = lambda: desk.note(task.task_id, callbacks_received=received + 1)
    desk.invoke("watch", event)
    desk.invoke("watch", {**event, "attempt": 2})
    soon = {"soon": 10} if received else {}
    assert desk.woken == [{"next": "watch"} | soon, {"next": "done"}]
    assert desk.calls("SendTaskFailure") == []


def test_a_wait_without_a_video_ends_by_an_error_that_a_state_catches(desk: Desk) -> None:
    task = submitted(desk, Status.EXPIRED)
    desk.watch(task)
    (sent,) = desk.calls("SendTaskFailure")
    assert (sent["error"], desk.calls("SendTaskSuccess")) == ("Over", [])


def test_an_attempt_that_ends_during_the_query_ends_its_execution(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, "generating"))
    desk.meanwhile = lambda: desk.note(task.task_id, attempt=2)
    after = desk.watch(task)
    assert (after.task_token, after.polls_done) == ("", 0)
    assert desk.woken == [{"next": "done"}]


@pytest.mark.parametrize(("received", "soon"), [(0, None), (8, 10)])
def test_a_callback_during_the_query_has_the_provider_queried_again(
    desk: Desk, received: int, soon: int | None
) -> None:
    task = submitted(desk, callbacks_received=received, callbacks_handled=received)
    desk.answers(kie_record(task, "generating"))
    desk.meanwhile = lambda: desk.note(task.task_id, callbacks_received=received + 1)
    after = desk.watch(task)
    assert desk.woken == [{"next": "watch"} | ({"soon": soon} if soon else {})]
    assert after.callbacks_handled == received  # the new one has no answer


@pytest.mark.parametrize(
    ("answer", "is_handled"),
    [("record", True), (NOT_FOUND_AT_KIE, True), (DOWN_AT_KIE, False), ({"code": 401}, False)],
)
def test_a_callback_is_handled_when_the_query_was_answered(
    desk: Desk, answer: Any, is_handled: bool
) -> None:
    task = submitted(desk, callbacks_received=2)
    desk.answers(kie_record(task, "generating") if answer == "record" else answer)
    assert desk.watch(task).callbacks_handled == (2 if is_handled else 0)


# What the provider says of the job.


def test_a_job_that_succeeded_goes_to_the_archive(desk: Desk) -> None:
    desk.account.secrets["kie"]["result_hosts"] = ["results.example.test"]
    task = submitted(desk, error={"code": "OLD", "message": "m"})
    desk.note(task.task_id, expires_at=1)
    desk.answers(kie_record(task, "success", creditsConsumed=36))
    desk.wait(30)
    after = desk.watch(task)
    now = table.stamp(table.now())
    assert after.status is Status.ARCHIVING
    assert (after.video_url, after.trusted_host) == (VIDEO_URL, "results.example.test")
    assert (after.archiving_since, after.archive_tried_at, after.last_query_at) == (now,) * 3
    assert after.charge_usd == Decimal("0.18")
    assert after.error == {}
    assert "expires_at" not in desk.item(f"task#{task.task_id}")
    assert after.due_at == table.later(seconds=3600)
    assert desk.woken == [{"next": "archive"}]


def test_a_host_that_the_secret_does_not_name_is_not_trusted(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, "success"))
    after = desk.watch(task)
    assert (after.trusted_host, after.charge_usd) == ("", None)


@pytest.mark.parametrize("state", ["waiting", "generating", "levitating"])
def test_any_other_word_means_that_the_job_runs(desk: Desk, state: str) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, state))
    assert desk.watch(task).status is Status.SUBMITTED
    assert desk.metrics["UnknownWord"] == (state == "levitating")


def test_a_success_without_a_link_is_waited_for(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, "success", resultJson=""))
    assert desk.watch(task).status is Status.SUBMITTED


@pytest.mark.parametrize("status", [Status.SUBMITTED, Status.HELD])
@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ({"failCode": "422", "failMsg": "no face"}, "422", "no face"),
        ({}, "fail", "kie gave no reason"),
    ],
)
def test_a_job_that_failed_fails_the_task_and_answers_its_callbacks(
    desk: Desk, status: Status, more: dict[str, Any], code: str, message: str
) -> None:
    task = submitted(desk, status, callbacks_received=2)
    desk.answers(kie_record(task, "fail", **more))
    after = desk.watch(task)
    assert (after.status, after.error["code"]) == (Status.FAILED, code)
    assert after.error["message"] == f"kie could not make the video: {message}"
    assert after.charge_usd == 0  # kie documents that failed jobs are free
    assert after.callbacks_handled == 2
    assert desk.woken == [{"next": "done"}]


def test_a_failed_job_costs_what_its_record_says(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, "fail", creditsConsumed=10))
    assert desk.watch(task).charge_usd == Decimal("0.05")


def test_where_nobody_says_what_a_failed_job_costs_it_is_not_known(desk: Desk) -> None:
    task = submitted(desk, provider="kling")
    desk.answers(kling_answer(kling_record(task.external_id, "failed")))
    after = desk.watch(task)
    assert (after.status, after.charge_usd, after.counted_usd) == (
        Status.FAILED,
        None,
        Decimal("0.18"),
    )


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_failed_job_of_a_task_that_is_over_changes_nothing(desk: Desk, status: Status) -> None:
    task = submitted(desk, status, error={"code": "OLD", "message": "m"})
    desk.answers(kie_record(task, "fail"))
    after = desk.watch(task)
    assert (after.status, after.error["code"]) == (status, "OLD")
    assert desk.woken == [{"next": "done"}]


def test_a_success_that_later_says_failed_is_held(desk: Desk) -> None:
    task = submitted(desk, Status.ARCHIVING, archiving_since=ago(60), video_url=VIDEO_URL)
    desk.answers(kie_record(task, "fail"))
    after = desk.watch(task)
    assert (after.status, after.error["code"]) == (Status.HELD, "FAILED_AFTER_SUCCESS")
    assert desk.woken == []
    # A person decides: it does not become FAILED by itself. But a copy may lie there whole.
    for _ in range(2):
        desk.wait(60)
        again = desk.watch(desk.task(task.task_id))
        assert (again.status, again.error["code"]) == (Status.HELD, "FAILED_AFTER_SUCCESS")
        assert desk.woken == [{"next": "archive"}]


@pytest.mark.parametrize(("hours", "is_tried"), [(5.99, False), (6.01, True)])
def test_a_held_copy_of_a_success_that_was_taken_back_is_looked_for_again(
    desk: Desk, hours: float, is_tried: bool
) -> None:
    held = {"archiving_since": ago(7 * HOUR), "archive_tried_at": ago(hours * HOUR)}
    task = submitted(desk, Status.HELD, video_url=VIDEO_URL, **held)
    task = desk.note(task.task_id, changed_at=ago(6.5 * HOUR))
    desk.answers(kie_record(task, "fail"))
    after = desk.watch(task)
    assert desk.woken == ([{"next": "archive"}] if is_tried else [])
    assert (after.status, after.video_url) == (Status.HELD, VIDEO_URL)
    assert (after.archive_tried_at == ago(0)) == is_tried


@pytest.mark.parametrize("status", [Status.HELD, Status.FAILED, Status.CANCELLED])
def test_a_late_success_is_archived_after_all(desk: Desk, status: Status) -> None:
    task = submitted(desk, status)
    desk.answers(kie_record(task, "success"))
    assert desk.watch(task).status is Status.ARCHIVING


# How long a job may be silent.


@pytest.mark.parametrize(
    ("seconds", "code"), [(24 * HOUR, ""), (24 * HOUR + 1, "SILENT"), (13 * DAY, "SILENT")]
)
def test_a_provider_that_is_silent_for_a_day_is_a_persons_matter(
    desk: Desk, seconds: float, code: str
) -> None:
    task = submitted(desk, submitted_at=ago(seconds))
    desk.answers(kie_record(task, "generating"))
    after = desk.watch(task)
    assert after.error.get("code", "") == code
    assert after.status is (Status.HELD if code else Status.SUBMITTED)
    assert desk.woken == []  # a late video is still archived
    if code:
        assert f"in {seconds / HOUR:.0f} hours kie did not say" in after.error["message"]


@pytest.mark.parametrize(("seconds", "is_over"), [(14 * DAY, False), (14 * DAY + 1, True)])
@pytest.mark.parametrize("status", [Status.SUBMITTED, Status.HELD, Status.FAILED, Status.CANCELLED])
def test_what_the_provider_keeps_no_longer_is_waited_for_no_longer(
    desk: Desk, status: Status, seconds: float, is_over: bool
) -> None:
    task = submitted(desk, status, submitted_at=ago(seconds))
    desk.answers(kie_record(task, "generating"))
    after = desk.watch(task)
    assert desk.woken == [{"next": "done"}] * is_over
    is_held = status in {Status.SUBMITTED, Status.HELD}
    assert after.status is (Status.HELD if is_held else status)
    if status is Status.SUBMITTED and is_over:
        assert after.error["message"] == "kie gave no result in 14 days and keeps none longer"


def test_how_long_is_silent_can_be_set(desk: Desk) -> None:
    desk.options(silent_hold_hours=2)
    task = submitted(desk, submitted_at=ago(2 * HOUR + 1))
    desk.answers(kie_record(task, "generating"))
    assert desk.watch(task).error["code"] == "SILENT"


@pytest.mark.parametrize(("seconds", "is_lost"), [(3600, False), (3601, True)])
def test_a_job_that_is_gone_after_an_hour_is_held(
    desk: Desk, seconds: float, is_lost: bool
) -> None:
    task = submitted(desk, submitted_at=ago(seconds))
    desk.answers(NOT_FOUND_AT_KIE)
    after = desk.watch(task)
    assert after.status is (Status.HELD if is_lost else Status.SUBMITTED)
    if is_lost:
        assert after.error["code"] == "JOB_LOST"
        assert "of another account" not in after.error["message"]
    assert desk.woken == []


def test_a_job_that_is_gone_because_the_key_is_anothers_says_so(desk: Desk) -> None:
    task = submitted(desk, submitted_at=ago(4000), account="somebody else's")
    desk.answers(NOT_FOUND_AT_KIE)
    assert "the key is that of another account now" in desk.watch(task).error["message"]


@pytest.mark.parametrize("status", [Status.HELD, Status.ARCHIVING, Status.FAILED])
def test_a_job_that_is_gone_changes_no_other_status(desk: Desk, status: Status) -> None:
    task = submitted(desk, status, submitted_at=ago(4000), archiving_since=ago(60))
    desk.answers(NOT_FOUND_AT_KIE)
    assert desk.watch(task).status is status
    assert desk.woken == []


# The account, and a provider that is down.


def test_a_refused_key_stops_the_provider_and_changes_no_task(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers({"code": 401, "msg": "You do not have access permissions"})
    after = desk.watch(task)
    assert after.status is Status.SUBMITTED
    assert desk.metrics["AccountRejected"] == 1
    assert "401" in desk.item("breaker#kie")["why"]


def test_a_key_that_was_changed_meanwhile_stops_nothing(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers({"code": 401, "msg": "no"})
    desk.watch(task)
    desk.account.table.items.pop("breaker#kie")
    desk.account.secrets["kie"]["api_key"] = "canary-another"
    desk.watch(task)
    assert desk.item("breaker#kie") == {}
    assert desk.metrics["AccountRejected"] == 1


@pytest.mark.parametrize("answer", [DOWN_AT_KIE, {"code": 401, "msg": "no"}])
def test_a_provider_that_cannot_be_queried_for_a_day_is_held_too(desk: Desk, answer: Any) -> None:
    task = submitted(desk, submitted_at=ago(25 * HOUR))
    desk.answers(answer)
    assert desk.watch(task).error["code"] == "SILENT"
    lost = doubtful(desk, hours=25)
    assert desk.watch(lost).error["code"] == "AMBIGUOUS"


# A task that moves meanwhile, and a table that is unwell.


def test_a_task_that_moved_during_the_query_is_looked_at_again(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, "success"))
    desk.meanwhile = lambda: desk.note(task.task_id, status="COMPLETED")
    after = desk.watch(task)
    assert (after.status, after.video_url) == (Status.COMPLETED, "")
    assert desk.woken == []


@pytest.mark.parametrize("state", ["success", "fail", "generating"])
def test_a_table_that_is_down_is_an_error_and_nothing_else(desk: Desk, state: str) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, state))
    for operation in ("UpdateItem", "TransactWriteItems"):
        desk.refuse(operation)
    with pytest.raises(Exception, match="InternalServerError"):
        desk.watch(task)
    assert desk.woken == []


def test_a_table_that_is_busy_is_an_error_and_nothing_else(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, "fail"))
    busy = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    desk.refuse("TransactWriteItems", "TransactionCanceledException", CancellationReasons=busy)
    with pytest.raises(Exception, match="TransactionConflict"):
        desk.watch(task)
    assert desk.task(task.task_id).status is Status.SUBMITTED


# The archive does not take it.


def archiving(desk: Desk, hours: float = 1, **facts: Any) -> Task:
    since = ago(hours * HOUR)
    given = {"archiving_since": since, "archive_tried_at": since, "video_url": VIDEO_URL, **facts}
    return submitted(desk, Status.ARCHIVING, submitted_at=ago(hours * HOUR), **given)


FRESH = "https://results.example.test/fresh.mp4"


def test_a_link_that_did_not_serve_is_exchanged(desk: Desk) -> None:
    task = archiving(desk)
    desk.answers(kie_record(task, "success"))
    desk.answers({"code": 200, "msg": "success", "data": FRESH}, to="/download-url")
    after = desk.watch(task, archive_error="LinkDead", stumbles=1)
    assert (after.status, after.video_url) == (Status.ARCHIVING, FRESH)
    assert after.archiving_since == task.archiving_since
    assert after.archive_tried_at == table.stamp(table.now())
    assert desk.woken == [{"next": "archive"}]
    # What is tried next is the record's own again.
    assert desk.watch(after).video_url == VIDEO_URL


@pytest.mark.parametrize("hours", [0, 1, 23.9])
@pytest.mark.parametrize("error", ["LinkDead", "SourceUnreachable", "ArchiveUnavailable"])
def test_no_link_that_is_dead_fails_or_holds_a_task_within_a_day(
    desk: Desk, error: str, hours: float
) -> None:
    task = archiving(desk, hours)
    desk.answers(kie_record(task, "success"))
    for stumbles in range(1, 6):
        task = desk.watch(task, archive_error=error, stumbles=stumbles)
        assert task.status is Status.ARCHIVING
        assert task.archive_verdicts == 0


@pytest.mark.parametrize(("stumbles", "count"), [(0, 0), (2, 0), (3, 1), (4, 1)])
def test_the_third_stumble_of_the_archive_is_counted(desk: Desk, stumbles: int, count: int) -> None:
    task = archiving(desk)
    desk.answers(kie_record(task, "success"))
    desk.watch(task, archive_error="LinkDead", stumbles=stumbles)
    assert desk.metrics["ArchiveFailed"] == count
    desk.watch(task, stumbles=stumbles)  # no copy has just failed
    assert desk.metrics["ArchiveFailed"] == count


@pytest.mark.parametrize("error", ["NotAVideo", "Unwelcome"])
def test_the_same_verdict_on_two_whole_downloads_holds_the_task(desk: Desk, error: str) -> None:
    task = archiving(desk)
    desk.answers(kie_record(task, "success"))
    once = desk.watch(task, archive_error=error, stumbles=1)
    assert (once.status, once.archive_verdicts) == (Status.ARCHIVING, 1)
    other = desk.watch(once, archive_error="LinkDead", stumbles=2)
    assert (other.status, other.archive_verdicts) == (Status.ARCHIVING, 1)
    twice = desk.watch(other, archive_error=error, stumbles=3)
    assert (twice.status, twice.error["code"]) == (Status.HELD, "NOT_A_VIDEO")
    assert f"downloaded whole 2 times and is not this task's video ({error})" in str(twice.error)


def test_verdicts_of_before_hold_nothing_when_another_error_comes(desk: Desk) -> None:
    task = archiving(desk, archive_verdicts=2)
    desk.answers(kie_record(task, "success"))
    assert desk.watch(task, archive_error="LinkDead", stumbles=3).status is Status.ARCHIVING


@pytest.mark.parametrize(
    ("hours", "error", "reason"),
    [(24, "LinkDead", ""), (24.001, "LinkDead", "LinkDead"), (24.001, "", "no reason")],
)
def test_an_archive_that_fails_for_a_day_is_a_persons_matter(
    desk: Desk, hours: float, error: str, reason: str
) -> None:
    task = archiving(desk, hours)
    desk.answers(kie_record(task, "success"))
    after = desk.watch(task, archive_error=error, stumbles=9)
    assert after.error.get("code", "") == ("ARCHIVE_STUCK" if reason else "")
    if reason:
        assert f"could not be archived in 24 hours ({reason})" in after.error["message"]


@pytest.mark.parametrize(("hours", "is_tried"), [(5.999, False), (6, True)])
def test_a_held_video_is_tried_again_every_six_hours(
    desk: Desk, hours: float, is_tried: bool
) -> None:
    task = submitted(
        desk, Status.HELD, archiving_since=ago(30 * HOUR), archive_tried_at=ago(hours * HOUR),
        submitted_at=ago(30 * HOUR), video_url=FRESH, error={"code": "X", "message": "m"},
    )  # fmt: skip
    desk.answers(kie_record(task, "success", creditsConsumed=36))
    after = desk.watch(task)
    assert after.status is Status.HELD
    assert after.error["code"] == "X"
    assert desk.woken == [{"next": "archive"}] * is_tried
    assert after.video_url == (VIDEO_URL if is_tried else FRESH)
    if is_tried:
        assert after.archive_tried_at == after.last_query_at == table.stamp(table.now())
        assert after.archiving_since == task.archiving_since
        assert after.charge_usd == Decimal("0.18")


@pytest.mark.parametrize(("seconds", "is_over"), [(14 * DAY, False), (14 * DAY + 1, True)])
@pytest.mark.parametrize("status", [Status.ARCHIVING, Status.HELD])
def test_a_video_that_is_not_archived_by_the_last_day_is_held(
    desk: Desk, status: Status, seconds: float, is_over: bool
) -> None:
    facts: dict[str, Any] = {"archiving_since": ago(60), "archive_tried_at": ago(7 * HOUR)}
    task = submitted(desk, status, submitted_at=ago(seconds), video_url=FRESH, **facts)
    desk.answers(kie_record(task, "success"))
    after = desk.watch(task)
    if status is Status.ARCHIVING and is_over:
        assert (after.status, after.error["code"]) == (Status.HELD, "NOT_ARCHIVED")
    else:
        assert after.status is status
    assert desk.woken == [{"next": "done" if is_over else "archive"}]


def test_a_video_that_comes_on_the_last_day_is_tried_all_the_same(desk: Desk) -> None:
    task = submitted(desk, submitted_at=ago(15 * DAY))
    desk.answers(kie_record(task, "success"))
    assert desk.watch(task).status is Status.ARCHIVING


def test_a_verdict_that_comes_too_late_changes_nothing(desk: Desk) -> None:
    task = archiving(desk)
    desk.answers(kie_record(task, "success"))
    desk.before("UpdateItem", lambda: desk.put(f"task#{task.task_id}", attempt=2))
    after = desk.watch(task, archive_error="NotAVideo", stumbles=1)
    assert (after.archive_verdicts, after.status) == (0, Status.ARCHIVING)


def test_a_verdict_that_cannot_be_written_is_an_error(desk: Desk) -> None:
    task = archiving(desk)
    desk.refuse("UpdateItem")
    with pytest.raises(Exception, match="InternalServerError"):
        desk.watch(task, archive_error="NotAVideo", stumbles=1)


# A lost answer, at a provider that proves by the callback URL.


def test_a_job_whose_record_repeats_our_callback_url_is_adopted(desk: Desk) -> None:
    task = doubtful(desk, job_hints={JOB: ago(1)}, callbacks_received=1)
    desk.answers(kie_record(task, "generating"))
    after = desk.watch(task)
    assert (after.status, after.job_id) == (Status.SUBMITTED, JOB)
    assert (after.doubt, after.doubt_why, after.error) == ("", "", {})
    assert after.submitted_at == table.stamp(table.now())
    assert after.due_at == table.later(seconds=600)
    assert after.callbacks_handled == 1
    assert desk.item(f"job#kie#{JOB}")["task_id"] == task.task_id


@pytest.mark.parametrize("attempt", [2, 0])
def test_a_job_that_is_not_of_this_attempt_is_not_adopted(desk: Desk, attempt: int) -> None:
    task = doubtful(desk, job_hints={JOB: ago(1)}, callbacks_received=1)
    desk.answers(kie_record(task, "success", attempt=attempt))
    after = desk.watch(task)
    assert (after.status, after.job_id) == (Status.SUBMITTING, "")
    # What the record says nothing of stays open.
    assert after.job_hints == ({JOB: task.job_hints[JOB]} if attempt == 0 else {})
    assert after.callbacks_handled == (0 if attempt == 0 else 1)


def test_where_no_callbacks_are_wanted_a_record_without_one_is_an_answer(desk: Desk) -> None:
    desk.options(callbacks=False)
    task = doubtful(desk, job_hints={JOB: ago(1)}, callbacks_received=1)
    desk.answers(kie_record(task, "success", attempt=0))
    assert desk.watch(task).job_hints == {}


@pytest.mark.parametrize(("seconds", "is_refuted"), [(360, False), (360.001, True)])
def test_a_job_that_is_not_there_is_refuted_after_the_time_that_kie_hides_it(
    desk: Desk, seconds: float, is_refuted: bool
) -> None:
    task = doubtful(desk, job_hints={JOB: ago(seconds)}, callbacks_received=1)
    desk.answers(NOT_FOUND_AT_KIE)
    after = desk.watch(task)
    assert bool(after.job_hints) != is_refuted
    assert after.callbacks_handled == is_refuted


def test_another_account_refutes_nothing(desk: Desk) -> None:
    task = doubtful(desk, job_hints={JOB: ago(999)}, callbacks_received=1, account="another's")
    desk.answers(NOT_FOUND_AT_KIE)
    assert desk.watch(task).job_hints != {}


def test_a_hint_that_cannot_be_looked_into_stays(desk: Desk) -> None:
    task = doubtful(desk, job_hints={JOB: ago(999)}, callbacks_received=1)
    desk.answers(DOWN_AT_KIE)
    after = desk.watch(task)
    assert (after.job_hints, after.callbacks_handled) == (task.job_hints, 0)


def test_eight_hints_are_looked_into_at_once(desk: Desk) -> None:
    named = {f"{number:032}": ago(999) for number in range(9)}
    task = doubtful(desk, job_hints=named, callbacks_received=9)
    desk.answers(NOT_FOUND_AT_KIE)
    after = desk.watch(task)
    assert queried(desk) == 8
    assert list(after.job_hints) == [f"{8:032}"]
    assert after.callbacks_handled == 0
    desk.wait(10)
    assert desk.watch(after).callbacks_handled == 9


@pytest.mark.parametrize(
    ("count", "place", "looks", "is_found"),
    [
        (16, 15, 0, False),
        (16, 15, 1, True),
        (16, 15, 2, False),
        (16, 15, 3, True),
        (12, 2, 0, True),
        (12, 2, 1, True),  # from the end back to the beginning
        (12, 2, 2, False),
        (12, 8, 1, True),
        (12, 4, 1, False),
    ],
)
def test_hints_that_have_no_answer_do_not_hide_the_true_one(
    desk: Desk, count: int, place: int, looks: int, is_found: bool
) -> None:
    """Eight at each look, and of the others nothing can be learnt."""
    named = {JOB if one == place else f"{one:032}": ago(1) for one in range(count)}
    task = doubtful(desk, job_hints=named, callbacks_received=count, polls_done=looks)
    desk.answers(DOWN_AT_KIE)
    desk.answers(kie_record(task, "generating"), to=f"recordInfo?taskId={JOB}")
    assert (desk.watch(task).job_id == JOB) is is_found
    assert queried(desk) == 8


def test_a_hint_that_found_no_room_is_never_answered(desk: Desk) -> None:
    task = doubtful(desk, job_hints={JOB: ago(999)}, callbacks_received=2, hints_dropped=1)
    desk.answers(NOT_FOUND_AT_KIE)
    after = desk.watch(task)
    assert (after.job_hints, after.callbacks_handled) == ({}, 0)


def test_a_callback_that_named_no_job_is_explained_by_nothing_at_kie(desk: Desk) -> None:
    task = doubtful(desk, callbacks_received=1)
    assert desk.watch(task).callbacks_handled == 0
    assert desk.requests == []


@pytest.mark.parametrize(("hours", "is_held"), [(6, False), (6.001, True)])
def test_a_lost_answer_without_a_proof_is_held_after_six_hours(
    desk: Desk, hours: float, is_held: bool
) -> None:
    task = doubtful(desk, hours, doubt_why="the line was cut")
    after = desk.watch(task)
    assert after.status is (Status.HELD if is_held else Status.SUBMITTING)
    assert desk.woken == []
    if is_held:
        assert after.error["code"] == "AMBIGUOUS"
        assert "was lost (the line was cut) and no callback proves a job: look" in str(after.error)


def test_how_long_a_doubt_lasts_counts_from_the_first_post(desk: Desk) -> None:
    task = doubtful(desk, 1, first_sent_at=ago(25 * HOUR))
    assert desk.watch(task).error["code"] == "AMBIGUOUS"


def test_a_submit_that_is_still_under_way_is_not_held(desk: Desk) -> None:
    task = doubtful(desk, 25, lease_until=table.later(seconds=1))
    assert desk.watch(task).status is Status.SUBMITTING


def test_a_held_doubt_says_that_the_key_is_anothers(desk: Desk) -> None:
    task = doubtful(desk, 25, account="another's")
    message = desk.watch(task).error["message"]
    assert "; the key is that of another account now: look" in message
    assert "(" not in message  # nobody said why


def test_a_claim_that_was_never_sent_is_sent_again(desk: Desk) -> None:
    at = table.stamp(table.now())
    facts: dict[str, Any] = {"sent_at": "", "first_sent_at": "", "doubt": "", "intended_at": at}
    task = doubtful(desk, **facts, lease_until=at)
    after = desk.watch(task)
    assert after.status is Status.READY
    assert after.not_before == at
    assert desk.messages() == [{"task_id": task.task_id, "turn": at}]
    assert (after.owner, after.lease_until, after.returns) == ("", "", 1)
    assert desk.requests == []


def test_a_claim_whose_lease_lasts_is_left_to_its_owner(desk: Desk) -> None:
    facts: dict[str, Any] = {"sent_at": "", "first_sent_at": "", "doubt": ""}
    task = doubtful(desk, **facts, lease_until=table.later(seconds=0.001))
    assert desk.watch(task).status is Status.SUBMITTING
    assert desk.messages() == []


def test_a_claim_that_was_sent_meanwhile_is_not_sent_again(desk: Desk) -> None:
    facts: dict[str, Any] = {"sent_at": "", "first_sent_at": "", "doubt": ""}
    task = doubtful(desk, **facts)
    for late in ("sent_at", "speech_intended_at"):
        fact = {late: table.stamp(table.now())}
        desk.before("TransactWriteItems", partial(desk.note, task.task_id, **fact))
        assert desk.watch(task).status is Status.SUBMITTING
        assert desk.messages() == []
        table.Update(f"task#{task.task_id}").remove("sent_at", "speech_intended_at").run()


def test_a_speech_in_doubt_is_held_and_never_bought_again(desk: Desk) -> None:
    facts: dict[str, Any] = {
        "sent_at": "",
        "first_sent_at": "",
        "doubt": "",
        "speech_intended_at": ago(60),
    }
    task = doubtful(desk, provider="kling", **facts)
    after = desk.watch(task)
    assert (after.status, after.error["code"]) == (Status.HELD, "SPEECH_LOST")
    assert desk.woken == []


def test_a_job_that_belongs_to_another_task_is_held(desk: Desk) -> None:
    desk.put(f"job#kie#{JOB}", task_id="somebody else's", attempt=1)
    task = doubtful(desk, job_hints={JOB: ago(1)}, callbacks_received=1)
    desk.answers(kie_record(task, "generating"))
    after = desk.watch(task)
    assert (after.status, after.error["code"], after.job_id) == (Status.HELD, "JOB_ID_TAKEN", "")
    assert desk.item(f"job#kie#{JOB}")["task_id"] == "somebody else's"


@pytest.mark.parametrize("status", [Status.HELD, Status.FAILED, Status.CANCELLED])
def test_a_task_that_rests_is_not_held_anew_for_anothers_job(desk: Desk, status: Status) -> None:
    desk.put(f"job#kie#{JOB}", task_id="somebody else's", attempt=1)
    facts: dict[str, Any] = {"job_hints": {JOB: ago(1)}, "callbacks_received": 1}
    task = desk.row(status, **facts, error={"code": "OLD", "message": "m"})
    desk.answers(kie_record(task, "generating"))
    after = desk.watch(task)
    assert (after.status, after.error["code"]) == (status, "OLD")


@pytest.mark.parametrize(
    "status", [Status.READY, Status.SUBMITTING, Status.HELD, Status.FAILED, Status.CANCELLED]
)
def test_a_proved_job_is_taken_over_from_wherever_the_task_stands(
    desk: Desk, status: Status
) -> None:
    at = table.stamp(table.now())
    facts: dict[str, Any] = {
        "job_hints": {JOB: at},
        "callbacks_received": 1,
        "intended_at": at,
        "sent_at": at,
    }
    task = desk.row(status, **facts, lease_until=at, waits_for="its turn", not_before=at)
    desk.answers(kie_record(task, "success"))
    after = desk.watch(task)
    assert (after.status, after.job_id) == (Status.ARCHIVING, JOB)
    assert (after.waits_for, after.not_before) == ("", "")
    assert desk.woken == [{"next": "archive"}]


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_task_that_is_over_is_watched_until_its_hints_are_answered(
    desk: Desk, status: Status
) -> None:
    task = desk.row(status, job_hints={JOB: ago(1)}, callbacks_received=1)
    desk.answers(NOT_FOUND_AT_KIE)
    desk.watch(task)
    assert desk.woken == []
    desk.note(task.task_id, job_hints={JOB: ago(999)})
    desk.watch(task)
    assert desk.woken == [{"next": "done"}]


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_task_that_is_over_and_has_no_hint_is_queried_about_nowhere(
    desk: Desk, status: Status
) -> None:
    task = desk.row(status, callbacks_received=1)
    desk.watch(task)
    assert desk.woken == [{"next": "done"}]
    assert desk.requests == []


# READY, with a callback of a job that was refused.


def test_a_ready_task_without_an_open_callback_is_not_queried_about(desk: Desk) -> None:
    task = desk.row(
        Status.READY, job_hints={JOB: ago(1)}, callbacks_received=1, callbacks_handled=1
    )
    desk.answers(kie_record(task, "success"))
    assert desk.watch(task).status is Status.READY
    assert desk.requests == []


@pytest.mark.parametrize(
    ("hours", "facts", "is_held"),
    [
        (6, {}, False),
        (6.001, {}, True),
        (0, {"hints_dropped": 1}, True),
        (25, {"callbacks_handled": 1}, False),
    ],
)
def test_a_callback_for_a_refused_submit_that_nothing_explains_is_held(
    desk: Desk, hours: float, facts: dict[str, Any], is_held: bool
) -> None:
    task = desk.row(Status.READY, callbacks_received=1, last_callback_at=ago(hours * HOUR), **facts)
    after = desk.watch(task)
    assert after.status is (Status.HELD if is_held else Status.READY)
    if is_held:
        assert after.error["code"] == "AMBIGUOUS"
        assert after.waits_for == ""
    assert desk.woken == []


def test_a_ready_task_is_watched_however_old_it_is(desk: Desk) -> None:
    old = ago(40 * DAY)
    task = desk.row(Status.READY, created_at=old, callbacks_received=1, last_callback_at=ago(1))
    assert desk.watch(task).status is Status.READY
    assert desk.woken == []


# A second job of one attempt.


@pytest.mark.parametrize("status", [Status.SUBMITTED, Status.COMPLETED, Status.HELD])
def test_a_second_job_that_is_proved_is_noted_once(desk: Desk, status: Status) -> None:
    task = submitted(desk, status, job_hints={JOB: ago(2), OTHER: ago(1)}, callbacks_received=2)
    desk.answers(kie_record(task, "generating"))
    desk.answers(kie_record(task, "success", OTHER), to=OTHER)
    after = desk.watch(task)
    assert after.second_jobs == (OTHER,)
    assert after.history[-1]["what"] == "SECOND JOB"
    if status is not Status.COMPLETED:
        assert OTHER not in after.job_hints
    assert (after.job_id, after.status) == (JOB, status)
    again = desk.watch(desk.note(task.task_id, job_hints={OTHER: ago(1)}))
    assert again.second_jobs == (OTHER,)


def test_a_completed_task_is_watched_until_the_other_job_has_an_answer(desk: Desk) -> None:
    task = submitted(desk, Status.COMPLETED, job_hints={OTHER: ago(1)}, callbacks_received=1)
    desk.answers(NOT_FOUND_AT_KIE)
    after = desk.watch(task)
    assert (after.callbacks_handled, desk.woken) == (0, [])
    desk.note(task.task_id, job_hints={OTHER: ago(999)})
    assert desk.watch(task).status is Status.COMPLETED
    assert desk.woken == [{"next": "done"}]


def test_a_completed_task_is_not_watched_longer_than_the_provider_keeps_it(desk: Desk) -> None:
    task = submitted(
        desk, Status.COMPLETED, job_hints={OTHER: ago(1)}, callbacks_received=1,
        submitted_at=ago(15 * DAY),
    )  # fmt: skip
    desk.answers(NOT_FOUND_AT_KIE)
    desk.watch(task)
    assert desk.woken == [{"next": "done"}]


def test_a_completed_task_says_that_its_callbacks_are_answered(desk: Desk) -> None:
    task = submitted(desk, Status.COMPLETED, job_hints={OTHER: ago(999)}, callbacks_received=1)
    desk.answers(kie_record(task, "success", OTHER))
    desk.watch(task)
    assert desk.task(task.task_id).second_jobs == (OTHER,)
    assert desk.woken == [{"next": "done"}]


def test_a_second_job_that_cannot_be_written_is_an_error(desk: Desk) -> None:
    task = submitted(desk, job_hints={OTHER: ago(1)}, callbacks_received=1)
    desk.answers(kie_record(task, "success", OTHER))
    desk.refuse("UpdateItem")
    with pytest.raises(Exception, match="InternalServerError"):
        desk.watch(task)


def test_two_proved_jobs_are_the_tasks_and_one_too_many(desk: Desk) -> None:
    task = doubtful(desk, job_hints={JOB: ago(2), OTHER: ago(1)}, callbacks_received=2)
    desk.answers(kie_record(task, "generating"), to=JOB)
    desk.answers(kie_record(task, "generating", OTHER), to=OTHER)
    after = desk.watch(task)
    assert (after.job_id, after.second_jobs) == (JOB, (OTHER,))


# Kling: our own id finds the job.


def lost_at_kling(desk: Desk, hours: float = 0.2, **facts: Any) -> Task:
    return doubtful(desk, hours, provider="kling", **facts)


def nothing_is_found(desk: Desk) -> None:
    desk.answers(NOT_FOUND_AT_KLING)
    desk.answers(kling_answer([]), to="pageNum")


def test_a_lost_job_is_found_by_our_own_id(desk: Desk) -> None:
    task = lost_at_kling(desk)
    desk.answers(kling_answer(kling_record(task.external_id, "processing")), to=task.external_id)
    after = desk.watch(task)
    assert (after.status, after.job_id) == (Status.SUBMITTED, JOB)


def test_a_job_that_is_found_and_named_is_one_job(desk: Desk) -> None:
    task = lost_at_kling(desk, job_hints={JOB: ago(1), OTHER: ago(1)}, callbacks_received=2)
    desk.answers(kling_answer(kling_record(task.external_id, "processing")))
    desk.answers(kling_answer(kling_record(task.external_id, "processing", OTHER)), to=OTHER)
    after = desk.watch(task)
    assert (after.job_id, after.second_jobs) == (JOB, (OTHER,))


@pytest.mark.parametrize(("external_id", "is_refuted"), [("another-1", True), (None, False)])
def test_a_named_job_of_kling_must_carry_our_id(
    desk: Desk, external_id: str | None, is_refuted: bool
) -> None:
    task = lost_at_kling(desk, job_hints={JOB: ago(999)}, callbacks_received=1)
    nothing_is_found(desk)
    desk.answers(kling_answer(kling_record(external_id, "succeed")), to=f"/{JOB}")
    after = desk.watch(task)
    assert (after.status, after.job_id) == (Status.SUBMITTING, "")
    assert bool(after.job_hints) != is_refuted


def test_a_callback_of_kling_that_named_no_job_is_answered_by_our_id(desk: Desk) -> None:
    task = lost_at_kling(desk, callbacks_received=1)
    nothing_is_found(desk)
    assert desk.watch(task).callbacks_handled == 1


@pytest.mark.parametrize(
    ("facts", "is_handled"),
    [
        ({"sent_at": 1}, False),
        ({"sent_at": 360}, False),
        ({"sent_at": 360.001}, True),
        ({"account": "another's"}, False),
    ],
)
def test_a_job_that_kling_does_not_find_is_an_answer_only_later_and_of_the_same_account(
    desk: Desk, facts: dict[str, Any], is_handled: bool
) -> None:
    given: dict[str, Any] = {
        name: ago(at) if name == "sent_at" else at for name, at in facts.items()
    }
    task = lost_at_kling(desk, callbacks_received=1, **given)
    nothing_is_found(desk)
    assert desk.watch(task).callbacks_handled == is_handled


def resendable(desk: Desk, **facts: Any) -> Task:
    desk.options(resend_same_id=True)
    nothing_is_found(desk)
    return lost_at_kling(desk, **facts)


def is_sent_again(desk: Desk, task: Task) -> bool:
    after = desk.watch(task)
    again = after.status is Status.READY
    assert len(desk.messages()) == again
    if again:
        assert after.resends == task.resends + 1
        assert (after.doubt, after.owner) == ("", "")
        assert after.first_sent_at == task.first_sent_at
        assert desk.woken == []
    return again


def test_the_same_id_is_sent_again_where_an_option_says_so(desk: Desk) -> None:
    task = resendable(desk)
    assert is_sent_again(desk, task)
    assert desk.messages()[0]["turn"] == desk.task(task.task_id).not_before


def test_nothing_is_sent_again_where_no_option_says_so(desk: Desk) -> None:
    task = resendable(desk)
    desk.options()
    assert not is_sent_again(desk, task)


@pytest.mark.parametrize(
    ("facts", "again"),
    [
        ({"resends": 1}, True),
        ({"resends": 2}, False),
        ({"callbacks_received": 1, "callbacks_handled": 1}, False),
        ({"account": "another's"}, False),
        ({"doubt": 600}, False),
        ({"doubt": 600.001}, True),
        ({"first_sent_at": 6 * HOUR}, True),
        ({"first_sent_at": 6 * HOUR + 1}, False),
        ({"lease_until": -1}, False),
        ({"job_hints": {JOB: "2026-03-01T09:59:59.000Z"}}, False),
    ],
)
def test_the_same_id_is_sent_again_only_while_nothing_speaks_against_it(
    desk: Desk, facts: dict[str, Any], again: bool
) -> None:
    times = {"doubt", "first_sent_at", "lease_until"}
    given = {name: ago(at) if name in times else at for name, at in facts.items()}
    assert is_sent_again(desk, resendable(desk, **given)) == again


def test_without_a_word_of_doubt_the_grace_counts_from_the_lease(desk: Desk) -> None:
    for seconds, again in ((600, False), (600.001, True)):
        desk.account.submissions.sent.clear()
        task = resendable(desk, doubt="", lease_until=ago(seconds))
        assert is_sent_again(desk, task) == again


def test_a_job_in_the_list_is_adopted_and_nothing_is_sent_again(desk: Desk) -> None:
    task = resendable(desk)
    record = kling_record(task.external_id, "processing")
    desk.answers(kling_answer([]), kling_answer([record]), kling_answer([]), to="pageNum")
    after = desk.watch(task)
    assert (after.status, after.job_id) == (Status.SUBMITTED, JOB)
    assert desk.messages() == []


def test_a_list_that_cannot_be_read_sends_nothing_again(desk: Desk) -> None:
    task = resendable(desk)
    desk.answers(kling_answer([]), (503, b"no"), to="pageNum")
    assert not is_sent_again(desk, task)


def test_a_callback_that_comes_meanwhile_vetoes_the_resend(desk: Desk) -> None:
    task = resendable(desk)
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, callbacks_received=1))
    assert not is_sent_again(desk, task)


def test_no_provider_without_ids_of_ours_is_sent_the_same_again(desk: Desk) -> None:
    desk.options(resend_same_id=True)
    task = doubtful(desk, 1)
    assert not is_sent_again(desk, task)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_at_kling_a_task_that_is_over_is_looked_for_by_our_id(desk: Desk, status: Status) -> None:
    at = ago(999)
    task = desk.row(status, provider="kling", callbacks_received=1, sent_at=at, intended_at=at)
    nothing_is_found(desk)
    desk.watch(task)
    assert desk.woken == [{"next": "done"}]
    desk.answers(kling_answer(kling_record(task.external_id, "succeed")))
    assert desk.watch(task).status is Status.ARCHIVING


# A relay proves nothing: the callback alone does.


@pytest.mark.parametrize(
    ("external_id", "is_ours"), [(None, True), ("", True), ("ours", True), ("another-1", False)]
)
def test_a_relays_job_is_ours_unless_it_carries_anothers_id(
    desk: Desk, external_id: str | None, is_ours: bool
) -> None:
    task = doubtful(desk, provider="relay", job_hints={"55": ago(999)}, callbacks_received=1)
    given = task.external_id if external_id == "ours" else external_id
    desk.answers(kling_answer(kling_record(given, "processing", "55")))
    after = desk.watch(task)
    assert after.job_id == ("55" if is_ours else "")


# Evidence for a person.


@pytest.mark.parametrize(
    ("balance", "noted", "words"),
    [
        (1000, "5.00", "nothing was taken"),
        (1000.1, "5.00", "nothing was taken"),
        (964, "5.00", "0.180 USD were taken that no known job explains"),
    ],
)
def test_what_the_balance_suggests_is_shown_and_proves_nothing(
    desk: Desk, balance: float, noted: str, words: str
) -> None:
    task = doubtful(desk, 25)
    desk.answers({"code": 200, "msg": "success", "data": balance}, to="/chat/credit")
    desk.put(
        "balance#kie", balance_usd=Decimal(noted), charged_then_usd=1, untold_then=0,
        charged_usd=1, noted_at=ago(26 * HOUR), noted_for="another-1",
    )  # fmt: skip
    evidence = desk.watch(task).error["evidence"]
    assert evidence.startswith(f"the balance of kie suggests that {words}")
    assert evidence.endswith(
        "it cannot prove it, because a charge or a refund may come late, "
        "others may use or top up the same account"
    )


@pytest.mark.parametrize(
    ("booked", "slots"),
    [
        ([], {"leases": {"own": "x", "another-1": "x", "another-2": "x"}}),
        (["slots#kie"], {"leases": {"own": "x", "another-1": 1}, "lapsing_492329": 1}),
        (["slots#kie", "lapsing_492329"], {"leases": {"another-1": 1}, "lapsing_492329": 2}),
        (["slots#kie", "lapsing_492322"], {"leases": {}, "lapsing_492322": 9, "lapsing_492329": 2}),
    ],
)
def test_a_balance_says_how_sure_it_is(
    desk: Desk, booked: list[str], slots: dict[str, Any]
) -> None:
    """Running jobs are counted, those that lapsed and its own apart; the version before named
    them."""
    task = doubtful(desk, 25)
    desk.note(task.task_id, booked=booked)
    desk.put(
        "balance#kie", balance_usd=5, charged_then_usd=1, untold_then=0, untold=1, charged_usd=2,
        noted_at=ago(26 * HOUR), noted_for="another-1",
    )  # fmt: skip
    if "own" in slots["leases"]:
        slots["leases"][task.external_id] = slots["leases"].pop("own")
    desk.put("slots#kie", **slots)
    evidence = desk.watch(task).error["evidence"]
    assert "-1.00" in evidence  # 5 then, 5 now, 1 charged since
    assert (
        "because not every charge since is known, 2 other jobs may be running, a charge" in evidence
    )


@pytest.mark.parametrize(
    "ledger",
    [
        None,
        {"noted_at": 24 * HOUR, "noted_for": "another-1"},
        {"noted_at": 26 * HOUR, "noted_for": "another-1", "is_hidden": True},
    ],
)
def test_a_balance_that_says_nothing_is_no_evidence(
    desk: Desk, ledger: dict[str, Any] | None
) -> None:
    task = doubtful(desk, 25)
    if ledger:
        facts = {"noted_at": ago(ledger["noted_at"]), "noted_for": ledger["noted_for"]}
        desk.put("balance#kie", balance_usd=5, charged_then_usd=0, untold_then=0, **facts)
        if ledger.get("is_hidden"):
            desk.answers({"code": 200, "msg": "success", "data": None}, to="/chat/credit")
    assert "evidence" not in desk.watch(task).error


def test_a_balance_noted_for_this_very_task_is_evidence_however_late(desk: Desk) -> None:
    task = doubtful(desk, 25)
    facts: dict[str, Any] = {"noted_at": ago(24 * HOUR), "noted_for": task.external_id}
    desk.put("balance#kie", balance_usd=5, charged_then_usd=0, untold_then=0, **facts)
    assert "nothing was taken" in desk.watch(task).error["evidence"]


def test_a_balance_that_cannot_be_queried_holds_the_task_all_the_same(desk: Desk) -> None:
    task = doubtful(desk, 25)
    facts: dict[str, Any] = {"noted_at": ago(26 * HOUR), "noted_for": "another-1"}
    desk.put("balance#kie", balance_usd=5, charged_then_usd=0, untold_then=0, **facts)
    desk.answers(DOWN_AT_KIE, to="/chat/credit")
    after = desk.watch(task)
    assert (after.error["code"], "evidence" in after.error) == ("AMBIGUOUS", False)


# What is left of each condition.


def test_a_stopped_provider_is_counted_when_its_breaker_was_written(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers({"code": 401, "msg": "no"})
    desk.refuse("UpdateItem")
    with pytest.raises(Exception, match="InternalServerError"):
        desk.watch(task)
    assert desk.task(task.task_id).task_token == ""


def test_an_error_of_our_own_is_an_error_and_no_answer(desk: Desk) -> None:
    """Only what the provider or the table says is an answer."""
    task = submitted(desk, job_hints={OTHER: ago(1)}, callbacks_received=1)
    for state in ("success", "fail", "generating"):
        desk.answers(kie_record(task, state))
        desk.answers(kie_record(task, "generating", OTHER), to=OTHER)
        for operation in ("UpdateItem", "TransactWriteItems"):
            desk.instead(operation, _broken)
        with pytest.raises(ZeroDivisionError):
            desk.watch(task)


def _broken(_: dict[str, Any]) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize("path", ["recordInfo", "/chat/credit"])
def test_a_client_that_breaks_is_an_error_and_no_silence(desk: Desk, path: str) -> None:
    desk.put(
        "balance#kie", balance_usd=5, charged_then_usd=0, untold_then=0, noted_at=ago(26 * HOUR),
        noted_for="another-1",
    )  # fmt: skip
    task = doubtful(desk, 25, job_hints={JOB: ago(1)}, callbacks_received=1)
    desk.answers(NOT_FOUND_AT_KIE)
    desk.answers(ZeroDivisionError(), to=path)
    with pytest.raises(ZeroDivisionError):
        desk.watch(task)


@pytest.mark.parametrize("status", [Status.SUBMITTED, Status.HELD])
def test_only_the_archive_s_errors_hold_an_archiving_task(desk: Desk, status: Status) -> None:
    task = submitted(desk, status, archiving_since=ago(30 * HOUR), archive_tried_at=ago(1))
    desk.answers(kie_record(task, "generating"))
    after = desk.watch(task, archive_error="NotAVideo", stumbles=5)
    assert (after.status, after.archive_verdicts) == (status, 0)
    assert desk.metrics["ArchiveFailed"] == 0


def test_a_first_stumble_without_a_count_is_not_the_third(desk: Desk) -> None:
    task = archiving(desk)
    desk.answers(kie_record(task, "success"))
    desk.watch(task, archive_error="LinkDead")
    assert desk.metrics["ArchiveFailed"] == 0


@pytest.mark.parametrize(
    ("marked", "keep", "url", "word"),
    [
        (False, False, VIDEO_URL, ""),
        (False, True, VIDEO_URL, ""),
        (True, False, VIDEO_URL, "left"),
        (True, True, f"{VIDEO_URL}?marked", "kept"),
    ],
)
def test_a_video_with_a_watermark_is_kept_where_an_option_says_so(
    desk: Desk, marked: bool, keep: bool, url: str, word: str
) -> None:
    desk.options(keep_watermark=keep)
    task = submitted(desk, provider="kling")
    record = kling_record(task.external_id, "succeed")
    if marked:
        record["task_result"]["videos"][0]["watermark_url"] = f"{VIDEO_URL}?marked"
    desk.answers(kling_answer(record))
    after = desk.watch(task)
    assert (after.video_url, after.watermark) == (url, word)


def test_a_fresh_link_is_wanted_only_of_a_link_that_was_tried(desk: Desk) -> None:
    task = submitted(desk, video_url=VIDEO_URL)
    desk.answers(kie_record(task, "success"))
    desk.answers({"code": 200, "data": FRESH}, to="/download-url")
    assert desk.watch(task).video_url == VIDEO_URL


def test_a_job_that_failed_meanwhile_at_a_task_that_moved_is_not_written(desk: Desk) -> None:
    for fact in ({"status": "COMPLETED"}, {"attempt": 2}):
        task = submitted(desk)
        desk.answers(kie_record(task, "fail"))
        desk.before("TransactWriteItems", partial(desk.put, f"task#{task.task_id}", **fact))
        desk.watch(task)
        assert desk.task(task.task_id).error == {}


def test_kling_may_give_no_reason(desk: Desk) -> None:
    task = submitted(desk, provider="kling")
    desk.answers(kling_answer(kling_record(task.external_id, "failed")))
    error = desk.watch(task).error
    assert error["code"]
    assert error["message"].startswith("kling could not make the video: ")
    assert not error["message"].endswith(": ")


def test_a_running_job_with_a_link_is_not_archived(desk: Desk) -> None:
    task = submitted(desk, provider="kling")
    record = kling_record(task.external_id, "succeed") | {"task_status": "processing"}
    desk.answers(kling_answer(record))
    assert desk.watch(task).status is Status.SUBMITTED


def test_at_kling_no_job_without_our_id_is_ours(desk: Desk) -> None:
    task = lost_at_kling(desk, job_hints={JOB: ago(999)}, callbacks_received=1)
    nothing_is_found(desk)
    desk.answers(kling_answer(kling_record("another-1", "processing")), to=f"/{JOB}")
    assert desk.watch(task).job_id == ""


def test_a_second_job_that_was_noted_is_not_looked_into_again(desk: Desk) -> None:
    task = submitted(desk, job_hints={OTHER: ago(1)}, second_jobs=(OTHER,), callbacks_received=1)
    desk.answers(kie_record(task, "generating"))
    after = desk.watch(task)
    assert queried(desk, OTHER) == 0
    assert after.callbacks_handled == 1


@pytest.mark.parametrize("fact", [{"second_jobs": [OTHER]}, {"attempt": 2}])
def test_a_second_job_is_noted_once_and_at_its_attempt(desk: Desk, fact: dict[str, Any]) -> None:
    task = submitted(desk, job_hints={OTHER: ago(1)}, callbacks_received=1)
    desk.answers(kie_record(task, "generating"))
    desk.answers(kie_record(task, "success", OTHER), to=OTHER)
    desk.before("UpdateItem", lambda: desk.put(f"task#{task.task_id}", **fact))
    desk.watch(task)
    after = desk.task(task.task_id)
    assert list(after.second_jobs) == fact.get("second_jobs", [])
    assert "SECOND JOB" not in [line["what"] for line in after.history]


def test_a_row_that_went_during_the_query_is_not_made_anew(desk: Desk) -> None:
    task = submitted(desk)
    desk.answers(kie_record(task, "generating"))
    desk.meanwhile = lambda: desk.account.table.items.pop(f"task#{task.task_id}")
    event = {"task_id": task.task_id, "attempt": 1, "task_token": "t", "polls_done": 1}
    desk.invoke("watch", event)
    assert desk.item(f"task#{task.task_id}") == {}
    assert desk.woken == [{"next": "done"}]


@pytest.mark.parametrize(
    ("facts", "is_held"),
    [
        ({"first_sent_at": "", "sent_at": 5, "intended_at": 25}, False),
        ({"first_sent_at": "", "sent_at": 25, "intended_at": 5}, True),
        ({"first_sent_at": "", "sent_at": "", "intended_at": 25}, False),
    ],
)
def test_how_long_a_doubt_lasts_counts_from_what_is_known(
    desk: Desk, facts: dict[str, Any], is_held: bool
) -> None:
    given = {name: ago(at * HOUR) if at else "" for name, at in facts.items()}
    lease = table.later(seconds=60) if not facts["sent_at"] else ago(1)
    task = doubtful(desk, 25, lease_until=lease, **given)
    if is_held:
        assert desk.watch(task).error["code"] == "AMBIGUOUS"
    else:
        assert desk.watch(task).status is Status.SUBMITTING


@pytest.mark.parametrize("status", [Status.SUBMITTED, Status.HELD])
def test_an_age_counts_from_the_acceptance_the_intention_or_the_creation(
    desk: Desk, status: Status
) -> None:
    task = desk.row(status, job_id=JOB, created_at=ago(40 * DAY), intended_at=ago(60))
    desk.answers(kie_record(task, "generating"))
    assert desk.watch(task).status is status
    assert desk.woken == []


def test_a_held_doubt_of_an_account_that_cannot_be_read_says_so(desk: Desk) -> None:
    task = doubtful(desk, 25, account="x")
    desk.account.secrets["kie"] = ["no", "object"]  # type: ignore[assignment]
    assert "; the key is that of another account now" in desk.watch(task).error["message"]


def test_a_doubt_is_held_although_nobody_can_give_evidence(desk: Desk) -> None:
    desk.put(
        "balance#kie", balance_usd=5, charged_then_usd=0, untold_then=0, noted_at=ago(26 * HOUR),
        noted_for="another-1",
    )  # fmt: skip
    task = doubtful(desk, 25)
    desk.account.secrets["kie"] = {}
    after = desk.watch(task)
    assert after.error["code"] == "AMBIGUOUS"


@pytest.mark.parametrize("account", ["", "ours"])
def test_the_same_account_is_no_other(desk: Desk, account: str) -> None:
    task = doubtful(desk, 0.1, job_hints={JOB: ago(999)}, callbacks_received=1)
    if account:
        task = desk.note(task.task_id, account=secrets.account_of("kie"))
    desk.answers(NOT_FOUND_AT_KIE)
    assert desk.watch(task).job_hints == {}


def busy(desk: Desk) -> None:
    """The table is busy, whatever is written in a transaction."""
    conflict = [{"Code": "TransactionConflict"}]
    desk.refuse("TransactWriteItems", "TransactionCanceledException", CancellationReasons=conflict)


@pytest.mark.parametrize("status", [Status.SUBMITTING, Status.HELD])
def test_an_adoption_that_finds_the_table_busy_is_repeated(desk: Desk, status: Status) -> None:
    at = ago(0)
    task = desk.row(
        status, job_hints={JOB: at}, callbacks_received=1, intended_at=at, sent_at=at,
        lease_until=at,
    )  # fmt: skip
    desk.answers(kie_record(task, "generating"))
    busy(desk)
    with pytest.raises(Exception, match="TransactionConflict"):
        desk.watch(task)
    assert desk.task(task.task_id).status is status


def test_an_adoption_of_a_task_that_moved_is_looked_at_again(desk: Desk) -> None:
    task = doubtful(desk, job_hints={JOB: ago(1)}, callbacks_received=1)
    desk.answers(kie_record(task, "generating"))
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, status="COMPLETED"))
    after = desk.watch(task)
    assert (after.status, after.job_id) == (Status.COMPLETED, "")
    assert after.error == {}


def test_an_answer_is_definite_where_hints_were_refuted_and_nothing_else_is_open(
    desk: Desk,
) -> None:
    task = doubtful(desk, job_hints={JOB: ago(999)}, callbacks_received=1)
    desk.answers(NOT_FOUND_AT_KIE)
    assert desk.watch(task).callbacks_handled == 1
    other = doubtful(desk, callbacks_received=1, callbacks_handled=1)
    assert desk.watch(other).callbacks_handled == 1


def test_a_list_is_read_back_to_ten_minutes_before_the_first_post(desk: Desk) -> None:
    newest = {"created_at": 0}
    cases: list[tuple[dict[str, Any], int]] = [
        ({"first_sent_at": 3 * HOUR, "sent_at": 0.5 * HOUR}, 190),
        ({"first_sent_at": "", "sent_at": 2 * HOUR}, 130),
    ]
    for facts, minutes in cases:
        for age, is_found in ((minutes - 1, True), (minutes + 1, False)):
            given = {name: ago(at) if at else "" for name, at in facts.items()}
            task = resendable(desk, **given)
            record = kling_record(task.external_id, "processing", f"job-{age}")
            record["created_at"] = int((desk.clock.now - age * 60) * 1000)
            old = {**kling_record("x-1", "processing", "old"), **newest}
            pages = [kling_answer(page) for page in ([], [record, old], [])]
            desk.answers(*pages, to="pageNum")
            after = desk.watch(task)
            assert (after.job_id == f"job-{age}") == is_found


def test_a_job_in_the_list_of_a_task_that_moved_is_not_adopted(desk: Desk) -> None:
    task = resendable(desk)
    record = kling_record(task.external_id, "processing")
    desk.answers(kling_answer([]), kling_answer([record]), kling_answer([]), to="pageNum")
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, status="HELD"))
    after = desk.watch(task)
    assert (after.status, after.job_id) == (Status.HELD, "")


def test_a_resend_leaves_no_callback_open(desk: Desk) -> None:
    task = resendable(desk)
    after = desk.watch(task)
    assert after.callbacks_handled == after.callbacks_received


def test_a_flood_pause_is_of_floods_only(desk: Desk) -> None:
    task = submitted(desk, callbacks_received=3, last_query_at=ago(0))
    desk.answers(kie_record(task, "generating"))
    desk.watch(task)
    assert queried(desk) == 1


def test_a_callback_that_is_answered_holds_no_ready_task(desk: Desk) -> None:
    task = desk.row(
        Status.READY, callbacks_received=1, callbacks_handled=1, last_callback_at=ago(30 * HOUR)
    )
    desk.answers({"code": 401, "msg": "no"})
    desk.account.secrets["kie"] = {}
    assert desk.watch(task, polls_done=3).status is Status.READY


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_an_ended_task_whose_hints_came_to_nothing_has_its_answer(
    desk: Desk, status: Status
) -> None:
    task = desk.row(status, job_hints={JOB: ago(999)}, callbacks_received=2)
    desk.answers(NOT_FOUND_AT_KIE)
    after = desk.watch(task)
    assert (after.callbacks_handled, after.job_hints) == (2, {})
    assert desk.woken == [{"next": "done"}]


@pytest.mark.parametrize(
    ("status", "spent"),
    [
        (Status.SUBMITTED, None),
        (Status.HELD, None),
        (Status.FAILED, Decimal("0.18")),
        (Status.CANCELLED, Decimal("0.18")),
    ],
)
def test_the_books_are_opened_again_for_a_task_that_had_ended(
    desk: Desk, status: Status, spent: Decimal | None
) -> None:
    desk.options(budget_usd_per_day="5")
    task = submitted(desk, status)
    desk.answers(kie_record(task, "success"))
    assert desk.watch(task).status is Status.ARCHIVING
    assert desk.item("budget#2026-03-01").get("spent_usd") == spent
    booked = ("budget#2026-03-01",) if spent else ()
    assert desk.task(task.task_id).booked == booked


def test_a_second_job_is_looked_at_again_should_no_event_come(desk: Desk) -> None:
    task = submitted(desk, job_hints={OTHER: ago(1)}, callbacks_received=1)
    desk.answers(kie_record(task, "generating"))
    desk.answers(kie_record(task, "success", OTHER), to=OTHER)
    assert desk.watch(task).due_at == table.later(seconds=600)


@pytest.mark.parametrize(("seconds", "is_over"), [(360, False), (361, True)])
def test_without_a_post_the_hidden_time_counts_from_the_intention(
    desk: Desk, seconds: float, is_over: bool
) -> None:
    task = desk.row(
        Status.CANCELLED, provider="kling", callbacks_received=1, intended_at=ago(seconds)
    )
    nothing_is_found(desk)
    desk.watch(task)
    assert bool(desk.woken) == is_over


OTHER_JOB = "880000000500000001"


def record_of_a_relay(job_id: str, made_at: int) -> Any:
    """The gateway's layer, which has its own time in seconds, round Kling's."""
    inner: dict[str, Any] = {"task_id": job_id, "task_status": "processing"}
    inner |= {"created_at": made_at}
    outer: dict[str, Any] = {
        "task_id": job_id,
        "status": "IN_PROGRESS",
        "created_at": 1790000000,
        "data": inner,
    }
    return {"code": "success", "message": "", "data": outer}


@pytest.mark.parametrize(
    ("own", "other", "is_second"),
    [(1790000000123, 1790000001123, True), (1790000000123, 1790000000123, False)],
)
def test_two_ids_at_a_relay_are_one_job_if_the_vendor_made_it_at_one_time(
    desk: Desk, own: int, other: int, is_second: bool
) -> None:
    task = desk.row(
        Status.SUBMITTED, provider="relay", callbacks_received=1, job_hints={OTHER_JOB: ago(1)},
        **desk.sent(),
    )  # fmt: skip
    desk.answers(record_of_a_relay(JOB, own), to=JOB)
    desk.answers(record_of_a_relay(OTHER_JOB, other), to=OTHER_JOB)
    after = desk.watch(task)
    assert list(after.second_jobs) == ([OTHER_JOB] if is_second else [])
    assert after.job_alias == ("" if is_second else OTHER_JOB)


@pytest.mark.parametrize(
    ("status", "news"),
    [(Status.SUBMITTED, "no"), (Status.FAILED, "yes"), (Status.COMPLETED, "yes")],
)
def test_a_poll_is_news_only_of_a_task_that_has_ended(
    desk: Desk, status: Status, news: str
) -> None:
    task = desk.row(status, **desk.sent(callbacks_received=1))
    desk.answers(kie_record(task, "generating"))
    desk.watch(task)
    assert desk.item(f"task#{task.task_id}")["news"] == news
