"""From READY to the final status: one POST and its outcome; the callback; the watch."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from functions import links, secrets
from functions.handlers import callback, intake, settle, submit, watch
from functions.tasks import events, queries, steps
from functions.tasks.table import ConditionFailed, Update, later
from functions.tasks.task import ArchivedVideo, Status, Task, key_of
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event

ACCEPTED = {"code": 200, "msg": "success", "data": {"taskId": "9f2c6b1e0d3a4c5f8e7b6a5948372615"}}
JOB = "9f2c6b1e0d3a4c5f8e7b6a5948372615"
OTHER = "0" * 31 + "7"
UNKNOWN = {"code": 422, "msg": "recordInfo is null", "data": None}
LONG_AGO = "2026-01-01T00:00:00.000Z"
VIDEO: ArchivedVideo = {
    "bucket": "b",
    "key": "videos/x.mp4",
    "sha256": "00",
    "bytes": 1,
    "seconds": 1,
}


@pytest.fixture
def ready(shop: Workshop) -> Task:
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    intake.handler(sqs_event(dropped(shop.inbox, "in/hello.mp3")), CONTEXT)
    shop.messages(shop.submissions)
    return shop.the_task()


def pay(shop: Workshop, *answers: Any, times: int = 1) -> Task:
    shop.paper.answers = list(answers)
    message = {"task_id": shop.the_task().task_id, "turn": shop.the_task().not_before}
    for _ in range(times):
        assert submit.handler(sqs_event(message), CONTEXT) == {"batchItemFailures": []}
    return shop.the_task()


def record(shop: Workshop, state: str, **more: Any) -> dict[str, Any]:
    """kie's record of the job, as it stood in recorded traffic: `input` encoded twice."""
    url = links.callback_url("kie", shop.the_task().task_id, 1, secrets.callback_keys())
    param = json.dumps(
        {"input": json.dumps({"prompt": ""}), "callBackUrl": url, "model": "infinitalk/from-audio"}
    )
    job = {
        "taskId": JOB,
        "state": state,
        "param": param,
        "resultJson": "",
        "failCode": None,
        "failMsg": None,
    }
    return {"code": 200, "msg": "success", "data": {**job, **more}}


def done(shop: Workshop) -> dict[str, Any]:
    return record(
        shop, "success", resultJson=json.dumps({"resultUrls": [f"{shop.paper.url}/video.mp4"]})
    )


def look(task: Task, polls_done: int = 1, *, stumbles: int = 0, archive_error: str = "") -> None:
    event: watch.WatchInput = {
        "task_id": task.task_id,
        "attempt": task.attempt,
        "task_token": "a stale task token",
        "polls_done": polls_done,
        "stumbles": stumbles,
        "archive_error": archive_error,
    }
    watch.handler(event, CONTEXT)


def completed(shop: Workshop) -> Task:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [done(shop)]
    look(task)
    settle.handler({"task_id": task.task_id, "attempt": 1, "archived": VIDEO}, CONTEXT)
    return shop.the_task()


def call_back(shop: Workshop, *, url: str | None = None, body: Any = None, attempt: int = 1) -> int:
    url = url or links.callback_url(
        "kie", shop.the_task().task_id, attempt, secrets.callback_keys()
    )
    names = ("provider", "task_id", "attempt", "signature")
    path = dict(zip(names, url.split("/callbacks/")[1].split("/"), strict=False))
    event = {
        "pathParameters": path,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }
    return int(callback.handler(event, CONTEXT)["statusCode"])


