"""The submissions queue's door: what stands against a paid POST, what is sent, and what becomes of
each answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest

from functions.tasks import table
from functions.tasks.task import Status, Task
from tests.faults import wires
from tests.faults.account import INBOX
from tests.faults.dynamo import Refused
from tests.faults.runs import PORTRAIT, VOICE
from tests.paid.desk import (
    ACCEPTED_BY_KIE,
    ACCEPTED_BY_KLING,
    DOWN,
    JOB,
    Desk,
    kling_answer,
)

HOUR = 3600.0
OTHER = "0123456789abcdef0123456789abcdef"
CREATE = "createTask"
LOST = httpx.ReadTimeout("the read timed out")
UNREACHED = httpx.ConnectError("connection refused")
BUSY = "TransactionCanceledException"
CONFLICT = [{"Code": "TransactionConflict"}, {"Code": "None"}]


class Crash(BaseException):
    """The sandbox dies: no handler may catch it."""


def ago(seconds: float) -> str:
    return table.later(seconds=-seconds)


HOURS_AT_17 = 492_329  # from 1970 to the end of the hour in which a lease of six hours ends


def ready(desk: Desk, **facts: Any) -> Task:
    desk.answers(ACCEPTED_BY_KIE, to=CREATE)
    return desk.row(Status.READY, **facts)


def is_untouched(desk: Desk, task: Task) -> bool:
    return desk.task(task.task_id) == task and not desk.posts and not desk.messages()


def in_seconds(at: str) -> float:
    return round((table.instant(at) - table.now()).total_seconds(), 3)


def in_milliseconds(seconds: float) -> int:
    """So long from now, as leases and turns have it."""
    return int((table.now().timestamp() + seconds) * 1000)


def waiting(desk: Desk, task: Task) -> Task:
    """It is not sent: it waits for a turn, in the index."""
    before, messages = len(desk.posts), len(desk.messages())
    after = desk.submit(task)
    assert (len(desk.posts), len(desk.messages())) == (before, messages)
    assert (after.status, after.not_before, after.due_shard) == (
        Status.READY, "", f"waits#{task.provider}",
    )  # fmt: skip
    return after


def before_the_next_note(desk: Desk, act: Callable[[], object]) -> None:
    """After the claim, and before what is then written in the row."""
    desk.before("TransactWriteItems", lambda: desk.before("UpdateItem", act))


# Which messages are followed.


@pytest.mark.parametrize("status", [one for one in Status if one is not Status.READY])
def test_a_task_that_is_not_ready_is_not_paid(desk: Desk, status: Status) -> None:
    task = desk.row(status)
    desk.submit(task)
    assert is_untouched(desk, task)


@pytest.mark.parametrize("turn", ["", "2026-03-01T09:00:00.000Z"])
def test_a_message_of_another_turn_is_a_leftover(desk: Desk, turn: str) -> None:
    task = ready(desk, not_before="2026-03-01T09:59:00.000Z")
    desk.submit(task, turn=turn)
    assert is_untouched(desk, task)


def test_a_message_of_a_task_that_is_gone_is_a_leftover(desk: Desk) -> None:
    assert desk.message("submit", {"task_id": "b" * 32, "turn": ""}) == []
    assert desk.requests == []


def test_a_message_of_yesterdays_shape_has_no_turn(desk: Desk) -> None:
    task = ready(desk)
    assert desk.message("submit", {"task_id": task.task_id}) == []
    assert len(desk.posts) == 1


@pytest.mark.parametrize(
    ("seconds", "delay"), [(1, None), (1.001, 2), (100, 100), (899.2, 900), (5000, 900)]
)
def test_a_message_that_comes_before_its_turn_is_sent_on(
    desk: Desk, seconds: float, delay: int | None
) -> None:
    task = ready(desk, not_before=table.later(seconds=seconds))
    desk.submit(task)
    assert bool(desk.posts) == (delay is None)
    if delay is not None:
        assert desk.messages() == [{"task_id": task.task_id, "turn": task.not_before}]
        assert desk.calls("SendMessage")[0]["DelaySeconds"] == delay
        assert desk.task(task.task_id) == task


@pytest.mark.parametrize(("receives", "seconds"), [(1, 15), (2, 60), (3, 240), (4, 900), (9, 900)])
def test_a_message_that_fails_comes_again_ever_later(
    desk: Desk, receives: int, seconds: int
) -> None:
    first, second = ready(desk), ready(desk)
    desk.refuse("TransactWriteItems", times=1)
    bodies = [{"task_id": task.task_id, "turn": ""} for task in (first, second)]
    assert desk.message("submit", *bodies, receives=receives) == ["0"]
    (call,) = desk.calls("ChangeMessageVisibility")
    assert (call["VisibilityTimeout"], call["ReceiptHandle"]) == (seconds, "receipt-0")
    assert call["QueueUrl"].endswith("/submissions")
    assert desk.task(second.task_id).status is Status.SUBMITTED


def test_where_all_messages_fail_each_comes_again_by_itself(desk: Desk) -> None:
    task = ready(desk)
    desk.refuse("TransactWriteItems")
    assert desk.message("submit", {"task_id": task.task_id, "turn": ""}) == ["0"]


def test_a_message_of_a_strange_queue_keeps_its_visibility(desk: Desk) -> None:
    task = ready(desk)
    desk.refuse("TransactWriteItems")
    record = {
        "messageId": "0", "eventSource": "aws:sqs", "attributes": {}, "receiptHandle": "r",
        "body": f'{{"task_id": "{task.task_id}"}}', "eventSourceARN": "arn:aws:sqs:x:0:another",
    }  # fmt: skip
    desk.invoke("submit", {"Records": [record]})
    assert desk.calls("ChangeMessageVisibility") == []
    desk.wait(11)  # before that, the turn is its first invocation's
    record["eventSourceARN"] = "arn:aws:sqs:x:0:submissions"
    desk.invoke("submit", {"Records": [record]})
    assert desk.calls("ChangeMessageVisibility")[0]["VisibilityTimeout"] == 15


# What stands against the claim.


@pytest.mark.parametrize(
    ("options", "facts", "is_sent"),
    [
        ({}, {}, False),
        ({"resend_same_id": True}, {}, True),
        ({"resend_same_id": True}, {"first_sent_at": 6 * HOUR}, True),
        ({"resend_same_id": True}, {"first_sent_at": 6 * HOUR + 0.001}, False),
        (
            {"resend_same_id": True, "ambiguous_hold_hours": 9},
            {"first_sent_at": 8 * HOUR},
            True,
        ),
        ({"resend_same_id": True}, {"callbacks_received": 1, "callbacks_handled": 1}, False),
    ],
)
def test_what_may_have_been_paid_is_sent_again_only_where_an_option_says_so(
    desk: Desk, options: dict[str, Any], facts: dict[str, Any], is_sent: bool
) -> None:
    desk.options(**options)
    given = {"first_sent_at": 60.0, "resends": 1, **facts}
    given["first_sent_at"] = ago(given["first_sent_at"])
    task = desk.row(Status.READY, provider="kling", **given)
    desk.answers(ACCEPTED_BY_KLING)
    after = desk.submit(task)
    assert len(desk.posts) == is_sent
    if not is_sent:
        assert (after.status, after.error["code"]) == (Status.HELD, "AMBIGUOUS")
        assert "the same id may not be sent again" in after.error["message"]


def test_an_open_callback_is_looked_into_before_anything_is_paid(desk: Desk) -> None:
    task = ready(desk, callbacks_received=1, intended_at=ago(60))
    after = desk.submit(task)
    assert desk.posts == []
    assert desk.started == ["-1"]
    assert after.waits_for == "a callback of this attempt is looked into first"
    assert in_seconds(after.not_before) == 60
    assert in_seconds(after.due_at) == 360
    assert desk.messages() == [{"task_id": task.task_id, "turn": after.not_before}]
    assert desk.calls("SendMessage")[0]["DelaySeconds"] == 60
    assert after.changed_at == task.changed_at  # no news
    assert after.entered == task.entered


def test_a_task_that_was_claimed_meanwhile_is_not_postponed(desk: Desk) -> None:
    task = ready(desk, callbacks_received=1)
    desk.before("UpdateItem", lambda: desk.note(task.task_id, status="SUBMITTING"))
    assert desk.submit(task).not_before == ""
    other = ready(desk, callbacks_received=1)
    desk.before("UpdateItem", lambda: desk.note(other.task_id, attempt=2))
    assert desk.submit(other).not_before == ""


def test_a_postponement_that_cannot_be_written_comes_again(desk: Desk) -> None:
    task = ready(desk, callbacks_received=1)
    desk.refuse("UpdateItem")
    assert desk.message("submit", {"task_id": task.task_id}) == ["0"]


def delete(desk: Desk, file: Any) -> None:
    desk.account.buckets.delete_object(Bucket=INBOX, Key=file["key"])


def replace(desk: Desk, file: Any, content: bytes = b"other bytes") -> None:
    desk.account.buckets.put(INBOX, file["key"], content)


@pytest.mark.parametrize("origin", ["files", "api"])
def test_a_voice_that_was_deleted_is_not_paid(desk: Desk, origin: str) -> None:
    task = ready(desk, origin=origin, intended_at=ago(60), waits_for="x", not_before=ago(1))
    delete(desk, task.audio)
    after = desk.submit(task)
    assert desk.posts == []
    assert (after.status, after.error["code"]) == (Status.CANCELLED, "WITHDRAWN")
    assert after.error["message"] == (
        "hello-1.wav was deleted from the inbox before the task was sent; nothing was paid: "
        "drop the voice again to make it"
    )
    assert (after.waits_for, after.not_before) == ("", "")


def test_what_was_withdrawn_is_not_even_claimed(desk: Desk) -> None:
    task = desk.row(Status.READY)
    desk.account.buckets.remove(INBOX, str(task.audio["key"]), whole=False)
    desk.submit(task)
    assert (desk.requests, desk.calls("TransactWriteItems")) == ([], [])


def test_a_voice_that_was_replaced_is_not_paid(desk: Desk) -> None:
    task = ready(desk)
    replace(desk, task.audio)
    after = desk.submit(task)
    assert desk.posts == []
    assert after.error["message"] == (
        "hello-1.wav was replaced in the inbox before the task was sent; nothing was paid: "
        "the new one is a task of its own"
    )


@pytest.mark.parametrize("what", ["audio", "portrait"])
def test_a_task_of_the_api_names_its_files_as_they_were(desk: Desk, what: str) -> None:
    task = ready(desk, origin="api")
    replace(desk, getattr(task, what))
    assert desk.submit(task).status is Status.SUBMITTED


def test_the_same_portrait_again_is_the_same_portrait(desk: Desk) -> None:
    task = ready(desk)
    replace(desk, task.portrait, desk.account.buckets.latest(INBOX, task.portrait["key"]).body)  # type: ignore[union-attr]
    assert desk.submit(task).status is Status.SUBMITTED


def test_the_same_voice_again_is_a_task_of_its_own(desk: Desk) -> None:
    task = ready(desk)
    replace(desk, task.audio, desk.account.buckets.latest(INBOX, task.audio["key"]).body)  # type: ignore[union-attr]
    assert desk.submit(task).status is Status.CANCELLED


@pytest.mark.parametrize("change", [replace, delete])
def test_a_portrait_that_was_taken_back_sends_the_task_to_its_files(
    desk: Desk, change: Any
) -> None:
    task = ready(desk)
    change(desk, task.portrait)
    after = desk.submit(task)
    assert (after.status, desk.posts) == (Status.READY, [])
    assert after.waits_for.startswith("its portrait was replaced or deleted")
    assert in_seconds(after.not_before) == 60
    looked_at = [one["audio"]["key"] for one in desk.messages("uploads") if "audio" in one]
    assert looked_at == [task.audio["key"]]


def test_a_spoken_text_whose_portrait_was_taken_back_has_no_voice_to_look_at(desk: Desk) -> None:
    task = ready(desk, audio={})
    delete(desk, task.portrait)
    desk.submit(task)
    assert [one for one in desk.messages("uploads") if "audio" in one] == []


@pytest.mark.parametrize(
    ("change", "facts", "cure"),
    [
        (replace, {"intended_at": "x"}, "drop the voice again to make it with the new one"),
        (delete, {"intended_at": "x"}, "drop the voice again to make it"),
        (delete, {"origin": "api"}, "drop the voice again to make it"),
    ],
)
def test_a_portrait_that_was_taken_back_after_a_claim_withdraws_the_task(
    desk: Desk, change: Any, facts: dict[str, str], cure: str
) -> None:
    if "intended_at" in facts:
        facts = {"intended_at": ago(60)}
    task = ready(desk, **facts)
    change(desk, task.portrait)
    after = desk.submit(task)
    assert (after.status, after.error["code"]) == (Status.CANCELLED, "WITHDRAWN")
    assert after.error["message"].endswith(f"nothing was paid: {cure}")


def whole_and_piece(desk: Desk, **facts: Any) -> tuple[Task, Task]:
    """A long voice whose quote is reserved, and one of its pieces, which is to be sent."""
    whole = desk.row(Status.IN_PIECES, **facts)
    desk.put(f"reserve#{whole.task_id}", left_usd=Decimal(5), periods=[])
    piece = ready(desk, parent=whole.task_id, origin="piece", in_reserve=True)
    return whole, desk.note(piece.task_id, portrait=whole.portrait)


@pytest.mark.parametrize("change", [replace, delete])
def test_no_piece_is_paid_of_a_long_voice_that_was_taken_back(desk: Desk, change: Any) -> None:
    whole, piece = whole_and_piece(desk)
    change(desk, whole.audio)
    after = desk.submit(piece)
    assert desk.posts == []
    assert (after.status, after.error["code"]) == (Status.CANCELLED, "WITHDRAWN")
    assert after.error["message"].startswith("hello-1.wav was ")


def test_a_piece_is_made_of_the_files_that_its_whole_began_with(desk: Desk) -> None:
    whole, piece = whole_and_piece(desk)
    replace(desk, whole.portrait)
    assert desk.submit(piece).status is Status.SUBMITTED


def test_a_piece_of_a_voice_named_by_the_api_is_of_that_version(desk: Desk) -> None:
    whole, piece = whole_and_piece(desk, origin="api")
    replace(desk, whole.audio)
    assert desk.submit(piece).status is Status.SUBMITTED


def test_no_piece_is_paid_of_a_portrait_that_was_deleted(desk: Desk) -> None:
    whole, piece = whole_and_piece(desk)
    delete(desk, whole.portrait)
    assert (desk.submit(piece).status, desk.posts) == (Status.CANCELLED, [])


@pytest.mark.parametrize("missing", ["key", "version_id"])
def test_a_file_without_a_version_cannot_be_withdrawn(desk: Desk, missing: str) -> None:
    task = ready(desk)
    fewer = {name: value for name, value in task.audio.items() if name != missing}
    task = desk.note(task.task_id, audio=fewer)
    desk.submit(task)
    assert desk.task(task.task_id).status is not Status.CANCELLED


def test_a_version_that_is_gone_for_good_is_found_out_by_its_first_byte(desk: Desk) -> None:
    task = ready(desk)
    desk.account.buckets.versions[INBOX].pop(task.audio["key"])
    after = desk.submit(task)
    assert desk.posts == []
    assert (after.status, after.error["code"]) == (Status.FAILED, "INPUT_GONE")
    assert after.error["message"] == (
        "hello-1.wav cannot be read from the inbox any more (404): drop the voice again"
    )


def test_a_portrait_that_is_gone_for_good_says_what_to_drop(desk: Desk) -> None:
    task = ready(desk)
    desk.account.buckets.versions[INBOX].pop(task.portrait["key"])
    after = desk.submit(task)
    assert (after.status, after.error["code"]) == (Status.FAILED, "INPUT_GONE")
    assert after.error["message"].endswith(": drop the voice and its portrait again")


@pytest.mark.parametrize(
    ("latest", "version", "status"),
    [
        (403, 200, Status.CANCELLED),
        (404, 200, Status.CANCELLED),
        (404, 403, Status.SUBMITTED),
        (404, 404, Status.SUBMITTED),
        (500, 200, None),
        (404, 500, None),
    ],
)
def test_what_s3_answers_of_the_latest_version(
    desk: Desk, latest: int, version: int, status: Status | None
) -> None:
    task = ready(desk)

    def head(given: dict[str, Any]) -> Any:
        if given["Key"] != task.audio["key"]:
            return desk.account.really("s3", "HeadObject", given)
        code = version if "VersionId" in given else latest
        if code != 200:
            raise Refused(str(code), status=code)
        return {"VersionId": "v9", "ETag": '"e"'}

    desk.instead("HeadObject", head)
    failed = desk.message("submit", {"task_id": task.task_id})
    assert failed == (["0"] if status is None else [])
    assert desk.task(task.task_id).status is (status or Status.READY)


def test_a_bucket_without_versions_holds_nothing_up(desk: Desk) -> None:
    task = ready(desk)
    desk.instead("HeadObject", lambda _: {"ETag": '"e"'})
    assert desk.submit(task).status is Status.SUBMITTED


# The claim's conditions.


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"changed_at": "2026-03-01T10:00:01.000Z"},
        {"status": "CANCELLED"},
        {"attempt": 2},
        {"callbacks_received": 1},
        {"hints_dropped": 1},
        {"first_sent_at": "2026-03-01T09:00:00.000Z"},
    ],
)
def test_what_changed_since_the_row_was_read_is_not_paid(
    desk: Desk, meanwhile: dict[str, Any]
) -> None:
    task = ready(desk)
    desk.put("slots#kie", leases={})
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, **meanwhile))
    after = desk.submit(task)
    assert desk.posts == []
    assert after.owner == ""
    assert after.waits_for == ""
    assert desk.messages() == []


@pytest.mark.parametrize(
    ("facts", "is_sent"),
    [
        ({"resends": 2}, True),
        ({"resends": 3}, False),
        ({"callbacks_received": 1, "callbacks_handled": 1}, False),
    ],
)
def test_a_resend_is_claimed_twice_at_most_and_never_after_a_callback(
    desk: Desk, facts: dict[str, Any], is_sent: bool
) -> None:
    desk.options(resend_same_id=True)
    desk.answers(ACCEPTED_BY_KLING)
    task = desk.row(Status.READY, provider="kling", first_sent_at=ago(60), resends=1)
    desk.put("slots#kling", leases={})
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, **facts))
    desk.submit(task)
    assert len(desk.posts) == is_sent


def test_a_callback_whose_job_found_no_room_vetoes_every_claim(desk: Desk) -> None:
    task = ready(desk, hints_dropped=1)
    desk.submit(task)
    assert is_untouched(desk, task)


def crash(desk: Desk) -> None:
    """The sandbox dies as the POST leaves."""

    def die() -> None:
        raise Crash

    desk.meanwhile = die


def test_the_claim_and_the_note_stand_in_the_row_before_the_post_leaves(desk: Desk) -> None:
    old = {
        "doubt": ago(9), "doubt_why": "w", "sent_at": ago(9), "waits_for": "x",
        "counted_usd": 0, "error": {"code": "X", "message": "m"},
    }  # fmt: skip
    task = ready(desk, **old)
    desk.answers(ACCEPTED_BY_KIE, to=CREATE)
    seen: list[Task] = []
    desk.meanwhile = lambda: setattr(
        desk, "meanwhile", lambda: seen.append(desk.task(task.task_id))
    )
    desk.submit(task)  # the first request is the balance, the second the POST
    (at_post,) = seen
    now = table.stamp(table.now())
    assert at_post.status is Status.SUBMITTING
    assert (at_post.intended_at, at_post.sent_at, at_post.first_sent_at) == (now,) * 3
    assert in_seconds(at_post.lease_until) == in_seconds(at_post.due_at) == 180
    assert len(at_post.owner) == 32
    assert at_post.quote_usd == Decimal("0.18")
    # Six hours from 10:00, and until that hour ends.
    assert at_post.booked == ("slots#kie", f"lapsing_{HOURS_AT_17}")
    assert at_post.account
    assert (at_post.doubt, at_post.doubt_why, at_post.waits_for) == ("", "", "")
    assert (at_post.counted_usd, at_post.error, at_post.not_before) == (None, {}, "")
    slots = desk.item("slots#kie")
    assert (slots["leases"], slots[f"lapsing_{HOURS_AT_17}"]) == ({}, 1)


def test_a_lease_lasts_as_long_as_the_option_says(desk: Desk) -> None:
    desk.options(lease_seconds=60)
    task = ready(desk)
    desk.answers(LOST, to=CREATE)
    assert in_seconds(desk.submit(task).lease_until) == 60


@pytest.mark.parametrize("fact", [{"owner": "another"}, {"status": "READY"}])
def test_a_claim_that_was_lost_before_the_post_sends_nothing(
    desk: Desk, fact: dict[str, str]
) -> None:
    task = ready(desk)
    desk.meanwhile = partial(desk.note, task.task_id, **fact)  # as the balance is noted
    desk.submit(task)
    assert desk.posts == []
    assert desk.started == []


def test_a_resend_goes_to_the_account_of_the_first_post_or_nowhere(desk: Desk) -> None:
    desk.options(resend_same_id=True)
    desk.answers(ACCEPTED_BY_KLING)
    task = desk.row(
        Status.READY, provider="kling", first_sent_at=ago(60), resends=1, account="another's"
    )
    after = desk.submit(task)
    assert desk.posts == []
    assert after.status is Status.SUBMITTING
    assert "the key is not that of the first POST" in after.doubt_why
    assert after.first_sent_at == task.first_sent_at
    assert desk.metrics["Ambiguous"] == 1


def test_a_resend_of_the_same_account_keeps_the_time_of_the_first_post(desk: Desk) -> None:
    desk.options(resend_same_id=True)
    desk.answers(LOST)
    task = desk.row(Status.READY, provider="kling", first_sent_at=ago(60), resends=1)
    after = desk.submit(task)
    assert len(desk.posts) == 1
    assert (after.first_sent_at, after.sent_at) == (task.first_sent_at, ago(0))
    assert "refused" not in after.doubt_why  # lost, and not answered


def test_the_note_before_the_post_that_cannot_be_written_sends_nothing(desk: Desk) -> None:
    task = ready(desk)
    desk.refuse("UpdateItem")
    assert desk.message("submit", {"task_id": task.task_id}) == ["0"]
    assert desk.posts == []


# What the books say.


def deferred(desk: Desk, task: Task) -> Task:
    after = desk.submit(task)
    assert desk.posts == []
    assert after.status is Status.READY
    assert desk.messages()[-1] == {"task_id": task.task_id, "turn": after.not_before}
    assert in_seconds(after.due_at) == round(in_seconds(after.not_before) + 300, 3)
    return after


def is_news(after: Task, before: Task) -> bool:
    """Was the reason announced: another event id? Then the row says when it changed."""
    news = after.event_id != before.event_id
    assert after.changed_at == (ago(0) if news else before.changed_at)
    return news


def test_where_submitting_is_switched_off_a_task_waits_and_says_so(desk: Desk) -> None:
    desk.options(submit_enabled=False)
    task = ready(desk)
    after = deferred(desk, task)
    assert after.waits_for == "submitting is switched off (option submit_enabled)"
    assert in_seconds(after.not_before) == 900
    assert is_news(after, task)
    desk.wait(900)
    assert not is_news(deferred(desk, after), after)  # the same reason is news once


def test_a_stopped_provider_is_waited_for(desk: Desk) -> None:
    desk.put("breaker#kie", open=True, why="no credits", trial_at=ago(1))
    task = ready(desk)
    desk.wait(7)
    after = waiting(desk, task)
    assert after.waits_for == "kie is stopped until its account works again"
    assert is_news(after, task)
    desk.wait(7)
    assert not is_news(waiting(desk, after), after)  # the same reason is news once


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [({"trial_at": 4000}, 4000), ({"trial_at": -1}, 300), ({}, 300)],
)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_provider_that_is_stopped_between_the_turn_and_the_claim_is_tried_after_its_trial(
    desk: Desk, facts: dict[str, float], seconds: float, share: float
) -> None:
    desk.share = share
    row = {name: table.later(seconds=value) for name, value in facts.items()}
    desk.before("TransactWriteItems", lambda: desk.put("breaker#kie", open=True, **row))
    task = ready(desk)
    after = deferred(desk, task)
    assert after.waits_for == "kie is stopped until its account works again"
    assert in_seconds(after.not_before) == seconds + 60 * share
    assert is_news(after, task)
    assert desk.leases() == (set(), 0)


def test_who_waits_is_called_when_the_provider_is_open_again(desk: Desk) -> None:
    desk.put("breaker#kie", open=True, why="no credits", trial_at=ago(1))
    task = waiting(desk, ready(desk))
    assert desk.message("submit", {"probe": "kie"}) == []
    assert [one["task_id"] for one in desk.messages()] == [task.task_id]
    (called,) = desk.messages()
    assert desk.message("submit", called) == []
    assert desk.task(task.task_id).status is Status.SUBMITTED


def test_a_provider_that_was_opened_again_is_submitted_to(desk: Desk) -> None:
    desk.put("breaker#kie", why="no credits", reopened_at=ago(1), trips=3)
    assert desk.submit(ready(desk)).status is Status.SUBMITTED


@pytest.mark.parametrize(
    ("period", "name"), [("2026-03-01", "budget_usd_per_day"), ("2026-03", "budget_usd_per_month")]
)
@pytest.mark.parametrize(("spent", "is_paid"), [("0.82", True), ("0.821", False), (None, True)])
def test_no_budget_is_passed(
    desk: Desk, period: str, name: str, spent: str | None, is_paid: bool
) -> None:
    desk.options(**{name: "1.00"})
    if spent:
        desk.put(f"budget#{period}", spent_usd=Decimal(spent))
    task = ready(desk)
    after = desk.submit(task) if is_paid else deferred(desk, task)
    assert len(desk.posts) == is_paid
    total = Decimal(spent or 0) + (Decimal("0.18") if is_paid else 0)
    assert desk.item(f"budget#{period}")["spent_usd"] == total
    if is_paid:
        assert f"budget#{period}" in after.booked
    else:
        assert after.waits_for == f"the budget of {period} is used up"
        assert in_seconds(after.not_before) == HOUR
        assert is_news(after, task)


@pytest.mark.parametrize(
    ("now", "name", "seconds"),
    [
        ("2026-03-01T23:30:00+00:00", "budget_usd_per_day", 1800),
        ("2026-03-31T23:45:00+00:00", "budget_usd_per_month", 900),
        ("2026-02-28T23:50:00+00:00", "budget_usd_per_month", 600),
        ("2026-12-31T23:55:00+00:00", "budget_usd_per_month", 300),
        ("2026-03-30T23:45:00+00:00", "budget_usd_per_month", 3600),
    ],
)
def test_a_budget_is_waited_for_until_its_period_ends_or_an_hour(
    desk: Desk, now: str, name: str, seconds: float
) -> None:
    desk.clock.now = table.instant(now).timestamp()
    desk.options(**{name: "1.00"})
    period = now[:10] if name.endswith("day") else now[:7]
    desk.put(f"budget#{period}", spent_usd=1)
    assert in_seconds(deferred(desk, ready(desk)).not_before) == seconds


@pytest.mark.parametrize(
    ("options", "facts", "cap"),
    [
        ({"budget_usd_per_day": "0.17"}, {}, "the budget of 2026-03-01 is 0.17"),
        ({"budget_usd_per_month": "0.17"}, {}, "the budget of 2026-03 is 0.17"),
        ({"max_usd_per_task": "0.17"}, {}, "option max_usd_per_task is 0.17"),
        ({}, {"max_usd": Decimal("0.17")}, "the task's own max_usd is 0.17"),
        ({"max_usd_per_task": "0.17"}, {"max_usd": Decimal("0.18")}, ""),
        ({"max_usd_per_task": "0.18"}, {}, ""),
        ({"max_usd_per_task": None}, {"quote_usd": 1000}, ""),
    ],
)
def test_a_quote_above_its_cap_is_refused_with_both_figures(
    desk: Desk, options: dict[str, Any], facts: dict[str, Any], cap: str
) -> None:
    desk.options(**options)
    after = desk.submit(ready(desk, **facts))
    assert bool(desk.posts) == (not cap)
    if cap:
        assert (after.status, after.error["code"]) == (Status.FAILED, "OVER_BUDGET")
        assert f"quoted 0.18 USD and {cap} USD" in after.error["message"]


def test_a_doubtful_attempt_above_its_cap_is_held_and_not_failed(desk: Desk) -> None:
    desk.options(resend_same_id=True, max_usd_per_task="0.01")
    task = desk.row(Status.READY, provider="kling", first_sent_at=ago(60), resends=1)
    after = desk.submit(task)
    assert (after.status, after.error["code"]) == (Status.HELD, "AMBIGUOUS")
    assert after.error["message"].endswith("an earlier POST of it is in doubt")


def test_no_more_jobs_run_than_the_provider_allows(desk: Desk) -> None:
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 2}})
    leases = {"a": in_milliseconds(9), "b": in_milliseconds(0)}
    desk.put("slots#kie", leases=leases)
    task = ready(desk)
    after = waiting(desk, task)
    assert after.waits_for == "kie runs all the jobs it may, or takes no more submits for now"
    assert not is_news(after, task)
    assert desk.item("slots#kie")["leases"] == leases
    assert desk.calls("TransactWriteItems") == []


@pytest.mark.parametrize("until", ["2026-03-01T09:59:59.999Z", 1_772_359_199_999])
def test_a_lease_that_lapsed_makes_room(desk: Desk, until: int | str) -> None:
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 2}})
    desk.put("slots#kie", leases={"a": in_milliseconds(9), "b": until})
    task = desk.submit(ready(desk))
    assert task.status is Status.SUBMITTED
    assert desk.leases() == ({"a"}, 1)


@pytest.mark.parametrize(("minutes", "is_sent"), [(59, False), (60, True)])
def test_counted_leases_lapse_with_their_hour(desk: Desk, minutes: int, is_sent: bool) -> None:
    """A crash left all of them: six hours later and at the end of that hour there is room."""
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 3}})
    counts = {f"lapsing_{HOURS_AT_17}": 2, f"lapsing_{HOURS_AT_17 + 1}": 1}
    desk.put("slots#kie", leases={}, **counts)
    waiting(desk, task := ready(desk))
    desk.wait(6 * HOUR + 60 * minutes)
    desk.sweep()
    if is_sent:
        assert desk.message("submit", desk.messages()[-1]) == []
    assert bool(desk.posts) == is_sent == (desk.task(task.task_id).status is Status.SUBMITTED)
    assert (f"lapsing_{HOURS_AT_17}" in desk.item("slots#kie")) != is_sent
    assert desk.leases() == (set(), 2 if is_sent else 3)


def test_a_count_below_zero_makes_no_room(desk: Desk) -> None:
    """A lease was given back to an hour whose count another's clock had already dropped."""
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 1}})
    counts = {f"lapsing_{HOURS_AT_17}": -5, f"lapsing_{HOURS_AT_17 - 1}": 1}
    desk.put("slots#kie", leases={}, **counts)
    waiting(desk, ready(desk))


