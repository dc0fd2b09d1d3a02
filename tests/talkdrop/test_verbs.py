"""A person decides about tasks, by the command line."""

from __future__ import annotations

import pytest

from functions.tasks import books, claims, queries, steps, table
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Status, Task, key_of
from tests.talkdrop.conftest import Person, Town

HELD = {"code": "AMBIGUOUS", "message": "the answer was lost"}


def again(task: Task) -> Task:
    found = queries.load(task.task_id)
    assert found
    return found


def test_an_adopted_job_is_watched_and_the_history_says_who_and_why(
    town: Town, person: Person
) -> None:
    task = town.open("a1", error=HELD)
    said = person.types("adopt", task.task_id, "kie_job_7", "--why", "seen at kie.ai/logs")
    after = again(task)
    assert (said.code, after.status, after.job_id) == (0, Status.SUBMITTED, "kie_job_7")
    assert not after.error
    assert after.intended_at == task.intended_at
    assert after.history[-1]["why"] == "kie_job_7: seen at kie.ai/logs"
    assert after.history[-1]["who"].startswith("arn:aws:")
    assert f"{task.task_id}-1" in town.executions()


def test_a_job_of_another_task_is_not_adopted(town: Town, person: Person) -> None:
    first, second = town.open("a2", error=HELD), town.open("a3", error=HELD)
    assert person.types("adopt", first.task_id, "kie_job_8", "--why", "seen").code == 0
    said = person.types("adopt", second.task_id, "kie_job_8", "--why", "seen")
    assert (said.code, again(second).status) == (1, Status.HELD)
    assert "is another task's" in said.err


def test_a_job_id_is_written_once(town: Town, person: Person) -> None:
    task = town.open("a4", job_id="kie_job_9", error={"code": "SILENT", "message": "…"})
    said = person.types("adopt", task.task_id, "kie_job_10", "--why", "no idea")
    assert (said.code, again(task).job_id) == (1, "kie_job_9")
    assert "written once" in said.err


def test_a_submit_that_may_still_be_under_way_is_left_alone(town: Town, person: Person) -> None:
    task = town.open("a5", status=Status.SUBMITTED)
    table.Update(key_of(task.task_id)).set(
        status="SUBMITTING", lease_until=table.later(seconds=60)
    ).run()
    said = person.types("adopt", task.task_id, "kie_job_11", "--why", "in a hurry")
    assert (said.code, again(task).job_id) == (1, "")
    assert "under way until" in said.err


def test_after_a_restore_a_ready_task_takes_over_the_job_that_the_table_forgot(
    town: Town, person: Person
) -> None:
    task = town.open("a6", status=Status.READY, intended_at="")
    assert person.types("adopt", task.task_id, "kie_job_6", "--why", "restored").code == 1
    with town.options(submit_enabled=False):
        assert person.types("adopt", task.task_id, "kie_job_6", "--why", "restored").code == 0
    assert again(task).job_id == "kie_job_6"
    assert not again(task).never_intended


def test_a_held_task_is_not_paid_again_without_the_word_for_it(town: Town, person: Person) -> None:
    task = town.open("b1", error=HELD)
    said = person.types("resubmit", task.task_id, "--why", "urgent")
    assert (said.code, again(task).status, town.told_to_submit()) == (1, Status.HELD, [])
    assert "may have been charged" in said.err
    assert "--i-accept-a-second-charge" in said.err


def test_a_held_task_is_sent_anew_by_whoever_accepts_a_second_charge(
    town: Town, person: Person
) -> None:
    task = town.open("b2", error=HELD)
    slots = table.Update("slots#kie").set(leases={task.external_id: table.later(seconds=60)})
    slots.run()
    table.Update(key_of(task.task_id)).set(
        booked=["slots#kie"], job_hint="kie_x", callbacks_received=1, task_token="t"
    ).run()
    said = person.types("resubmit", task.task_id, "--why", "urgent", "--i-accept-a-second-charge")
    after = again(task)
    assert (said.code, after.status, after.attempt) == (0, Status.READY, 2)
    assert (after.callbacks_received, after.job_hint, after.task_token, after.booked) == (
        0,
        "",
        "",
        (),
    )
    assert after.past[0]["error"] == HELD
    assert after.history[-1]["why"] == "attempt 2: urgent"
    assert (table.read("slots#kie") or {})["leases"] == {}
    assert town.told_to_submit() == [{"task_id": task.task_id, "turn": ""}]


