"""The ends of a task: settled when its video lies in the archive, announced when it is true."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from functions.tasks import attributes, steps, table
from functions.tasks.table import Update
from functions.tasks.task import Status, Task, key_of
from tests.paid.desk import JOB, Desk

OTHER = "0123456789abcdef0123456789abcdef"
VIDEO = {
    "bucket": "b", "key": "videos/x.mp4", "version_id": "v1", "sha256": "00", "bytes": 1,
    "seconds": 1, "manifest_key": "videos/manifest.json",
}  # fmt: skip
DOWN = "InternalServerError"
BUSY = "TransactionCanceledException"


def ago(seconds: float) -> str:
    return table.later(seconds=-seconds)


def settle(desk: Desk, task: Task, **changes: Any) -> Task:
    event = {"task_id": task.task_id, "attempt": task.attempt, "archived": VIDEO, **changes}
    assert desk.invoke("settle", event) == {"next": "done"}
    return desk.task(task.task_id)


# Settled.


def archiving(desk: Desk, status: Status = Status.ARCHIVING, **facts: Any) -> Task:
    given = {"video_url": "https://x/y", "archiving_since": ago(60), **facts}
    return desk.row(status, **desk.sent(**given))


@pytest.mark.parametrize("status", [Status.ARCHIVING, Status.HELD])
def test_a_task_whose_video_is_archived_is_completed(desk: Desk, status: Status) -> None:
    task = archiving(desk, status, error={"code": "X", "message": "m"}, task_token="t")
    desk.wait(90)
    after = settle(desk, task)
    assert after.status is Status.COMPLETED
    assert after.archived == VIDEO
    assert (after.error, after.task_token, after.video_url) == ({}, "", "")
    assert desk.metrics["Completed"] == 1
    assert desk.metrics["SecondsToVideo"] == 90


def test_a_task_is_completed_once(desk: Desk) -> None:
    task = archiving(desk)
    first = settle(desk, task)
    assert settle(desk, task, archived={**VIDEO, "key": "another"}) == first
    assert desk.metrics["Completed"] == 1


@pytest.mark.parametrize(
    ("status", "facts", "changes"),
    [
        (Status.ARCHIVING, {}, {"archived": {}}),
        (Status.ARCHIVING, {}, {"attempt": 2}),
        (Status.SUBMITTED, {}, {}),
        (Status.FAILED, {}, {}),
        (Status.CANCELLED, {}, {}),
        (Status.HELD, {"video_url": ""}, {}),
        (Status.HELD, {"archiving_since": ""}, {}),
    ],
)
def test_what_is_not_this_task_s_archive_changes_nothing(
    desk: Desk, status: Status, facts: dict[str, Any], changes: dict[str, Any]
) -> None:
    task = archiving(desk, status, **facts)
    assert settle(desk, task, **changes) == task
    assert desk.metrics["Completed"] == 0


def test_a_task_that_is_gone_is_done(desk: Desk) -> None:
    event = {"task_id": "b" * 32, "attempt": 1, "archived": VIDEO}
    assert desk.invoke("settle", event) == {"next": "done"}


@pytest.mark.parametrize("fact", [{"status": "COMPLETED"}, {"attempt": 2}])
def test_a_task_that_moved_meanwhile_is_not_completed(desk: Desk, fact: dict[str, Any]) -> None:
    task = archiving(desk)
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, **fact))
    assert settle(desk, task).archived == {}
    assert desk.metrics["Completed"] == 0


@pytest.mark.parametrize(
    ("code", "more"),
    [
        (DOWN, {}),
        (BUSY, {"CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}]}),
        (BUSY, {"CancellationReasons": [{"Code": "None"}, {"Code": "ThrottlingError"}]}),
        (BUSY, {"CancellationReasons": [{"Code": "ProvisionedThroughputExceeded"}]}),
        ("TransactionInProgressException", {}),
    ],
)
def test_a_row_that_cannot_be_written_is_an_error(
    desk: Desk, code: str, more: dict[str, Any]
) -> None:
    task = archiving(desk)
    desk.refuse("TransactWriteItems", code, **more)
    with pytest.raises(Exception, match=rf"{DOWN}|Transaction|Throttl|Provisioned"):
        settle(desk, task)
    assert desk.task(task.task_id).status is Status.ARCHIVING


@pytest.mark.parametrize(
    ("reasons", "tries"),
    [
        (["TransactionConflict"], 6),
        (["ThrottlingError", "None"], 6),
        (["ConditionalCheckFailed"], 1),
        (["ThrottlingError", "ConditionalCheckFailed"], 1),
        (["ValidationError"], 1),
    ],
)
def test_what_is_only_busy_is_tried_six_times(desk: Desk, reasons: list[str], tries: int) -> None:
    task = archiving(desk)
    answer = [{"Code": reason} for reason in reasons]
    desk.refuse("TransactWriteItems", BUSY, CancellationReasons=answer)
    event = {"task_id": task.task_id, "attempt": 1, "archived": VIDEO}
    if tries == 6:
        with pytest.raises(Exception, match=r"Conflict|Throttling"):
            desk.invoke("settle", event)
    else:
        desk.invoke("settle", event)
    calls = desk.calls("TransactWriteItems")
    assert len(calls) == tries
    assert len({call["ClientRequestToken"] for call in calls}) == tries


@pytest.mark.parametrize(
    ("code", "more"),
    [
        (BUSY, {"CancellationReasons": [{"Code": "TransactionConflict"}]}),
        ("TransactionInProgressException", {}),
    ],
)
def test_a_transaction_that_went_through_at_last_is_one_step(
    desk: Desk, code: str, more: dict[str, Any]
) -> None:
    task = archiving(desk)
    desk.refuse("TransactWriteItems", code, times=5, **more)
    after = settle(desk, task)
    assert (after.status, after.entered["COMPLETED#1"]) == (Status.COMPLETED, 1)


def test_a_table_that_cannot_be_reached_is_named_in_the_error(desk: Desk) -> None:
    task = archiving(desk)

    def unreachable(_: dict[str, Any]) -> Any:
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    desk.instead("TransactWriteItems", unreachable)
    with pytest.raises(EndpointConnectionError, match="https://dynamodb"):
        settle(desk, task)


# Announced.


def record(desk: Desk, task: Task, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """A record of the table's stream: the row as it stands, and what was different before."""
    new = desk.account.table.items[f"task#{task.task_id}"]
    images = {"NewImage": new}
    if before is not None:
        old = {**new, **{name: attributes.typed(value) for name, value in before.items()}}
        images["OldImage"] = {name: old[name] for name in old if before.get(name, "") is not None}
    return {
        "eventID": "1", "eventName": "MODIFY", "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": {"pk": new["pk"]}, "SequenceNumber": "7", **images},
    }  # fmt: skip