def test_an_hour_of_which_every_lease_came_back_takes_no_room(desk: Desk) -> None:
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 1}})
    desk.put("slots#kie", leases={}, **{f"lapsing_{HOURS_AT_17}": 0})
    assert desk.submit(ready(desk)).status is Status.SUBMITTED


def test_running_jobs_and_turns_together_are_no_more_than_allowed(desk: Desk) -> None:
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 3}})
    leases = {"turn-1": in_milliseconds(60)}
    desk.put("slots#kie", leases=leases, **{f"lapsing_{HOURS_AT_17}": 1})
    assert desk.submit(ready(desk)).status is Status.SUBMITTED
    assert desk.leases() == ({"turn-1"}, 2)
    waiting(desk, ready(desk))


def test_a_turn_that_lapsed_and_is_claimed_all_the_same_leaves_no_room(desk: Desk) -> None:
    """Its name is a count by the time that another would have dropped it."""
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 1}})
    desk.put("slots#kie", leases={"late-1": in_milliseconds(-1)}, given=1)
    claimed = {"leases": {}, f"lapsing_{HOURS_AT_17}": 1}
    desk.before("UpdateItem", lambda: desk.put("slots#kie", **claimed))
    waiting(desk, ready(desk))
    assert desk.leases() == (set(), 1)


