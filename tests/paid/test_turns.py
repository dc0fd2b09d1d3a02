"""Turns at a provider: who waits, in which place, and who is called when room is free."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from functions.tasks import table
from functions.tasks.task import Status, Task
from tests.faults.runs import wav
from tests.paid.desk import ACCEPTED_BY_KIE, Desk

LIMIT = {"submits": 100, "seconds": 10}


def ms(seconds: float = 0) -> int:
    return round(table.now().timestamp() * 1000 + seconds * 1000)


def full(desk: Desk, running: int = 1) -> None:
    """No room: another job runs for an hour."""
    desk.options(rate_limits={"kie": {**LIMIT, "running": running}})
    desk.put("slots#kie", leases={f"other{number}-1": ms(3600) for number in range(running)})


def free(desk: Desk, running: int = 100) -> None:
    desk.options(rate_limits={"kie": {**LIMIT, "running": running}})
    desk.put("slots#kie", leases={})


def of_folder(desk: Desk, folder: str, **facts: Any) -> Task:
    return desk.row(audio=desk.file(f"{folder}/x.wav", wav(), "audio/wav"), **facts)


def called(desk: Desk, since: int = 0) -> list[str]:
    """The tasks that were called, in the order of their messages."""
    return [one["task_id"] for one in desk.messages()[since:] if "at" in one]


def waits(desk: Desk, task: Task) -> Task:
    after = desk.submit(task)
    assert (after.status, after.is_waiting) == (Status.READY, True)
    return after


def test_folders_take_turns_and_each_keeps_its_order(desk: Desk) -> None:
    full(desk)
    many = [waits(desk, of_folder(desk, "many")) for _ in range(3)]
    few = [waits(desk, of_folder(desk, "few")) for _ in range(2)]
    assert [one.waits_place for one in (*many, *few)] == [1, 2, 3, 1, 2]
    free(desk)
    desk.sweep()
    order = called(desk)
    assert set(order[:2]) == {many[0].task_id, few[0].task_id}
    assert set(order[2:4]) == {many[1].task_id, few[1].task_id}
    assert order[4:] == [many[2].task_id]


def test_who_is_called_has_a_lease_and_a_time_and_a_message(desk: Desk) -> None:
    full(desk)
    task = waits(desk, of_folder(desk, "in"))
    desk.put("slots#kie", leases={}, sent=[])
    desk.sweep()
    assert desk.messages()[-1] == {"task_id": task.task_id, "turn": "", "at": ms()}
    item = desk.item("slots#kie")
    assert item["leases"] == {task.external_id: ms(120)}
    assert (item["given"], item["place"]) == (1, 1)
    assert item["sent"] == [ms(0.404)]  # a tenth of 4.04 s, in which forty may leave
    desk.answers(ACCEPTED_BY_KIE)
    assert desk.message("submit", desk.messages()[-1]) == []
    assert desk.task(task.task_id).status is Status.SUBMITTED
    assert desk.leases() == (set(), 1)


def test_a_folder_that_comes_late_begins_where_the_others_are(desk: Desk) -> None:
    full(desk)
    desk.put("slots#kie", place=40)
    first, second = (waits(desk, of_folder(desk, "late")) for _ in range(2))
    assert (first.waits_place, second.waits_place) == (41, 42)


def test_a_task_that_comes_back_unaccepted_stands_in_front(desk: Desk) -> None:
    full(desk)
    desk.put("slots#kie", place=40)
    assert waits(desk, of_folder(desk, "in", returns=1)).waits_place == 40
    desk.put("slots#kie", place=0)
    assert waits(desk, of_folder(desk, "in", returns=1)).waits_place == 1


def test_a_place_is_kept_while_a_task_waits(desk: Desk) -> None:
    full(desk)
    task = waits(desk, of_folder(desk, "in"))
    writes = len(desk.calls("UpdateItem"))
    assert waits(desk, task) == task
    assert len(desk.calls("UpdateItem")) == writes
    desk.put("breaker#kie", open=True, why="no credits", trial_at=table.later(seconds=999))
    stopped = waits(desk, task)
    assert stopped.waits_for == "kie is stopped until its account works again"
    assert stopped.waits_place == task.waits_place


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"key": "a/1.wav"}, {"key": "a/2.wav"}, True),
        ({"key": "a/1.wav"}, {"key": "b/1.wav"}, False),
        ({"key": "a/1.wav"}, {"key": "a/b/1.wav"}, False),
        ({"key": "_talkdrop/uploads/a/1.wav", "origin": "api"},
         {"key": "_talkdrop/uploads/b/1.wav", "origin": "api"}, True),
        ({"key": "_talkdrop/pieces/a/1.wav", "origin": "piece", "parent": "p"},
         {"key": "_talkdrop/pieces/a/2.wav", "origin": "piece", "parent": "p"}, True),
        ({"key": "_talkdrop/pieces/a/1.wav", "origin": "piece", "parent": "p"},
         {"key": "_talkdrop/pieces/a/2.wav", "origin": "piece", "parent": "q"}, False),
        ({"key": "\u00e9/1.wav"}, {"key": "\u00e9/2.wav"}, True),
    ],
)  # fmt: skip
def test_a_folder_an_api_and_a_long_voice_share_one_row_of_places_each(
    desk: Desk, one: dict[str, str], other: dict[str, str], is_same: bool
) -> None:
    full(desk)
    places = []
    for facts in (one, other):
        given = dict(facts)
        audio = desk.file(given.pop("key"), wav(), "audio/wav")
        row = desk.row(audio=audio)
        row = desk.note(row.task_id, **given)
        if "parent" in given:
            desk.put(f"reserve#{given['parent']}", left_usd=1, periods=[])
        places.append(waits(desk, row).waits_place)
    assert places == ([1, 2] if is_same else [1, 1])


def test_the_places_of_a_folder_are_forgotten_after_a_month(desk: Desk) -> None:
    full(desk)
    waits(desk, of_folder(desk, "in"))
    (share,) = (pk for pk in desk.account.table.items if pk.startswith("share#kie#"))
    assert desk.item(share)["expires_at"] == ms() // 1000 + 30 * 86400


def test_ten_are_called_at_a_time_and_no_more_than_there_is_room_for(desk: Desk) -> None:
    full(desk)
    for _ in range(13):
        waits(desk, of_folder(desk, "in"))
    free(desk, running=12)
    desk.sweep()
    first = called(desk)
    assert len(first) == len(set(first)) == 10
    desk.wait(300)  # none of them came
    desk.sweep()
    assert len(called(desk)) == 20
    desk.put("slots#kie", leases={f"other{number}-1": ms(3600) for number in range(10)})
    before = len(called(desk))
    desk.sweep()
    assert len(called(desk)) == before + 2


def test_who_has_a_turn_already_is_not_called_again(desk: Desk) -> None:
    full(desk)
    made = [waits(desk, of_folder(desk, "in")) for _ in range(3)]
    free(desk)
    desk.sweep()
    assert len(called(desk)) == 3
    desk.sweep()
    assert len(called(desk)) == 3
    assert len(desk.item("slots#kie")["leases"]) == len(made)


def test_who_was_claimed_a_moment_ago_is_not_called(desk: Desk) -> None:
    full(desk)
    first, second = (waits(desk, of_folder(desk, "in")) for _ in range(2))
    free(desk)
    desk.note(first.task_id, status="SUBMITTED")  # its index row lags behind
    desk.sweep()
    assert called(desk) == [second.task_id]


@pytest.mark.parametrize("claimed", [1, 4, 40, 120])
def test_however_many_were_claimed_a_moment_ago_the_next_is_called_and_few_rows_are_read(
    desk: Desk, claimed: int
) -> None:
    full(desk)
    made = [waits(desk, of_folder(desk, "in")) for _ in range(claimed + 2)]
    free(desk, running=1)
    for one in made[:claimed]:
        desk.note(one.task_id, status="SUBMITTED")  # its index row lags behind
    desk.account.calls.clear()
    desk.sweep()
    assert called(desk) == [made[claimed].task_id]
    read = [
        len(next(iter(one["RequestItems"].values()))["Keys"]) for one in desk.calls("BatchGetItem")
    ]
    assert sum(read) <= 2 * 4 + claimed + 10


def test_that_tasks_wait_is_not_forgotten_while_the_index_was_not_read_to_its_end(
    desk: Desk,
) -> None:
    full(desk)
    made = [waits(desk, of_folder(desk, "in")) for _ in range(130)]
    free(desk, running=1)
    for one in made[:125]:
        desk.note(one.task_id, status="SUBMITTED")
    desk.wait(100)
    desk.sweep()
    assert called(desk) == []
    assert "waiting_at" in desk.item("slots#kie")


def test_one_that_waits_is_found_by_reading_little_of_the_index(desk: Desk) -> None:
    full(desk)
    made = [waits(desk, of_folder(desk, "in")) for _ in range(40)]
    free(desk, running=1)
    desk.account.calls.clear()
    desk.sweep()
    assert called(desk) == [made[0].task_id]
    limits = [one["Limit"] for one in desk.calls("Query") if "Limit" in one]
    assert 1 + 3 in limits


def test_a_stopped_provider_calls_nobody(desk: Desk) -> None:
    full(desk)
    waits(desk, of_folder(desk, "in"))
    free(desk)
    desk.put("breaker#kie", open=True, why="x", trial_at=table.later(seconds=999))
    desk.sweep()
    assert called(desk) == []


def test_turns_that_another_gave_meanwhile_are_counted(desk: Desk) -> None:
    full(desk)
    first, second = (waits(desk, of_folder(desk, "in")) for _ in range(2))
    free(desk, running=1)

    def other() -> None:
        desk.put("slots#kie", leases={first.external_id: ms(120)}, given=7)

    desk.account.calls.clear()
    desk.before("UpdateItem", other)
    desk.sweep()
    assert second.task_id not in called(desk)
    assert set(desk.item("slots#kie")["leases"]) == {first.external_id}


@pytest.mark.parametrize(("seconds", "is_noted"), [(89, True), (91, False)])
def test_that_tasks_wait_is_forgotten_once_the_index_must_know(
    desk: Desk, seconds: float, is_noted: bool
) -> None:
    full(desk)
    task = waits(desk, of_folder(desk, "in"))
    free(desk)
    desk.note(task.task_id, status="CANCELLED", due_shard="elsewhere")
    assert "waiting_at" in desk.item("slots#kie")
    desk.wait(seconds)
    desk.sweep()
    assert ("waiting_at" in desk.item("slots#kie")) is is_noted


def test_where_nobody_waits_a_sweep_writes_nothing_into_the_providers_row(desk: Desk) -> None:
    free(desk)
    desk.account.calls.clear()
    desk.sweep()
    written = {one["Key"]["pk"]["S"] for one in desk.calls("UpdateItem")}
    assert "slots#kie" not in written


@pytest.mark.parametrize(
    ("running", "facts", "is_sent"),
    [(2, {}, True), (1, {}, False), (2, {"waiting_at": 1}, False)],
)
def test_a_turn_that_was_given_at_the_same_moment_is_seen(
    desk: Desk, running: int, facts: dict[str, Any], is_sent: bool
) -> None:
    """It cost a try; and who finds no room then, or that others wait by now, waits too."""
    free(desk, running)
    desk.put("slots#kie", given=1)
    task = of_folder(desk, "in")
    desk.answers(ACCEPTED_BY_KIE)
    meanwhile = {"leases": {"other-1": ms(120)}, "given": 2, **facts}
    desk.before("UpdateItem", lambda: desk.put("slots#kie", **meanwhile))
    after = desk.submit(task)
    assert after.is_waiting is not is_sent
    assert len(desk.posts) == is_sent


@pytest.mark.parametrize("trouble", ["some were refused", "down", "unreachable"])
def test_an_end_stands_though_the_next_could_not_be_called(desk: Desk, trouble: str) -> None:
    full(desk)
    first = waits(desk, of_folder(desk, "in"))
    free(desk, running=1)
    count = f"lapsing_{ms() // 3_600_000 + 5}"
    ended = desk.row(Status.ARCHIVING, **desk.sent())
    ended = desk.note(ended.task_id, booked=["slots#kie", count])
    desk.put("slots#kie", **{count: 1})

    def answer(given: dict[str, Any]) -> Any:
        if trouble == "unreachable":
            raise EndpointConnectionError(endpoint_url="https://sqs")
        failed = {"Code": "InternalError", "SenderFault": False}
        return {"Failed": [{"Id": one["Id"], **failed} for one in given["Entries"]]}

    if trouble == "down":
        desk.refuse("SendMessageBatch")
    else:
        desk.instead("SendMessageBatch", answer)
    desk.invoke("settle", {"task_id": ended.task_id, "attempt": 1, "archived": {"key": "v"}})
    assert desk.task(ended.task_id).status is Status.COMPLETED
    assert len(desk.calls("SendMessageBatch")) == 1
    assert called(desk) == []
    desk.account.refusals.clear()
    desk.account.instead.clear()
    desk.wait(121)  # its turn has lapsed
    desk.sweep()
    assert called(desk) == [first.task_id]


def test_that_a_task_joined_meanwhile_is_not_forgotten(desk: Desk) -> None:
    free(desk)
    desk.put("slots#kie", waiting_at=ms() // 1000 - 91)
    joined = ms() // 1000
    desk.instead("Query", lambda given: _joining(desk, given, joined))
    desk.sweep()
    assert desk.item("slots#kie")["waiting_at"] == joined


def _joining(desk: Desk, given: dict[str, Any], at: int) -> Any:
    """The index does not show it yet, and the provider's row does."""
    if "waits#kie" in str(given):
        desk.put("slots#kie", waiting_at=at)
    return desk.account.really("dynamodb", "Query", given)