def announce(desk: Desk, *records: dict[str, Any]) -> list[str]:
    """The numbers of the records that come again."""
    answer = desk.invoke("announce", {"Records": list(records)})
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


def details(desk: Desk) -> list[tuple[str, dict[str, Any]]]:
    return [(one["DetailType"], json.loads(one["Detail"])) for one in desk.account.events]


TYPES = {
    Status.WAITING: "Task Waiting", Status.READY: "Task Ready",
    Status.SUBMITTED: "Task Submitted", Status.COMPLETED: "Task Completed",
    Status.FAILED: "Task Failed", Status.HELD: "Task Held", Status.EXPIRED: "Task Expired",
    Status.CANCELLED: "Task Cancelled",
}  # fmt: skip


@pytest.mark.parametrize("status", list(Status))
def test_each_status_that_is_of_use_is_announced_by_one_id(desk: Desk, status: Status) -> None:
    task = desk.row(status)
    if status is Status.COMPLETED:
        task = desk.note(task.task_id, archived=VIDEO)
    assert announce(desk, record(desk, task)) == []
    kinds = [kind for kind, _ in details(desk)]
    assert kinds == ([TYPES[status]] if status in TYPES else [])
    if kinds:
        (entry,) = desk.account.events
        assert (entry["Source"], entry["EventBusName"]) == ("talkdrop", "bus-of-the-test")
        assert entry["Resources"] == []
        detail = details(desk)[0][1]
        assert detail["event_id"] == f"{task.task_id}#{status}#1"
        assert ("video" in detail) == (status is Status.COMPLETED)
    assert desk.metrics["Announced"] == len(kinds)
    assert desk.metrics["TaskHeld"] == (status is Status.HELD)
    resting = {
        Status.WAITING, Status.COMPLETED, Status.FAILED, Status.HELD, Status.EXPIRED,
        Status.CANCELLED,
    }  # fmt: skip
    after = desk.task(task.task_id)
    assert after.announced == (task.event_id if status in resting else "")
    item = desk.item(f"task#{task.task_id}")
    is_over = status in resting - {Status.WAITING, Status.HELD}
    assert ("due_at" in item) != is_over
    assert ("due_shard" in item) != is_over
    days = 400 * 86_400
    assert item.get("expires_at") == (int(desk.clock.now) + days if is_over else None)