def test_a_lease_that_was_renewed_meanwhile_is_kept(desk: Desk) -> None:
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 1}})
    desk.put("slots#kie", leases={"b": in_milliseconds(-1000)})
    renewed = {"b": in_milliseconds(60_000)}
    desk.before("UpdateItem", lambda: desk.put("slots#kie", leases=renewed))
    waiting(desk, ready(desk))
    assert desk.item("slots#kie")["leases"] == renewed


def test_a_turn_that_lapsed_before_the_claim_pays_nothing(desk: Desk) -> None:
    """Another may have it by now: the task waits for one more, and gets it, being alone."""
    task = ready(desk)
    desk.before("TransactWriteItems", lambda: desk.put("slots#kie", leases={}))
    desk.submit(task)
    assert desk.posts == []
    (called,) = desk.messages()
    assert desk.message("submit", called) == []
    assert len(desk.posts) == 1


def test_a_provider_without_a_limit_of_running_jobs_keeps_no_lease(desk: Desk) -> None:
    desk.answers(ACCEPTED_BY_KLING)
    after = desk.submit(desk.row(Status.READY, provider="relay"))
    assert (after.status, after.booked) == (Status.SUBMITTED, ())
    assert desk.leases("relay") == (set(), 0)


def test_counters_that_are_busy_are_queried_six_times(desk: Desk) -> None:
    conflict = [{"Code": "TransactionConflict"}, *[{"Code": "None"}] * 3]
    for times, posts in ((5, 1), (6, 1)):
        desk.put("slots#kie", leases={})
        desk.refuse("TransactWriteItems", BUSY, times=times, CancellationReasons=conflict)
        task = ready(desk)
        after = desk.submit(task)
        assert len(desk.posts) == posts
        if times == 6:
            assert after.waits_for == "the provider's counters were busy"
            assert in_seconds(after.not_before) == 1
            assert not is_news(after, task)


