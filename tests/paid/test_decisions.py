"""What a person decides, by the API: from where it is allowed, what it needs, what it leaves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from functions.tasks import table
from functions.tasks.task import Status, Task
from tests.paid.desk import JOB, Desk, kie_record, kling_answer, kling_record

OTHER = "0123456789abcdef0123456789abcdef"
WHY = {"why": "Seen at the provider."}
ADOPT = {"job_id": JOB, **WHY}
SURE = {**WHY, "i_accept_a_second_charge": True}
AMBIGUOUS = {"code": "AMBIGUOUS", "message": "m"}
DOWN = "InternalServerError"
BUSY = "TransactionCanceledException"


def ago(seconds: float) -> str:
    return table.later(seconds=-seconds)


def decide(desk: Desk, task: Task, what: str, body: Any = None, **more: Any) -> tuple[int, str]:
    """The status, and the result or why it was refused."""
    status, answer = desk.api("POST", f"/tasks/{task.task_id}/{what}", body or WHY, **more)
    return status, answer.get("result") or answer["detail"]


RUNNING = {"code": 200, "data": {"taskId": JOB, "state": "generating"}}


def adopt(desk: Desk, task: Task, answer: Any = RUNNING) -> tuple[int, str]:
    """Name a job, and have the provider queried for it: whether it was adopted, or why not."""
    desk.answers(answer)
    code, why = decide(desk, task, "adopt", ADOPT)
    if code != 200:
        return code, why
    message = desk.messages()[-1]
    assert message["task_id"] == task.task_id
    assert desk.message("submit", message) == []
    return _looked_up(desk, task)


def _looked_up(desk: Desk, task: Task) -> tuple[int, str]:
    after = desk.task(task.task_id)
    is_adopted = after.job_id == JOB and after.status is Status.SUBMITTED
    return (200, "adopted") if is_adopted else (409, str(after.lookup.get("refusal", "")))


# Cancel.


@pytest.mark.parametrize("status", [Status.WAITING, Status.READY])
def test_what_was_not_sent_can_be_cancelled(desk: Desk, status: Status) -> None:
    task = desk.row(status, waits_for="its turn", not_before=ago(1))
    assert decide(desk, task, "cancel") == (200, "CANCELLED; nothing of it was paid")
    after = desk.task(task.task_id)
    assert after.status is Status.CANCELLED
    assert after.error == {
        "code": "CANCELLED",
        "message": "cancelled before it was sent: Seen at the provider.",
    }
    assert (after.waits_for, after.not_before) == ("", "")
    assert after.history[-1]["who"] == "ada"
    again = decide(desk, task, "cancel")
    assert (again[0], again[1][:17]) == (200, "CANCELLED already")


@pytest.mark.parametrize(
    "status", [one for one in Status if one not in {Status.WAITING, Status.READY}]
)
def test_nothing_else_can_be_cancelled(desk: Desk, status: Status) -> None:
    task = desk.row(status)
    code, why = decide(desk, task, "cancel")
    if status is Status.CANCELLED:
        assert code == 200
    else:
        assert (code, why) == (
            409,
            f"the task is {status}: only a WAITING or READY one can be cancelled",
        )
    assert desk.task(task.task_id) == task


@pytest.mark.parametrize(
    "facts",
    [
        {"first_sent_at": "2026-03-01T09:00:00.000Z"},
        {"speech_intended_at": "2026-03-01T09:00:00.000Z"},
        {"callbacks_received": 1},
        {"hints_dropped": 1},
    ],
)
def test_what_may_have_been_paid_is_not_cancelled(desk: Desk, facts: dict[str, Any]) -> None:
    task = desk.row(Status.READY, **facts)
    code, why = decide(desk, task, "cancel")
    assert (code, "earlier submit of it is in doubt" in why) == (409, True)
    assert desk.task(task.task_id) == task


@pytest.mark.parametrize("fact", [{"status": "SUBMITTING"}, {"attempt": 2}])
def test_what_was_sent_meanwhile_is_not_cancelled(desk: Desk, fact: dict[str, Any]) -> None:
    task = desk.row(Status.READY)
    desk.before("UpdateItem", lambda: desk.note(task.task_id, **fact))
    assert decide(desk, task, "cancel")[0] == 409
    assert desk.task(task.task_id).status is not Status.CANCELLED


# Adopt.


@pytest.mark.parametrize("status", [Status.HELD, Status.FAILED, Status.CANCELLED, Status.READY])
def test_a_job_that_a_person_found_is_taken_over(desk: Desk, status: Status) -> None:
    task = desk.row(status, intended_at=ago(60), error=AMBIGUOUS)
    assert adopt(desk, task) == (200, "adopted")
    after = desk.task(task.task_id)
    assert (after.status, after.job_id, after.adopted_by) == (Status.SUBMITTED, JOB, "ada")
    assert (after.error, after.intended_at) == ({}, task.intended_at)
    assert after.history[-1]["why"] == f"{JOB}: Seen at the provider."
    assert after.history[-1]["who"] == "ada"
    assert desk.started == ["-1"]


def test_an_execution_that_waits_is_woken(desk: Desk) -> None:
    task = desk.row(Status.HELD, intended_at=ago(60))
    desk.note(task.task_id, task_token=desk.token(task))
    adopt(desk, task)
    assert desk.woken == [{"next": "watch"}]
    assert desk.started == []


@pytest.mark.parametrize(
    "status",
    [Status.WAITING, Status.SUBMITTED, Status.ARCHIVING, Status.COMPLETED, Status.EXPIRED],
)
def test_no_other_task_takes_over_a_job(desk: Desk, status: Status) -> None:
    task = desk.row(status, intended_at=ago(60))
    code, why = adopt(desk, task)
    assert (code, why.split(":")[0]) == (409, f"the task is {status}")
    assert desk.task(task.task_id) == task


@pytest.mark.parametrize(
    ("status", "options", "is_taken"),
    [
        (Status.HELD, {}, False),
        (Status.FAILED, {"submit_enabled": False}, False),
        (Status.READY, {}, False),
        (Status.READY, {"submit_enabled": False}, True),
    ],
)
def test_a_task_that_was_never_sent_has_no_job_but_after_a_restore(
    desk: Desk, status: Status, options: dict[str, Any], is_taken: bool
) -> None:
    desk.options(**options)
    task = desk.row(status)
    code, why = adopt(desk, task)
    assert code == (200 if is_taken else 409)
    after = desk.task(task.task_id)
    if is_taken:
        assert after.intended_at == ago(0)  # from now on it counts as paid
    else:
        assert "nothing was ever sent" in why
        assert after == task


@pytest.mark.parametrize(("seconds", "code"), [(0, 200), (0.001, 409)])
def test_a_submit_under_way_is_left_to_its_owner(desk: Desk, seconds: float, code: int) -> None:
    lease = table.later(seconds=seconds)
    task = desk.row(Status.SUBMITTING, intended_at=ago(60), lease_until=lease)
    assert adopt(desk, task)[0] == code


@pytest.mark.parametrize(
    ("status", "facts", "code"),
    [
        (Status.HELD, {"job_id": JOB}, 200),
        (Status.HELD, {"job_id": OTHER}, 409),
        (Status.HELD, {"job_id": OTHER, "adopted_by": "bob"}, 200),
        (Status.FAILED, {"job_id": OTHER, "adopted_by": "bob"}, 200),
        (Status.SUBMITTED, {"job_id": OTHER, "adopted_by": "bob"}, 200),
        (Status.ARCHIVING, {"job_id": OTHER, "adopted_by": "bob"}, 409),
        (Status.CANCELLED, {"job_id": OTHER, "adopted_by": "bob"}, 409),
        (Status.READY, {"job_id": OTHER, "adopted_by": "bob"}, 409),
    ],
)
def test_a_job_id_is_written_once_and_corrected_only_by_a_person(
    desk: Desk, status: Status, facts: dict[str, Any], code: int
) -> None:
    desk.put(f"job#kie#{facts['job_id']}", task_id="x", attempt=1)
    task = desk.row(status, intended_at=ago(60), **facts)
    desk.put(f"job#kie#{facts['job_id']}", task_id=task.task_id)
    assert adopt(desk, task)[0] == code
    after = desk.task(task.task_id)
    assert after.job_id == (JOB if code == 200 else facts["job_id"])


def test_a_correction_takes_back_what_the_wrong_job_left(desk: Desk) -> None:
    wrong: dict[str, Any] = {
        "job_id": OTHER, "adopted_by": "bob", "video_url": "https://x/y", "trusted_host": "x",
        "archiving_since": ago(9), "archive_verdicts": 2,
    }  # fmt: skip
    task = desk.row(Status.HELD, intended_at=ago(60), **wrong)
    desk.put(f"job#kie#{OTHER}", task_id=task.task_id)
    assert adopt(desk, task)[0] == 200
    after = desk.task(task.task_id)
    assert (after.job_id, after.adopted_by, after.status) == (JOB, "ada", Status.SUBMITTED)
    assert (after.video_url, after.trusted_host, after.archiving_since) == ("", "", "")
    assert after.archive_verdicts == 0
    assert after.history[-1]["why"] == f"{JOB}: not {OTHER}: Seen at the provider."
    assert "task_id" not in desk.item(f"job#kie#{OTHER}")  # free again
    assert desk.item(f"job#kie#{JOB}")["task_id"] == task.task_id


@pytest.mark.parametrize(
    "fact", [{"job_id": "a third"}, {"adopted_by": None}, {"status": "COMPLETED"}, {"attempt": 2}]
)
def test_a_correction_of_what_changed_meanwhile_is_refused(
    desk: Desk, fact: dict[str, Any]
) -> None:
    task = desk.row(Status.HELD, intended_at=ago(60), job_id=OTHER, adopted_by="bob")
    desk.put(f"job#kie#{OTHER}", task_id=task.task_id)

    def change() -> None:
        if fact == {"adopted_by": None}:
            table.Update(f"task#{task.task_id}").remove("adopted_by").run()
        else:
            desk.note(task.task_id, **fact)

    desk.before("TransactWriteItems", change)
    code, why = adopt(desk, task)
    assert (code, why) == (409, "the task changed meanwhile and nothing was written: look again")
    assert desk.item(f"job#kie#{OTHER}") != {}


def test_a_correction_frees_only_what_was_its_own(desk: Desk) -> None:
    task = desk.row(Status.HELD, intended_at=ago(60), job_id=OTHER, adopted_by="bob")
    desk.put(f"job#kie#{OTHER}", task_id="somebody else's")
    assert adopt(desk, task)[0] == 409
    assert desk.item(f"job#kie#{OTHER}")["task_id"] == "somebody else's"


@pytest.mark.parametrize("facts", [{}, {"job_id": OTHER, "adopted_by": "bob"}])
def test_a_job_of_another_task_is_not_adopted(desk: Desk, facts: dict[str, Any]) -> None:
    desk.put(f"job#kie#{JOB}", task_id="somebody else's", attempt=1)
    task = desk.row(Status.HELD, intended_at=ago(60), **facts)
    desk.put(f"job#kie#{OTHER}", task_id=task.task_id)
    assert adopt(desk, task) == (409, f"job {JOB} of kie is another task's")
    assert desk.item(f"job#kie#{JOB}")["task_id"] == "somebody else's"


@pytest.mark.parametrize("fact", [{"status": "READY"}, {"attempt": 2}, {"job_id": OTHER}])
def test_what_changed_since_the_person_looked_is_not_adopted(
    desk: Desk, fact: dict[str, Any]
) -> None:
    task = desk.row(Status.HELD, intended_at=ago(60))
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, **fact))
    assert adopt(desk, task)[0] == 409
    assert desk.task(task.task_id).adopted_by == ""


# The provider is queried before a job is adopted.


def held(desk: Desk, **facts: Any) -> Task:
    return desk.row(Status.HELD, intended_at=ago(60), **facts)


def test_a_job_is_named_before_it_is_adopted(desk: Desk) -> None:
    task = held(desk)
    code, why = decide(desk, task, "adopt", ADOPT)
    assert (code, why.split(";")[0]) == (200, f"kie is queried about job {JOB}")
    after = desk.task(task.task_id)
    assert (after.status, after.job_id) == (Status.HELD, "")
    assert after.lookup == {"job_id": JOB, "who": "ada", "why": WHY["why"], "at": ago(0)}
    assert after.history[-1]["what"] == "LOOKED UP"
    assert after.history[-1]["why"] == f"job {JOB}: Seen at the provider."
    assert after.due_at == table.later(seconds=600)
    assert desk.messages() == [{"task_id": task.task_id, "look_up": ago(0)}]
    assert desk.requests == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"code": 422, "msg": "recordInfo is null"}, f"kie knows no job {JOB} of this account"),
        ({"code": 401, "msg": "no"}, "kie could not be queried: "),
    ],
)
def test_a_job_that_the_provider_does_not_answer_for_is_not_adopted(
    desk: Desk, answer: Any, words: str
) -> None:
    task = held(desk)
    code, why = adopt(desk, task, answer)
    assert code == 409
    assert why.startswith(words)
    after = desk.task(task.task_id)
    assert (after.status, after.adopted_by) == (Status.HELD, "")
    assert (after.history[-1]["what"], after.history[-1]["why"]) == ("NOT ADOPTED", why)
    assert not after.is_looked_up


def test_a_provider_that_is_down_is_queried_again_by_the_sweep(desk: Desk) -> None:
    task = held(desk)
    assert adopt(desk, task, (503, b"down")) == (409, "")
    after = desk.task(task.task_id)
    assert after.is_looked_up
    assert after.due_at == table.later(seconds=300)
    desk.wait(300)
    desk.sweep()
    assert desk.messages()[-1] == {"task_id": task.task_id, "look_up": after.lookup["at"]}


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("whose", ["another", "ours", "nobody"])
def test_a_job_that_was_made_for_another_task_is_not_adopted(
    desk: Desk, whose: str, is_there: bool
) -> None:
    task, other = held(desk), desk.row(Status.SUBMITTED)
    owner = {"another": other, "ours": task, "nobody": other}[whose]
    record = kie_record(owner, "generating", attempt=0 if whose == "nobody" else 1)
    if not is_there:
        del desk.account.table.items[f"task#{other.task_id}"]
    code, why = adopt(desk, task, record)
    assert code == (409 if whose == "another" and is_there else 200)
    if code == 409:
        assert why == f"job {JOB} of kie was made for task {other.task_id}"


def test_a_job_that_carries_another_task_s_id_is_not_adopted(desk: Desk) -> None:
    other = desk.row(Status.SUBMITTED, provider="kling")
    task = held(desk, provider="kling")
    record = kling_answer(kling_record(other.external_id, "processing"))
    assert adopt(desk, task, record)[1].endswith(f"was made for task {other.task_id}")
    own = kling_answer(kling_record(task.external_id, "processing"))
    desk.wait(1)
    assert adopt(desk, desk.task(task.task_id), own) == (200, "adopted")


def test_only_the_job_that_was_named_last_is_looked_up(desk: Desk) -> None:
    task = held(desk)
    decide(desk, task, "adopt", {**ADOPT, "job_id": OTHER})
    desk.wait(1)
    decide(desk, task, "adopt", ADOPT)
    first, second = desk.messages()
    desk.answers(RUNNING)
    desk.message("submit", first)
    assert desk.requests == []
    desk.message("submit", second)
    assert desk.task(task.task_id).job_id == JOB
    queries = len(desk.requests)
    desk.message("submit", {**second, "task_id": "b" * 32})
    assert len(desk.requests) == queries


def test_an_answer_that_came_is_not_looked_up_again(desk: Desk) -> None:
    task = held(desk)
    adopt(desk, task, {"code": 422, "msg": "null"})
    message, queries = desk.messages()[-1], len(desk.requests)
    desk.message("submit", message)
    assert len(desk.requests) == queries


def test_a_refusal_of_a_job_that_was_replaced_meanwhile_is_not_written(desk: Desk) -> None:
    task = held(desk)
    decide(desk, task, "adopt", ADOPT)
    desk.answers({"code": 422, "msg": "null"})
    newer = {**desk.task(task.task_id).lookup, "at": table.later(seconds=1)}
    desk.meanwhile = lambda: desk.note(task.task_id, lookup=newer)
    assert desk.message("submit", desk.messages()[-1]) == []
    assert desk.task(task.task_id).lookup == newer


def test_what_changed_since_the_person_looked_is_not_looked_up(desk: Desk) -> None:
    task = held(desk)
    desk.before("UpdateItem", lambda: desk.put(f"task#{task.task_id}", changed_at=ago(-1)))
    code, why = decide(desk, task, "adopt", ADOPT)
    assert (code, why) == (409, "the task changed meanwhile and nothing was written: look again")
    assert desk.messages() == []


def test_a_table_that_is_busy_has_the_lookup_come_again(desk: Desk) -> None:
    task = held(desk)
    decide(desk, task, "adopt", ADOPT)
    desk.answers(RUNNING)
    conflict = [{"Code": "TransactionConflict"}]
    desk.refuse("TransactWriteItems", BUSY, CancellationReasons=conflict)
    assert desk.message("submit", desk.messages()[-1]) == ["0"]
    assert desk.task(task.task_id).is_looked_up


# Resubmit.


@pytest.mark.parametrize(
    ("status", "facts", "body", "code", "words"),
    [
        (Status.HELD, {"error": AMBIGUOUS}, WHY, 409, "is held (AMBIGUOUS) and may have been"),
        (Status.HELD, {"error": AMBIGUOUS}, SURE, 200, "READY for attempt 2, and in the"),
        (Status.FAILED, {"error": {"code": "422", "message": "m"}}, WHY, 200, "READY"),
        (
            Status.FAILED,
            {"error": {"code": "FAILED_BY_HAND", "message": "m"}},
            WHY,
            409,
            "was failed by a person, so it may have been charged: look at kie first",
        ),
        (
            Status.FAILED,
            {"error": {"code": "422", "message": "m"}, "callbacks_received": 1},
            WHY,
            409,
            "came and was not handled yet: wait, or look at kie first",
        ),
        (
            Status.FAILED,
            {
                "error": {"code": "422", "message": "m"},
                "callbacks_received": 1,
                "callbacks_handled": 1,
            },
            WHY,
            200,
            "READY",
        ),
        (Status.READY, {}, SURE, 409, "only a FAILED or HELD one can be sent again"),
        (Status.COMPLETED, {}, SURE, 409, "the task is COMPLETED"),
        (Status.CANCELLED, {}, SURE, 409, "the task is CANCELLED"),
    ],
)
def test_another_attempt_is_made_where_the_last_one_is_known_or_its_risk_accepted(
    desk: Desk, status: Status, facts: dict[str, Any], body: Any, code: int, words: str
) -> None:
    task = desk.row(status, intended_at=ago(60), **facts)
    got, why = decide(desk, task, "resubmit", body)
    assert got == code
    assert words in why
    after = desk.task(task.task_id)
    if code == 200:
        assert (after.status, after.attempt) == (Status.READY, 2)
        assert desk.messages() == [{"task_id": task.task_id, "turn": ""}]
        assert after.history[-1]["why"] == "attempt 2: Seen at the provider."
        assert after.history[-1]["who"] == "ada"
    else:
        assert after == task
        assert desk.messages() == []


@pytest.mark.parametrize(("code", "status"), [("OVER_BUDGET", 200), ("NOT_AUDIO", 409)])
def test_what_was_never_sent_goes_on_by_its_files_but_for_its_budget(
    desk: Desk, code: str, status: int
) -> None:
    task = desk.row(Status.FAILED, error={"code": code, "message": "m"})
    assert decide(desk, task, "resubmit", WHY)[0] == status


@pytest.mark.parametrize(
    ("leased", "left"),
    [
        ([], ({"aaaaaaaaaaaaaaaaaaaaaaaaaaaa0001-1", "another-1"}, 5)),
        (["slots#kie"], ({"another-1"}, 5)),  # the previous version gave it a name
        (["slots#kie", "lapsing_492329"], ({"aaaaaaaaaaaaaaaaaaaaaaaaaaaa0001-1", "another-1"}, 4)),
    ],
)
def test_another_attempt_has_nothing_of_the_last_one_but_its_trace(
    desk: Desk, leased: list[str], left: tuple[set[str], int]
) -> None:
    at = ago(60)
    of_one: dict[str, Any] = {
        "account": "a", "adopted_by": "bob", "archive_tried_at": at, "archive_verdicts": 2,
        "archiving_since": at, "charge_usd": Decimal("0.2"), "counted_usd": Decimal("0.2"),
        "doubt": at, "doubt_why": "w", "first_sent_at": at, "hints_dropped": 1, "job_hint": JOB,
        "job_alias": "a",
        "job_id": JOB, "last_callback_at": at, "last_query_at": at, "lease_until": at,
        "not_before": at, "owner": "o", "resends": 1, "revived": "-x",
        "returned_why": "w", "sent_at": at, "speech_intended_at": at, "submitted_at": at,
        "task_token": "t",
        "trusted_host": "h", "video_url": "https://x/y", "waits_for": "w",
        "waits_place": 3,
    }  # fmt: skip
    counted: dict[str, Any] = {
        "callbacks_received": 3, "callbacks_handled": 2, "polls_done": 9, "returns": 4,
        "job_hints": {JOB: at},
    }  # fmt: skip
    task = desk.row(Status.HELD, intended_at=at, error=AMBIGUOUS, **of_one, **counted)
    task = desk.note(
        task.task_id, booked=[*leased, "budget#2026-03-01"], expires_at=1, soon_until=at
    )
    desk.note(task.task_id, second_jobs=[OTHER])
    desk.put("slots#kie", leases={task.external_id: at, "another-1": at}, lapsing_492329=5)
    desk.put("budget#2026-03-01", spent_usd=1)
    assert decide(desk, task, "resubmit", SURE)[0] == 200
    assert desk.task(task.task_id).second_jobs == (OTHER,)  # perhaps charged: still to be looked at
    item = desk.item(f"task#{task.task_id}")
    assert not (set(of_one) | {"error", "expires_at", "soon_until"}) & set(item)
    assert {name: item[name] for name in counted} == {**dict.fromkeys(counted, 0), "job_hints": {}}
    assert item["booked"] == []
    (trace,) = item["past"]
    assert trace == {
        "attempt": 1, "job_id": JOB, "charge_usd": Decimal("0.2"), "error": AMBIGUOUS,
    }  # fmt: skip
    assert desk.leases() == left
    assert desk.item("budget#2026-03-01")["spent_usd"] == 1  # it may have been charged
    assert item["settings"] == task.settings


@pytest.mark.parametrize(
    "fact",
    [
        {"changed_at": "2026-03-01T10:00:05.000Z"},
        {"callbacks_received": 1},
        {"booked": ["slots#kie"]},
        {"status": "COMPLETED"},
        {"attempt": 2},
    ],
)
def test_what_changed_since_the_person_looked_is_not_sent_again(
    desk: Desk, fact: dict[str, Any]
) -> None:
    task = desk.row(Status.HELD, intended_at=ago(60), error=AMBIGUOUS)
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, **fact))
    code, why = decide(desk, task, "resubmit", SURE)
    assert (code, why) == (409, "the task changed meanwhile and nothing was written: look again")
    assert desk.messages() == []


# Fail.


def test_a_held_task_can_be_given_up_and_its_quote_stays_spent(desk: Desk) -> None:
    desk.put("budget#2026-03-01", spent_usd=1)
    task = desk.row(Status.HELD, intended_at=ago(60), error=AMBIGUOUS, callbacks_received=1)
    task = desk.note(task.task_id, booked=["slots#kie", "budget#2026-03-01"])
    desk.put("slots#kie", leases={task.external_id: "x"})
    assert decide(desk, task, "fail")[0] == 200
    after = desk.task(task.task_id)
    assert after.status is Status.FAILED
    assert after.error == {"code": "FAILED_BY_HAND", "message": "Seen at the provider."}
    assert (after.charge_usd, after.counted_usd) == (None, Decimal("0.18"))
    assert after.callbacks_handled == 0
    assert after.history[-1]["who"] == "ada"
    assert desk.item("slots#kie")["leases"] == {}
    assert desk.item("budget#2026-03-01")["spent_usd"] == 1


@pytest.mark.parametrize("charge", ["0.10", "0.25", "0"])
def test_what_a_job_cost_is_still_known_of_a_task_that_is_given_up_and_counts(
    desk: Desk, charge: str
) -> None:
    desk.put("budget#2026-03-01", spent_usd=Decimal("0.18"))
    task = desk.row(Status.HELD, **desk.sent(), charge_usd=Decimal(charge))
    desk.note(task.task_id, booked=["budget#2026-03-01"])
    answer = "FAILED; what it was charged stays counted as spent"
    assert decide(desk, task, "fail") == (200, answer)
    assert desk.api("GET", f"/tasks/{task.task_id}")[1]["charge_usd"] == float(charge)
    assert desk.item("budget#2026-03-01")["spent_usd"] == Decimal(charge)


def test_a_cancel_whose_answer_was_lost_is_a_cancel(desk: Desk) -> None:
    """AWS's client repeats the write, and the repeat finds a task that is not READY any more."""
    task = desk.row(Status.READY)

    def lost(given: dict[str, Any]) -> Any:
        desk.account.really("dynamodb", "UpdateItem", dict(given))
        return desk.account.really("dynamodb", "UpdateItem", given)

    desk.instead("UpdateItem", lost)
    assert decide(desk, task, "cancel") == (200, "CANCELLED; nothing of it was paid")
    assert desk.task(task.task_id).entered["CANCELLED#1"] == 1