def test_an_accepted_task_has_its_job_and_an_execution_after_exactly_one_post(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, ACCEPTED, times=3)
    assert (task.status, task.job_id, shop.paper.posts) == (Status.SUBMITTED, JOB, 1)
    assert shop.executions() == [f"{task.task_id}-1"]
    sent = shop.paper.requests[0][2]
    assert sent["callBackUrl"].startswith(
        f"https://callbacks.example.test/callbacks/kie/{task.task_id}/1/k1."
    )
    assert f"versionId={ready.audio['version_id']}" in sent["input"]["audio_url"]


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ({"code": 422, "msg": "image_url is invalid"}, Status.FAILED, "422"),
        ({"code": 500, "msg": "Server exception, please try again later", "data": None},
        Status.SUBMITTING, None),
        ({"code": 501, "msg": "Generation failed", "data": None}, Status.SUBMITTING, None),
        ({"code": 505, "msg": "disabled"}, Status.FAILED, "505"),
        ({"code": 429, "msg": "too fast", "data": None}, Status.READY, None),
        ({"code": 455, "msg": "maintenance"}, Status.READY, None),
        ((502, b"<html>bad gateway</html>"), Status.SUBMITTING, None),
        ((200, b'{"code":200,"msg":"succ'), Status.SUBMITTING, None),
        ("cut", Status.SUBMITTING, None),
    ],
)  # fmt: skip
def test_each_outcome_leaves_the_task_where_it_belongs(
    shop: Workshop, ready: Task, answer: Any, status: Status, code: str | None
) -> None:
    task = pay(shop, answer)
    assert task.status is status
    assert task.error.get("code") == code
    assert shop.paper.posts == 1


def test_an_ambiguous_submit_is_never_sent_again_by_a_message(shop: Workshop, ready: Task) -> None:
    task = pay(shop, "cut", times=3)
    assert (task.status, bool(task.doubt), shop.paper.posts) == (Status.SUBMITTING, True, 1)
    assert shop.executions() == [f"{task.task_id}-1"]


def test_no_credits_stop_the_provider_and_blame_no_task(shop: Workshop, ready: Task) -> None:
    task = pay(shop, {"code": 402, "msg": "Credits insufficient"})
    assert task.status is Status.READY
    again = pay(shop, ACCEPTED)
    assert (again.status, shop.paper.posts) == (Status.READY, 1)
    submit.handler(sqs_event({"probe": "kie"}), CONTEXT)  # the account answers a free query again
    shop.at_once(task)
    assert pay(shop, ACCEPTED).status is Status.SUBMITTED


def test_media_gone_from_the_inbox_fail_the_task_before_anything_is_paid(
    shop: Workshop, ready: Task
) -> None:
    shop.s3.delete_object(
        Bucket=shop.inbox, Key="in/hello.mp3", VersionId=ready.audio["version_id"]
    )
    task = pay(shop, ACCEPTED)
    assert (task.status, task.error["code"], shop.paper.posts) == (Status.FAILED, "INPUT_GONE", 0)


def test_a_budget_that_is_used_up_lets_nothing_out_and_the_task_says_why_it_waits(
    shop: Workshop, ready: Task, with_options: Any
) -> None:
    with_options(budget_usd_per_day="0.25")
    day = f"budget#{ready.created_at[:10]}"
    Update(day).add(spent_usd=Decimal("0.20")).run()
    task = pay(shop, ACCEPTED)
    assert (task.status, shop.paper.posts) == (Status.READY, 0)
    assert task.waits_for == f"the budget of {ready.created_at[:10]} is used up"
    assert task.entered["READY#1"] == 2  # announced anew, by another id
    assert events.of(task).waits_for == task.waits_for


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"budget_usd_per_day": "0.10"}, "0.10"),
        ({"max_usd_per_task": "0.05"}, "max_usd_per_task is 0.05"),
    ],
)
def test_a_quote_above_its_cap_fails_with_both_figures(
    shop: Workshop, ready: Task, with_options: Any, options: dict[str, str], names: str
) -> None:
    with_options(**options)
    task = pay(shop, ACCEPTED)
    assert (task.status, task.error["code"], shop.paper.posts) == (Status.FAILED, "OVER_BUDGET", 0)
    assert f"quoted {task.quote_usd} USD" in task.error["message"]
    assert names in task.error["message"]


def test_switched_off_nothing_is_submitted(shop: Workshop, ready: Task, with_options: Any) -> None:
    with_options(submit_enabled=False)
    assert (pay(shop, ACCEPTED).status, shop.paper.posts) == (Status.READY, 0)