def test_busy_counters_are_waited_for_four_seconds_at_most(desk: Desk) -> None:
    desk.share = 1.0
    conflict = [{"Code": "None"}, {"Code": "ThrottlingError"}, *[{"Code": "None"}] * 2]
    desk.refuse("TransactWriteItems", BUSY, times=6, CancellationReasons=conflict)
    assert in_seconds(desk.submit(ready(desk)).not_before) == 4


# What is sent.


def test_the_request_names_the_task_s_files_by_version_and_its_own_callback(desk: Desk) -> None:
    task = ready(desk, prompt="Smile", settings={"resolution": "720p"}, attempt=3)
    desk.submit(task)
    (body,) = desk.posts
    assert body["callBackUrl"].startswith(
        f"https://door.talkdrop.test/callbacks/kie/{task.task_id}/3/k1."
    )
    assert body["input"]["prompt"] == "Smile"
    assert body["input"]["resolution"] == "720p"
    for name, file in (("image_url", task.portrait), ("audio_url", task.audio)):
        url = httpx.URL(body["input"][name])
        assert url.path == f"/{file['key']}"
        assert url.params["versionId"] == file["version_id"]
        assert url.params["X-Amz-Expires"] == str(6 * 3600)


def test_a_file_without_a_version_is_sent_as_it_lies_there(desk: Desk) -> None:
    task = ready(desk)
    fewer = {name: value for name, value in task.audio.items() if name != "version_id"}
    desk.submit(desk.note(task.task_id, audio=fewer))
    assert "versionId" not in desk.posts[0]["input"]["audio_url"]


@pytest.mark.parametrize(("hours", "expires"), [(1.5, "5400"), (168, "604800")])
def test_a_link_lives_as_long_as_the_option_says(desk: Desk, hours: float, expires: str) -> None:
    desk.options(link_hours=hours)
    desk.submit(ready(desk))
    url = httpx.URL(desk.posts[0]["input"]["audio_url"])
    assert url.params["X-Amz-Expires"] == expires


@pytest.mark.parametrize("hours", [0, 168.001])
def test_a_link_that_nobody_can_sign_sends_nothing(desk: Desk, hours: float) -> None:
    desk.options(link_hours=hours)
    after = desk.submit(ready(desk))
    assert (after.status, desk.posts) == (Status.READY, [])
    assert after.waits_for == "could not prepare the submit: ValueError"


def test_without_callbacks_no_address_is_given(desk: Desk) -> None:
    desk.options(callbacks=False)
    desk.submit(ready(desk))
    assert "callBackUrl" not in desk.posts[0]


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        (200, Status.SUBMITTED, ""),
        (206, Status.SUBMITTED, ""),
        (403, Status.FAILED, "cannot be read from the inbox any more (403)"),
        (404, Status.FAILED, "cannot be read from the inbox any more (404)"),
        (307, Status.READY, "could not prepare the submit: LinkBroken"),
        (416, Status.READY, "could not prepare the submit: LinkBroken"),
        (503, Status.READY, "could not prepare the submit: LinkBroken"),
    ],
)
def test_each_link_is_tried_by_ourselves_before_anything_is_paid(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: int, status: Status, why: str
) -> None:
    tried: list[str] = []

    def presigned(url: str) -> httpx.Response:
        tried.append(url)
        return httpx.Response(answer)

    monkeypatch.setattr(wires, "presigned", presigned)
    after = desk.submit(ready(desk))
    assert after.status is status
    assert len(desk.posts) == (status is Status.SUBMITTED)
    assert why in (after.waits_for or after.error.get("message", ""))
    assert len(tried) == (2 if status is Status.SUBMITTED else 1)


def test_a_model_that_its_provider_has_no_more_fails_the_task_unpaid_and_names_those_it_has(
    desk: Desk,
) -> None:
    after = desk.submit(ready(desk, model="infinitalk/of-last-year"))
    assert (after.status, after.error["code"], desk.posts) == (Status.FAILED, "UNKNOWN_MODEL", [])
    assert "kie has no model 'infinitalk/of-last-year'; it has: " in after.error["message"]
    assert after.booked == ()


def test_a_wait_that_cannot_be_written_brings_the_message_again(desk: Desk) -> None:
    desk.options(submit_enabled=False)
    task = ready(desk)
    desk.refuse("UpdateItem")
    assert desk.message("submit", {"task_id": task.task_id}) == ["0"]
    assert desk.posts == []


def test_bytes_are_sent_where_an_option_says_so(desk: Desk) -> None:
    desk.options(media_delivery={"kling": "base64"})
    desk.answers(ACCEPTED_BY_KLING)
    task = desk.row(Status.READY, provider="kling")
    desk.submit(task)
    (body,) = desk.posts
    assert base64.b64decode(body["sound_file"]) == VOICE
    assert base64.b64decode(body["image"]) == PORTRAIT


def test_bytes_are_those_of_the_version_that_the_task_was_made_of(desk: Desk) -> None:
    desk.options(media_delivery={"kling": "base64"})
    desk.answers(ACCEPTED_BY_KLING)
    task = desk.row(Status.READY, provider="kling", origin="api")
    replace(desk, task.audio)
    desk.submit(task)
    assert base64.b64decode(desk.posts[0]["sound_file"]) == VOICE


@pytest.mark.parametrize(
    ("code", "status"), [(403, Status.FAILED), (404, Status.FAILED), (500, Status.READY)]
)
def test_bytes_that_cannot_be_read_send_nothing(desk: Desk, code: int, status: Status) -> None:
    desk.options(media_delivery={"kling": "base64"})
    task = desk.row(Status.READY, provider="kling")

    def refused(_: dict[str, Any]) -> Any:
        raise Refused(str(code), status=code)

    desk.instead("GetObject", refused)
    after = desk.submit(task)
    assert (after.status, desk.posts) == (status, [])
    if status is Status.FAILED:
        assert after.error["code"] == "INPUT_GONE"
        assert "is no longer in the inbox: drop the voice and its portrait" in str(after.error)