@pytest.mark.parametrize("status", [one for one in Status if one is not Status.HELD])
def test_only_a_held_task_waits_for_that_decision(desk: Desk, status: Status) -> None:
    task = desk.row(status)
    assert decide(desk, task, "fail") == (
        409,
        f"the task is {status}: only a HELD one waits for this decision",
    )
    assert desk.task(task.task_id) == task


def test_a_task_that_moved_meanwhile_is_not_failed(desk: Desk) -> None:
    task = desk.row(Status.HELD)
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, status="ARCHIVING"))
    assert decide(desk, task, "fail")[0] == 409
    assert desk.task(task.task_id).status is Status.ARCHIVING


# A table that is down is a server's error, and no refusal.


@pytest.mark.parametrize(
    ("what", "status", "body"),
    [
        ("cancel", Status.READY, WHY),
        ("adopt", Status.HELD, ADOPT),
        ("resubmit", Status.HELD, SURE),
        ("fail", Status.HELD, WHY),
    ],
)
def test_a_table_that_is_down_is_no_refusal(
    desk: Desk, what: str, status: Status, body: Any
) -> None:
    task = desk.row(status, intended_at=ago(60), error=AMBIGUOUS)
    for operation in ("UpdateItem", "TransactWriteItems"):
        desk.refuse(operation)
    with pytest.raises(Exception, match=DOWN):  # API Gateway answers 500
        decide(desk, task, what, body)