def test_a_job_id_that_is_another_tasks_is_held_and_nothing_is_overwritten(
    shop: Workshop, ready: Task
) -> None:
    first = pay(shop, ACCEPTED)
    shop.drop("in/two.mp3", VOICE)
    shop.drop("in/two.png", PORTRAIT)
    intake.handler(sqs_event(dropped(shop.inbox, "in/two.mp3")), CONTEXT)
    (second,) = [task for task in shop.all_tasks() if task.task_id != first.task_id]
    submit.handler(sqs_event({"task_id": second.task_id, "turn": ""}), CONTEXT)
    standing = queries.load(second.task_id)
    assert standing is not None
    assert (standing.status, standing.error["code"]) == (Status.HELD, "JOB_ID_TAKEN")


def test_the_watch_waits_while_the_job_runs_and_goes_on_when_it_is_done(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [record(shop, "waiting")]
    look(task)
    assert (shop.the_task().status, shop.the_task().polls_done) == (Status.SUBMITTED, 1)
    shop.paper.answers = [done(shop)]
    look(task)
    after = shop.the_task()
    assert (after.status, after.video_url) == (Status.ARCHIVING, f"{shop.paper.url}/video.mp4")
    assert after.trusted_host == shop.paper.url.removeprefix("http://")


def test_a_link_that_did_not_serve_is_exchanged_for_a_fresh_one(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [done(shop)]
    look(task)
    shop.paper.answers = [
        done(shop),
        {"code": 200, "msg": "success", "data": f"{shop.paper.url}/fresh.mp4"},
    ]
    look(task)
    assert shop.the_task().video_url == f"{shop.paper.url}/fresh.mp4"
    assert shop.paper.requests[-1][:2] == ("POST", "/api/v1/common/download-url")


def test_the_first_look_queries_nothing(shop: Workshop, ready: Task) -> None:
    task = pay(shop, ACCEPTED)
    look(task, polls_done=0)
    assert len(shop.paper.requests) == 1  # the create


def test_an_unknown_status_word_means_running(shop: Workshop, ready: Task) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [record(shop, "levitating")]
    look(task)
    assert shop.the_task().status is Status.SUBMITTED


def test_a_failed_job_fails_the_task_with_the_providers_reason(shop: Workshop, ready: Task) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [record(shop, "fail", failCode="500", failMsg="Internal Error")]
    look(task)
    after = shop.the_task()
    assert (after.status, after.error["code"]) == (Status.FAILED, "500")
    assert "Internal Error" in after.error["message"]


def test_a_forged_callback_is_not_found_and_costs_no_look_up(shop: Workshop, ready: Task) -> None:
    good = links.callback_url("kie", ready.task_id, 1, secrets.callback_keys())
    wrong = [("/1/k1.", "/2/k1."), ("/kie/", "/kling/"), ("k1.", "k7."), (good[-2:], "xx")]
    for part, other in wrong:
        assert call_back(shop, url=good.replace(part, other)) == 404
    assert shop.the_task().callbacks_received == 0


def test_a_callback_before_our_own_write_finds_the_job(shop: Workshop, ready: Task) -> None:
    pay(shop, "cut")
    assert call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}}) == 200
    shop.paper.answers = [done(shop)]
    look(shop.the_task())
    after = shop.the_task()
    assert (after.status, after.job_id, shop.paper.posts) == (Status.ARCHIVING, JOB, 1)


def test_a_callback_that_names_another_tasks_job_proves_nothing(
    shop: Workshop, ready: Task
) -> None:
    pay(shop, "cut")
    call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    others = done(shop)
    others["data"]["param"] = others["data"]["param"].replace(shop.the_task().task_id, "0" * 32)
    shop.paper.answers = [others]
    look(shop.the_task())
    assert (shop.the_task().status, shop.the_task().job_id) == (Status.SUBMITTING, "")


def test_a_callback_body_is_not_believed(shop: Workshop, ready: Task) -> None:
    task = pay(shop, ACCEPTED)
    evil = {
        "code": 200,
        "data": {
            "taskId": JOB,
            "state": "success",
            "resultJson": '{"resultUrls":["https://evil.test/x"]}',
        },
    }
    assert call_back(shop, body=evil) == 200
    shop.paper.answers = [record(shop, "waiting")]
    look(task)
    assert shop.the_task().status is Status.SUBMITTED