@pytest.mark.parametrize(
    ("status", "before", "is_news"),
    [
        (Status.READY, {"status": "WAITING"}, True),
        (Status.READY, {"attempt": 2}, True),
        (Status.READY, {"changed_at": "2026-01-01T00:00:00.000Z"}, True),
        (Status.READY, {"not_before": "x"}, False),
        (Status.SUBMITTED, {"polls_done": 3}, False),
        (Status.HELD, {"touched_at": "x"}, True),
        (Status.FAILED, {"touched_at": "x"}, True),
    ],
)
def test_a_change_is_news_when_a_status_or_its_reason_is_new(
    desk: Desk, status: Status, before: dict[str, Any], is_news: bool
) -> None:
    task = desk.row(status)
    announce(desk, record(desk, task, before))
    assert len(details(desk)) == is_news


def test_what_was_announced_is_not_announced_for_a_touch(desk: Desk) -> None:
    task = desk.row(Status.HELD)
    task = desk.note(task.task_id, announced=task.event_id)
    announce(desk, record(desk, task, {"touched_at": "x"}))
    assert details(desk) == []


def test_no_other_row_is_announced(desk: Desk) -> None:
    desk.put("breaker#kie", open=True)
    row = desk.account.table.items["breaker#kie"]
    announce(desk, {"eventID": "1", "dynamodb": {"Keys": {}, "NewImage": row}})
    announce(desk, {"eventID": "1", "dynamodb": {"Keys": {}, "OldImage": row}})
    assert announce(desk, {"eventID": "1"}) == []
    assert details(desk) == []


def test_an_event_that_the_bus_refuses_comes_again_and_is_not_marked(desk: Desk) -> None:
    task = desk.row(Status.HELD)
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "T", "ErrorMessage": "slow"}]}
    desk.instead("PutEvents", lambda _: refused)
    assert announce(desk, record(desk, task)) == ["7"]
    assert desk.task(task.task_id).announced == ""
    assert desk.metrics["Announced"] == 0
    assert desk.calls("ChangeMessageVisibility") == []


@pytest.mark.parametrize("operation", ["PutEvents", "UpdateItem"])
def test_a_service_that_is_down_has_the_record_delivered_again(desk: Desk, operation: str) -> None:
    task = desk.row(Status.HELD)
    wanted = record(desk, task)
    desk.refuse(operation)
    assert announce(desk, wanted) == ["7"]


@pytest.mark.parametrize("fact", [{"status": "SUBMITTED"}, {"attempt": 2}])
def test_a_task_that_moved_on_is_not_marked(desk: Desk, fact: dict[str, Any]) -> None:
    task = desk.row(Status.HELD)
    wanted = record(desk, task)
    desk.note(task.task_id, **fact)
    assert announce(desk, wanted) == []
    assert desk.task(task.task_id).announced == ""


def test_each_second_job_is_announced_once_as_a_possible_second_charge(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent(second_jobs=(OTHER, "third")))
    announce(desk, record(desk, task, {"second_jobs": [OTHER]}))
    ((kind, detail),) = details(desk)
    assert kind == "Possible Second Charge"
    assert detail["second_job"] == "third"
    assert detail["event_id"] == f"{task.task_id}#SECOND_JOB#1#third"
    assert desk.metrics["PossibleSecondCharge"] == 1
    announce(desk, record(desk, task, {"second_jobs": None}))
    assert [one["second_job"] for _, one in details(desk)[1:]] == [OTHER]


