"""The callback's door: who is let in, what is written down, and what is resumed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from functions import links, secrets
from functions.tasks import table
from functions.tasks.task import Status
from tests.faults.account import CALLBACK_KEY
from tests.paid.desk import JOB, Desk

OTHER = "0" * 32
MOST_BODY = (256 << 10) * 4 // 3
LATE = [Status.WAITING, Status.HELD, Status.FAILED, Status.CANCELLED]
ON_ITS_WAY = [Status.READY, Status.SUBMITTING, Status.SUBMITTED, Status.ARCHIVING]


def says(state: str, job: str | None = JOB) -> dict[str, Any]:
    """The body of a callback of kie's."""
    return {"code": 200, "data": {"state": state} | ({"taskId": job} if job else {})}


def signed(
    provider: str, task_id: str, attempt: str, *, kid: str = "k1", key: str = CALLBACK_KEY
) -> str:
    """A callback URL made outside of our own code: base64url(HMAC-SHA256) without padding."""
    counted = int(attempt) if attempt.isdecimal() else 0
    words = f"cb1|{provider}|{task_id}|{counted}"
    digest = hmac.new(key.encode(), words.encode(), hashlib.sha256).digest()
    mac = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return f"https://x/callbacks/{provider}/{task_id}/{attempt}/{kid}.{mac}"


# Who is let in.