@pytest.mark.parametrize(
    "body", [None, [], "text", {"data": []}, {"taskId": {"a": 1}}, {"data": {"taskId": "x" * 500}}]
)
def test_a_callback_is_recorded_whatever_its_body(shop: Workshop, ready: Task, body: Any) -> None:
    pay(shop, ACCEPTED)
    assert call_back(shop, body=body) == 200
    assert shop.the_task().callbacks_received == 1


def test_a_late_callback_on_a_failed_task_brings_the_paid_video_after_all(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, {"code": 505, "msg": "This feature is disabled", "data": None})
    assert task.status is Status.FAILED
    call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    assert shop.executions() == [f"{task.task_id}-1-late1"]
    shop.paper.answers = [done(shop)]
    look(task, polls_done=0)
    assert shop.the_task().status is Status.ARCHIVING


def test_each_late_callback_is_looked_into_even_where_an_earlier_one_came_to_nothing(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, {"code": 505, "msg": "This feature is disabled", "data": None})
    for _ in range(2):
        call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    assert shop.executions() == [f"{task.task_id}-1-late1", f"{task.task_id}-1-late2"]


def test_a_callback_for_a_task_that_waits_its_turn_is_looked_into_before_anything_is_paid(
    shop: Workshop, ready: Task
) -> None:
    """The provider answers "refused for now" and makes a job all the same."""
    task = pay(shop, {"code": 429, "msg": "too many requests"})
    assert task.status is Status.READY
    call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    shop.at_once(task)
    assert (pay(shop, ACCEPTED).status, shop.paper.posts) == (Status.READY, 1)
    assert shop.executions() == [f"{task.task_id}-1"]
    shop.paper.answers = [done(shop)]
    look(task, polls_done=0)
    after = shop.the_task()
    assert (after.status, after.job_id, shop.paper.posts) == (Status.ARCHIVING, JOB, 1)


def test_a_callback_for_an_unknown_job_delays_a_waiting_task_only_until_it_was_looked_into(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, {"code": 429, "msg": "too many requests"})
    call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    shop.paper.answers = [UNKNOWN]
    look(task, polls_done=0)
    assert shop.the_task().has_open_callbacks  # a job may be hidden for some minutes
    Update(key_of(task.task_id)).put_in("job_hints", JOB, LONG_AGO).run()
    look(task, polls_done=0)
    assert (shop.the_task().job_hints, shop.the_task().has_open_callbacks) == ({}, False)
    shop.at_once(task)
    assert pay(shop, ACCEPTED).status is Status.SUBMITTED


def test_a_callback_whose_query_failed_is_not_handled_and_nothing_is_paid(
    shop: Workshop, ready: Task
) -> None:
    """kie answers 455 and makes the job; recordInfo fails while the callback comes."""
    task = pay(shop, {"code": 455, "msg": "maintenance"})
    call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    shop.paper.answers = [(502, b"bad gateway")]
    look(task, polls_done=0)
    shop.at_once(task)
    after = pay(shop, ACCEPTED)
    assert (after.status, after.has_open_callbacks, shop.paper.posts) == (Status.READY, True, 1)
    shop.paper.answers = [done(shop)]
    look(task, polls_done=0)
    after = shop.the_task()
    assert (after.status, after.job_id, shop.paper.posts) == (Status.ARCHIVING, JOB, 1)


def test_a_callback_that_nothing_explains_holds_a_waiting_task_after_hours(
    shop: Workshop, ready: Task, with_options: Any
) -> None:
    task = pay(shop, {"code": 429, "msg": "too many requests"})
    with_options(ambiguous_hold_hours=0)
    call_back(shop, body={"state": "success"})
    shop.paper.answers = [UNKNOWN]
    look(task, polls_done=0)
    assert (shop.the_task().status, shop.the_task().error["code"]) == (Status.HELD, "AMBIGUOUS")