def test_what_cannot_be_written_into_a_request_is_refused_at_once_and_unpaid(desk: Desk) -> None:
    desk.options(media_delivery={"kie": "upload-base64"})
    half_a_letter = desk.file("in/\ud83d.png", PORTRAIT, "image/png")
    after = desk.submit(desk.row(Status.READY, origin="api", portrait=half_a_letter))
    assert (after.status, after.error.get("code")) == (Status.FAILED, "NOT_JSON")
    assert (desk.posts, desk.requests, after.charge_usd) == ([], [], 0)


# What becomes of each answer.


def test_an_accepted_task_has_its_job_and_an_execution(desk: Desk) -> None:
    task = ready(desk)
    after = desk.submit(task)
    assert (after.status, after.job_id) == (Status.SUBMITTED, JOB)
    assert after.submitted_at == ago(0)
    assert in_seconds(after.due_at) == 600
    named = desk.item(f"job#kie#{JOB}")
    assert named.pop("expires_at") == int(table.now().timestamp()) + (400 + 31) * 86400
    assert named | {"step": ""} == {
        "pk": f"job#kie#{JOB}", "task_id": task.task_id, "attempt": 1, "step": "",
    }  # fmt: skip
    assert desk.started == ["-1"]
    assert desk.metrics["Accepted"] == 1
    assert desk.metrics["Ambiguous"] == 0
    assert after.adopted_by == ""


@pytest.mark.parametrize(
    ("returns", "share", "seconds"),
    [
        (0, 0, 0.5),
        (0, 1, 4),
        (1, 1, 8),
        (7, 1, 512),
        (8, 1, 900),
        (199, 1, 900),
    ],
)
def test_what_never_left_comes_again_later_each_time(
    desk: Desk, returns: int, share: float, seconds: float
) -> None:
    desk.share = share
    task = ready(desk, returns=returns)
    desk.answers(UNREACHED, to=CREATE)
    after = desk.submit(task)
    assert (after.status, after.returns) == (Status.READY, returns + 1)
    assert in_seconds(after.not_before) == seconds
    assert in_seconds(after.due_at) == seconds + 300
    assert desk.messages() == [{"task_id": task.task_id, "turn": after.not_before}]
    assert (after.owner, after.lease_until, after.sent_at) == ("", "", "")
    assert (after.first_sent_at, after.account) == ("", "")
    assert after.waits_for == after.history[-1]["why"]
    assert after.booked == ()
    assert after.counted_usd == 0
    assert desk.leases() == (set(), 0)


def test_a_refusal_is_announced_when_it_is_news_and_not_at_each_try(desk: Desk) -> None:
    task = ready(desk)
    news = []
    for message in ("too fast", "too fast", "too fast", "maintenance"):
        desk.answers({"code": 429, "msg": message}, to=CREATE)
        task = desk.submit(task)
        assert task.status is Status.READY
        news.append(desk.item(f"task#{task.task_id}")["news"] == table.NEWS)
        desk.wait(in_seconds(task.not_before))
    assert news == [True, False, False, True]


def test_after_two_hundred_returns_a_task_is_given_up(desk: Desk) -> None:
    task = ready(desk, returns=200)
    desk.answers(UNREACHED, to=CREATE)
    after = desk.submit(task)
    assert (after.status, after.error["code"]) == (Status.FAILED, "GAVE_UP")
    assert after.error["message"].startswith("not accepted in 200 tries, the last: ")
    assert desk.messages() == []


def test_a_provider_that_says_when_is_queried_then(desk: Desk) -> None:
    desk.answers({"code": 455, "msg": "maintenance"}, to=CREATE)
    after = desk.submit(desk.row(Status.READY))
    assert in_seconds(after.not_before) == 300.5


def test_what_was_booked_is_given_back_when_nothing_was_bought(desk: Desk) -> None:
    desk.options(budget_usd_per_day="5", budget_usd_per_month="50")
    desk.answers({"code": 429, "msg": "too fast"}, to=CREATE)
    desk.submit(desk.row(Status.READY))
    assert desk.item("budget#2026-03-01")["spent_usd"] == 0
    assert desk.item("budget#2026-03")["spent_usd"] == 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_refused_account_stops_the_provider_and_blames_no_task(desk: Desk, share: float) -> None:
    desk.share = share
    desk.answers({"code": 402, "msg": "Credits insufficient"}, to=CREATE)
    task = desk.row(Status.READY)
    after = desk.submit(task)
    assert (after.status, after.returns) == (Status.READY, 0)
    assert in_seconds(after.not_before) == 3 + 7 * share
    breaker = desk.item("breaker#kie")
    assert breaker["open"] is True
    assert "Credits insufficient" in breaker["why"]
    assert breaker["opened_at"] == breaker["trial_at"] == ago(0)
    assert (breaker["trips"], breaker["needs_usd"]) == (1, Decimal("0.18"))
    assert desk.metrics["AccountRejected"] == 1


def test_a_key_that_was_changed_meanwhile_stops_nothing(desk: Desk) -> None:
    desk.answers({"code": 401, "msg": "no"}, to=CREATE)
    desk.meanwhile = lambda: desk.account.secrets["kie"].update(api_key="canary-new")
    assert desk.submit(desk.row(Status.READY)).status is Status.READY
    assert desk.item("breaker#kie") == {}
    assert desk.metrics["AccountRejected"] == 0


def test_a_refused_task_fails_and_costs_nothing(desk: Desk) -> None:
    desk.options(budget_usd_per_day="5")
    desk.answers({"code": 422, "msg": "image_url is invalid"}, to=CREATE)
    after = desk.submit(desk.row(Status.READY))
    assert (after.status, after.error["code"]) == (Status.FAILED, "422")
    assert "image_url is invalid" in after.error["message"]
    assert (after.charge_usd, after.counted_usd, after.booked) == (0, 0, ())
    assert desk.item("budget#2026-03-01")["spent_usd"] == 0
    assert desk.leases() == (set(), 0)
    assert desk.started == []


def test_a_lost_answer_is_doubt_and_nothing_is_sent_again(desk: Desk) -> None:
    desk.answers(LOST, to=CREATE)
    task = desk.row(Status.READY)
    after = desk.submit(task)
    assert (after.status, after.doubt) == (Status.SUBMITTING, ago(0))
    assert after.doubt_why
    assert after.due_at == ago(0)
    assert after.history[-1]["what"] == "AMBIGUOUS"
    assert (after.job_hints, after.job_hint) == ({}, "")
    assert after.booked == ("slots#kie", f"lapsing_{HOURS_AT_17}")
    assert desk.started == ["-1"]
    assert desk.messages() == []
    assert desk.metrics["Ambiguous"] == 1
    desk.submit(after)
    assert len(desk.posts) == 1


def test_a_job_beside_a_refusal_is_doubt_and_kept_as_a_hint(desk: Desk) -> None:
    desk.answers({"code": 422, "msg": "no", "data": {"taskId": OTHER}}, to=CREATE)
    after = desk.submit(desk.row(Status.READY))
    assert after.status is Status.SUBMITTING
    assert after.job_hints == {OTHER: ago(0)}
    assert after.job_hint == OTHER


def test_a_doubt_that_the_callback_was_faster_than_is_no_failure(desk: Desk) -> None:
    desk.answers({"code": 200}, LOST, to=CREATE)
    task = desk.row(Status.READY)
    desk.answers(LOST, to=CREATE)

    def called_back() -> None:
        desk.meanwhile = lambda: desk.put(f"task#{task.task_id}", status="SUBMITTED")

    desk.meanwhile = called_back
    assert desk.submit(task).status is Status.SUBMITTED
    assert desk.started == ["-1"]


def test_a_doubt_that_cannot_be_written_comes_again(desk: Desk) -> None:
    desk.answers(LOST, to=CREATE)
    task = desk.row(Status.READY)
    desk.refuse("UpdateItem", after=4)  # the row of turns, the turn, the balance and the note
    assert desk.message("submit", {"task_id": task.task_id}) == ["0"]
    assert len(desk.posts) == 1


@pytest.mark.parametrize(
    "answer",
    [
        UNREACHED,
        (429, {"code": 1303, "message": "parallel task over resource pack limit"}),
        (401, {"code": 1000, "message": "Authentication failed"}),
        (400, {"code": 1201, "message": "invalid"}),
    ],
)
def test_a_refusal_of_a_resend_is_doubt_whatever_its_words(desk: Desk, answer: Any) -> None:
    desk.options(resend_same_id=True)
    desk.answers(answer)
    task = desk.row(Status.READY, provider="kling", first_sent_at=ago(60), resends=1)
    after = desk.submit(task)
    assert after.status is Status.SUBMITTING
    assert after.doubt_why.startswith("the re-send was refused: ")
    assert desk.item("breaker#kling") == {}


def test_a_resend_whose_files_are_gone_is_doubt_too(desk: Desk) -> None:
    desk.options(resend_same_id=True, media_delivery={"kling": "base64"})
    task = desk.row(Status.READY, provider="kling", first_sent_at=ago(60), resends=1)

    def refused(_: dict[str, Any]) -> Any:
        raise Refused("404", status=404)

    desk.instead("GetObject", refused)
    after = desk.submit(task)
    assert (after.status, desk.posts) == (Status.SUBMITTING, [])
    assert after.doubt_why.startswith("INPUT_GONE: ")


# A job id that cannot be written.


def as_it_is_accepted(desk: Desk, act: Any) -> None:
    """Something happens between the answer and the write of the job id."""
    desk.before("TransactWriteItems", lambda: desk.before("TransactWriteItems", act))
    desk.put("slots#kie", leases={})


def test_a_job_that_is_another_tasks_is_held_and_nothing_is_overwritten(desk: Desk) -> None:
    desk.put(f"job#kie#{JOB}", task_id="somebody else's", attempt=1)
    after = desk.submit(ready(desk))
    assert (after.status, after.error["code"], after.job_id) == (Status.HELD, "JOB_ID_TAKEN", "")
    assert JOB in after.error["message"]
    assert desk.item(f"job#kie#{JOB}")["task_id"] == "somebody else's"
    assert desk.started == []


@pytest.mark.parametrize("fact", [{"owner": "another"}, {"job_id": OTHER}, {"attempt": 2}])
def test_an_acceptance_that_comes_too_late_is_held(desk: Desk, fact: dict[str, Any]) -> None:
    task = ready(desk)
    as_it_is_accepted(desk, lambda: desk.note(task.task_id, **fact))
    after = desk.submit(task)
    assert after.job_id == fact.get("job_id", "")
    if "attempt" not in fact:
        assert (after.status, after.error["code"]) == (Status.HELD, "JOB_ID_TAKEN")
    assert desk.started == []