def test_an_event_says_what_a_consumer_needs_and_nothing_empty(desk: Desk) -> None:
    task = desk.row(
        Status.FAILED, error={"code": "422", "message": "m"}, charge_usd=Decimal("0.10"),
        waits_for="its turn", not_before=ago(-9),
    )  # fmt: skip
    announce(desk, record(desk, task))
    detail = details(desk)[0][1]
    assert detail["error"] == {"code": "422", "message": "m"}
    assert (detail["quote_usd"], detail["charge_usd"]) == ("0.18", "0.10")
    assert (detail["waits_for"], detail["not_before"]) == ("its turn", ago(-9))
    names_it = ("bucket", "key", "version_id", "etag", "checksum")
    voice: dict[str, Any] = dict(task.audio)
    assert detail["audio"] == {name: voice[name] for name in names_it if name in voice}
    assert {"version_id", "etag"} <= set(detail["audio"])
    plain = desk.row(Status.READY, quote_usd=None, audio={}, not_before=ago(-9))
    announce(desk, record(desk, plain))
    detail = details(desk)[1][1]
    names = {"error", "quote_usd", "charge_usd", "waits_for", "not_before", "audio", "video"}
    assert not names & set(detail)


# The wire of the table.


def test_a_write_whose_answer_was_lost_is_known_by_its_nonce(desk: Desk) -> None:
    """AWS's client repeats it, and the repeat fails the condition that the first one changed."""
    task = desk.row(Status.SUBMITTED, **desk.sent())

    def lost(given: dict[str, Any]) -> Any:
        desk.account.instead.clear()
        desk.account.really("dynamodb", "UpdateItem", dict(given))
        return desk.account.really("dynamodb", "UpdateItem", given)

    desk.instead("UpdateItem", lost)
    assert desk.call_back(task) == 200
    assert desk.task(task.task_id).callbacks_received == 2  # no condition of its own
    desk.instead("UpdateItem", lost)
    held = desk.note(task.task_id, submitted_at=ago(25 * 3600))
    assert held.status is Status.SUBMITTED
    desk.answers({"code": 200, "data": {"taskId": JOB, "state": "generating"}})
    desk.instead("UpdateItem", lost)
    after = desk.watch(task)
    assert (after.status, after.entered["HELD#1"]) == (Status.HELD, 1)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (float("nan"), TypeError),
        (float("inf"), TypeError),
        (Decimal("-Infinity"), TypeError),
        (Decimal("1e127"), ArithmeticError),
        (Decimal("1." + "1" * 38), ArithmeticError),
    ],
)
def test_a_number_that_dynamodb_does_not_keep_is_refused_before_anything_is_written(
    desk: Desk, number: float | Decimal, error: type[Exception]
) -> None:
    with pytest.raises(error):
        desk.put("balance#kie", balance_usd=number)
    assert desk.item("balance#kie") == {}


def test_a_number_of_38_digits_is_kept_whole(desk: Desk) -> None:
    for number in (Decimal("1." + "1" * 37), Decimal("9e125"), -7, 0.1):
        desk.put("balance#kie", balance_usd=number)
        assert desk.item("balance#kie")["balance_usd"] == Decimal(str(number))


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_new_row_whose_answer_was_lost_is_known_by_its_nonce(desk: Desk, is_ours: bool) -> None:
    """A nonce of ours says that the row that stands there is the one that we have just put."""

    def lost(parameters: dict[str, Any]) -> Any:
        desk.account.instead.clear()
        item = dict(parameters["Item"])
        if not is_ours:
            item["step"] = {"S": "another's"}
        desk.account.table.items[item["pk"]["S"]] = item
        return desk.account.really("dynamodb", "PutItem", parameters)

    desk.instead("PutItem", lost)
    task = Task("c" * 32, Status.READY, ago(0))
    if is_ours:
        steps.open_task(task)
    else:
        with pytest.raises(table.ConditionFailed) as lost_to:
            steps.open_task(task)
        assert lost_to.value.item is not None
        assert lost_to.value.item["step"] == "another's"