def test_a_second_job_of_one_attempt_is_announced_as_a_possible_second_charge(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, ACCEPTED)
    call_back(shop, body={"code": 200, "data": {"taskId": OTHER, "state": "success"}})
    second = done(shop)
    second["data"]["taskId"] = OTHER
    shop.paper.answers = [second, record(shop, "waiting")]
    look(task)
    after = shop.the_task()
    assert (after.status, after.job_id, after.second_jobs) == (Status.SUBMITTED, JOB, (OTHER,))
    assert after.history[-1]["what"] == "SECOND JOB"
    assert events.of_second_job(after, OTHER).second_job == OTHER


def test_a_completed_task_still_says_so_when_a_second_job_calls_back(
    shop: Workshop, ready: Task
) -> None:
    task = completed(shop)
    call_back(shop, body={"code": 200, "data": {"taskId": OTHER, "state": "success"}})
    assert f"{task.task_id}-1-late1" in shop.executions()
    second = done(shop)
    second["data"]["taskId"] = OTHER
    shop.paper.answers = [second]
    look(task, polls_done=0)
    after = shop.the_task()
    assert (after.status, after.second_jobs) == (Status.COMPLETED, (OTHER,))
    assert after.changed_at == task.changed_at


def test_refuted_hints_make_room_for_the_true_one(shop: Workshop, ready: Task) -> None:
    pay(shop, "cut")
    for number in range(45):
        call_back(
            shop, body={"code": 200, "data": {"taskId": f"forged{number}", "state": "success"}}
        )
    assert len(shop.the_task().job_hints) == 40
    others = done(shop)
    others["data"]["param"] = others["data"]["param"].replace(shop.the_task().task_id, "0" * 32)
    del others["data"]["taskId"]
    shop.paper.answers = [others]
    for _ in range(5):
        Update(key_of(ready.task_id)).remove("last_query_at").run()
        look(shop.the_task())
    call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    shop.paper.answers = [done(shop)]
    Update(key_of(ready.task_id)).remove("last_query_at").run()
    look(shop.the_task())
    after = shop.the_task()
    assert (after.status, after.job_id, shop.paper.posts) == (Status.ARCHIVING, JOB, 1)


def test_a_flood_of_callbacks_costs_one_query_a_while(shop: Workshop, ready: Task) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [record(shop, "waiting")]
    for _ in range(30):
        call_back(shop)
        look(task)
    queries_made = len(shop.paper.requests) - shop.paper.posts
    assert queries_made <= 10
    assert shop.the_task().callbacks_received == 30


def test_a_cancelled_task_is_not_paid_and_a_sent_one_is_not_cancelled(
    shop: Workshop, ready: Task
) -> None:
    steps.cancel(ready, who="ada")
    assert (pay(shop, ACCEPTED).status, shop.paper.posts) == (Status.CANCELLED, 0)


def test_a_task_in_doubt_cannot_be_cancelled(shop: Workshop, ready: Task) -> None:
    task = pay(shop, "cut")
    with pytest.raises(ConditionFailed):
        steps.cancel(task)
    assert shop.the_task().status is Status.SUBMITTING


def test_a_voice_that_was_deleted_before_the_claim_is_not_paid(shop: Workshop, ready: Task) -> None:
    shop.s3.delete_object(Bucket=shop.inbox, Key="in/hello.mp3")
    task = pay(shop, ACCEPTED)
    assert (task.status, task.error["code"], shop.paper.posts) == (Status.CANCELLED, "WITHDRAWN", 0)
    assert "drop the voice again" in task.error["message"]


def test_a_voice_that_was_replaced_before_the_claim_is_not_paid(
    shop: Workshop, ready: Task
) -> None:
    shop.drop("in/hello.mp3", VOICE + b"\0")
    task = pay(shop, ACCEPTED)
    assert (task.status, task.error["code"], shop.paper.posts) == (Status.CANCELLED, "WITHDRAWN", 0)
    assert "a task of its own" in task.error["message"]