def test_a_second_job_of_a_task_that_rests_is_noted(desk: Desk) -> None:
    task = ready(desk)
    fact = {"status": "COMPLETED", "job_id": OTHER}
    as_it_is_accepted(desk, lambda: desk.note(task.task_id, **fact))
    after = desk.submit(task)
    assert (after.status, after.second_jobs) == (Status.COMPLETED, (JOB,))


def test_a_write_that_came_in_though_it_was_refused_is_an_acceptance(desk: Desk) -> None:
    task = ready(desk)
    fact = {"status": "SUBMITTED", "job_id": JOB}
    as_it_is_accepted(desk, lambda: desk.note(task.task_id, **fact))
    assert desk.submit(task).status is Status.SUBMITTED
    assert desk.started == ["-1"]


@pytest.mark.parametrize(
    ("code", "more", "times"),
    [(BUSY, {"CancellationReasons": CONFLICT}, 10**6), (DOWN, {}, 1)],
)
def test_an_accepted_job_that_cannot_be_written_is_kept_by_the_queue(
    desk: Desk, code: str, more: dict[str, Any], times: int
) -> None:
    task = ready(desk)
    desk.put("slots#kie", leases={})
    desk.refuse("TransactWriteItems", code, times=times, after=1, **more)
    after = desk.submit(task)
    assert after.status is Status.SUBMITTING
    kept = {"task_id": task.task_id, "attempt": 1, "accepted": JOB}
    assert desk.messages() == [kept]
    assert desk.calls("SendMessage")[0]["DelaySeconds"] == 30
    assert desk.started == []
    desk.account.refusals.clear()
    assert desk.message("submit", kept) == []
    after = desk.task(task.task_id)
    assert (after.status, after.job_id) == (Status.SUBMITTED, JOB)
    assert after.history[-1]["why"] == f"{JOB}: accepted, and written late"
    assert desk.started == ["-1"]


def test_what_an_acceptance_loses_is_tried_twenty_times(desk: Desk) -> None:
    task = ready(desk)
    desk.put("slots#kie", leases={})
    desk.refuse("TransactWriteItems", BUSY, times=19, after=1, CancellationReasons=CONFLICT)
    assert desk.submit(task).status is Status.SUBMITTED


@pytest.mark.parametrize(("share", "first"), [(0.0, 0.02), (1.0, 0.06)])
def test_each_of_these_tries_waits_twice_as_long_and_two_seconds_at_most(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, share: float, first: float
) -> None:
    task = ready(desk)
    desk.put("slots#kie", leases={})
    desk.refuse("TransactWriteItems", BUSY, times=19, after=1, CancellationReasons=CONFLICT)
    desk.share = share
    pauses: list[float] = []
    monkeypatch.setattr(desk.clock, "pause", pauses.append)
    assert desk.submit(task).status is Status.SUBMITTED
    expected = [min(first * 2**number, 2) for number in range(19)]
    assert [one for one in pauses if one] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("status", "is_taken"),
    [
        (Status.READY, True),
        (Status.SUBMITTING, True),
        (Status.HELD, True),
        (Status.FAILED, True),
        (Status.CANCELLED, True),
        (Status.WAITING, False),
        (Status.COMPLETED, False),
        (Status.EXPIRED, False),
    ],
)
def test_a_job_that_was_kept_is_taken_over_from_wherever_the_task_stands(
    desk: Desk, status: Status, is_taken: bool
) -> None:
    task = desk.row(status, intended_at=ago(60))
    kept = {"task_id": task.task_id, "attempt": 1, "accepted": JOB}
    assert desk.message("submit", kept) == ([] if is_taken else ["0"])
    after = desk.task(task.task_id)
    assert after.status is (Status.SUBMITTED if is_taken else status)
    assert after.job_id == (JOB if is_taken else "")
    assert after.second_jobs == ()
    assert desk.started == ["-1"] * is_taken


def test_a_kept_job_of_another_attempt_or_a_known_one_changes_nothing(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED, **desk.sent())
    for changes in ({"attempt": 2}, {}, {"task_id": "b" * 32}):
        kept = {"task_id": task.task_id, "attempt": 1, "accepted": JOB, **changes}
        assert desk.message("submit", kept) == []
    assert desk.task(task.task_id) == task
    assert desk.started == []


def test_a_kept_job_beside_another_is_one_too_many(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTING, **desk.sent(job_id=OTHER))
    assert desk.message("submit", {"task_id": task.task_id, "attempt": 1, "accepted": JOB}) == []
    after = desk.task(task.task_id)
    assert (after.job_id, after.second_jobs) == (OTHER, (JOB,))


def test_a_kept_job_that_still_cannot_be_written_comes_again(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTING, **desk.doubtful())
    desk.refuse("TransactWriteItems", BUSY, CancellationReasons=CONFLICT)
    kept = {"task_id": task.task_id, "attempt": 1, "accepted": JOB}
    assert desk.message("submit", kept) == ["0"]


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_kept_job_that_its_callback_takes_over_meanwhile_is_no_second_one(
    desk: Desk, is_busy: bool
) -> None:
    task = desk.row(Status.SUBMITTING, **desk.doubtful())
    # What was written by another way, and so late that this write is refused for its status.
    called_back = partial(desk.note, task.task_id, status="ARCHIVING", job_id=JOB)
    desk.before("TransactWriteItems", called_back)
    if is_busy:
        desk.refuse("TransactWriteItems", BUSY, CancellationReasons=CONFLICT)
    kept = {"task_id": task.task_id, "attempt": 1, "accepted": JOB}
    assert desk.message("submit", kept) == ["0"] * is_busy
    assert desk.message("submit", kept) == []
    after = desk.task(task.task_id)
    assert (after.status, after.job_id, after.second_jobs) == (Status.ARCHIVING, JOB, ())


# The trial of a stopped provider.


def stopped(desk: Desk, **facts: Any) -> None:
    desk.put("breaker#kie", open=True, why="no credits", trips=1, trial_at=ago(1), **facts)


@pytest.mark.parametrize(
    ("answer", "needs", "is_open"),
    [
        ({"code": 200, "data": 36}, "0.18", False),
        ({"code": 200, "data": 35}, "0.18", True),
        ({"code": 200, "data": 0}, "0", True),
        ({"code": 200, "data": None}, "0.18", False),
        ({"code": 401, "msg": "no"}, "0", True),
        ((503, b"down"), "0", True),
    ],
)
def test_a_stopped_provider_is_opened_when_its_account_has_what_was_refused(
    desk: Desk, answer: Any, needs: str, is_open: bool
) -> None:
    stopped(desk, needs_usd=Decimal(needs))
    desk.answers(answer, to="/chat/credit")
    assert desk.message("submit", {"probe": "kie"}) == []
    breaker = desk.item("breaker#kie")
    assert ("open" in breaker) == is_open
    assert desk.posts == []
    if not is_open:
        assert (breaker["reopened_at"], breaker["reopened_by"]) == (ago(0), "talkdrop")
        assert not {"why", "trial_at"} & set(breaker)
        assert breaker["trips"] == 1  # remembered


def test_a_provider_that_refused_a_query_is_opened_by_the_first_answer(desk: Desk) -> None:
    """No submit was refused: no amount is needed."""
    desk.answers({"code": 401, "msg": "no"})
    desk.watch(desk.row(Status.SUBMITTED, **desk.sent()))
    assert "open" in desk.item("breaker#kie")
    desk.answers({"code": 200, "data": 1}, to="/chat/credit")
    assert desk.message("submit", {"probe": "kie"}) == []
    assert "open" not in desk.item("breaker#kie")


def test_a_trial_reads_the_key_anew(desk: Desk) -> None:
    task = ready(desk)
    desk.submit(task)  # the key is known now
    stopped(desk)
    desk.account.secrets["kie"]["api_key"] = "canary-new"
    desk.message("submit", {"probe": "kie"})
    assert desk.requests[-1].headers["authorization"] == "Bearer canary-new"


def test_a_provider_that_is_not_stopped_is_not_tried(desk: Desk) -> None:
    desk.message("submit", {"probe": "kie"})
    assert desk.requests == []


def test_a_trial_whose_breaker_cannot_be_written_comes_again(desk: Desk) -> None:
    stopped(desk)
    desk.refuse("UpdateItem")
    assert desk.message("submit", {"probe": "kie"}) == ["0"]


@pytest.mark.parametrize(
    ("trips", "reopened", "wait"),
    [
        (1, None, 0),
        (1, 8 * HOUR - 1, 300),
        (1, 8 * HOUR, 0),
        (2, 60, 600),
        (3, 60, 1200),
        (6, 60, 9600),
        (7, 60, 14400),
        (30, 60, 14400),
    ],
)
def test_a_breaker_that_opens_again_soon_waits_twice_as_long(
    desk: Desk, trips: int, reopened: float | None, wait: float
) -> None:
    if reopened is not None:
        desk.put("breaker#kie", trips=trips, reopened_at=ago(reopened))
    desk.answers({"code": 402, "msg": "no"}, to=CREATE)
    desk.submit(desk.row(Status.READY))
    breaker = desk.item("breaker#kie")
    assert in_seconds(breaker["trial_at"]) == wait
    assert breaker["trips"] == (trips + 1 if wait else 1)


def test_a_breaker_that_is_open_keeps_its_reason(desk: Desk) -> None:
    desk.answers({"code": 402, "msg": "another reason"}, to=CREATE)

    def opened() -> None:
        desk.meanwhile = lambda: stopped(desk)

    desk.meanwhile = opened
    desk.submit(desk.row(Status.READY))
    assert desk.item("breaker#kie")["why"] == "no credits"


# The balance that a submit notes.


def test_a_submit_that_is_alone_notes_the_balance(desk: Desk) -> None:
    desk.put("balance#kie", charged_usd=7, untold=2)
    task = ready(desk)
    desk.submit(task)
    noted = desk.item("balance#kie")
    assert (noted["balance_usd"], noted["charged_then_usd"], noted["untold_then"]) == (5, 7, 2)
    assert (noted["noted_at"], noted["noted_for"]) == (ago(0), task.external_id)