def test_who_comes_while_others_wait_stands_behind_them(desk: Desk) -> None:
    full(desk)
    first = waits(desk, of_folder(desk, "in"))
    free(desk)
    second = of_folder(desk, "in")
    desk.answers(ACCEPTED_BY_KIE)
    desk.submit(second)
    assert desk.posts == []
    assert called(desk)[0] == first.task_id


def test_a_lapsed_lease_is_dropped_when_the_next_turn_is_given(desk: Desk) -> None:
    desk.options(rate_limits={"kie": {**LIMIT, "running": 3}})
    leases = {f"dead{number}-1": ms(-1) for number in range(2)} | {"alive-1": ms(1)}
    desk.put("slots#kie", leases=leases)
    desk.answers(ACCEPTED_BY_KIE)
    task = desk.submit(of_folder(desk, "in"))
    assert task.status is Status.SUBMITTED
    assert desk.leases() == ({"alive-1"}, 1)


@pytest.mark.parametrize("dead", [11, 60])
def test_however_many_lapsed_a_lowered_limit_lets_the_next_one_through(
    desk: Desk, dead: int
) -> None:
    desk.options(rate_limits={"kie": {**LIMIT, "running": 1}})
    desk.put("slots#kie", leases={f"dead{number}-1": ms(-1) for number in range(dead)})
    task = waits(desk, of_folder(desk, "in"))
    desk.sweep()
    assert called(desk) == [task.task_id]
    assert desk.leases() == ({task.external_id}, 0)