def test_a_portrait_that_was_deleted_sends_the_task_back_to_its_files(
    shop: Workshop, ready: Task
) -> None:
    shop.s3.delete_object(Bucket=shop.inbox, Key="in/hello.png")
    task = pay(shop, ACCEPTED)
    assert (task.status, shop.paper.posts) == (Status.READY, 0)
    assert "portrait was replaced or deleted" in task.waits_for
    intake.handler(sqs_event(*shop.messages(shop.uploads)), CONTEXT)
    assert shop.the_task().status is Status.WAITING


def test_a_portrait_that_was_dropped_again_unchanged_holds_nothing_up(
    shop: Workshop, ready: Task
) -> None:
    shop.drop("in/hello.png", PORTRAIT)
    assert pay(shop, ACCEPTED).status is Status.SUBMITTED


def test_an_accepted_job_whose_row_cannot_be_written_is_kept_by_the_queue(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, "cut")
    message = {"task_id": task.task_id, "attempt": 1, "accepted": JOB}
    for _ in range(2):
        submit.handler(sqs_event(message), CONTEXT)
    after = shop.the_task()
    assert (after.status, after.job_id, shop.paper.posts) == (Status.SUBMITTED, JOB, 1)


def test_the_same_verdict_on_two_whole_downloads_holds_the_task_and_its_video_is_tried_on(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [done(shop)]
    look(task)
    for stumbles in (1, 2):
        look(task, stumbles=stumbles, archive_error="NotAVideo")
    after = shop.the_task()
    assert (after.status, after.error["code"]) == (Status.HELD, "NOT_A_VIDEO")
    Update(key_of(task.task_id)).set(archive_tried_at=LONG_AGO).run()
    look(task)
    assert shop.the_task().wants_its_archive
    settle.handler({"task_id": task.task_id, "attempt": 1, "archived": VIDEO}, CONTEXT)
    assert shop.the_task().status is Status.COMPLETED


def test_an_archive_that_cannot_write_for_a_day_is_held_while_the_provider_keeps_the_video(
    shop: Workshop, ready: Task
) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [done(shop)]
    look(task)
    Update(key_of(task.task_id)).set(archiving_since=later(seconds=-25 * 3600)).run()
    look(task, stumbles=9, archive_error="ArchiveUnavailable")
    assert (shop.the_task().status, shop.the_task().error["code"]) == (Status.HELD, "ARCHIVE_STUCK")


def test_a_success_that_later_says_failed_is_held(shop: Workshop, ready: Task) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [done(shop)]
    look(task)
    shop.paper.answers = [record(shop, "fail", failCode="500", failMsg="Internal Error")]
    look(task, stumbles=1, archive_error="LinkDead")
    look(task)
    after = shop.the_task()
    assert (after.status, after.error["code"]) == (Status.HELD, "FAILED_AFTER_SUCCESS")


@pytest.mark.parametrize(
    "answer", [(502, b"bad gateway"), {"code": 401, "msg": "no", "data": None}]
)
def test_a_doubt_that_no_query_can_resolve_is_held_all_the_same(
    shop: Workshop, ready: Task, with_options: Any, answer: Any
) -> None:
    task = pay(shop, "cut")
    with_options(ambiguous_hold_hours=0)
    Update(key_of(task.task_id)).set(lease_until=LONG_AGO).run()
    call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    shop.paper.answers = [answer]
    look(task)
    if isinstance(answer, tuple):
        look(task)
    assert (shop.the_task().status, shop.the_task().error["code"]) == (Status.HELD, "AMBIGUOUS")


def test_the_balance_is_shown_as_evidence_and_pays_nothing(
    shop: Workshop, ready: Task, with_options: Any
) -> None:
    task = pay(shop, "cut")
    with_options(ambiguous_hold_hours=0)
    Update(key_of(task.task_id)).set(lease_until=LONG_AGO).run()
    shop.paper.answers = [UNKNOWN]
    look(task)
    after = shop.the_task()
    assert (after.status, shop.paper.posts) == (Status.HELD, 1)
    assert "suggests that nothing was taken" in after.error["evidence"]
    assert "cannot prove it, because" in after.error["evidence"]


def test_a_row_of_yesterdays_shape_is_read_with_defaults(shop: Workshop, ready: Task) -> None:
    task = pay(shop, "cut")
    new = ("first_sent_at", "account", "doubt_why", "last_query_at", "second_jobs")
    Update(key_of(task.task_id)).remove(*new).run()
    call_back(shop, body={"code": 200, "data": {"taskId": JOB, "state": "success"}})
    shop.paper.answers = [done(shop)]
    look(task)
    assert (shop.the_task().status, shop.the_task().job_id) == (Status.ARCHIVING, JOB)


def test_a_key_that_is_refused_for_a_day_ends_in_held_and_not_in_silence(
    shop: Workshop, ready: Task, with_options: Any
) -> None:
    task = pay(shop, ACCEPTED)
    with_options(silent_hold_hours=0)
    shop.paper.answers = [{"code": 401, "msg": "You do not have access permissions", "data": None}]
    look(task)
    assert (shop.the_task().status, shop.the_task().error["code"]) == (Status.HELD, "SILENT")


def test_a_secret_that_is_no_key_stops_the_provider_and_blames_no_task(
    shop: Workshop, ready: Task
) -> None:
    shop.cloud.client("secretsmanager").put_secret_value(
        SecretId=shop.provider_secret, SecretString="sk-pasted-as-it-is"
    )
    secrets.forget()
    task = pay(shop, ACCEPTED)
    assert (task.status, task.returns, shop.paper.posts) == (Status.READY, 0, 0)
    assert "no JSON object" in task.history[-1]["why"]
    assert "sk-pasted" not in json.dumps(task.history)


def test_what_a_task_does_over_and_over_fills_no_row(shop: Workshop, ready: Task) -> None:
    shop.cloud.client("dynamodb").update_item(
        TableName=shop.table, Key={"pk": {"S": f"task#{ready.task_id}"}},
        UpdateExpression="SET history = :many",
        ExpressionAttributeValues={":many": {"L": [{"M": {"what": {"S": "READY"}}}] * 200}},
    )  # fmt: skip
    task = pay(shop, {"code": 402, "msg": "Credits insufficient"})
    assert (task.status, len(task.history), task.entered["READY#1"]) == (Status.READY, 200, 2)


def test_a_late_callback_does_not_reopen_a_settled_task(shop: Workshop, ready: Task) -> None:
    task = pay(shop, ACCEPTED)
    shop.paper.answers = [done(shop)]
    look(task)
    archived = {
        "bucket": shop.archive,
        "key": "videos/x.mp4",
        "sha256": "00",
        "bytes": 1,
        "seconds": 1.0,
    }
    for _ in range(2):
        settle.handler({"task_id": task.task_id, "attempt": 1, "archived": archived}, CONTEXT)
    before = shop.the_task()
    assert before.status is Status.COMPLETED
    assert call_back(shop) == 200
    look(task)
    assert (shop.the_task().status, shop.the_task().changed_at) == (
        Status.COMPLETED,
        before.changed_at,
    )


def test_a_lease_is_given_back_when_the_task_settles(shop: Workshop, ready: Task) -> None:
    def leases() -> int:
        item = shop.cloud.client("dynamodb").get_item(
            TableName=shop.table, Key={"pk": {"S": "slots#kie"}}
        )["Item"]
        return sum(int(one["N"]) for name, one in item.items() if name.startswith("lapsing_"))

    task = pay(shop, ACCEPTED)
    assert leases() == 1
    shop.paper.answers = [record(shop, "fail", failCode="500", failMsg="Internal Error")]
    look(task)
    assert leases() == 0


def test_no_key_link_or_callback_mac_stands_in_any_log(
    shop: Workshop, ready: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    pay(shop, (502, b"<html>bad gateway</html>"))
    call_back(shop, body={"code": 200, "data": {"taskId": JOB}})
    shop.paper.answers = [done(shop)]
    look(shop.the_task())
    logs = "".join(capsys.readouterr())
    mac = links.callback_url("kie", ready.task_id, 1, secrets.callback_keys()).rsplit("k1.", 1)[1]
    for secret in ("sk-canary-key", "X-Amz-Signature", mac, "a stale task token"):
        assert secret not in logs
