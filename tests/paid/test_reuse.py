"""A long voice that was made before, in whole or in part: what of it is used again, what is paid,
and what points to it in the table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from functions.tasks import plans, reuse, table
from functions.tasks.plans import PiecePlan
from functions.tasks.task import Status, Task
from functions.videos import paths
from tests.faults import films
from tests.faults.account import ARCHIVE, INBOX
from tests.faults.runs import PORTRAIT
from tests.paid.desk import Desk

INFINITALK = "infinitalk/from-audio"
DAY = 86400


def long(desk: Desk, voice: bytes = films.long_wav(), name: str = "long", **facts: Any) -> Task:
    audio = desk.file(f"in/{name}.wav", voice, "audio/wav")
    usual: dict[str, Any] = {"candidates": [INFINITALK], "model": INFINITALK, "reuse": True}
    return desk.row(audio=audio, **{**usual, **facts})


def cut(desk: Desk, task: Task) -> Task:
    assert desk.invoke("cut", {"task_id": task.task_id, "attempt": 1}) == {"next": "gather"}
    return desk.task(task.task_id)


def opened(desk: Desk, task: Task) -> Task:
    for _ in range(2):
        token = desk.token(task)
        desk.invoke("gather", {"task_id": task.task_id, "attempt": 1, "task_token": token})
    return desk.task(task.task_id)


def pieces_of(desk: Desk, task: Task) -> list[Task]:
    return [desk.task(one) for one in plans.ids_of_pieces(task)]


def plan_of(task: Task) -> PiecePlan:
    assert task.plan is not None
    return plans.read(task.plan)


def settled(desk: Desk, piece: Task) -> Task:
    film, path = films.film_of(piece.task_id), paths.of(piece)
    stored = desk.account.buckets.put(ARCHIVE, path.key, film)
    archived = {
        "bucket": ARCHIVE, "key": path.key, "version_id": stored.version_id, "bytes": len(film),
        "sha256": hashlib.sha256(film).hexdigest(), "seconds": 14, "etag": stored.etag,
        "manifest_key": path.manifest_key, "job_id": f"job-{piece.task_id}",
    }  # fmt: skip
    desk.note(
        piece.task_id, status="ARCHIVING", video_url="https://x/y", charge_usd=piece.quote_usd,
        archiving_since=table.stamp(table.now()), job_id=f"job-{piece.task_id}",
        intended_at=table.stamp(table.now()),
    )  # fmt: skip
    desk.invoke("settle", {"task_id": piece.task_id, "attempt": 1, "archived": archived})
    return desk.task(piece.task_id)


def made(desk: Desk, task: Task) -> Task:
    task = opened(desk, cut(desk, task))
    for piece in pieces_of(desk, task):
        if piece.status is Status.READY:
            assert settled(desk, piece).status is Status.COMPLETED
    return desk.task(task.task_id)


@pytest.fixture
def first(desk: Desk) -> Task:
    return made(desk, long(desk, films.long_wav(3)))


def test_a_piece_that_is_settled_is_found_for_as_long_as_it_is_kept(desk: Desk) -> None:
    desk.options(keep_pieces_days=7)
    task = opened(desk, cut(desk, long(desk, films.edited_wav())))
    piece = pieces_of(desk, task)[0]
    pk = reuse.made_key(piece.content_key)
    assert desk.item(pk) == {}
    settled(desk, piece)
    kept_until = int(table.now().timestamp()) + 7 * DAY
    item = desk.item(pk)
    assert (item["task_id"], item["expires_at"]) == (piece.task_id, kept_until)
    assert reuse.made_before([piece.content_key, "", "f" * 64]).keys() == {piece.content_key}


def test_an_ordinary_video_points_to_nothing(desk: Desk) -> None:
    settled(desk, desk.row())
    assert [pk for pk in desk.account.table.items if pk.startswith("made#")] == []


def test_a_voice_is_remembered_by_its_name_without_its_ending(desk: Desk, first: Task) -> None:
    (pk,) = [pk for pk in desk.account.table.items if pk.startswith("voice#")]
    assert pk == reuse.voice_key(first)
    assert desk.item(pk)["task_id"] == first.task_id
    kept_until = int(table.now().timestamp()) + 30 * DAY
    assert abs(desk.item(pk)["expires_at"] - kept_until) < 60
    renamed = {**first.audio, "key": "in/long.flac"}
    assert reuse.voice_key(Task("x", Status.READY, "", audio=renamed)) == pk  # type: ignore[arg-type]
    other = {**first.audio, "key": "in/longer.wav"}
    assert reuse.voice_key(Task("x", Status.READY, "", audio=other)) != pk  # type: ignore[arg-type]


def test_the_earlier_voice_of_a_name_is_another_one_that_was_cut(desk: Desk, first: Task) -> None:
    assert reuse.earlier(first) is None
    second = long(desk)
    found = reuse.earlier(second)
    assert found is not None
    assert found.task_id == first.task_id
    assert reuse.earlier(long(desk, name="other")) is None
    item = desk.account.table.items[f"task#{first.task_id}"]
    plan = item.pop("plan")
    assert reuse.earlier(second) is None
    desk.account.table.items[f"task#{first.task_id}"]["plan"] = plan
    desk.account.table.forget(f"task#{first.task_id}")
    assert reuse.earlier(second) is None


def test_every_piece_that_was_made_before_is_there_at_once_and_costs_nothing(
    desk: Desk, first: Task
) -> None:
    desk.options(budget_usd_per_day=50)
    sent = len(desk.messages())
    task = opened(desk, cut(desk, long(desk, films.long_wav(3))))
    assert (task.quote_usd, len(desk.messages())) == (0, sent)
    assert desk.item(f"reserve#{task.task_id}")["left_usd"] == 0
    assert task.plan is not None
    assert (task.plan["reused"], task.plan["reused_of"]) == (3, [first.task_id])
    assert task.model_reason == (
        f"42 s of voice: {INFINITALK} in 3 pieces, 0.00 USD; 3 of 3 pieces reused of task "
        f"{first.task_id[:8]}, 0 paid"
    )
    for piece in pieces_of(desk, task):
        assert (piece.status, piece.quote_usd, piece.charge_usd) == (Status.COMPLETED, 0, 0)
        assert (piece.in_reserve, piece.job_id, piece.intended_at) == (False, "", "")
        assert piece.archived["key"].startswith(f"pieces/{task.task_id}/{piece.task_id}/")
        assert desk.item(reuse.made_key(piece.content_key))["task_id"].startswith(
            tuple(one.task_id for one in pieces_of(desk, task))
        )
    _, shown = desk.api("GET", f"/tasks/{task.task_id}")
    assert shown["pieces"] == {"all": 3, "done": 3, "stopped": 0, "reused": 3}


def test_a_copy_is_the_same_bytes_under_a_key_of_its_own(desk: Desk, first: Task) -> None:
    task = opened(desk, cut(desk, long(desk, films.long_wav(3))))
    for piece in pieces_of(desk, task):
        assert piece.reused is not None
        copy = desk.account.buckets.latest(ARCHIVE, piece.archived["key"])
        origin = desk.task(piece.reused["task_id"])
        before = desk.account.buckets.latest(ARCHIVE, origin.archived["key"])
        assert copy is not None
        assert before is not None
        assert (copy.body, copy.key != before.key) == (before.body, True)
        assert hashlib.sha256(copy.body).hexdigest() == piece.archived["sha256"]
        assert piece.archived["sha256"] == piece.reused["sha256"]
        assert piece.reused == {
            "task_id": origin.task_id, "parent": first.task_id, "job_id": origin.job_id,
            "charge_usd": str(origin.charge_usd), "sha256": origin.archived["sha256"],
        }  # fmt: skip
        manifest = desk.account.buckets.latest(ARCHIVE, piece.archived["manifest_key"])
        assert manifest is not None
        written = json.loads(manifest.body)
        assert (written["reused"], written["charge_usd"]) == (dict(piece.reused), 0)


def test_an_edited_voice_pays_for_what_was_edited(desk: Desk) -> None:
    before = made(desk, long(desk))
    task = opened(desk, cut(desk, long(desk, films.edited_wav())))
    statuses = [one.status for one in pieces_of(desk, task)]
    assert statuses == [Status.COMPLETED, Status.READY]
    anew = pieces_of(desk, task)[1]
    assert (anew.in_reserve, anew.reused) == (True, None)
    assert task.quote_usd == anew.quote_usd != before.quote_usd
    reason = task.model_reason
    assert reason.endswith(f"; 1 of 2 pieces reused of task {before.task_id[:8]}, 1 paid")


@pytest.mark.parametrize(
    "more",
    [
        {"reuse": False}, {"prompt": "Smile."}, {"settings": {"seed": 11111}},
        {"settings": {"resolution": "720p"}},
    ],
)  # fmt: skip
def test_what_is_wanted_otherwise_is_made_anew(
    desk: Desk, first: Task, more: dict[str, Any]
) -> None:
    task = cut(desk, long(desk, films.long_wav(3), **more))
    assert plan_of(task).reused == []
    assert "reused" not in (task.plan or {})


def test_another_face_is_made_anew(desk: Desk, first: Task) -> None:
    face = desk.file("in/another.png", PORTRAIT + b"\x00", "image/png")
    assert plan_of(cut(desk, long(desk, films.long_wav(3), portrait=face))).reused == []


def test_another_model_or_mark_is_made_anew(desk: Desk, first: Task) -> None:
    keys = [reuse.content_key(first, model, "p", "s") for model in (INFINITALK, "other")]
    ordered, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    same = [replace(first, settings=one) for one in (ordered, other)]
    assert len({reuse.content_key(one, INFINITALK, "p", "s") for one in same}) == 1
    desk.options(keep_watermark=True)
    keys.append(reuse.content_key(first, INFINITALK, "p", "s"))
    assert len(set(keys)) == 3


def test_a_face_that_is_gone_finds_nothing_and_is_found_by_nothing(desk: Desk, first: Task) -> None:
    task = long(desk, films.long_wav(3))
    desk.account.buckets.remove(INBOX, str(task.portrait["key"]), whole=True)
    task = cut(desk, task)
    assert [(one.content_key, one.reused) for one in plan_of(task).pieces] == [("", None)] * 3


def test_a_piece_that_was_taken_back_is_not_used(desk: Desk, first: Task) -> None:
    for status in (Status.HELD, Status.FAILED, Status.ARCHIVING):
        for piece in pieces_of(desk, first):
            desk.note(piece.task_id, status=status.value)
        assert plan_of(cut(desk, long(desk, films.long_wav(3)))).reused == []


def test_a_piece_of_another_content_than_the_index_says_is_not_used(
    desk: Desk, first: Task
) -> None:
    for piece in pieces_of(desk, first):
        desk.note(piece.task_id, content_key="0" * 64)
    assert plan_of(cut(desk, long(desk, films.long_wav(3)))).reused == []


def test_a_piece_without_its_video_is_not_used(desk: Desk, first: Task) -> None:
    for piece in pieces_of(desk, first):
        desk.account.table.items[f"task#{piece.task_id}"].pop("archived")
    assert plan_of(cut(desk, long(desk, films.long_wav(3)))).reused == []


def test_a_video_that_is_gone_is_not_copied(desk: Desk, first: Task) -> None:
    for piece in pieces_of(desk, first):
        desk.account.buckets.remove(ARCHIVE, piece.archived["key"], whole=False)
    assert plan_of(cut(desk, long(desk, films.long_wav(3)))).reused == []


@pytest.mark.parametrize("change", [b"", b"X", None])
def test_a_video_that_is_not_what_was_archived_is_not_copied(
    desk: Desk, first: Task, change: bytes | None
) -> None:
    for piece in pieces_of(desk, first):
        film = films.film_of(piece.task_id)
        other = film[:-1] + b"X" if change is None else film + change if change else film[:-1]
        desk.account.buckets.put(ARCHIVE, piece.archived["key"], other)
    task = cut(desk, long(desk, films.long_wav(3)))
    assert plan_of(task).reused == []
    assert not [
        key for key in desk.account.buckets.versions[ARCHIVE]
        if key.startswith(f"pieces/{task.task_id}/")
    ]  # fmt: skip


def test_what_lies_under_the_key_of_a_copy_must_be_it(desk: Desk, first: Task) -> None:
    probe = cut(desk, long(desk, films.long_wav(3)))
    task = long(desk, films.long_wav(3))
    for one in plan_of(probe).pieces:
        assert one.video is not None
        name = one.video["key"].rpartition("/")[2]
        stem = f"{task.stem.rpartition('/')[2]}-{one.number:03d}"
        mark = name.rpartition("-")[2]
        piece_id = plans.id_of_piece(task, one.number)
        key = f"pieces/{task.task_id}/{piece_id}/{stem}-{mark}"
        desk.account.buckets.put(ARCHIVE, key, b"another video")
    assert plan_of(cut(desk, task)).reused == []


def test_a_cut_that_is_done_again_finds_its_own_copies(desk: Desk, first: Task) -> None:
    task = cut(desk, long(desk, films.long_wav(3)))
    videos = [one.video for one in plan_of(task).pieces]
    desk.account.table.items[f"task#{task.task_id}"].pop("plan")
    desk.account.calls.clear()
    assert [one.video for one in plan_of(cut(desk, task)).pieces] == videos
    assert not [one for one in desk.calls("GetObject") if one["Bucket"] == ARCHIVE]
    counts = [
        len(versions) for key, versions in desk.account.buckets.versions[ARCHIVE].items()
        if key.startswith(f"pieces/{task.task_id}/")
    ]  # fmt: skip
    assert counts == [1] * 6


def test_an_archive_that_fails_is_tried_again_by_the_workflow(desk: Desk, first: Task) -> None:
    task = long(desk, films.long_wav(3))
    desk.refuse("GetObject", after=2 + 1 + 2)  # voice, portrait, the earlier plan and its marks
    with pytest.raises(Exception, match="InternalServerError"):
        cut(desk, task)
    assert desk.task(task.task_id).plan is None


def test_the_index_forgets_a_task_unless_it_points_to_another_by_now(
    desk: Desk, first: Task
) -> None:
    piece = pieces_of(desk, first)[0]
    pk = reuse.made_key(piece.content_key)
    desk.put(pk, task_id="another")
    reuse.drop(piece)
    assert desk.item(pk)["task_id"] == "another"
    desk.put(pk, task_id=piece.task_id)
    reuse.drop(piece)
    assert "task_id" not in desk.item(pk)
    assert reuse.made_before([piece.content_key]) == {}
    reuse.drop(desk.row())  # what has no content points to nothing


def test_where_it_was_cut_is_looked_up_by_its_pieces_under_another_name(
    desk: Desk,
) -> None:
    before = made(desk, long(desk))
    desk.account.table.forget(reuse.voice_key(before))
    task = cut(desk, long(desk, films.edited_wav(), name="second"))
    assert [bool(one.reused) for one in plan_of(task).pieces] == [True, False]


def test_the_places_of_an_earlier_voice_are_kept_to_the_sample(desk: Desk) -> None:
    before = made(desk, long(desk, films.edited_wav()))
    moved = films.moved_wav()
    task = cut(desk, long(desk, moved))
    pieces = plan_of(task).pieces
    assert [bool(one.reused) for one in pieces] == [False, True]
    assert pieces[1].start % 1 != 0
    assert pieces[1].sha256 == plan_of(before).pieces[1].sha256
    assert pieces[0].end == pieces[1].start
    assert pieces[0].why == "up to where it was cut before"


def test_earlier_places_are_of_no_use_to_another_rate_or_without_their_marks(desk: Desk) -> None:
    before = made(desk, long(desk, films.edited_wav()))
    assert before.plan is not None
    marks = f"{before.plan['key'].rpartition('/')[0]}/marks.json"
    assert desk.account.buckets.latest(INBOX, marks) is not None
    desk.account.buckets.remove(INBOX, marks, whole=True)
    assert plan_of(cut(desk, long(desk, films.moved_wav()))).reused == []
    plan = plan_of(before)
    fast = type(plan)(**{**vars(plan), "rate": 16_000, "samples": 2 * plan.samples})
    desk.note(before.task_id, plan=plans.write(before, fast))
    plans.write_marks(before, [(1, 1)])
    assert plan_of(cut(desk, long(desk, films.moved_wav()))).reused == []


def test_copies_are_counted_apart_when_a_whole_is_cancelled(desk: Desk) -> None:
    made(desk, long(desk))
    task = opened(desk, cut(desk, long(desk, films.edited_wav())))
    code, answer = desk.api("POST", f"/tasks/{task.task_id}/cancel", {"why": "so"})
    assert (code, answer["result"]) == (
        200,
        "CANCELLED; 1 pieces were not paid and never will be, 0 are paid or on their way",
    )


def test_a_copy_that_does_not_fit_is_made_anew_for_its_price(desk: Desk) -> None:
    made(desk, long(desk))
    task = opened(desk, cut(desk, long(desk, films.edited_wav())))
    price = plan_of(task).pieces[0].quote_usd
    settled(desk, pieces_of(desk, task)[1])
    error = {"code": "PIECE_UNFIT", "message": "m"}
    desk.note(task.task_id, status="HELD", unfit=1, error=error)
    body = {"why": "so", "i_accept_a_second_charge": True}
    assert desk.api("POST", f"/tasks/{task.task_id}/resubmit", body)[0] == 200
    task = opened(desk, task)
    anew = pieces_of(desk, task)[0]
    assert (anew.status, anew.reused, anew.in_reserve) == (Status.READY, None, False)
    assert anew.quote_usd == price > Decimal(0)
