"""The two steps of a long voice that open its media: the cut and the join."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from functions.tasks import plans, table
from functions.tasks.plans import PiecePlan
from functions.tasks.task import Status, Task
from tests.faults import films
from tests.faults.account import ARCHIVE, INBOX
from tests.faults.runs import wav
from tests.paid.desk import JOB, Desk

INFINITALK = "infinitalk/from-audio"


def long(desk: Desk, voice: bytes | None = None, **facts: Any) -> Task:
    """A task whose voice no model takes whole."""
    audio = desk.file("in/long.wav", voice or films.long_wav(), "audio/wav")
    return desk.row(audio=audio, **{"candidates": [INFINITALK], "model": INFINITALK, **facts})


def cut(desk: Desk, task: Task, **event: Any) -> Task:
    given = {"task_id": task.task_id, "attempt": task.attempt, **event}
    assert desk.invoke("cut", given) == {"next": "gather"}
    return desk.task(task.task_id)


def plan_of(task: Task) -> PiecePlan:
    assert task.plan is not None
    return plans.read(task.plan)


def made(desk: Desk, film: bytes = b"", **facts: Any) -> Task:
    """Every piece is made, and its film lies in the archive."""
    task = cut(desk, long(desk, consent={"who": "Ada", "scope": "all"}, **facts))
    task = desk.note(task.task_id, status="IN_PIECES", intended_at=table.stamp(table.now()))
    for number, one in enumerate(plan_of(task).pieces, start=1):
        stored = desk.account.buckets.put(ARCHIVE, f"pieces/{number}.mp4", film or films.film())
        archived = {
            "bucket": ARCHIVE, "key": stored.key, "version_id": stored.version_id,
            "sha256": f"{number:064x}", "bytes": len(stored.body),
        }  # fmt: skip
        task_id = plans.id_of_piece(task, number)
        desk.put(
            f"task#{task_id}", task_id=task_id, status="COMPLETED", created_at=task.created_at,
            archived=archived, job_id=f"{JOB}{number}", attempt=number, parent=task.task_id,
            charge_usd=one.quote_usd,
        )  # fmt: skip
    return task


def join(desk: Desk, task: Task, **event: Any) -> dict[str, Any]:
    answer = desk.invoke("join", {"task_id": task.task_id, "attempt": task.attempt, **event})
    return dict(answer)


# The cut.


def test_a_voice_is_cut_and_its_pieces_and_plan_lie_in_the_inbox(desk: Desk) -> None:
    task = cut(desk, long(desk))
    plan = plan_of(task)
    folder = f"_talkdrop/pieces/{task.task_id}/1/"
    assert (task.status, task.model, task.quote_usd) == (
        Status.READY, INFINITALK, Decimal("0.435"),
    )  # fmt: skip
    assert task.model_reason == "28 s of voice: infinitalk/from-audio in 2 pieces, 0.44 USD"
    assert task.plan is not None
    assert (task.plan["bucket"], task.plan["key"]) == (INBOX, f"{folder}plan.json")
    assert task.plan["pieces"] == 2
    assert (plan.samples, plan.rate, plan.channels) == (28 * 8000, 8000, 1)
    assert (plan.most_seconds, plan.least_seconds) == (14.5, 0.5)
    assert [(one.number, one.start) for one in plan.pieces] == [(1, 0), (2, plan.pieces[0].end)]
    quotes = [one.quote_usd for one in plan.pieces]
    assert sorted(quotes) == [Decimal("0.21"), Decimal("0.225")]
    for one in plan.pieces:
        stored = desk.account.buckets.latest(INBOX, str(one.file["key"]))
        assert stored is not None
        name = f"{folder}{one.number:03d}-{one.sha256[:16]}.wav"
        assert (stored.key, one.file["version_id"]) == (name, stored.version_id)
        assert one.file["etag"] == stored.etag.strip('"')
        assert (one.file["bytes"], one.file["content_type"]) == (len(stored.body), "audio/wav")
        assert abs(float(one.file["seconds"]) - 14) < 0.3
    kinds = [call["ContentType"] for call in desk.calls("PutObject")]
    assert kinds == ["audio/wav", "audio/wav", "application/json", "application/json"]


def test_the_plan_that_costs_least_is_chosen_among_the_candidates(desk: Desk) -> None:
    pro, standard = "kling/ai-avatar-pro", "kling/ai-avatar-standard"
    task = cut(desk, long(desk, candidates=[pro, standard, INFINITALK], model=pro))
    assert task.model == INFINITALK
    assert task.model_reason == (
        f"28 s of voice: {INFINITALK} in 2 pieces, 0.44 USD; {standard} in 1 piece, 1.16 USD; "
        f"{pro} in 1 piece, 2.32 USD"
    )


def test_a_model_without_a_limit_takes_it_in_one_piece(desk: Desk) -> None:
    task = cut(desk, long(desk, candidates=["kling/v1-avatar-standard"]))
    assert (len(plan_of(task).pieces), plan_of(task).most_seconds) == (1, 3600)


def test_a_cut_repeated_finds_the_same_places_under_the_same_keys(desk: Desk) -> None:
    task = long(desk)
    first = cut(desk, task)
    kept = plan_of(first)
    item = desk.account.table.items[f"task#{task.task_id}"]
    item.pop("plan")
    assert plan_of(cut(desk, task)).pieces == tuple(
        type(one)(**{**vars(one), "file": again.file})
        for one, again in zip(kept.pieces, plan_of(desk.task(task.task_id)).pieces, strict=True)
    )
    keys = [one.file["key"] for one in kept.pieces]
    assert [one.file["key"] for one in plan_of(desk.task(task.task_id)).pieces] == keys


@pytest.mark.parametrize(
    "facts", [{"status": Status.WAITING}, {"status": Status.CANCELLED}, {"candidates": []}]
)
def test_what_is_not_to_be_cut_is_left(desk: Desk, facts: dict[str, Any]) -> None:
    given = dict(facts)
    status = given.pop("status", Status.READY)
    task = desk.note(long(desk, **given).task_id, status=status.value)
    assert cut(desk, task) == task
    assert desk.calls("GetObject") == []


def test_another_attempt_and_a_plan_that_is_there_are_left(desk: Desk) -> None:
    task = long(desk)
    cut(desk, task, attempt=2)
    assert desk.calls("GetObject") == []
    cut(desk, task)
    count = len(desk.calls("GetObject"))
    cut(desk, task)
    assert len(desk.calls("GetObject")) == count


@pytest.mark.parametrize("code", [403, 404])
def test_a_voice_that_is_gone_fails_its_task_unpaid(desk: Desk, code: int) -> None:
    task = long(desk)
    desk.refuse("GetObject", "NoSuchKey", status=code)
    after = cut(desk, task)
    assert (after.status, after.error) == (
        Status.FAILED,
        {
            "code": "INPUT_GONE",
            "message": "long.wav is no longer in the inbox: drop the voice again; nothing was paid",
        },
    )


def test_a_bucket_that_is_down_is_an_error_and_no_verdict(desk: Desk) -> None:
    task = long(desk)
    desk.refuse("GetObject", status=500)
    with pytest.raises(Exception, match="InternalServerError"):
        cut(desk, task)
    assert desk.task(task.task_id) == task


def test_what_cannot_be_decoded_fails_its_task_unpaid(desk: Desk) -> None:
    after = cut(desk, long(desk, b"RIFF is no sound"))
    assert (after.status, after.error["code"]) == (Status.FAILED, "NOT_CUT")
    message = after.error["message"]
    assert message.startswith("long.wav could not be cut: ")
    assert message.endswith("; nothing was paid")


def test_a_task_that_moved_while_it_was_cut_is_left(desk: Desk) -> None:
    task = long(desk)
    desk.before("UpdateItem", lambda: desk.note(task.task_id, status="CANCELLED"))
    after = cut(desk, task)
    assert (after.status, after.plan) == (Status.CANCELLED, None)


# The join.


def test_the_pieces_become_one_archived_video(desk: Desk) -> None:
    task = made(desk)
    answer = join(desk, task)
    video = answer["archived"]
    key = f"videos/2026/03/01/{task.task_id}/"
    assert (answer["next"], video["key"], video["manifest_key"]) == (
        "settle", f"{key}hello-1.mp4", f"{key}manifest.json",
    )  # fmt: skip
    stored = desk.account.buckets.latest(ARCHIVE, video["key"])
    assert stored is not None
    assert (video["bytes"], video["version_id"]) == (len(stored.body), stored.version_id)
    assert abs(video["seconds"] - 28) < 0.05
    manifest = desk.account.buckets.latest(ARCHIVE, video["manifest_key"])
    assert manifest is not None
    lines = json.loads(manifest.body)["pieces"]
    plan = plan_of(task)
    for number, line in enumerate(lines, start=1):
        one = plan.pieces[number - 1]
        expected = {
            "number": number, "cut": one.why, "voice_sha256": one.sha256,
            "task_id": plans.id_of_piece(task, number), "attempt": number,
            "job_id": f"{JOB}{number}", "video_key": f"pieces/{number}.mp4",
            "video_sha256": f"{number:064x}", "past": [],
        }  # fmt: skip
        assert {name: line[name] for name in expected} == expected
        assert Decimal(str(line["charge_usd"])) == one.quote_usd
        assert float(line["start_seconds"]) == one.start / 25
        assert {"frames_held", "frames_surplus", "reencoded"} <= line.keys()
    tagged = {call["Key"]: call["Tagging"] for call in desk.calls("PutObjectTagging")}
    assert tagged == {
        f"pieces/{number}.mp4": {"TagSet": [{"Key": "joined", "Value": "true"}]}
        for number in (1, 2)
    }


@pytest.mark.parametrize("is_still", [True, False])
def test_a_video_in_which_no_mouth_moves_has_a_warning(desk: Desk, is_still: bool) -> None:
    task = made(desk, film=films.still() if is_still else films.film())
    video = join(desk, task)["archived"]
    assert ("STILL: nothing moves where a mouth is" in video.get("warning", "")) is is_still
    assert ("warning" in video) is is_still
    assert (float(video["motion"]["mouth"]) < 0.1) is is_still


def test_a_join_that_was_done_is_found_and_nothing_is_read_again(desk: Desk) -> None:
    task = made(desk)
    first = join(desk, task)
    desk.account.calls.clear()
    assert join(desk, task) == first
    assert {call["Key"] for call in desk.calls("GetObject")} == {first["archived"]["manifest_key"]}


def test_a_join_whose_manifest_is_missing_is_done_again_over_the_same_video(desk: Desk) -> None:
    task = made(desk)
    first = join(desk, task)["archived"]
    desk.account.buckets.remove(ARCHIVE, first["manifest_key"], whole=True)
    again = join(desk, task)["archived"]
    assert (again["sha256"], again["version_id"]) == (first["sha256"], first["version_id"])


@pytest.mark.parametrize("status", [Status.READY, Status.COMPLETED, Status.CANCELLED])
def test_what_may_not_be_joined_is_left_to_settle(desk: Desk, status: Status) -> None:
    task = desk.note(made(desk).task_id, status=status.value)
    assert join(desk, task) == {"next": "settle", "archived": {}}


def test_another_attempt_is_left_to_settle(desk: Desk) -> None:
    task = made(desk)
    assert join(desk, task, attempt=2) == {"next": "settle", "archived": {}}
    assert join(desk, task, task_id="b" * 32) == {"next": "settle", "archived": {}}


def test_a_held_whole_is_joined_too(desk: Desk) -> None:
    task = desk.note(made(desk).task_id, status="HELD")
    assert join(desk, task)["archived"]["key"].endswith(".mp4")


def test_a_piece_that_is_not_made_is_gathered_first(desk: Desk) -> None:
    task = made(desk)
    desk.note(plans.id_of_piece(task, 2), status="SUBMITTED")
    assert join(desk, task) == {"next": "gather"}
    assert desk.calls("PutObjectTagging") == []


def test_a_piece_that_does_not_fit_holds_the_whole(desk: Desk) -> None:
    task = made(desk)
    stored = desk.account.buckets.put(ARCHIVE, "pieces/2.mp4", b"no film")
    piece = desk.task(plans.id_of_piece(task, 2))
    desk.note(piece.task_id, archived={**piece.archived, "version_id": stored.version_id})
    assert join(desk, task) == {"next": "gather"}
    after = desk.task(task.task_id)
    assert (after.status, after.unfit, after.error["code"]) == (Status.HELD, 2, "PIECE_UNFIT")
    cure = ". Resubmit this task to make that piece anew, paid anew; or fail it"
    assert after.error["message"].endswith(cure)
    assert desk.account.buckets.latest(ARCHIVE, f"videos/2026/03/01/{task.task_id}/x") is None


def test_a_voice_of_no_plan_is_an_error(desk: Desk) -> None:
    task = long(desk, wav(16))
    task = desk.note(task.task_id, status="IN_PIECES")
    with pytest.raises(ValueError, match="has no plan"):
        join(desk, task)
