"""The sweep's door: what is due, in which status, and what it is given; the walk through the inbox;
the gauges."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from functions.inputs import drops
from functions.tasks import attributes, table
from functions.tasks.task import Status, Task
from tests.faults.account import INBOX
from tests.faults.dynamo import Refused
from tests.faults.runs import PORTRAIT, VOICE
from tests.paid.desk import DOWN, JOB, Desk

DAY = 86_400


def due(desk: Desk, status: Status, **facts: Any) -> Task:
    """A row that is due at this moment."""
    task = desk.row(status, **facts)
    return desk.note(task.task_id, due_at=table.stamp(table.now()))


def in_seconds(task: Task) -> float:
    """When the sweep looks at the task again, from now."""
    return (table.instant(task.due_at) - table.now()).total_seconds()


def announced(desk: Desk, task: Task) -> Task:
    return desk.note(task.task_id, announced=task.event_id)


# What is due.


def test_a_task_is_swept_from_the_moment_at_which_it_is_due(desk: Desk) -> None:
    task = due(desk, Status.READY)
    desk.wait(-0.001)
    assert desk.sweep() == {"pushed": 0, "found": 0}
    desk.wait(0.001)
    assert desk.sweep() == {"pushed": 1, "found": 0}
    assert desk.metrics["Swept"] == 1
    assert desk.messages() == [{"task_id": task.task_id, "turn": ""}]


def test_the_index_may_lag_and_the_row_decides(desk: Desk) -> None:
    for facts in ({"due_at": table.later(seconds=1)}, {}):
        task = due(desk, Status.READY)
        stale = dict(desk.account.table.items[f"task#{task.task_id}"])
        fresh = {name: value for name, value in stale.items() if name != "due_at"}
        fresh |= {name: attributes.typed(value) for name, value in facts.items()}
        _answer_query_with(desk, stale, then=fresh)
        assert desk.sweep()["pushed"] == 0
    assert desk.messages() == []


def _answer_query_with(desk: Desk, stale: dict[str, Any], then: dict[str, Any] | None) -> None:
    """The index still shows the row as it was, while it is another already."""
    pk, items = stale["pk"]["S"], desk.account.table.items

    def lagging(given: dict[str, Any]) -> Any:
        items[pk] = stale
        found = desk.account.really("dynamodb", "Query", given)
        del items[pk]
        if then:
            items[pk] = then
        return found

    desk.instead("Query", lagging)


def test_a_row_that_is_gone_is_passed_over(desk: Desk) -> None:
    task = due(desk, Status.READY)
    _answer_query_with(desk, dict(desk.account.table.items[f"task#{task.task_id}"]), then=None)
    assert desk.sweep()["pushed"] == 0


@pytest.mark.parametrize(("milliseconds", "pushed"), [(60_000, 1), (59_999, 0)])
def test_a_minute_is_kept_in_hand(desk: Desk, milliseconds: int, pushed: int) -> None:
    due(desk, Status.READY)
    assert desk.sweep(milliseconds)["pushed"] == pushed


@pytest.mark.parametrize(("milliseconds", "found"), [(90_001, 1), (90_000, 0)])
def test_the_walk_keeps_a_minute_and_a_half(desk: Desk, milliseconds: int, found: int) -> None:
    lies(desk, "in/lost.wav", VOICE, 3600)
    assert desk.sweep(milliseconds)["found"] == found


# What each status is given.


def test_a_ready_task_is_sent_to_submit_at_its_turn(desk: Desk) -> None:
    for seconds, delay in ((None, 0), (-60, 0), (100, 100), (9000, 900)):
        turn = "" if seconds is None else table.later(seconds=seconds)
        task = due(desk, Status.READY, not_before=turn)
        desk.sweep()
        assert desk.messages()[-1] == {"task_id": task.task_id, "turn": turn}
        assert desk.calls("SendMessage")[-1]["DelaySeconds"] == delay
        assert in_seconds(desk.task(task.task_id)) == 300
        assert desk.started == []


def test_a_ready_task_with_an_open_callback_is_watched_too(desk: Desk) -> None:
    task = due(desk, Status.READY, callbacks_received=1)
    desk.sweep()
    assert desk.started == ["-1"]
    assert desk.task(task.task_id).revived == ""


def test_an_open_callback_of_a_ready_task_whose_executions_died_has_a_new_one(desk: Desk) -> None:
    task = due(desk, Status.READY, callbacks_received=1)
    desk.execution(task, status="FAILED")
    desk.sweep()
    assert desk.started[-1] == "-1-2026030110"
    assert desk.task(task.task_id).revived == "-2026030110"


@pytest.mark.parametrize("status", [Status.SUBMITTING, Status.SUBMITTED, Status.ARCHIVING])
@pytest.mark.parametrize(
    ("running", "dead", "started"),
    [
        ([], [], ["-1"]),
        ([""], [], []),
        ([], [""], ["-1", "-1-2026030110"]),
        (["-late3"], [""], []),
        (["-2026030109"], ["", "-late3"], []),
        ([], ["", "-late3", "-2026030109"], ["-1", "-1-2026030110"]),
    ],
)
def test_what_nobody_watches_has_an_execution_at_most_one_an_hour(
    desk: Desk, status: Status, running: list[str], dead: list[str], started: list[str]
) -> None:
    task = due(desk, status, **desk.sent(callbacks_received=3, revived="-2026030109"))
    for suffix in running:
        desk.execution(task, suffix)
    for suffix in dead:
        desk.execution(task, suffix, status="FAILED")
    desk.sweep()
    assert desk.started == started
    after = desk.task(task.task_id)
    assert after.revived == ("-2026030110" if len(started) == 2 else "-2026030109")
    assert in_seconds(after) == 3600


@pytest.mark.parametrize("code", [DOWN, "AccessDeniedException"])
def test_executions_that_cannot_be_looked_up_leave_the_task_due(desk: Desk, code: str) -> None:
    task = due(desk, Status.SUBMITTED, **desk.sent())
    desk.refuse("DescribeExecution", code)
    with pytest.raises(ExceptionGroup):
        desk.sweep()
    assert desk.started == []
    assert desk.task(task.task_id) == task


@pytest.mark.parametrize(
    ("days", "is_watched"), [(13.999, True), (14, False), (15, False)]
)  # kie keeps a video for 14 days
def test_a_held_task_is_watched_while_the_provider_keeps_its_video(
    desk: Desk, days: float, is_watched: bool
) -> None:
    task = announced(desk, due(desk, Status.HELD, **desk.sent()))
    desk.clock.now = table.instant(task.submitted_at).timestamp() + days * DAY
    desk.sweep()
    assert bool(desk.started) == is_watched
    assert in_seconds(desk.task(task.task_id)) == (3600 if is_watched else DAY)
    assert desk.metrics["AnnouncedLate"] == 0


@pytest.mark.parametrize("provider", ["comet", "kling", "relay"])
@pytest.mark.parametrize(("days", "is_watched"), [(29.999, True), (30, False)])
def test_the_others_keep_it_for_thirty_days(
    desk: Desk, provider: str, days: float, is_watched: bool
) -> None:
    held = due(desk, Status.HELD, provider=provider, **desk.sent())
    desk.clock.now = table.instant(announced(desk, held).submitted_at).timestamp() + days * DAY
    desk.sweep()
    assert bool(desk.started) == is_watched


@pytest.mark.parametrize(
    "since",
    [
        {"created_at": -20, "intended_at": -20, "submitted_at": 0},
        {"created_at": -20, "intended_at": 0},
        {"created_at": 0},
    ],
)
def test_how_long_the_provider_keeps_it_counts_from_the_latest_that_is_known(
    desk: Desk, since: dict[str, float]
) -> None:
    facts = {name: table.later(seconds=days * DAY) for name, days in since.items()}
    task = announced(desk, due(desk, Status.HELD, **facts))
    desk.note(task.task_id, **facts)
    desk.sweep()
    assert desk.started == ["-1"]


def test_a_task_without_a_job_is_kept_no_longer_than_its_creation_says(desk: Desk) -> None:
    facts = {"created_at": table.later(seconds=-20 * DAY)}
    task = announced(desk, due(desk, Status.HELD))
    desk.note(task.task_id, **facts)
    desk.sweep()
    assert desk.started == []


@pytest.mark.parametrize(
    "status", [Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.HELD]
)
def test_what_was_not_announced_is_touched_and_counted(desk: Desk, status: Status) -> None:
    task = due(desk, status, **desk.sent())
    desk.wait(1)
    desk.sweep()
    item = desk.item(f"task#{task.task_id}")
    assert item["touched_at"] == table.stamp(table.now())
    assert desk.metrics["AnnouncedLate"] == 1
    assert in_seconds(desk.task(task.task_id)) == (3600 if status is Status.HELD else 1800)


@pytest.mark.parametrize(
    "status", [Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED]
)
def test_what_was_announced_is_not_touched(desk: Desk, status: Status) -> None:
    task = announced(desk, due(desk, status))
    desk.sweep()
    item = desk.item(f"task#{task.task_id}")
    assert not {"touched_at", "due_at", "due_shard"} & set(item)
    assert desk.metrics["AnnouncedLate"] == 0


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.HELD])
def test_a_second_job_that_was_not_announced_is_touched(desk: Desk, status: Status) -> None:
    task = announced(desk, due(desk, status, **desk.sent(second_jobs=("x",))))
    desk.sweep()
    assert desk.metrics["AnnouncedLate"] == 1
    after = desk.task(task.task_id)
    assert in_seconds(after) == (3600 if status is Status.HELD else 1800)


@pytest.mark.parametrize(
    ("days", "facts", "started"),
    [
        (1, {"job_hints": {"x": "2026-03-01T09:00:00.000Z"}}, ["-1"]),
        (15, {"job_hints": {"x": "2026-03-01T09:00:00.000Z"}}, []),
        (1, {"job_hints": {JOB: "2026-03-01T09:00:00.000Z"}}, []),
        (1, {}, []),
    ],
)
def test_an_ended_task_is_watched_until_every_callback_has_its_answer(
    desk: Desk, days: float, facts: dict[str, Any], started: list[str]
) -> None:
    at = table.later(seconds=-days * DAY)
    given = {**desk.sent(**facts), "submitted_at": at}
    task = announced(desk, due(desk, Status.COMPLETED, callbacks_received=1, **given))
    desk.sweep()
    assert desk.started == started
    item = desk.item(f"task#{task.task_id}")
    assert ("due_at" in item) == bool(started)
    assert "touched_at" not in item


@pytest.mark.parametrize(
    ("hours", "imports", "status"),
    [
        (0, {}, Status.EXPIRED),
        (0, {"audio": "https://x/y"}, Status.WAITING),
        (23.999, {"audio": "https://x/y"}, Status.WAITING),
        (24, {"audio": "https://x/y"}, Status.EXPIRED),
    ],
)
def test_a_task_waits_a_day_for_its_media_by_url_and_is_fetched_again(
    desk: Desk, hours: float, imports: dict[str, str], status: Status
) -> None:
    task = due(desk, Status.WAITING, imports=imports)
    desk.wait(hours * 3600)
    desk.sweep()
    after = desk.task(task.task_id)
    assert after.status is status
    queried = [message for message in desk.messages("uploads") if "import" in message]
    assert queried == [{"import": task.task_id}] * (status is Status.WAITING)
    if status is Status.WAITING:
        assert in_seconds(after) == 300


@pytest.mark.parametrize(
    ("imports", "message"),
    [
        ({}, "No portrait came for 'in/hello-1' within 24 hours: drop it to revive the task."),
        (
            {"audio": "https://x/y"},
            "No media could be fetched for 'in/hello-1' within 24 hours: open it again.",
        ),
    ],
)
def test_an_expired_task_names_what_was_missing_and_the_cure(
    desk: Desk, imports: dict[str, str], message: str
) -> None:
    task = due(desk, Status.WAITING, imports=imports)
    desk.wait(DAY)
    desk.sweep()
    after = desk.task(task.task_id)
    assert after.error == {"code": "EXPIRED", "message": message}
    assert after.history[-1]["why"] == message.partition(" for ")[0].lower()
    assert after.imports == {}  # a URL may be signed
    assert in_seconds(after) == 600


# What moves meanwhile, and what fails.


@pytest.mark.parametrize("status", [Status.READY, Status.SUBMITTED])
def test_a_task_that_moved_meanwhile_is_left_alone(desk: Desk, status: Status) -> None:
    task = due(desk, status)
    moved = {"changed_at": table.later(seconds=5)}
    desk.before("UpdateItem", lambda: desk.note(task.task_id, **moved))
    assert desk.sweep()["pushed"] == 0
    assert desk.task(task.task_id).due_at == task.due_at


def test_a_task_whose_portrait_came_meanwhile_does_not_expire(desk: Desk) -> None:
    task = due(desk, Status.WAITING)
    desk.wait(DAY)
    desk.before("UpdateItem", lambda: desk.note(task.task_id, status="READY"))
    desk.sweep()
    assert desk.task(task.task_id).status is Status.READY


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.HELD])
def test_a_row_that_went_meanwhile_is_not_made_anew(desk: Desk, status: Status) -> None:
    task = due(desk, status)
    desk.before("UpdateItem", lambda: desk.account.table.items.pop(f"task#{task.task_id}"))
    assert desk.sweep()["pushed"] == 0
    assert desk.item(f"task#{task.task_id}") == {}


def test_media_by_url_are_queued_before_the_row_says_so(desk: Desk) -> None:
    task = due(desk, Status.WAITING, imports={"audio": "https://x/y"})
    desk.refuse("SendMessage")
    with pytest.raises(ExceptionGroup):
        desk.sweep()
    assert desk.task(task.task_id).due_at == task.due_at


def test_a_row_that_cannot_be_read_is_an_error_of_the_walk(desk: Desk) -> None:
    task_id = lies(desk, "in/odd.wav", VOICE, 3600)
    desk.put(f"task#{task_id}", task_id=task_id, status="LEVITATING", created_at="x")
    with pytest.raises(ValueError, match="LEVITATING"):
        desk.sweep()


@pytest.mark.parametrize(("times", "pushed"), [(5, True), (6, False)])
def test_a_row_that_is_busy_is_tried_six_times(desk: Desk, times: int, pushed: bool) -> None:
    due(desk, Status.READY)
    desk.refuse("UpdateItem", "TransactionConflictException", times=times)
    if pushed:
        assert desk.sweep()["pushed"] == 1
    else:
        with pytest.raises(ExceptionGroup):
            desk.sweep()


def test_a_table_that_is_down_is_an_error_of_the_sweep(desk: Desk) -> None:
    due(desk, Status.READY)
    other = due(desk, Status.SUBMITTED, **desk.sent())
    desk.execution(other)
    desk.refuse("UpdateItem", times=1)
    with pytest.raises(ExceptionGroup) as raised:
        desk.sweep()
    assert len(raised.value.exceptions) == 1
    assert desk.metrics["Swept"] == 1


# The providers that are stopped, and what lasts.


def test_a_stopped_provider_is_tried_when_its_trial_is_due(desk: Desk) -> None:
    stopped = {"open": True, "why": "no credits"}
    desk.put("breaker#kie", **stopped, trial_at=table.stamp(table.now()))
    desk.put("breaker#kling", **stopped, trial_at=table.later(seconds=1))
    desk.put("breaker#relay", reopened_at=table.stamp(table.now()))
    desk.sweep()
    assert desk.messages() == [{"probe": "kie"}]
    assert desk.metrics["StoppedProviders"] == 2


def test_what_lasts_is_counted_anew_each_time(desk: Desk) -> None:
    ages = {Status.READY: 4, Status.SUBMITTING: 3, Status.SUBMITTED: 2, Status.ARCHIVING: 1}
    for status, minutes in ages.items():
        for more in (0, 0.5):
            task = desk.row(status)
            desk.note(task.task_id, changed_at=table.later(seconds=-60 * (minutes - more)))
    for _ in range(3):
        desk.row(Status.HELD)
    desk.row(Status.WAITING)
    desk.sweep()
    oldest = {name: count for name, count in desk.metrics.items() if name.startswith("Oldest")}
    counted = {f"Oldest{status.title()}Seconds": minutes * 60 for status, minutes in ages.items()}
    assert oldest == counted | {"OldestInPiecesSeconds": 0}
    assert desk.metrics["HeldTasks"] == 3
    assert desk.metrics["StoppedProviders"] == 0


def test_nothing_that_lasts_is_zero(desk: Desk) -> None:
    desk.sweep()
    assert {name: count for name, count in desk.metrics.items() if count} == {}
    assert {"HeldTasks", "StoppedProviders", "Swept", "OldestReadySeconds"} <= desk.metrics.keys()


# The walk through the inbox.


def lies(desk: Desk, key: str, content: bytes, seconds: float) -> str:
    """A file that came so many seconds ago; the id of the task that it would make."""
    now = desk.clock.now
    desk.clock.now = now - seconds
    stored = desk.account.buckets.put(INBOX, key, content)
    desk.clock.now = now
    return drops.task_id_of(INBOX, key, stored.version_id)


def looked_at(desk: Desk) -> list[str]:
    return sorted(message["audio"]["key"] for message in desk.messages("uploads"))


@pytest.mark.parametrize(("seconds", "found"), [(900, 1), (899, 0)])
def test_a_voice_without_a_task_is_found_after_a_quarter_of_an_hour(
    desk: Desk, seconds: float, found: int
) -> None:
    lies(desk, "in/lost.wav", VOICE, seconds)
    lies(desk, "in/lost.png", PORTRAIT, 3600)
    assert desk.sweep()["found"] == found
    assert looked_at(desk) == ["in/lost.wav"] * found
    assert desk.metrics["FoundInInbox"] == found
    if found:
        assert desk.messages("uploads") == [{"audio": {"bucket": INBOX, "key": "in/lost.wav"}}]


def test_only_the_latest_version_of_a_voice_is_looked_at(desk: Desk) -> None:
    for seconds in (4000, 3000):
        lies(desk, "in/twice.wav", VOICE, seconds)
    assert desk.sweep()["found"] == 1


@pytest.mark.parametrize(
    ("status", "key", "is_looked_at"),
    [
        (Status.WAITING, "in/hello-1.png", True),
        (Status.WAITING, "in/portrait.png", True),
        (Status.WAITING, "in/settings.json", True),
        (Status.WAITING, "in/hello-1.json", True),
        (Status.WAITING, "in/hello-2.png", False),
        (Status.WAITING, "hello-1.png", False),
        (Status.READY, "in/hello-1.png", False),
    ],
)
def test_a_task_that_waits_is_looked_at_when_something_is_new_beside_it(
    desk: Desk, status: Status, key: str, is_looked_at: bool
) -> None:
    task = desk.row(status)
    desk.account.buckets.versions[INBOX].clear()
    lies(desk, key, PORTRAIT, 1000)
    desk.sweep()
    assert (task.audio["key"] in looked_at(desk)) == is_looked_at
    assert "FoundInInbox" not in desk.metrics


@pytest.mark.parametrize(
    ("key", "seconds", "keys"),
    [
        ("in/text.json", 1000, ["in/text.json"]),
        ("in/text.json", 6 * 3600, ["in/text.json"]),
        ("in/text.json", 800, []),
        ("in/settings.json", 1000, []),
        ("in/portrait.json", 1000, []),
        ("in/face.png", 1000, []),
        ("in/readme.txt", 1000, []),
    ],
)
def test_a_settings_file_that_may_carry_a_text_is_opened(
    desk: Desk, key: str, seconds: float, keys: list[str]
) -> None:
    lies(desk, key, b"{}", seconds)
    assert desk.sweep()["found"] == 0
    assert looked_at(desk) == keys


def test_a_voice_that_cannot_be_looked_up_is_left_to_the_next_time(desk: Desk) -> None:
    lies(desk, "in/lost.wav", VOICE, 3600)

    def refused(given: dict[str, Any]) -> Any:
        if given["Key"]["pk"]["S"].startswith("task#"):
            raise Refused(DOWN, status=500)
        return desk.account.really("dynamodb", "GetItem", given)

    desk.instead("GetItem", refused)
    assert desk.sweep()["found"] == 0
    assert looked_at(desk) == []


def test_a_round_begins_every_thirty_five_minutes(desk: Desk) -> None:
    for wait, walks in ((0, 1), (0, 1), (2099.999, 1), (0.001, 2)):
        desk.wait(wait)
        desk.sweep()
        assert len(desk.calls("ListObjectVersions")) == walks
    assert desk.item("sweep#inbox")["again_at"] == table.later(seconds=2100)


def test_what_an_earlier_round_dealt_with_is_not_looked_up_again(desk: Desk) -> None:
    lies(desk, "in/text.json", b"{}", 1000)
    desk.sweep()
    desk.wait(2200)
    desk.sweep()
    assert looked_at(desk) == ["in/text.json"]


@pytest.mark.parametrize(("seconds", "is_seen"), [(900 + 60, True), (900 + 61, False)])
def test_a_round_goes_back_a_minute_for_the_clocks(
    desk: Desk, seconds: float, is_seen: bool
) -> None:
    desk.sweep()
    lies(desk, "in/late.json", b"{}", seconds)
    desk.wait(2200)
    desk.sweep()
    assert bool(looked_at(desk)) == is_seen


def test_a_voice_without_a_task_stays_in_view_for_two_days(desk: Desk) -> None:
    lies(desk, "in/lost.wav", VOICE, 3600)
    assert desk.sweep()["found"] == 1
    desk.wait(46 * 3600)
    assert desk.sweep()["found"] == 1
    desk.wait(3 * 3600)
    assert desk.sweep()["found"] == 1  # the floor of the round before
    desk.wait(3600)
    assert desk.sweep()["found"] == 0


class _Pages:
    """An inbox of so many pages, and where each was queried from."""

    def __init__(self, desk: Desk, pages: int) -> None:
        self.queried: list[tuple[str, str]] = []
        self._pages = pages
        desk.instead("ListObjectVersions", self.answer)

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        marker = given.get("KeyMarker", "")
        self.queried.append((marker, given.get("VersionIdMarker", "")))
        page = int(marker or 0) + 1
        version = {
            "Key": f"in/{page:03}.wav", "VersionId": "v1", "IsLatest": True,
            "LastModified": table.now() - timedelta(hours=1),
        }  # fmt: skip
        more = {"IsTruncated": True, "NextKeyMarker": str(page), "NextVersionIdMarker": f"v{page}"}
        return {"Versions": [version]} | (more if page < self._pages else {"IsTruncated": False})


PART = (*[100_000] * 20, 80_000)  # time for twenty pages


def test_a_long_inbox_is_walked_in_parts(desk: Desk) -> None:
    inbox = _Pages(desk, 45)
    found = [desk.sweep(*PART)["found"] for _ in range(3)]
    assert found == [20, 20, 5]
    assert inbox.queried[19:22] == [("19", "v19"), ("20", "v20"), ("21", "v21")]
    assert len(looked_at(desk)) == 45
    cursor = desk.item("sweep#inbox")
    assert (cursor["KeyMarker"], cursor["VersionIdMarker"]) == ("", "")
    assert cursor["again_at"] == table.later(seconds=2100)
    desk.wait(2101)
    desk.sweep()
    assert inbox.queried[45] == ("", "")


def test_a_walk_goes_on_without_a_pause_where_it_stopped(desk: Desk) -> None:
    _Pages(desk, 25)
    desk.sweep(*PART)
    cursor = desk.item("sweep#inbox")
    assert {name: cursor[name] for name in ("KeyMarker", "VersionIdMarker", "again_at")} == {
        "KeyMarker": "20",
        "VersionIdMarker": "v20",
        "again_at": "",
    }


def test_what_was_found_is_sent_before_the_walk_goes_on(desk: Desk) -> None:
    _Pages(desk, 25)
    desk.refuse("SendMessageBatch")
    with pytest.raises(Exception, match=DOWN):
        desk.sweep()
    assert desk.item("sweep#inbox") == {}


def test_voices_are_sent_in_tens(desk: Desk) -> None:
    _Pages(desk, 19)
    desk.sweep()
    sizes = [len(call["Entries"]) for call in desk.calls("SendMessageBatch")]
    assert sizes == [10, 9]
    entries = desk.calls("SendMessageBatch")[0]["Entries"]
    assert [entry["Id"] for entry in entries] == [str(number) for number in range(10)]
    assert json.loads(entries[0]["MessageBody"]) == {
        "audio": {"bucket": INBOX, "key": "in/001.wav"}
    }


def test_messages_that_the_queue_refuses_are_an_error(desk: Desk) -> None:
    _Pages(desk, 2)
    desk.instead("SendMessageBatch", lambda _: {"Failed": [{"Id": "0"}]})
    with pytest.raises(RuntimeError, match="1 of 2"):
        desk.sweep()
