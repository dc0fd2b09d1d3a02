"""Decisions about tasks, by the command line."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest

from functions.tasks import adoption, books, callbacks, claims, queries, table
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Status, Task, key_of
from tests.talkdrop.conftest import Account, Person

HELD = {"code": "AMBIGUOUS", "message": "the answer was lost"}


def again(task: Task) -> Task:
    found = queries.load(task.task_id)
    assert found
    return found


def test_a_named_job_is_looked_up_by_the_function_that_holds_the_key_before_it_is_adopted(
    account: Account, person: Person
) -> None:
    task = account.open("a1", error=HELD)
    done = person.types("adopt", task.task_id, "kie_job_7", "--why", "in its logs", "--wait", "0")
    after = again(task)
    assert (done.code, after.status, after.job_id) == (0, Status.HELD, "")
    assert "no answer yet" in done.out
    assert after.history[-1]["why"] == "job kie_job_7: in its logs"
    assert after.history[-1]["who"].startswith("arn:aws:")
    message = {"task_id": task.task_id, "look_up": after.lookup["at"]}
    assert message in account.submissions()
    assert "queried about job kie_job_7" in person.types("explain", task.task_id).out


def test_what_came_of_a_named_job_is_shown(account: Account, person: Person) -> None:
    task = account.open("a2", error=HELD)
    named = adoption.look_up(task, "kie_job_8", who="ada", why="seen")
    adoption.refuse(named, "kie knows no job kie_job_8 of this account")
    page = person.types("explain", task.task_id).out
    assert "job kie_job_8 was not adopted: kie knows no job kie_job_8" in page


def test_a_job_id_is_written_once(account: Account, person: Person) -> None:
    task = account.open("a4", job_id="kie_job_9", error={"code": "SILENT", "message": "…"})
    done = person.types("adopt", task.task_id, "kie_job_10", "--why", "no idea")
    assert (done.code, again(task).job_id) == (1, "kie_job_9")
    assert "written once" in done.err


def test_a_submit_that_may_still_be_under_way_is_left_alone(
    account: Account, person: Person
) -> None:
    task = account.open("a5", status=Status.SUBMITTED)
    table.Update(key_of(task.task_id)).set(
        status="SUBMITTING", lease_until=table.later(seconds=60)
    ).run()
    done = person.types("adopt", task.task_id, "kie_job_11", "--why", "in a hurry")
    assert (done.code, again(task).job_id) == (1, "")
    assert "under way until" in done.err


def test_after_a_restore_a_ready_task_takes_over_the_job_that_the_table_forgot(
    account: Account, person: Person
) -> None:
    task = account.open("a6", status=Status.READY, intended_at="")
    assert person.types("adopt", task.task_id, "kie_job_6", "--why", "restored").code == 1
    with account.options(submit_enabled=False):
        words = ("adopt", task.task_id, "kie_job_6", "--why", "restored", "--wait", "0")
        assert person.types(*words).code == 0
    named = again(task).lookup
    assert named["job_id"] == "kie_job_6"
    assert account.submissions() == [{"task_id": task.task_id, "look_up": named["at"]}]


def test_a_held_task_is_not_paid_again_unless_a_second_charge_is_accepted(
    account: Account, person: Person
) -> None:
    task = account.open("b1", error=HELD)
    done = person.types("resubmit", task.task_id, "--why", "urgent")
    assert (done.code, again(task).status, account.submissions()) == (1, Status.HELD, [])
    assert "may have been charged" in done.err
    assert "--i-accept-a-second-charge" in done.err


def test_a_held_task_is_sent_anew_where_a_second_charge_is_accepted(
    account: Account, person: Person
) -> None:
    task = account.open("b2", error=HELD)
    slots = table.Update("slots#kie").set(leases={task.external_id: table.later(seconds=60)})
    slots.run()
    table.Update(key_of(task.task_id)).set(
        booked=["slots#kie"], job_hint="kie_x", callbacks_received=1, task_token="t"
    ).run()
    done = person.types("resubmit", task.task_id, "--why", "urgent", "--i-accept-a-second-charge")
    after = again(task)
    assert (done.code, after.status, after.attempt) == (0, Status.READY, 2)
    assert (after.callbacks_received, after.job_hint, after.task_token, after.booked) == (
        0,
        "",
        "",
        (),
    )
    assert after.past[0]["error"] == HELD
    assert after.history[-1]["why"] == "attempt 2: urgent"
    assert (table.read("slots#kie") or {})["leases"] == {}
    assert account.submissions() == [{"task_id": task.task_id, "turn": ""}]


def test_a_job_that_the_provider_failed_is_sent_anew_without_accepting_anything(
    account: Account, person: Person
) -> None:
    task = account.open(
        "b3",
        status=Status.FAILED,
        job_id="kie_job_12",
        error={"code": "501", "message": "no face found"},
    )
    done = person.types("resubmit", task.task_id, "--why", "they mended it")
    after = again(task)
    assert (done.code, after.status, after.attempt, after.job_id) == (0, Status.READY, 2, "")
    assert after.past[0]["job_id"] == "kie_job_12"
    assert again(task).event_id == f"{task.task_id}#READY#2"
    account.submissions()


def test_what_a_person_failed_is_in_doubt_still(account: Account, person: Person) -> None:
    task = account.open("b4", error=HELD)
    assert person.types("fail", task.task_id, "--why", "too late now").code == 0
    assert again(task).error == {"code": "FAILED_BY_HAND", "message": "too late now"}
    done = person.types("resubmit", task.task_id, "--why", "wanted after all")
    assert (done.code, again(task).status) == (1, Status.FAILED)


def test_a_refused_file_is_mended_and_not_sent_anew(account: Account, person: Person) -> None:
    task = account.open(
        "b5",
        status=Status.FAILED,
        intended_at="",
        error={"code": "NOT_MEDIA", "message": "an HTML page"},
    )
    done = person.types("resubmit", task.task_id, "--why", "again")
    assert (done.code, again(task).attempt) == (1, 1)
    assert "mend or replace" in done.err


def test_a_callback_during_a_decision_is_not_overruled(account: Account) -> None:
    seen = account.open("b6", error=HELD)
    callbacks.record(seen.task_id, 1, "kie_job_13")
    with pytest.raises(ConditionFailed):
        claims.resubmit(seen, who="ada", why="urgent")
    assert again(seen).attempt == 1


@pytest.mark.parametrize("status", [Status.READY, Status.SUBMITTED, Status.COMPLETED])
def test_only_a_held_task_is_failed_by_hand(
    account: Account, person: Person, status: Status
) -> None:
    task = account.open(f"c{status.value.encode().hex()[:6]}", status=status)
    assert person.types("fail", task.task_id, "--why", "no").code == 1
    assert again(task).status is status


def test_a_stopped_provider_is_reopened_once(account: Account, person: Person) -> None:
    books.stop("kie", "kie answered 402: top up the account")
    assert person.types("reopen", "kie").code == 0
    assert books.stopped_since("kie") is None
    assert (table.read("breaker#kie") or {})["reopened_by"].startswith("arn:aws:")
    assert person.types("reopen", "kie").code == 1
    assert "there are: " in person.types("reopen", "nobody").err


def test_everything_known_of_a_task_is_on_one_page(account: Account, person: Person) -> None:
    task = account.open("d1", error=HELD, prompt="speak \x1b[2J up")
    callbacks.record(task.task_id, 1, "kie_job_14")
    done = person.types("explain", task.task_id)
    assert done.code == 0
    for words in (
        VOICE_PART,
        "AMBIGUOUS: the answer was lost",
        "1 genuine",
        "a callback named job kie_job_14",
        "CallbackRefused",
        "watched by no execution",
        "waits for a person",
        "the sweep checks it at",
    ):
        assert words in done.out
    assert "\x1b" not in done.out


def test_on_a_terminal_lines_break_between_words_and_paths_stay_whole(
    account: Account, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = account.open("ce3", error=HELD)
    piped = person.types("explain", task.task_id).out
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = person.types("explain", task.task_id).out
    assert max(map(len, piped.splitlines())) > 80
    assert [line for line in shown.splitlines() if len(line) > 80 and " " in line.strip()] == []
    assert shown.split() == piped.split()


def test_the_money_of_a_task_is_explained(account: Account, person: Person) -> None:
    why = "11 s of voice: infinitalk/from-audio, 0.18 USD"
    dear = account.open("d2", charge_usd=Decimal("0.21"), model_reason=why, max_usd=Decimal(5))
    out = person.types("explain", dear.task_id).out
    assert "quote 0.18 USD, charge 0.21 USD" in out
    assert "more than a tenth away from the quote" in out
    assert f"the model was chosen for it: {why}" in out
    assert "it may cost 5 USD at most, as it says itself" in out
    assert "no budget is set" in out
    usual = account.open("d3", charge_usd=Decimal("0.18"))
    with account.options(budget_usd_per_day=10):
        out = person.types("explain", usual.task_id).out
    assert "a tenth away" not in out
    assert "it may cost 20 USD at most (option max_usd_per_task)" in out
    assert "no budget is set" not in out


VOICE_PART = "faces/ada.mp3  version v2"


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_explained(account: Account, person: Person, status: Status) -> None:
    task = account.open(f"5a{list(Status).index(status):02d}", status=Status.SUBMITTED)
    table.Update(key_of(task.task_id)).set(
        status=status.value, lease_until=table.later(seconds=9)
    ).run()
    done = person.types("explain", task.task_id)
    assert (done.code, f"{status}, attempt 1" in done.out) == (0, True)


def test_a_stack_that_is_not_there_is_an_error_with_what_to_check(person: Person) -> None:
    done = person.types("explain", "0" * 32, stack="Nowhere")
    assert done.code == 3
    assert "--stack" in done.err


def test_a_task_that_is_not_there_is_refused(person: Person) -> None:
    assert person.types("explain", "0" * 32).code == 1


def test_the_region_is_taken_as_the_aws_cli_takes_it(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert person.types("explain", "0" * 32).code == 1


def test_an_aws_that_cannot_be_reached_has_an_exit_code_of_its_own(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not this machine's usual address: an embedded run of this checkout would be taken instead.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.2:9")
    done = person.types("explain", "0" * 32)
    assert done.code == 3
    assert "AWS_ENDPOINT_URL" in done.err
