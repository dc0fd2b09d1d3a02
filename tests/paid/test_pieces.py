"""A long voice: its pieces are opened once the whole is reserved, each is paid out of the reserve,
and the whole ends once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from functions.tasks import plans, queries, steps, table
from functions.tasks.plans import PiecePlan, PlannedPiece
from functions.tasks.task import Status, StoredFile, Task
from tests.faults.runs import VOICE
from tests.paid.desk import ACCEPTED_BY_KIE, DOWN, JOB, Desk, kie_record

DAY, MONTH = "budget#2026-03-01", "budget#2026-03"
QUOTE = Decimal("0.21")
CAPS = {"budget_usd_per_day": 5, "budget_usd_per_month": 50}
REFUSED = {"code": 422, "msg": "no face", "data": None}
CANCELLED = {"code": "CANCELLED", "message": "cancelled: so"}
LATER = {"code": 429, "msg": "slow down", "data": None}


def long(desk: Desk, status: Status = Status.READY, count: int = 3, **facts: Any) -> Task:
    """A task whose voice was cut into so many pieces of 14 s."""
    usual = {
        "candidates": ["infinitalk/from-audio"], "long_voice": "split", "quote_usd": count * QUOTE,
        "prompt": "Smile.", "settings": {"resolution": "480p"},
        "consent": {"who": "Ada", "scope": "all"},
    }  # fmt: skip
    task = desk.row(status, **{**usual, **facts})
    pieces = tuple(
        PlannedPiece(
            number=number, start=350 * (number - 1), end=350 * number, why="a pause",
            in_pause=True, sha256=f"{number:064x}", quote_usd=QUOTE,
            file=cast(StoredFile, {**_voice(desk, number), "seconds": 14}),
        )
        for number in range(1, count + 1)
    )  # fmt: skip
    plan = PiecePlan(
        samples=count * 14 * 8000, rate=8000, channels=1, most_seconds=14.5, least_seconds=0.5,
        spare_frames=1, model="infinitalk/from-audio", reason="3 pieces", pieces=pieces,
    )  # fmt: skip
    return desk.note(task.task_id, plan=plans.write(task, plan))


def _voice(desk: Desk, number: int) -> dict[str, Any]:
    return desk.file(f"_talkdrop/pieces/{number}.wav", VOICE, "audio/wav")


def look(desk: Desk, task: Task, **event: Any) -> Task:
    """One turn of the state that waits and looks; what it answered is in `answers`."""
    desk.wait(1)
    given = {"task_id": task.task_id, "attempt": task.attempt, "task_token": desk.token(task)}
    desk.invoke("gather", {**given, **event})
    return desk.task(task.task_id)


def answers(desk: Desk) -> list[str]:
    return [str(one["next"]) for one in desk.woken]


def taken(desk: Desk, count: int = 3, **facts: Any) -> Task:
    """The whole is reserved and its pieces are opened."""
    desk.options(**CAPS)
    task = look(desk, long(desk, count=count, **facts))
    assert task.status is Status.IN_PIECES
    desk.account.calls.clear()
    return task


def pieces_of(desk: Desk, task: Task) -> list[Task]:
    return [desk.task(one) for one in plans.ids_of_pieces(task)]


def left(desk: Desk, task: Task) -> Any:
    return desk.item(f"reserve#{task.task_id}").get("left_usd")


def spent(desk: Desk) -> tuple[Any, Any]:
    return desk.item(DAY).get("spent_usd", 0), desk.item(MONTH).get("spent_usd", 0)


def all_in(desk: Desk, task: Task, status: Status = Status.COMPLETED, **facts: Any) -> None:
    for piece in pieces_of(desk, task):
        desk.note(piece.task_id, status=status.value, **facts)


# The whole first.


def test_a_voice_that_is_not_cut_yet_is_cut(desk: Desk) -> None:
    task = desk.row(candidates=["infinitalk/from-audio"])
    assert look(desk, task) == task
    assert answers(desk) == ["cut"]


def test_the_whole_is_reserved_before_its_pieces_are_opened(desk: Desk) -> None:
    desk.options(**CAPS)
    desk.put(DAY, spent_usd=1)
    before = long(desk, not_before=table.stamp(table.now()), waits_for="the budget",
                  error={"code": "X", "message": "m"})  # fmt: skip
    task = look(desk, before)
    at = table.stamp(table.now())
    assert (task.status, task.intended_at) == (Status.IN_PIECES, at)
    assert (task.not_before, task.waits_for, task.error) == ("", "", {})
    assert dict(task.pieces or {}) == {"all": 3, "done": 0, "stopped": 0}
    assert desk.item(f"reserve#{task.task_id}") == {
        "pk": f"reserve#{task.task_id}", "left_usd": Decimal("0.63"), "periods": [DAY, MONTH],
    }  # fmt: skip
    assert spent(desk) == (Decimal("1.63"), Decimal("0.63"))
    assert answers(desk) == ["gather"]  # this very look changed it
    assert [one["task_id"] for one in desk.messages()] == list(plans.ids_of_pieces(task))


def test_a_piece_is_a_task_of_its_own_with_its_part_of_the_voice(desk: Desk) -> None:
    task = taken(desk)
    assert len({one.task_id for one in pieces_of(desk, task)}) == 3
    second = pieces_of(desk, task)[1]
    assert (second.status, second.origin, second.parent) == (Status.READY, "piece", task.task_id)
    assert (second.provider, second.model) == ("kie", "infinitalk/from-audio")
    assert (second.prompt, dict(second.settings)) == ("Smile.", {"resolution": "480p"})
    assert dict(second.consent) == {"who": "Ada", "scope": "all"}
    assert (second.portrait, second.stem) == (task.portrait, f"{task.stem}-002")
    assert (second.audio["key"], second.audio["seconds"]) == ("_talkdrop/pieces/2.wav", 14)
    assert (second.quote_usd, second.in_reserve, second.candidates) == (QUOTE, True, ())
    assert second.segment == {"number": 2, "start_seconds": 14, "end_seconds": 28}
    assert second.created_at == table.stamp(table.now())


def test_looking_again_opens_only_what_is_missing(desk: Desk) -> None:
    task = taken(desk)
    sent = len(desk.messages())
    one = pieces_of(desk, task)[1]
    task = look(desk, task)
    assert (len(desk.messages()), answers(desk)) == (sent, [])
    assert task.task_token != ""
    desk.account.table.forget(f"task#{one.task_id}")
    look(desk, task)
    assert desk.messages()[sent:] == [{"task_id": one.task_id, "turn": ""}]
    assert desk.task(one.task_id).segment == one.segment


def test_a_piece_that_another_look_opened_meanwhile_is_not_sent_twice(desk: Desk) -> None:
    task = taken(desk)
    sent, one = len(desk.messages()), pieces_of(desk, task)[0]
    item = desk.account.table.items[f"task#{one.task_id}"]
    desk.account.table.forget(f"task#{one.task_id}")
    desk.before("PutItem", lambda: desk.account.table.put_item(item))
    look(desk, task)
    assert len(desk.messages()) == sent


@pytest.mark.parametrize(
    ("options", "status", "answer"),
    [
        ({"budget_usd_per_day": 0.62}, Status.FAILED, "done"),
        ({"budget_usd_per_day": 0.63}, Status.IN_PIECES, "gather"),
        ({"max_usd_per_task": 0.62}, Status.FAILED, "done"),
        ({"max_usd_per_task": 0.63}, Status.IN_PIECES, "gather"),
    ],
)
def test_a_whole_that_no_cap_allows_is_refused_and_nothing_is_opened(
    desk: Desk, options: dict[str, Any], status: Status, answer: str
) -> None:
    desk.options(**options)
    task = look(desk, long(desk))
    assert (task.status, answers(desk)) == (status, [answer])
    if status is Status.FAILED:
        assert task.error["code"] == "OVER_BUDGET"
        assert "this video is quoted 0.63 USD" in task.error["message"]
        assert (desk.messages(), spent(desk), left(desk, task)) == ([], (0, 0), None)


def test_a_whole_waits_for_the_budget_and_nothing_is_opened(desk: Desk) -> None:
    desk.options(**CAPS)
    desk.put(DAY, spent_usd=Decimal("4.38"))
    task = look(desk, long(desk))
    assert task.status is Status.READY
    assert "the budget of 2026-03-01" in task.waits_for
    assert task.not_before > table.stamp(table.now())
    assert (desk.messages(), spent(desk)[1], left(desk, task)) == ([], 0, None)
    desk.put(DAY, spent_usd=Decimal("4.37"))
    assert look(desk, task).status is Status.IN_PIECES


def test_nothing_is_reserved_while_submitting_is_switched_off(desk: Desk) -> None:
    desk.options(**CAPS, submit_enabled=False)
    task = look(desk, long(desk))
    assert (task.status, spent(desk)) == (Status.READY, (0, 0))
    assert "switched off" in task.waits_for


@pytest.mark.parametrize("fact", [{"status": "CANCELLED"}, {"changed_at": "x"}])
def test_a_whole_that_moved_meanwhile_is_not_reserved(desk: Desk, fact: dict[str, Any]) -> None:
    desk.options(**CAPS)
    task = long(desk)
    token = desk.token(task)
    desk.before("TransactWriteItems", lambda: desk.note(task.task_id, **fact))
    event = {"task_id": task.task_id, "attempt": 1, "task_token": token}
    desk.invoke("gather", event)
    assert (desk.messages(), spent(desk), left(desk, task)) == ([], (0, 0), None)


def test_a_whole_is_reserved_once(desk: Desk) -> None:
    desk.options(**CAPS)
    task = long(desk)
    desk.put(f"reserve#{task.task_id}", left_usd=0, periods=[])
    assert look(desk, task).status is Status.READY
    assert spent(desk) == (0, 0)


@pytest.mark.parametrize(
    "status", [one for one in Status if one not in {Status.READY, Status.IN_PIECES, Status.HELD}]
)
def test_a_whole_elsewhere_has_nothing_to_wait_for(desk: Desk, status: Status) -> None:
    task = long(desk, status)
    assert look(desk, task) == task
    assert answers(desk) == ["done"]


def test_another_attempt_and_what_is_no_long_voice_have_nothing_to_wait_for(desk: Desk) -> None:
    task = taken(desk)
    look(desk, task, attempt=2)
    look(desk, task, task_id="b" * 32)
    look(desk, desk.row(Status.READY))
    assert answers(desk) == ["done"] * 3


# How far they are.


def test_all_pieces_are_made_and_are_joined(desk: Desk) -> None:
    task = taken(desk)
    all_in(desk, task, charge_usd=QUOTE)
    first = pieces_of(desk, task)[0]
    past = [{"attempt": 1, "charge_usd": Decimal("0.1")}]
    desk.note(first.task_id, past=past)
    task = look(desk, task)
    assert (answers(desk), task.charge_usd) == (["join"], Decimal("0.73"))
    assert dict(task.pieces or {}) == {"all": 3, "done": 3, "stopped": 0}
    assert task.status is Status.IN_PIECES


@pytest.mark.parametrize("fact", [{"charge_usd": None}, {"past": [{"attempt": 1}]}])
def test_a_charge_that_is_not_known_of_one_piece_is_not_known_of_the_whole(
    desk: Desk, fact: dict[str, Any]
) -> None:
    task = taken(desk)
    all_in(desk, task, charge_usd=QUOTE)
    desk.note(pieces_of(desk, task)[1].task_id, **fact)
    assert (look(desk, task).charge_usd, answers(desk)) == (None, ["join"])


@pytest.mark.parametrize(
    "status", [Status.READY, Status.SUBMITTING, Status.SUBMITTED, Status.ARCHIVING]
)
def test_a_piece_on_its_way_is_waited_for(desk: Desk, status: Status) -> None:
    task = taken(desk)
    all_in(desk, task, charge_usd=QUOTE)
    desk.note(pieces_of(desk, task)[2].task_id, status=status.value)
    task = look(desk, task)
    assert (task.status, task.charge_usd) == (Status.IN_PIECES, None)
    assert dict(task.pieces or {}) == {"all": 3, "done": 2, "stopped": 0}
    assert task.task_token != ""


@pytest.mark.parametrize("status", [Status.HELD, Status.FAILED, Status.EXPIRED, Status.CANCELLED])
def test_a_piece_that_stopped_holds_the_whole_and_is_named(desk: Desk, status: Status) -> None:
    task = taken(desk)
    second = pieces_of(desk, task)[1]
    desk.note(second.task_id, status=status.value, error={"code": "X", "message": "no face"})
    task = look(desk, task)
    words = (
        f"1 of 3 pieces stopped: piece 2 (14 s to 28 s, task {second.task_id[:8]}) is "
        f"{status.value}: X no face. Resubmit each, and the rest goes on by itself; or fail the "
        "task"
    )
    assert (task.status, task.error) == (Status.HELD, {"code": "PIECE_HELD", "message": words})
    assert dict(task.pieces or {}) == {"all": 3, "done": 0, "stopped": 1}
    before = task
    task = look(desk, task)
    assert len(task.history) == len(before.history)
    desk.note(second.task_id, status="READY")
    task = look(desk, task)
    assert (task.status, task.error) == (Status.IN_PIECES, {})
    assert task.history[-1]["why"] == "no piece is stopped any more"


def test_five_of_many_pieces_that_stopped_are_named(desk: Desk) -> None:
    task = taken(desk, count=6)
    error = {"code": "X", "message": "m"}
    for piece in pieces_of(desk, task)[:5]:
        desk.note(piece.task_id, status="FAILED", error=error)
    words = look(desk, task).error["message"]
    assert (words.count("is FAILED"), "more" in words) == (5, False)
    desk.note(task.task_id, status="IN_PIECES")
    desk.note(pieces_of(desk, task)[5].task_id, status="FAILED", error=error)
    words = look(desk, task).error["message"]
    assert words.startswith("6 of 6 pieces stopped: piece 1 ")
    assert (words.count("is FAILED"), "; and 1 more. " in words) == (5, True)


def test_a_whole_that_is_held_for_another_reason_stays_held(desk: Desk) -> None:
    task = taken(desk)
    all_in(desk, task, charge_usd=QUOTE)
    task = desk.note(task.task_id, status="HELD", unfit=2,
                     error={"code": "PIECE_UNFIT", "message": "m"})  # fmt: skip
    assert look(desk, task).status is Status.HELD
    assert "join" not in answers(desk)


@pytest.mark.parametrize(
    ("event", "is_held"),
    [
        ({"stumbles": 5, "join_error": "E"}, False),
        ({"stumbles": 6, "join_error": "E"}, True),
        ({"stumbles": 7, "join_error": "E"}, True),
        ({"stumbles": 6}, False),
        ({"join_error": "E"}, False),
    ],
)
def test_a_join_that_stumbles_six_times_is_held_and_tried_on(
    desk: Desk, event: dict[str, Any], is_held: bool
) -> None:
    task = taken(desk)
    all_in(desk, task, charge_usd=QUOTE)
    task = look(desk, task, **event)
    assert task.status is (Status.HELD if is_held else Status.IN_PIECES)
    assert answers(desk) == ["join"]
    if is_held:
        assert task.error == {
            "code": "JOIN_FAILED",
            "message": "the pieces could not be joined (E): see the log of join; every piece is "
            "made and kept, and it is tried on",
        }


def test_a_piece_that_ends_during_the_look_is_looked_at_at_once(desk: Desk) -> None:
    task = taken(desk)
    desk.before("UpdateItem", lambda: desk.note(task.task_id, pieces_changed=1))
    look(desk, task)
    assert answers(desk) == ["gather"]


def test_how_far_the_pieces_are_is_no_news(desk: Desk) -> None:
    task = taken(desk)
    desk.note(task.task_id, task_token="t")
    desk.note(pieces_of(desk, task)[0].task_id, status="COMPLETED")
    desk.refuse("UpdateItem", after=1)  # its token cannot be left: the note is the last write
    with pytest.raises(Exception, match="InternalServerError"):
        look(desk, task)
    item = desk.item(f"task#{task.task_id}")
    assert (item["pieces"]["done"], item["news"]) == (1, "no")


def test_a_busy_table_is_an_error_of_the_look(desk: Desk) -> None:
    task = taken(desk)
    desk.note(pieces_of(desk, task)[0].task_id, status="FAILED")
    desk.refuse("UpdateItem", "TransactionConflictException", after=1)
    with pytest.raises(Exception, match=r"."):
        look(desk, task)
    assert answers(desk) == []


# More than can be joined.


def weighed(desk: Desk, piece: Task, megabytes: int) -> None:
    archived = {"bytes": megabytes * 1_000_000, "key": "k"}
    desk.note(piece.task_id, status="COMPLETED", archived=archived, charge_usd=QUOTE)


def test_of_a_voice_that_may_become_too_large_one_piece_is_made_first(desk: Desk) -> None:
    task = look(desk, long(desk, count=77))  # 1,078 s at 40 Mbit/s are more than 5 GiB
    assert [one["task_id"] for one in desk.messages()] == [plans.id_of_piece(task, 1)]
    assert dict(task.pieces or {}) == {"all": 77, "done": 0, "stopped": 0}
    assert left(desk, task) == 77 * QUOTE
    look(desk, task)
    assert len(desk.messages()) == 1
    weighed(desk, desk.task(plans.id_of_piece(task, 1)), 69)  # 5.3 GB in all
    task = look(desk, task)
    assert [one["task_id"] for one in desk.messages()] == list(plans.ids_of_pieces(task))
    assert (task.status, task.pieces) == (
        Status.IN_PIECES, {"all": 77, "done": 1, "stopped": 0},
    )  # fmt: skip


def test_a_voice_that_is_surely_small_enough_waits_for_no_first_piece(desk: Desk) -> None:
    look(desk, long(desk, count=76))
    assert len(desk.messages()) == 76


def test_a_whole_whose_first_piece_weighs_too_much_is_held_and_nothing_else_is_paid(
    desk: Desk,
) -> None:
    desk.options(**CAPS | {"budget_usd_per_day": 50})
    task = look(desk, long(desk, count=77))
    weighed(desk, desk.task(plans.id_of_piece(task, 1)), 70)
    task = look(desk, task)
    assert (task.status, task.error["code"]) == (Status.HELD, "JOIN_TOO_LARGE")
    assert task.error["message"] == (
        "1 of 77 pieces are there, and by what they weigh the video of 1078 s will have 5.4 GB; at "
        "most 5.4 are joined here. No other piece was paid. Fail the task; then drop a shorter "
        "voice, or choose a smaller resolution"
    )
    assert (look(desk, task).error, len(desk.messages())) == (task.error, 1)
    assert decide(desk, task, "fail") == (
        200, "FAILED; 76 pieces were not paid and never will be, 1 are paid or on their way",
    )  # fmt: skip


def test_a_first_piece_that_failed_holds_the_whole_and_nothing_else_is_paid(desk: Desk) -> None:
    task = look(desk, long(desk, count=77))
    first = plans.id_of_piece(task, 1)
    desk.note(first, status="FAILED", error={"code": "X", "message": "no face"})
    task = look(desk, task)
    assert (task.status, task.error["code"]) == (Status.HELD, "PIECE_HELD")
    assert task.error["message"].startswith("1 of 77 pieces stopped: piece 1 ")
    assert len(desk.messages()) == 1
    weighed(desk, desk.task(first), 1)
    assert look(desk, task).status is Status.IN_PIECES
    assert len(desk.messages()) == 77


@pytest.mark.parametrize(("megabytes", "count"), [(69, 76), (70, 0)])
def test_what_was_made_before_says_at_once_what_the_whole_will_weigh(
    desk: Desk, megabytes: int, count: int
) -> None:
    video = {"bytes": megabytes * 1_000_000, "key": "k"}
    origin = {"task_id": "t", "parent": "p", "job_id": "j", "charge_usd": None, "sha256": "00"}
    task = long(desk, count=77)
    assert task.plan is not None
    plan = plans.read(task.plan)
    fifth = replace(plan.pieces[4], reused=cast(Any, origin), video=cast(Any, video))
    pieces = (*plan.pieces[:4], fifth, *plan.pieces[5:])
    file = plans.write(task, replace(plan, pieces=pieces))
    task = look(desk, desk.note(task.task_id, plan=file, quote_usd=76 * QUOTE))
    assert len(desk.messages()) == count
    task = look(desk, task)
    assert task.status is (Status.IN_PIECES if count else Status.HELD)


# A piece on the paid way.


def test_a_piece_is_paid_out_of_the_reserve(desk: Desk) -> None:
    task = taken(desk)
    desk.answers(ACCEPTED_BY_KIE)
    first = desk.submit(pieces_of(desk, task)[0])
    assert (first.status, first.in_reserve, len(desk.posts)) == (Status.SUBMITTED, False, 1)
    assert f"reserve#{task.task_id}" in first.booked
    assert (left(desk, task), spent(desk)) == (Decimal("0.42"), (Decimal("0.63"),) * 2)


def test_no_cap_holds_up_what_is_reserved(desk: Desk) -> None:
    task = taken(desk, max_usd=1)
    desk.options(budget_usd_per_day=0.01, max_usd_per_task=0.01)
    desk.answers(ACCEPTED_BY_KIE)
    assert desk.submit(pieces_of(desk, task)[0]).status is Status.SUBMITTED


@pytest.mark.parametrize(("answer", "status"), [(LATER, Status.READY), (REFUSED, Status.FAILED)])
def test_a_piece_that_cost_nothing_gives_its_share_back(
    desk: Desk, answer: Any, status: Status
) -> None:
    task = taken(desk)
    desk.answers(answer)
    first = desk.submit(pieces_of(desk, task)[0])
    assert (first.status, first.in_reserve) == (status, True)
    assert (left(desk, task), spent(desk)) == (Decimal("0.63"), (Decimal("0.63"),) * 2)


def completed(desk: Desk, piece: Task, charge_usd: Any) -> Task:
    """Its video lies in the archive, and the provider said what it took."""
    desk.answers(ACCEPTED_BY_KIE)
    piece = desk.submit(piece)
    charge = {} if charge_usd is None else {"charge_usd": charge_usd}
    at = table.stamp(table.now())
    piece = desk.note(
        piece.task_id, status="ARCHIVING", video_url="https://x/y", archiving_since=at, **charge
    )
    archived = {"bucket": "b", "key": f"{piece.task_id}.mp4", "version_id": "v", "sha256": "0"}
    desk.invoke(
        "settle", {"task_id": piece.task_id, "attempt": piece.attempt, "archived": archived}
    )
    return desk.task(piece.task_id)


@pytest.mark.parametrize(
    ("charge", "usd"),
    [(QUOTE, "0.63"), (Decimal("0.25"), "0.67"), (Decimal("0.20"), "0.62"), (None, "0.63")],
)
def test_what_a_piece_was_charged_beside_its_quote_is_the_budgets(
    desk: Desk, charge: Any, usd: str
) -> None:
    task = taken(desk)
    first = completed(desk, pieces_of(desk, task)[0], charge)
    assert (first.status, first.booked) == (Status.COMPLETED, ())
    assert first.counted_usd == (QUOTE if charge is None else charge)
    assert (left(desk, task), spent(desk)) == (Decimal("0.42"), (Decimal(usd),) * 2)


def test_a_piece_is_no_completed_video_of_its_own(desk: Desk) -> None:
    task = taken(desk)
    completed(desk, pieces_of(desk, task)[0], QUOTE)
    assert (desk.metrics["SpentUsd"], desk.metrics["Completed"]) == (float(QUOTE), 0)


def test_a_piece_whose_whole_has_ended_is_not_paid_any_more(desk: Desk) -> None:
    task = taken(desk)
    first = pieces_of(desk, task)[0]
    decide(desk, task, "cancel")
    desk.note(first.task_id, status="READY")
    desk.answers(ACCEPTED_BY_KIE)
    assert desk.submit(first).status is Status.CANCELLED
    assert desk.posts == []


def test_a_piece_made_anew_is_not_paid_either_once_its_whole_has_ended(desk: Desk) -> None:
    task = taken(desk)
    first = desk.note(pieces_of(desk, task)[0].task_id, in_reserve=False)
    decide(desk, task, "cancel")
    desk.note(first.task_id, status="READY")
    desk.answers(ACCEPTED_BY_KIE)
    assert desk.submit(first).status is Status.CANCELLED
    assert desk.posts == []


def test_the_charge_of_a_piece_that_ends_after_its_whole_is_the_budgets(desk: Desk) -> None:
    task = taken(desk)
    desk.answers(ACCEPTED_BY_KIE)
    first = desk.submit(pieces_of(desk, task)[0])
    decide(desk, task, "cancel")
    assert spent(desk) == (QUOTE,) * 2
    at = table.stamp(table.now())
    desk.note(first.task_id, status="ARCHIVING", video_url="https://x/y", archiving_since=at,
              charge_usd=Decimal("0.25"))  # fmt: skip
    archived = {"bucket": "b", "key": "k", "version_id": "v", "sha256": "0"}
    desk.invoke("settle", {"task_id": first.task_id, "attempt": 1, "archived": archived})
    assert spent(desk) == (Decimal("0.25"),) * 2


def test_a_failed_piece_that_ends_after_its_whole_gives_its_share_to_the_budgets(
    desk: Desk,
) -> None:
    task = taken(desk)
    desk.answers(ACCEPTED_BY_KIE)
    first = desk.submit(pieces_of(desk, task)[0])
    decide(desk, task, "cancel")
    desk.answers(kie_record(first, "fail", failCode="422", failMsg="no face"))
    first = desk.watch(first)
    assert (first.status, spent(desk), left(desk, task)) == (Status.FAILED, (0, 0), 0)


# Its whole hears of it.


def record(desk: Desk, task: Task) -> dict[str, Any]:
    image = desk.account.table.items[f"task#{task.task_id}"]
    return {
        "eventSource": "aws:dynamodb", "eventName": "MODIFY",
        "dynamodb": {"NewImage": image, "SequenceNumber": "1"},
    }  # fmt: skip


def test_a_piece_that_changed_is_counted_at_its_whole_and_wakes_it(desk: Desk) -> None:
    task = taken(desk)
    task = look(desk, task)
    assert answers(desk) == []
    first = desk.note(pieces_of(desk, task)[0].task_id, status="FAILED")
    answer = desk.invoke("announce", {"Records": [record(desk, first)]})
    assert answer == {"batchItemFailures": []}
    assert (answers(desk), desk.task(task.task_id).pieces_changed) == (["gather"], 1)
    assert desk.account.events == []
    assert desk.task(first.task_id).announced == first.event_id


def test_a_piece_whose_whole_is_gone_is_announced_all_the_same(desk: Desk) -> None:
    task = taken(desk)
    first = desk.note(pieces_of(desk, task)[0].task_id, status="FAILED")
    desk.account.table.forget(f"task#{task.task_id}")
    answer = desk.invoke("announce", {"Records": [record(desk, first)]})
    assert answer == {"batchItemFailures": []}
    assert desk.item(f"task#{task.task_id}") == {}


# What a person decides.


def decide(desk: Desk, task: Task, what: str, **body: Any) -> tuple[int, str]:
    code, answer = desk.api("POST", f"/tasks/{task.task_id}/{what}", {"why": "so", **body})
    return code, answer.get("result") or answer["detail"]


@pytest.mark.parametrize(
    ("what", "from_status", "status", "error"),
    [
        ("cancel", "IN_PIECES", Status.CANCELLED, CANCELLED),
        ("cancel", "HELD", Status.CANCELLED, CANCELLED),
        ("fail", "HELD", Status.FAILED, {"code": "FAILED_BY_HAND", "message": "so"}),
    ],
)  # fmt: skip
def test_a_whole_that_ends_takes_back_what_is_not_paid(
    desk: Desk, what: str, from_status: str, status: Status, error: dict[str, str]
) -> None:
    task = taken(desk)
    desk.answers(ACCEPTED_BY_KIE)
    paid = desk.submit(pieces_of(desk, task)[0])
    task = desk.note(task.task_id, status=from_status, task_token="t")
    assert decide(desk, task, what) == (
        200,
        f"{status}; 2 pieces were not paid and never will be, 1 are paid or on their way",
    )
    after = desk.task(task.task_id)
    assert (after.status, after.error, after.task_token) == (status, error, "")
    assert after.history[-1]["who"] == "ada"
    statuses = [one.status for one in pieces_of(desk, task)]
    assert statuses == [Status.SUBMITTED, Status.CANCELLED, Status.CANCELLED]
    ended = pieces_of(desk, task)[1]
    assert ended.error["message"] == "its whole has ended; nothing was paid"
    assert (spent(desk), left(desk, task)) == ((paid.quote_usd,) * 2, 0)
    closed = desk.item(f"reserve#{task.task_id}")
    kept_until = int(table.now().timestamp()) + 400 * 86400
    assert (closed["closed"], closed["expires_at"]) == (True, kept_until)


def test_while_the_table_is_down_no_piece_counts_as_paid(desk: Desk) -> None:
    """The whole has ended by then, and its reserve is closed: nothing is paid of them."""
    task = taken(desk)
    desk.refuse("UpdateItem")
    with pytest.raises(ClientError, match=DOWN):
        decide(desk, task, "cancel")
    assert desk.task(task.task_id).status is Status.CANCELLED
    desk.account.refusals.clear()
    desk.answers(ACCEPTED_BY_KIE)
    for piece in pieces_of(desk, task):
        desk.submit(piece)
    assert desk.posts == []


def test_a_piece_is_no_video_of_the_daily_mail(desk: Desk) -> None:
    task = taken(desk)
    for piece in pieces_of(desk, task):
        desk.note(piece.task_id, **steps.placed(piece.task_id, Status.COMPLETED, None))
    desk.row(Status.COMPLETED)
    mails: list[dict[str, Any]] = []
    desk.instead("Publish", mails.append)
    tomorrow = table.later(seconds=86_400)
    assert desk.invoke("summary", {"time": tomorrow}) == {"sent": True}
    (mail,) = mails
    assert mail["Subject"].endswith("0 held, 0 without a video, 1 done")


def test_a_whole_ends_once(desk: Desk) -> None:
    task = taken(desk)
    assert decide(desk, task, "cancel")[0] == 200
    assert decide(desk, task, "cancel") == (200, "CANCELLED already")
    desk.note(task.task_id, status="IN_PIECES")
    assert decide(desk, task, "cancel")[0] == 409
    assert spent(desk) == (0, 0)


@pytest.mark.parametrize(("times", "code"), [(2, 200), (3, 500)])
def test_a_reserve_that_changes_while_a_whole_ends_is_read_anew(
    desk: Desk, times: int, code: int
) -> None:
    task = taken(desk)
    changes = 0

    def change() -> None:
        nonlocal changes
        changes += 1
        desk.put(f"reserve#{task.task_id}", left_usd=Decimal("0.63") - changes * Decimal("0.01"))
        if changes < times:
            desk.before("TransactWriteItems", change)

    desk.before("TransactWriteItems", change)
    if code == 200:
        assert decide(desk, task, "cancel")[0] == 200
        assert spent(desk) == (Decimal("0.02"),) * 2
    else:
        answered = decide(desk, task, "cancel")
        assert answered[0] == 409
        assert desk.task(task.task_id).status is Status.IN_PIECES


def test_a_piece_is_cancelled_with_its_whole_only(desk: Desk) -> None:
    task = taken(desk)
    first = pieces_of(desk, task)[0]
    assert decide(desk, first, "cancel") == (
        409, f"this is a piece of {task.task_id}: cancel that task",
    )  # fmt: skip
    desk.note(task.task_id, status="CANCELLED")
    assert decide(desk, first, "cancel")[0] == 200


@pytest.mark.parametrize("what", ["adopt", "resubmit"])
def test_a_whole_has_no_job_to_adopt_and_nothing_to_send_again(desk: Desk, what: str) -> None:
    task = taken(desk)
    body = {"job_id": JOB} if what == "adopt" else {"i_accept_a_second_charge": True}
    code, words = decide(desk, task, what, **body)
    assert (code, words.split(":")[0]) == (
        409,
        "a long voice has no job of its own"
        if what == "adopt"
        else "the task is IN_PIECES, and made in pieces",
    )


def test_a_whole_that_no_budget_allowed_is_sent_again_without_a_risk(desk: Desk) -> None:
    desk.options(budget_usd_per_day=0.1)
    task = look(desk, long(desk))
    assert (task.status, task.error["code"]) == (Status.FAILED, "OVER_BUDGET")
    assert decide(desk, task, "resubmit") == (
        200, "READY for attempt 2, and in the submissions queue",
    )  # fmt: skip


def test_a_piece_that_does_not_fit_is_made_anew_beside_the_reserve(desk: Desk) -> None:
    task = taken(desk)
    all_in(desk, task)
    error = {"code": "PIECE_UNFIT", "message": "m"}
    task = desk.note(task.task_id, status="HELD", unfit=2, error=error)
    code, words = decide(desk, task, "resubmit")
    assert (code, words) == (
        409,
        "piece 2 was made and paid, and does not fit: to make it anew is paid anew. To accept "
        "that, add --i-accept-a-second-charge",
    )
    before = pieces_of(desk, task)
    assert decide(desk, task, "resubmit", i_accept_a_second_charge=True) == (
        200, "piece 2 is made anew; the whole goes on by itself",
    )  # fmt: skip
    after = desk.task(task.task_id)
    assert (after.status, after.error, after.unfit) == (Status.IN_PIECES, {}, 0)
    assert after.history[-1]["why"] == "piece 2 is made anew: so"
    assert desk.started == []  # its execution lives
    task = look(desk, after)
    now = pieces_of(desk, task)
    assert [now[0], now[2]] == [before[0], before[2]]
    assert (now[1].status, now[1].in_reserve, now[1].segment) == (
        Status.READY, False, before[1].segment,
    )  # fmt: skip
    desk.answers(ACCEPTED_BY_KIE)
    assert desk.submit(now[1]).status is Status.SUBMITTED
    assert left(desk, task) == Decimal("0.63")
    assert spent(desk) == (Decimal("0.84"),) * 2


def test_a_whole_whose_execution_is_dead_has_a_new_one_when_a_piece_is_made_anew(
    desk: Desk,
) -> None:
    task = taken(desk)
    error = {"code": "PIECE_UNFIT", "message": "m"}
    task = desk.note(task.task_id, status="HELD", unfit=2, error=error)
    desk.account.workflow.executions[f"{task.task_id}-1"].status = "FAILED"
    assert decide(desk, task, "resubmit", i_accept_a_second_charge=True)[0] == 200
    assert desk.started == ["-1", "-1-2026030110"]


def test_a_whole_that_waits_is_woken_when_a_piece_is_made_anew(desk: Desk) -> None:
    task = taken(desk)
    all_in(desk, task)
    task = desk.note(task.task_id, status="HELD", unfit=2, task_token=desk.token(task),
                     error={"code": "PIECE_UNFIT", "message": "m"})  # fmt: skip
    assert decide(desk, task, "resubmit", i_accept_a_second_charge=True)[0] == 200
    assert (answers(desk), desk.started) == (["gather"], [])


@pytest.mark.parametrize(
    ("facts", "offered"),
    [
        ({"status": "IN_PIECES"}, {"cancel"}),
        ({"status": "HELD"}, {"cancel", "fail"}),
        ({"status": "HELD", "unfit": 2}, {"cancel", "fail", "resubmit"}),
        ({"status": "COMPLETED"}, set()),
        ({"status": "FAILED"}, set()),
    ],
)
def test_a_whole_offers_what_may_be_decided(
    desk: Desk, facts: dict[str, Any], offered: set[str]
) -> None:
    task = taken(desk)
    desk.note(task.task_id, **facts)
    _, shown = desk.api("GET", f"/tasks/{task.task_id}")
    assert set(shown["actions"]) == offered
    piece = desk.api("GET", f"/tasks/{pieces_of(desk, task)[1].task_id}")[1]
    assert (set(piece["actions"]), piece["piece"]) == (
        set(),
        {"parent": task.task_id, "number": 2, "start_seconds": 14.0, "end_seconds": 28.0},
    )


# Its end.


def test_a_whole_is_completed_with_its_joined_video(desk: Desk) -> None:
    task = taken(desk)
    for piece in pieces_of(desk, task):
        completed(desk, piece, QUOTE)
    task = desk.note(task.task_id, task_token="t")
    archived = {"bucket": "b", "key": "k.mp4", "version_id": "v"}
    event = {"task_id": task.task_id, "attempt": 1, "archived": archived}
    desk.metrics.clear()
    assert desk.invoke("settle", event) == {"next": "done"}
    after = desk.task(task.task_id)
    assert (after.status, after.archived, after.task_token) == (Status.COMPLETED, archived, "")
    assert (left(desk, task), spent(desk)) == (0, (Decimal("0.63"),) * 2)
    assert (desk.metrics["Completed"], "SpentUsd" in desk.metrics) == (1, False)
    assert desk.item(f"reserve#{task.task_id}")["closed"] is True
    assert desk.invoke("settle", event) == {"next": "done"}
    assert desk.task(task.task_id) == after


def test_a_whole_that_is_looked_at_again_after_its_end_is_left(desk: Desk) -> None:
    task = taken(desk)
    decide(desk, task, "cancel")
    before = desk.task(task.task_id)
    assert look(desk, before) == before
    assert queries.load(task.task_id) == before