def test_the_first_balance_counts_from_nothing(desk: Desk) -> None:
    desk.submit(ready(desk))
    noted = desk.item("balance#kie")
    assert (noted["charged_then_usd"], noted["untold_then"]) == (0, 0)


@pytest.mark.parametrize(
    "others",
    [{"leases": {"another-1": "2026-03-01T10:01:39.000Z"}}, {f"lapsing_{HOURS_AT_17 - 1}": 1}],
)
def test_beside_another_job_no_balance_is_noted(desk: Desk, others: dict[str, Any]) -> None:
    desk.put("slots#kie", **{"leases": {}, **others})
    desk.submit(ready(desk))
    assert desk.item("balance#kie") == {}


def test_where_any_number_may_run_no_balance_is_noted(desk: Desk) -> None:
    """Whether another job runs is not counted there."""
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": None}})
    assert desk.submit(ready(desk)).status is Status.SUBMITTED
    assert desk.item("balance#kie") == {}


@pytest.mark.parametrize("answer", [(503, b"down"), {"code": 200, "data": None}])
def test_a_balance_that_is_not_known_stops_no_submit(desk: Desk, answer: Any) -> None:
    desk.answers(answer, to="/chat/credit")
    assert desk.submit(ready(desk)).status is Status.SUBMITTED
    assert desk.item("balance#kie") == {}


def test_a_provider_that_gives_no_balance_is_not_queried(desk: Desk) -> None:
    desk.answers(ACCEPTED_BY_KLING)
    desk.submit(desk.row(Status.READY, provider="kling"))
    assert len(desk.requests) == 1


# Speech: a paid POST of its own.

TTS = "POST https://api-singapore.klingai.com/v1/audio/tts"
LOOK_FOR = "GET https://api-singapore.klingai.com/v1/audio/tts/77"
VIDEO = "/avatar/image2video"
SPOKEN = kling_answer(
    {"task_id": "77", "task_status": "succeed", "task_result": {"audios": [{"id": "a-1"}]}}
)
SPEAKING = kling_answer({"task_id": "77", "task_status": "processing"})


def text(desk: Desk, **facts: Any) -> Task:
    desk.answers(ACCEPTED_BY_KLING, to=VIDEO)
    settings = {"text": "Good morning", "voice_id": "v", **facts.pop("settings", {})}
    return desk.row(Status.READY, provider="kling", audio={}, settings=settings, **facts)


def spoken(desk: Desk) -> int:
    return sum(one.method == "POST" and "/tts" in str(one.url) for one in desk.requests)


def test_a_text_is_spoken_first_and_the_speech_is_kept(desk: Desk) -> None:
    desk.answers(SPOKEN, to=TTS)
    task = text(desk)
    seen: list[Task] = []
    desk.meanwhile = lambda: seen.append(desk.task(task.task_id))
    after = desk.submit(task)
    assert seen[0].speech_intended_at == ago(0)
    assert seen[0].history[-1]["what"] == "SPEECH"
    assert (after.status, after.settings["audio_id"]) == (Status.SUBMITTED, "a-1")
    assert after.speech_intended_at == ""
    assert [one["what"] for one in after.history][-3:] == ["SPEECH", "BOUGHT", "SUBMITTED"]
    assert after.history[-2]["why"] == "audio_id a-1"
    assert desk.posts[-1]["audio_id"] == "a-1"
    assert spoken(desk) == 1


def test_a_voice_needs_no_speech(desk: Desk) -> None:
    desk.answers(ACCEPTED_BY_KLING, to=VIDEO)
    for settings, audio in (({"audio_id": "a-2", "text": "x", "voice_id": "v"}, {}), ({}, None)):
        facts: dict[str, Any] = {"settings": settings}
        if audio is not None:
            facts["audio"] = audio
        after = desk.submit(desk.row(Status.READY, provider="kling", **facts))
        assert after.status is Status.SUBMITTED or after.error
        assert spoken(desk) == 0
        desk.account.table.items.pop(f"job#kling#{JOB}", None)


def test_a_speech_in_doubt_is_never_bought_again(desk: Desk) -> None:
    desk.answers(SPOKEN, to=TTS)
    task = text(desk)
    desk.before("UpdateItem", lambda: desk.note(task.task_id, speech_intended_at=ago(9)))
    after = desk.submit(task)
    assert (spoken(desk), after.status) == (0, Status.SUBMITTING)


def test_a_speech_whose_answer_is_lost_is_held(desk: Desk) -> None:
    desk.answers(LOST, to=TTS)
    after = desk.submit(text(desk))
    assert (after.status, after.error["code"]) == (Status.HELD, "SPEECH_LOST")
    assert after.speech_intended_at == ago(0)
    assert desk.metrics["Ambiguous"] == 1
    assert len(desk.posts) == 1


def test_a_speech_that_is_not_ready_is_waited_for_and_not_bought_again(desk: Desk) -> None:
    desk.answers(SPEAKING, to=TTS)
    task = desk.submit(text(desk))
    assert (task.status, task.settings["speech_id"]) == (Status.READY, "77")
    assert (task.speech_intended_at, task.sent_at) == ("", "")
    assert in_seconds(task.not_before) == 5.5
    desk.answers(SPOKEN, to=LOOK_FOR)
    desk.wait(6)
    after = desk.submit(task)
    assert (after.status, spoken(desk)) == (Status.SUBMITTED, 1)
    assert "SPEECH" not in [one["what"] for one in after.history[len(task.history) :]]


def test_a_refused_speech_fails_the_task(desk: Desk) -> None:
    desk.answers((400, {"code": 1201, "message": "invalid voice_id"}), to=TTS)
    after = desk.submit(text(desk))
    assert after.status is Status.FAILED
    assert len(desk.posts) == 1


def test_a_claim_that_was_lost_buys_no_speech(desk: Desk) -> None:
    desk.answers(SPOKEN, to=TTS)
    for fact in ({"owner": "another"}, {"status": "READY"}):
        task = text(desk)
        before_the_next_note(desk, partial(desk.note, task.task_id, **fact))
        desk.submit(task)
        assert spoken(desk) == 0


def test_a_speech_that_cannot_be_noted_is_not_bought(desk: Desk) -> None:
    desk.answers(SPOKEN, to=TTS)
    task = text(desk)
    desk.refuse("UpdateItem")
    assert desk.message("submit", {"task_id": task.task_id}) == ["0"]
    assert spoken(desk) == 0


def test_a_speech_serves_every_attempt_of_the_video(desk: Desk) -> None:
    desk.answers(SPOKEN, to=TTS)
    task = text(desk)
    desk.answers((429, {"code": 1303, "message": "parallel"}), to=VIDEO)
    first = desk.submit(task)
    assert (first.status, first.settings["audio_id"]) == (Status.READY, "a-1")
    desk.answers(ACCEPTED_BY_KLING, to=VIDEO)
    desk.wait(60)
    assert desk.submit(first).status is Status.SUBMITTED
    assert spoken(desk) == 1


# The books when a task ends.


def test_a_settled_task_gives_its_lease_back_and_pays_its_charge(desk: Desk) -> None:
    desk.options(budget_usd_per_day="5", budget_usd_per_month="50")
    task = desk.submit(ready(desk))
    assert desk.item("budget#2026-03-01")["spent_usd"] == Decimal("0.18")
    desk.note(task.task_id, status="ARCHIVING", charge_usd=Decimal("0.30"))
    event = {"task_id": task.task_id, "attempt": 1, "archived": {"key": "v"}}
    assert desk.invoke("settle", event) == {"next": "done"}
    after = desk.task(task.task_id)
    assert (after.status, after.booked) == (Status.COMPLETED, ())
    assert after.counted_usd == Decimal("0.30")
    assert desk.item("budget#2026-03-01")["spent_usd"] == Decimal("0.30")
    assert desk.item("budget#2026-03")["spent_usd"] == Decimal("0.30")
    assert desk.leases() == (set(), 0)
    assert desk.item("balance#kie")["charged_usd"] == Decimal("0.30")
    desk.invoke("settle", event)
    assert desk.item("budget#2026-03-01")["spent_usd"] == Decimal("0.30")


def test_a_charge_that_is_not_known_is_the_quote(desk: Desk) -> None:
    desk.options(budget_usd_per_day="5")
    task = desk.submit(ready(desk))
    desk.note(task.task_id, status="ARCHIVING")
    desk.invoke("settle", {"task_id": task.task_id, "attempt": 1, "archived": {"key": "v"}})
    assert desk.task(task.task_id).counted_usd == Decimal("0.18")
    assert desk.item("budget#2026-03-01")["spent_usd"] == Decimal("0.18")
    assert desk.item("balance#kie")["untold"] == 1


@pytest.mark.parametrize(
    ("charge", "counted"), [(None, "0"), (Decimal(0), "0"), (Decimal("0.30"), "0.30")]
)
@pytest.mark.parametrize("quote", [None, Decimal(0)])
def test_a_task_that_was_quoted_nothing_costs_its_charge(
    desk: Desk, quote: Decimal | None, charge: Decimal | None, counted: str
) -> None:
    desk.put("budget#2026-03-01", spent_usd=1)
    task = desk.row(Status.ARCHIVING, **desk.sent(), quote_usd=quote, charge_usd=charge)
    desk.note(task.task_id, booked=["budget#2026-03-01"])
    assert settle(desk, task).counted_usd == Decimal(counted)
    assert desk.item("budget#2026-03-01")["spent_usd"] == 1 + Decimal(counted)


@pytest.mark.parametrize(
    ("counted", "charge", "more"),
    [("0", "0.30", "0.30"), ("0.30", "0.30", "0"), ("0.5", "0.3", "-0.2")],
)
def test_what_a_task_cost_after_all_belongs_to_the_day_on_which_it_came(
    desk: Desk, counted: str, charge: str, more: str
) -> None:
    desk.options(budget_usd_per_day="5")
    desk.put("budget#2026-03-01", spent_usd=1)
    task = desk.row(
        Status.ARCHIVING, **desk.sent(), counted_usd=Decimal(counted), charge_usd=Decimal(charge)
    )
    desk.invoke("settle", {"task_id": task.task_id, "attempt": 1, "archived": {"key": "v"}})
    assert desk.item("budget#2026-03-01")["spent_usd"] == 1 + Decimal(more)