# What is offered.


@pytest.mark.parametrize(
    ("status", "facts", "offered"),
    [
        (Status.WAITING, {}, {"cancel"}),
        (Status.READY, {}, {"cancel"}),
        (Status.SUBMITTING, {"lease_until": 0.001}, set()),
        (Status.SUBMITTING, {"lease_until": 0}, {"adopt"}),
        (Status.SUBMITTED, {}, set()),
        (Status.ARCHIVING, {}, set()),
        (Status.COMPLETED, {}, set()),
        (Status.FAILED, {}, set()),
        (Status.FAILED, {"intended_at": -1}, {"adopt", "resubmit"}),
        (Status.EXPIRED, {}, set()),
        (Status.CANCELLED, {}, set()),
        (Status.HELD, {"error": AMBIGUOUS}, {"adopt", "resubmit", "fail"}),
    ],
)
def test_a_task_offers_what_may_be_decided_now(
    desk: Desk, status: Status, facts: dict[str, Any], offered: set[str]
) -> None:
    times = {"lease_until", "intended_at"}
    given = {
        name: table.later(seconds=value) if name in times else value
        for name, value in facts.items()
    }
    task = desk.row(status, **given)
    code, shown = desk.api("GET", f"/tasks/{task.task_id}")
    assert code == 200
    assert set(shown["actions"]) == offered


# Who decides.


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ({"iam": {"userArn": "arn:ada"}}, "arn:ada"),
        ({"jwt": {"claims": {"email": "ada@x", "sub": "7"}}}, "ada@x"),
        ({"jwt": {"claims": {"sub": "7"}}}, "7"),
        ({"jwt": None}, "the API"),
        ({}, "the API"),
        ({"iam": {"userArn": "a" * 300}}, "a" * 256),
    ],
)
def test_who_decided_stands_in_the_history(desk: Desk, who: Any, name: str) -> None:
    task = desk.row(Status.READY)
    decide(desk, task, "cancel", who=who)
    assert desk.task(task.task_id).history[-1]["who"] == name