def test_a_job_that_the_provider_failed_is_sent_anew_without_more_words(
    town: Town, person: Person
) -> None:
    task = town.open(
        "b3",
        status=Status.FAILED,
        job_id="kie_job_12",
        error={"code": "501", "message": "no face found"},
    )
    said = person.types("resubmit", task.task_id, "--why", "they mended it")
    after = again(task)
    assert (said.code, after.status, after.attempt, after.job_id) == (0, Status.READY, 2, "")
    assert after.past[0]["job_id"] == "kie_job_12"
    assert again(task).event_id == f"{task.task_id}#READY#2"
    town.told_to_submit()


def test_what_a_person_failed_is_in_doubt_still(town: Town, person: Person) -> None:
    task = town.open("b4", error=HELD)
    assert person.types("fail", task.task_id, "--why", "too late now").code == 0
    assert again(task).error == {"code": "FAILED_BY_HAND", "message": "too late now"}
    said = person.types("resubmit", task.task_id, "--why", "wanted after all")
    assert (said.code, again(task).status) == (1, Status.FAILED)


def test_a_refused_file_is_mended_and_not_sent_anew(town: Town, person: Person) -> None:
    task = town.open(
        "b5",
        status=Status.FAILED,
        intended_at="",
        error={"code": "NOT_MEDIA", "message": "an HTML page"},
    )
    said = person.types("resubmit", task.task_id, "--why", "again")
    assert (said.code, again(task).attempt) == (1, 1)
    assert "mend or replace" in said.err


def test_a_bell_that_rings_while_a_person_decides_is_not_overruled(town: Town) -> None:
    seen = town.open("b6", error=HELD)
    steps.record_callback(seen.task_id, 1, "kie_job_13")
    with pytest.raises(ConditionFailed):
        claims.resubmit(seen, who="ada", why="urgent")
    assert again(seen).attempt == 1


@pytest.mark.parametrize("status", [Status.READY, Status.SUBMITTED, Status.COMPLETED])
def test_only_a_held_task_is_failed_by_hand(town: Town, person: Person, status: Status) -> None:
    task = town.open(f"c{status.value.encode().hex()[:6]}", status=status)
    assert person.types("fail", task.task_id, "--why", "no").code == 1
    assert again(task).status is status


def test_a_stopped_provider_is_reopened_once(town: Town, person: Person) -> None:
    books.stop("kie", "kie answered 402: top up the account")
    assert person.types("reopen", "kie").code == 0
    assert books.stopped_since("kie") is None
    assert (table.read("breaker#kie") or {})["reopened_by"].startswith("arn:aws:")
    assert person.types("reopen", "kie").code == 1
    assert "there are: " in person.types("reopen", "nobody").err


def test_the_whole_story_stands_on_one_page(town: Town, person: Person) -> None:
    task = town.open("d1", error=HELD, prompt="speak \x1b[2J up")
    steps.record_callback(task.task_id, 1, "kie_job_14")
    said = person.types("explain", task.task_id)
    assert said.code == 0
    for words in (VOICE_PART, "AMBIGUOUS: the answer was lost", "1 genuine",
    "a bell named job kie_job_14", "CallbackRefused",
                  "watched by no execution", "waits for a person",
                  "the sweep looks at it at"):  # fmt: skip
        assert words in said.out
    assert "\x1b" not in said.out


VOICE_PART = "verbs/ada.mp3  version v2"


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_story(town: Town, person: Person, status: Status) -> None:
    task = town.open(f"e{list(Status).index(status)}", status=Status.SUBMITTED)
    table.Update(key_of(task.task_id)).set(
        status=status.value, lease_until=table.later(seconds=9)
    ).run()
    said = person.types("explain", task.task_id)
    assert (said.code, f"{status}, attempt 1" in said.out) == (0, True)


def test_a_stack_that_is_not_there_is_told_with_what_to_check(person: Person) -> None:
    said = person.types("explain", "0" * 32, stack="Nowhere")
    assert said.code == 3
    assert "--stack" in said.err


def test_a_task_that_is_not_there_is_told(person: Person) -> None:
    assert person.types("explain", "0" * 32).code == 1


def test_the_region_is_taken_as_the_aws_cli_takes_it(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert person.types("explain", "0" * 32).code == 1


def test_an_aws_that_cannot_be_reached_is_told(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = person.types("explain", "0" * 32)
    assert said.code == 3
    assert "AWS_ENDPOINT_URL" in said.err