def accepted(desk: Desk, number: int) -> Task:
    job = {**ACCEPTED_BY_KIE, "data": {"taskId": f"job-{number}"}}
    desk.answers(job, to="createTask")
    return desk.submit(of_folder(desk, "in"))


def test_turns_are_given_two_spans_ahead_and_no_further(desk: Desk) -> None:
    desk.options(rate_limits={"kie": {"submits": 1, "seconds": 10, "running": 100}})
    sent = [accepted(desk, number) for number in range(4)]
    assert sent[0].status is Status.SUBMITTED
    assert [one.is_waiting for one in sent[1:]] == [False, True, True]
    (later,) = [one["at"] for one in desk.messages() if "at" in one]
    assert later == ms(1 + 10.1) + 1  # the first may be on its way for a second


def test_what_leaves_within_a_second_is_counted_as_late_as_it_may_leave(desk: Desk) -> None:
    desk.options(rate_limits={"kie": {"submits": 1, "seconds": 1, "running": 100}})
    accepted(desk, 1)
    assert desk.item("slots#kie")["sent"] == [ms(0.101)]
    desk.wait(1.05)
    accepted(desk, 2)
    assert desk.item("slots#kie")["sent"][-1] == ms(0.101)


def test_a_waiting_task_shows_its_number_among_those_that_wait_at_its_provider(desk: Desk) -> None:
    full(desk)
    many = [waits(desk, of_folder(desk, "many")) for _ in range(4)]
    few = waits(desk, of_folder(desk, "few"))
    ready = of_folder(desk, "many")
    _, page = desk.api("GET", "/tasks")
    turns = {task["task_id"]: task["turn"] for task in page["tasks"]}
    assert turns.pop(ready.task_id) is None
    assert {turns[many[0].task_id], turns[few.task_id]} == {1, 2}
    assert [turns[task.task_id] for task in many[1:]] == [3, 4, 5]
    assert desk.api("GET", f"/tasks/{many[3].task_id}")[1]["turn"] == 5


def test_a_page_of_waiting_tasks_asks_once_for_their_turns_and_numbers_a_hundred(
    desk: Desk,
) -> None:
    full(desk)
    first = waits(desk, of_folder(desk, "in"))
    for number in range(100):
        place = f"{first.waits_place + 1:012d}#{number:04d}"
        desk.note(desk.row().task_id, due_shard="waits#kie", due_at=place)
    before = len(desk.calls("Query"))
    _, page = desk.api("GET", "/tasks", queryStringParameters={"limit": "200"})
    turns = sorted(task["turn"] or 0 for task in page["tasks"])
    assert turns == [0, *range(1, 101)]
    assert len(desk.calls("Query")) == before + 5  # four shards of the list, and the turns