@pytest.mark.parametrize(("number", "sizes"), [(10, [10]), (11, [10, 1]), (25, [10, 10, 5])])
def test_ten_events_go_out_at_once(desk: Desk, number: int, sizes: list[int]) -> None:
    tasks = [desk.row(Status.READY) for _ in range(number)]
    assert announce(desk, *[record(desk, task) for task in tasks]) == []
    assert [len(call["Entries"]) for call in desk.calls("PutEvents")] == sizes


def test_no_request_to_the_bus_is_larger_than_it_takes(desk: Desk) -> None:
    tasks = [desk.row(Status.READY, stem="x" * 90_000) for _ in range(5)]
    assert announce(desk, *[record(desk, task) for task in tasks]) == []
    assert [len(call["Entries"]) for call in desk.calls("PutEvents")] == [2, 2, 1]


def test_a_status_without_an_event_has_its_second_job_announced(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTING, **desk.sent(second_jobs=(OTHER,)))
    announce(desk, record(desk, task, {"second_jobs": []}))
    assert [kind for kind, _ in details(desk)] == ["Possible Second Charge"]


@pytest.mark.parametrize(
    ("status", "charge", "count"),
    [
        (Status.COMPLETED, Decimal("0.18"), 0),
        (Status.COMPLETED, Decimal("0.198"), 0),
        (Status.COMPLETED, Decimal("0.199"), 1),
        (Status.COMPLETED, Decimal("0.162"), 0),
        (Status.COMPLETED, Decimal("0.161"), 1),
        (Status.FAILED, Decimal("0.01"), 0),
        (Status.COMPLETED, None, 0),
        (Status.FAILED, Decimal(9), 1),
        (Status.SUBMITTED, Decimal(9), 0),
    ],
)
def test_a_charge_that_is_not_the_quote_is_counted_once(
    desk: Desk, status: Status, charge: Decimal | None, count: int
) -> None:
    task = desk.row(status, **desk.sent(charge_usd=charge, archived=VIDEO))
    announce(desk, record(desk, task))
    assert desk.metrics["ChargeDiffers"] == count


@pytest.mark.parametrize(
    ("status", "intended", "count"),
    [(Status.FAILED, True, 1), (Status.FAILED, False, 0), (Status.HELD, True, 0)],
)
def test_a_job_that_failed_is_counted(
    desk: Desk, status: Status, intended: bool, count: int
) -> None:
    task = desk.row(status, intended_at=ago(1) if intended else "")
    announce(desk, record(desk, task))
    assert desk.metrics["JobFailed"] == count


@pytest.mark.parametrize(
    ("status", "facts", "is_looked_at"),
    [
        (Status.FAILED, {"job_hints": {OTHER: ago(1)}}, True),
        (Status.CANCELLED, {"job_hints": {OTHER: ago(1)}}, True),
        (Status.COMPLETED, {"second_jobs": [OTHER]}, True),
        (Status.FAILED, {}, False),
        (Status.HELD, {"job_hints": {OTHER: ago(1)}}, False),
    ],
)
def test_an_ended_task_to_which_a_callback_came_is_looked_at_again(
    desk: Desk, status: Status, facts: dict[str, Any], is_looked_at: bool
) -> None:
    """Its row was announced, and stood in no index any more."""
    task = desk.row(status, callbacks_received=1, archived=VIDEO, **facts)
    task = desk.note(task.task_id, announced=task.event_id)
    planned = desk.item(f"task#{task.task_id}")["due_at"]
    before = {"callbacks_received": 0, "second_jobs": task.second_jobs}
    assert announce(desk, record(desk, task, before)) == []
    assert desk.item(f"task#{task.task_id}")["due_at"] == planned  # it is planned already
    Update(key_of(task.task_id)).remove("due_at", "due_shard").run()
    assert announce(desk, record(desk, desk.task(task.task_id), before)) == []
    item = desk.item(f"task#{task.task_id}")
    assert (item.get("due_at"), "due_shard" in item) == (
        (ago(-600), True) if is_looked_at else (None, False)
    )
    assert details(desk) == []


def test_where_nothing_is_news_the_bus_is_not_called(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    announce(desk, record(desk, task, {"polls_done": 3}))
    announce(desk)
    assert desk.calls("PutEvents") == []