def test_the_url_is_a_mac_over_provider_task_and_attempt(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    assert desk.knock(signed("kie", task.task_id, "1")) == 200
    ours = links.callback_url("kie", task.task_id, 1, secrets.callback_keys())
    assert ours.split("/callbacks/")[1] == signed("kie", task.task_id, "1").split("/callbacks/")[1]


@pytest.mark.parametrize(
    ("provider", "task_id", "attempt", "kid"),
    [
        ("kie", "z" * 32, "1", "k1"),
        ("kie", "a" * 31, "1", "k1"),
        ("kie", "a" * 33, "1", "k1"),
        ("kie", None, "01", "k1"),
        ("kie", None, "0", "k1"),
        ("kie", None, "-1", "k1"),
        ("kie", None, "x", "k1"),
        ("kie", None, "1.", "k1"),
        ("kie", None, "10000", "k1"),
        ("kie", None, "1", "k2"),
        ("kie", None, "1", "k11111"),
        ("nobody", None, "1", "k1"),
        ("base", None, "1", "k1"),
    ],
)
def test_a_genuine_mac_over_odd_words_opens_nothing(
    desk: Desk, provider: str, task_id: str | None, attempt: str, kid: str
) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    before = len(desk.account.calls)
    assert desk.knock(signed(provider, task_id or task.task_id, attempt, kid=kid)) == 404
    assert desk.metrics["CallbackRefused"] == 1
    looked_at = {call.operation for call in desk.account.calls[before:]}
    assert looked_at <= {"GetSecretValue"}


@pytest.mark.parametrize("provider", ["Kie", "kie-1", "1kie", "k" * 32, ""])
def test_no_provider_has_such_a_name(desk: Desk, provider: str) -> None:
    url = signed(provider, "a" * 32, "1")
    names = ("provider", "task_id", "attempt", "signature")
    path = dict(zip(names, url.split("/callbacks/")[1].split("/"), strict=True))
    assert links.verify_callback(path, secrets.callback_keys()) is None


@pytest.mark.parametrize(("kid", "key"), [("current", "k1"), ("kling", "whsec-known-to-kling")])
def test_no_other_word_of_the_secret_signs_a_callback(desk: Desk, kid: str, key: str) -> None:
    desk.account.secrets["callback-key"]["kling"] = "whsec-known-to-kling"
    task = desk.row(Status.SUBMITTED, **desk.sent())
    assert desk.knock(signed("kie", task.task_id, "1", kid=kid, key=key)) == 404


@pytest.mark.parametrize("mac", ["", "A" * 43, "é"])
def test_a_mac_of_nobody_opens_nothing(desk: Desk, mac: str) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    url = signed("kie", task.task_id, "1").rpartition(".")[0]
    assert desk.knock(f"{url}.{mac}") == 404
    assert desk.task(task.task_id).callbacks_received == 0


def test_a_request_without_a_path_is_not_found(desk: Desk) -> None:
    assert desk.invoke("callback", {"headers": {}, "body": ""})["statusCode"] == 404


def test_a_key_that_was_replaced_still_opens_what_it_signed(desk: Desk) -> None:
    desk.account.secrets["callback-key"] |= {"current": "k2", "k2": "another key of ours"}
    task = desk.row(Status.SUBMITTED, **desk.sent())
    assert desk.knock(signed("kie", task.task_id, "1")) == 200
    new = links.callback_url("kie", task.task_id, 1, secrets.callback_keys())
    assert "/k2." in new
    assert desk.knock(new) == 200
    assert desk.knock(signed("kie", task.task_id, "1", kid="k2")) == 404
    assert desk.metrics["CallbackRefused"] == 1


def test_the_provider_is_answered_in_its_own_words(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    path = dict(
        zip(
            ("provider", "task_id", "attempt", "signature"),
            signed("kie", task.task_id, "1").split("/callbacks/")[1].split("/"),
            strict=True,
        )
    )
    assert desk.invoke("callback", {"pathParameters": path}) == {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": '{"code":200,"msg":"success"}',
    }
    assert desk.metrics == {}


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
def test_a_body_is_read_up_to_a_quarter_of_a_mebibyte(desk: Desk, more: int, status: int) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    assert desk.call_back(task, body="x" * (MOST_BODY + more)) == status
    assert desk.task(task.task_id).callbacks_received == (status == 200)


@pytest.mark.parametrize("is_encoded", [True, False])
def test_a_body_is_decoded_as_its_event_says(desk: Desk, is_encoded: bool) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    text = json.dumps(says("success", OTHER))
    encoded = base64.b64encode(text.encode()).decode() if is_encoded else text
    assert desk.call_back(task, body=encoded, isBase64Encoded=is_encoded) == 200
    assert list(desk.task(task.task_id).job_hints) == [OTHER]


@pytest.mark.parametrize("body", ["no base64!", "Zm9", "é", None])
def test_a_body_that_is_not_what_it_says_is_a_callback_without_a_job(
    desk: Desk, body: str | None
) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    assert desk.call_back(task, body=body, isBase64Encoded=True) == 200
    after = desk.task(task.task_id)
    assert (after.callbacks_received, after.job_hints) == (1, {})


# The provider's own signature.


def _kie_signature(desk: Desk, key: str, job: str = JOB) -> dict[str, str]:
    stamp = str(int(desk.clock.now))
    mac = hmac.digest(key.encode(), f"{job}.{stamp}".encode(), hashlib.sha256)
    return {
        "X-Webhook-Timestamp": stamp,
        "X-Webhook-Signature": base64.b64encode(mac).decode(),
    }


@pytest.mark.parametrize("keys", ["key-1", ["key-1"], ["key-0", "key-1"], ["key-1", "key-2"]])
def test_a_signature_is_checked_against_each_key_that_is_configured(desk: Desk, keys: Any) -> None:
    desk.account.secrets["callback-key"]["kie"] = keys
    task = desk.row(Status.SUBMITTED, **desk.sent())
    good = _kie_signature(desk, "key-1")
    assert desk.call_back(task, says("success"), headers=good) == 200
    wrong = _kie_signature(desk, "key-3")
    assert desk.call_back(task, says("success"), headers=wrong) == 404
    assert desk.call_back(task, says("success"), headers={}) == 404
    assert desk.call_back(task, says("success"), headers=None) == 404
    assert desk.call_back(task, says("success", OTHER), headers=good) == 404
    assert desk.metrics["CallbackRefused"] == 4
    assert desk.task(task.task_id).callbacks_received == 1


@pytest.mark.parametrize(("seconds", "status"), [(300, 200), (301, 404), (-300, 200), (-301, 404)])
def test_a_signature_is_five_minutes_old_at_most(desk: Desk, seconds: int, status: int) -> None:
    desk.account.secrets["callback-key"]["kie"] = "key-1"
    task = desk.row(Status.SUBMITTED, **desk.sent())
    signature = _kie_signature(desk, "key-1")
    desk.clock.now = float(int(signature["X-Webhook-Timestamp"]) + seconds)
    assert desk.call_back(task, says("success"), headers=signature) == status


# What is written down.


def test_a_callback_is_counted_and_each_job_that_it_names_is_kept(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTING, **desk.doubtful())
    first = table.stamp(table.now())
    desk.call_back(task, says("success"))
    desk.wait(60)
    desk.call_back(task, says("success", OTHER))
    desk.call_back(task, says("success"))
    after = desk.task(task.task_id)
    assert (after.callbacks_received, after.callbacks_handled) == (3, 0)
    assert after.job_hint == JOB
    assert after.job_hints == {JOB: first, OTHER: table.stamp(table.now())}
    assert after.last_callback_at == table.stamp(table.now())


def test_a_job_that_finds_no_room_is_counted(desk: Desk) -> None:
    full = {f"{number:032}": "2026-01-01T00:00:00.000Z" for number in range(40)}
    task = desk.row(Status.SUBMITTING, **desk.doubtful(job_hints=full))
    assert desk.call_back(task, says("success", f"{7:032}")) == 200
    assert desk.task(task.task_id).hints_dropped == 0
    assert desk.metrics["CallbackHintDropped"] == 0
    assert desk.call_back(task, says("success")) == 200
    after = desk.task(task.task_id)
    assert (after.hints_dropped, after.callbacks_received, len(after.job_hints)) == (1, 2, 40)
    assert desk.metrics["CallbackHintDropped"] == 1


def test_there_is_room_for_forty_jobs(desk: Desk) -> None:
    most = {f"{number:032}": "2026-01-01T00:00:00.000Z" for number in range(39)}
    task = desk.row(Status.SUBMITTING, **desk.doubtful(job_hints=most))
    desk.call_back(task, says("success"))
    after = desk.task(task.task_id)
    assert (len(after.job_hints), after.hints_dropped) == (40, 0)


def test_a_callback_of_a_task_that_is_not_there_is_answered_and_counts_nothing(desk: Desk) -> None:
    assert desk.knock(signed("kie", "b" * 32, "1")) == 200
    assert desk.account.table.items == {}
    assert desk.metrics == {}


def test_a_callback_of_a_past_attempt_is_shown_to_a_person(desk: Desk) -> None:
    task = desk.row(Status.READY, attempt=2)
    assert desk.call_back(task, says("success"), attempt=1) == 200
    after = desk.task(task.task_id)
    assert after.history[-1]["what"] == "PAST CALLBACK"
    assert after.history[-1]["why"] == f"attempt 1, job {JOB}"
    assert (after.callbacks_received, after.job_hints) == (0, {})
    assert desk.metrics["CallbackForPastAttempt"] == 1
    assert desk.started == []


def test_twenty_callbacks_of_past_attempts_are_kept_and_no_more(desk: Desk) -> None:
    task = desk.row(Status.READY, attempt=2)
    lines = len(task.history)
    for _ in range(22):
        assert desk.call_back(task, attempt=1) == 200
    assert len(desk.task(task.task_id).history) == lines + 20
    assert desk.item(f"task#{task.task_id}")["past_callbacks"] == 20


def test_a_callback_of_an_attempt_that_never_was_writes_nothing(desk: Desk) -> None:
    task = desk.row(Status.READY)
    assert desk.call_back(task, says("success"), attempt=2) == 200
    assert desk.task(task.task_id) == task


# What is resumed.


@pytest.mark.parametrize(
    ("status", "job", "hint", "state", "is_resumed"),
    [
        (Status.SUBMITTED, JOB, JOB, "success", True),
        (Status.SUBMITTED, JOB, JOB, "fail", True),
        (Status.SUBMITTED, JOB, JOB, "generating", False),
        (Status.SUBMITTED, JOB, OTHER, "generating", True),
        (Status.SUBMITTED, JOB, None, "generating", False),
        (Status.SUBMITTED, JOB, JOB, "levitating", True),
        (Status.SUBMITTED, JOB, None, "success", True),
        (Status.SUBMITTING, "", JOB, "generating", False),
        (Status.SUBMITTING, "", JOB, "success", True),
        (Status.COMPLETED, JOB, JOB, "success", False),
        (Status.COMPLETED, JOB, None, "success", False),
        (Status.COMPLETED, JOB, OTHER, "success", True),
        (Status.COMPLETED, JOB, OTHER, "generating", True),
        (Status.EXPIRED, "", JOB, "success", False),
        (Status.EXPIRED, JOB, OTHER, "success", False),
        (Status.HELD, JOB, JOB, "success", True),
        (Status.FAILED, JOB, JOB, "success", True),
        (Status.ARCHIVING, JOB, JOB, "success", True),
    ],
)
def test_the_provider_is_queried_when_a_callback_may_be_news(
    desk: Desk, status: Status, job: str, hint: str | None, state: str, is_resumed: bool
) -> None:
    task = desk.row(status, **desk.sent(job_id=job))
    assert desk.call_back(task, says(state, hint)) == 200
    assert len(desk.started) == is_resumed
    assert desk.task(task.task_id).status is status  # nothing in the body is believed


@pytest.mark.parametrize(
    ("status", "suffix"),
    [(one, "-1") for one in ON_ITS_WAY] + [(one, "-1-late1") for one in LATE],
)
def test_where_nothing_waits_an_execution_is_started(
    desk: Desk, status: Status, suffix: str
) -> None:
    task = desk.row(status, **desk.sent())
    desk.call_back(task, says("success"))
    assert desk.started == [suffix]
    assert desk.woken == []


def test_no_more_than_fifty_late_executions_are_started(desk: Desk) -> None:
    for received, suffix in ((48, "-1-late49"), (49, "-1-late50"), (70, "-1-late50")):
        task = desk.row(Status.FAILED, **desk.sent(callbacks_received=received))
        desk.call_back(task, says("success"))
        assert desk.started[-1] == suffix


def test_an_execution_that_waits_is_woken_and_no_other_is_started(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    desk.note(task.task_id, task_token=desk.token(task), last_query_at=table.stamp(table.now()))
    assert desk.call_back(task, says("success")) == 200
    assert desk.woken == [{"next": "watch"}]
    assert desk.started == []


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_stale_task_token_is_no_failure(desk: Desk, code: str) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent(task_token="t"))
    desk.refuse("SendTaskFailure", code)
    assert desk.call_back(task, says("success")) == 200
    assert desk.started == ["-1"]


def test_what_was_started_before_is_not_started_again(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    desk.execution(task, status="SUCCEEDED")
    assert desk.call_back(task, says("success")) == 200
    assert desk.started == ["-1"]


@pytest.mark.parametrize("operation", ["UpdateItem", "SendTaskFailure", "StartExecution"])
def test_what_cannot_be_recorded_is_sent_again(desk: Desk, operation: str) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent(task_token="t"))
    desk.refuse("SendTaskFailure", "TaskTimedOut")
    desk.refuse(operation)
    assert desk.call_back(task, says("success")) == 503


def test_a_table_that_cannot_be_reached_has_the_callback_sent_again(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())

    def unreachable(_: dict[str, Any]) -> Any:
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    desk.instead("UpdateItem", unreachable)
    assert desk.call_back(task, says("success")) == 503


@pytest.mark.parametrize("operation", ["UpdateItem", "SendTaskFailure", "StartExecution"])
def test_what_no_repeat_can_mend_is_an_error_and_no_503(desk: Desk, operation: str) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent(task_token="t"))

    def broken(_: dict[str, Any]) -> Any:
        raise ZeroDivisionError

    if operation == "StartExecution":
        desk.refuse("SendTaskFailure", "TaskTimedOut")
    desk.instead(operation, broken)
    with pytest.raises(ZeroDivisionError):
        desk.call_back(task, says("success"))


@pytest.mark.parametrize("fact", [{"attempt": 2}, None])
def test_a_full_row_that_moves_on_meanwhile_keeps_nothing(desk: Desk, fact: Any) -> None:
    full = {f"{number:032}": "2026-01-01T00:00:00.000Z" for number in range(40)}
    task = desk.row(Status.SUBMITTING, **desk.doubtful(job_hints=full))

    def change() -> None:
        if fact:
            desk.put(f"task#{task.task_id}", **fact)
        else:
            del desk.account.table.items[f"task#{task.task_id}"]

    desk.before("UpdateItem", change)
    assert desk.call_back(task, says("success")) == 200
    row = desk.item(f"task#{task.task_id}")
    assert "hints_dropped" not in row
    assert bool(row) == bool(fact)
    if fact:
        assert row["history"][-1]["what"] == "PAST CALLBACK"


def test_a_flood_of_a_past_attempt_plans_nothing(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent(callbacks_received=20))
    desk.before("UpdateItem", lambda: desk.before("UpdateItem", move))

    def move() -> None:
        desk.put(f"task#{task.task_id}", attempt=2)

    assert desk.call_back(task, says("success")) == 200
    assert "soon_until" not in desk.item(f"task#{task.task_id}")


def test_a_past_callback_that_cannot_be_recorded_is_sent_again(desk: Desk) -> None:
    task = desk.row(Status.READY, attempt=2)
    desk.refuse("UpdateItem", after=1)
    assert desk.call_back(task, attempt=1) == 503


def test_a_full_row_that_cannot_be_written_is_sent_again(desk: Desk) -> None:
    full = {f"{number:032}": "2026-01-01T00:00:00.000Z" for number in range(40)}
    task = desk.row(Status.SUBMITTING, **desk.doubtful(job_hints=full))
    desk.refuse("UpdateItem", after=1)
    assert desk.call_back(task, says("success")) == 503


def test_a_planned_query_that_cannot_be_written_is_sent_again(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent(callbacks_received=20))
    desk.refuse("UpdateItem", after=1)
    assert desk.call_back(task, says("success")) == 503


# A flood.


def _woken_by(desk: Desk, received: int, seconds_ago: float | None) -> list[dict[str, Any]]:
    task = desk.row(Status.SUBMITTED, **desk.sent(callbacks_received=received - 1))
    facts = {"task_token": desk.token(task)}
    if seconds_ago is not None:
        facts["last_query_at"] = table.stamp(table.now())
        desk.wait(seconds_ago)
    desk.note(task.task_id, **facts)
    desk.call_back(task, says("success"))
    return desk.woken


@pytest.mark.parametrize(
    ("received", "seconds_ago", "soon"),
    [
        (8, 1, None),
        (9, None, None),
        (9, 4.26, 5.7),
        (9, 9, 1.0),
        (9, 60, None),
        (60, 4, 6.0),
        (61, 4, 56.0),
    ],
)
def test_the_more_callbacks_the_later_the_next_query(
    desk: Desk, received: int, seconds_ago: float | None, soon: float | None
) -> None:
    wanted = {"next": "watch"} | ({"soon": soon} if soon else {})
    assert _woken_by(desk, received, seconds_ago) == [wanted]


@pytest.mark.parametrize(("received", "pause"), [(8, 10), (59, 10), (60, 60)])
def test_of_a_flood_one_callback_plans_the_query(desk: Desk, received: int, pause: int) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent(callbacks_received=received))
    for wait, started in ((0, 1), (0, 1), (pause - 0.001, 1), (0.001, 2), (0, 2)):
        desk.wait(wait)
        assert desk.call_back(task, says("success")) == 200
        assert len(desk.started) == started