def settle(desk: Desk, task: Task) -> Task:
    desk.invoke("settle", {"task_id": task.task_id, "attempt": 1, "archived": {"key": "v"}})
    return desk.task(task.task_id)


@pytest.mark.parametrize("booked", [[], ["slots#kie", f"lapsing_{HOURS_AT_17 + 1}"]])
def test_books_are_closed_once(desk: Desk, booked: list[str]) -> None:
    """Another invocation closed them meanwhile, or the task was claimed anew in the next hour."""
    task = desk.row(Status.ARCHIVING, **desk.sent())
    desk.note(task.task_id, booked=["slots#kie", f"lapsing_{HOURS_AT_17}"])
    desk.put("slots#kie", **{"leases": {}, f"lapsing_{HOURS_AT_17}": 3})
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, booked=booked))
    assert settle(desk, task).status is Status.ARCHIVING
    assert desk.leases() == (set(), 3)


def test_a_lease_that_the_previous_version_gave_goes_by_its_name(desk: Desk) -> None:
    task = desk.row(Status.ARCHIVING, **desk.sent())
    desk.note(task.task_id, booked=["slots#kie"])
    leases = {task.external_id: in_milliseconds(60), "another-1": in_milliseconds(60)}
    desk.put("slots#kie", **{"leases": leases, f"lapsing_{HOURS_AT_17}": 3})
    after = settle(desk, task)
    assert (after.status, after.booked) == (Status.COMPLETED, ())
    assert desk.leases() == ({"another-1"}, 3)


@pytest.mark.parametrize("rest", [{}, {"leases": {}}, None])
def test_an_attempt_ends_however_little_is_left_of_its_providers_row(
    desk: Desk, rest: dict[str, Any] | None
) -> None:
    """Its hour has passed and its count is gone, or the row itself."""
    task = desk.row(Status.ARCHIVING, **desk.sent())
    desk.note(task.task_id, booked=["slots#kie", f"lapsing_{HOURS_AT_17}"])
    if rest is not None:
        desk.put("slots#kie", given=1, **rest)
    desk.wait(8 * HOUR)
    assert settle(desk, task).status is Status.COMPLETED
    desk.put("slots#kie", leases={})
    desk.answers(ACCEPTED_BY_KIE, to=CREATE)
    desk.options(rate_limits={"kie": {"submits": 100, "seconds": 10, "running": 1}})
    assert desk.submit(ready(desk)).status is Status.SUBMITTED
    assert desk.leases() == (set(), 1)


# Turns.


def test_the_rate_limit_lets_all_of_it_through_and_gives_the_rest_their_times(desk: Desk) -> None:
    """kie: 18 in 10 s. The first may be on their way for a second, and a hundredth is kept."""
    sent = []
    for number in range(20):
        task = ready(desk)
        desk.answers({**ACCEPTED_BY_KIE, "data": {"taskId": f"job-{number}"}}, to=CREATE)
        sent.append(desk.submit(task))
    assert [one.status for one in sent] == [Status.SUBMITTED] * 18 + [Status.READY] * 2
    called = desk.messages()
    assert [one["task_id"] for one in called] == [one.task_id for one in sent[18:]]
    assert {one["at"] for one in called} == {in_milliseconds(11.1) + 1}
    desk.wait(10.2)
    for number, one in enumerate(called):
        desk.answers({**ACCEPTED_BY_KIE, "data": {"taskId": f"later-{number}"}}, to=CREATE)
        assert desk.message("submit", one) == []
    assert [desk.task(one.task_id).status for one in sent[18:]] == [Status.SUBMITTED] * 2


def test_a_turn_that_is_under_way_is_not_taken_twice(desk: Desk) -> None:
    task = ready(desk)
    desk.put("slots#kie", leases={task.external_id: in_milliseconds(120)})
    desk.submit(task)
    assert desk.posts == []
    desk.wait(11)  # its own invocation must have died
    desk.submit(task)
    assert len(desk.posts) == 1


# A clear no that cannot be written.


def unwritten(desk: Desk, answer: Any, code: str = DOWN, **more: Any) -> tuple[Task, Any]:
    """A refused task whose row could not be written then, and the message that keeps the no."""
    task = desk.row(Status.READY)
    desk.answers(answer, to=CREATE)
    claims: list[dict[str, Any]] = []

    def claim_only(given: dict[str, Any]) -> Any:
        if claims:
            raise Refused(code, status=500, **more)
        claims.append(given)
        return desk.account.really("dynamodb", "TransactWriteItems", given)

    desk.instead("TransactWriteItems", claim_only)
    after = desk.submit(task)
    desk.account.instead.clear()
    assert after.status is Status.SUBMITTING
    assert len(desk.posts) == 1
    (kept,) = [one for one in desk.messages() if "refused" in one]
    assert kept["refused"] == after.owner
    return after, kept


@pytest.mark.parametrize(("code", "more"), [(DOWN, {}), (BUSY, {"CancellationReasons": CONFLICT})])
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"code": 422, "msg": "no"}, Status.FAILED),
        ({"code": 429, "msg": "slow"}, Status.READY),
        (UNREACHED, Status.READY),
    ],
)
def test_a_clear_no_that_cannot_be_written_is_kept_by_the_queue(
    desk: Desk, answer: Any, status: Status, code: str, more: dict[str, Any]
) -> None:
    task, kept = unwritten(desk, answer, code, **more)
    assert desk.message("submit", kept) == []
    after = desk.task(task.task_id)
    assert after.status is status
    assert (after.returns, after.owner != "") == (
        (0, True) if status is Status.FAILED else (1, False)
    )
    desk.message("submit", kept)
    assert desk.task(task.task_id).history == after.history
    assert len(desk.posts) == 1


@pytest.mark.parametrize("fact", [{"owner": "another"}, {"attempt": 2}])
def test_a_kept_no_of_another_claim_changes_nothing(desk: Desk, fact: dict[str, Any]) -> None:
    task, kept = unwritten(desk, {"code": 422, "msg": "no"})
    desk.note(task.task_id, **fact)
    assert desk.message("submit", kept) == []
    assert desk.message("submit", {**kept, "task_id": "b" * 32}) == []
    assert desk.task(task.task_id).status is Status.SUBMITTING


def test_a_kept_no_of_a_task_that_moved_meanwhile_changes_nothing(desk: Desk) -> None:
    task, kept = unwritten(desk, {"code": 422, "msg": "no"})
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, status="HELD"))
    assert desk.message("submit", kept) == []
    assert desk.task(task.task_id).status is Status.HELD


@pytest.mark.parametrize(("code", "more"), [(DOWN, {}), (BUSY, {"CancellationReasons": CONFLICT})])
def test_a_kept_no_that_still_cannot_be_written_comes_again(
    desk: Desk, code: str, more: dict[str, Any]
) -> None:
    _, kept = unwritten(desk, {"code": 422, "msg": "no"})
    desk.refuse("TransactWriteItems", code, **more)
    assert desk.message("submit", kept) == ["0"]


def test_a_kept_no_sends_no_message_before_the_row_says_when(desk: Desk) -> None:
    _, kept = unwritten(desk, {"code": 429, "msg": "slow"})
    sent = len(desk.messages())
    desk.refuse("TransactWriteItems")
    assert desk.message("submit", kept) == ["0"]
    assert len(desk.messages()) == sent


class Dripping(httpx.SyncByteStream):
    """An acceptance that pauses for so many seconds on its way."""

    def __init__(self, desk: Desk, seconds: float) -> None:
        self._desk, self._seconds = desk, seconds

    def __iter__(self) -> Iterator[bytes]:
        content = json.dumps(ACCEPTED_BY_KIE).encode()
        yield content[:20]
        self._desk.wait(self._seconds)
        yield content[20:25]
        yield content[25:]


@pytest.mark.parametrize(("seconds", "is_read"), [(90, True), (90.1, False)])
def test_an_answer_that_drips_is_read_for_ninety_seconds(
    desk: Desk, seconds: float, is_read: bool
) -> None:
    task = ready(desk)
    desk.answers((200, Dripping(desk, seconds)), to=CREATE)
    after = desk.submit(task)
    assert (after.job_id == JOB, bool(after.doubt)) == (is_read, not is_read)


def test_an_acceptance_needs_no_reason_in_the_history(desk: Desk) -> None:
    desk.answers(ACCEPTED_BY_KIE, to=CREATE)
    after = desk.submit(ready(desk))
    assert after.history[-1].get("why") == JOB


def test_a_no_to_a_claim_that_was_lost_meanwhile_is_not_kept(desk: Desk) -> None:
    task = desk.row(Status.READY)
    desk.answers({"code": 422, "msg": "no"}, to=CREATE)
    desk.before(
        "TransactWriteItems",
        lambda: desk.before("TransactWriteItems", lambda: desk.note(task.task_id, owner="x")),
    )
    assert desk.message("submit", {"task_id": task.task_id, "turn": ""}) == ["0"]
    assert [one for one in desk.messages() if "refused" in one] == []


@pytest.mark.parametrize(
    ("jobs", "by_callback", "options", "polls"),
    [
        (29, 29, {}, (600, 60)),
        (30, 30, {}, (127, 60)),
        (30, 27, {}, (127, 60)),
        (30, 26, {}, (101, 18)),
        (30, 30, {"callbacks": False}, (101, 18)),
        (0, 0, {"callbacks": False}, (60, 18)),
    ],
)
def test_when_to_ask_is_learnt_from_the_jobs_of_the_model(
    desk: Desk, jobs: int, by_callback: int, options: dict[str, Any], polls: tuple[int, int]
) -> None:
    known = {f"job_{number}": [100 + number, int(number < by_callback)] for number in range(jobs)}
    desk.put("durations#kie#infinitalk/from-audio", **known)
    desk.options(**options)
    desk.submit(ready(desk))
    (call,) = desk.calls("StartExecution")
    given = json.loads(call["input"])["polls"]
    assert (given["first"], given["steady"], given["slow_after"]) == (*polls, 2400)