def test_eight_callbacks_are_answered_at_once(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    for number in range(1, 9):
        desk.call_back(task, says("success"))
        assert len(desk.started) == number
    assert "soon_until" not in desk.item(f"task#{task.task_id}")


# What an execution is started with.


@pytest.mark.parametrize(
    ("model", "options", "polls"),
    [
        ("infinitalk/from-audio", {}, (600, 60, 300, 2400)),
        ("kling/ai-avatar-pro", {}, (360, 60, 300, 1440)),
        ("a model that was taken away", {}, (360, 60, 300, 1440)),
        ("kling/ai-avatar-pro", {"steady": 7}, (360, 7, 300, 1440)),
        (
            "kling/ai-avatar-pro",
            {"first": 1, "steady": 2, "slow": 3, "slow_after": 4},
            (1, 2, 3, 4),
        ),
    ],
)
def test_an_execution_knows_its_task_and_when_to_ask(
    desk: Desk, model: str, options: dict[str, int], polls: tuple[int, ...]
) -> None:
    desk.options(polls=options)
    task = desk.row(Status.SUBMITTED, model=model, attempt=3, **desk.sent())
    desk.call_back(task, says("success"))
    (call,) = desk.calls("StartExecution")
    names = ("first", "steady", "slow", "slow_after")
    assert call["name"] == f"{task.task_id}-3"
    assert json.loads(call["input"]) == {
        "task_id": task.task_id,
        "attempt": 3,
        "polls": dict(zip(names, polls, strict=True)),
    }
