"""A long voice that was edited and dropped again: what is the same is not made again, and never
anything else."""

from __future__ import annotations

import hashlib
import io
import json
import random
import wave
from array import array
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from functions import settings
from functions.handlers import intake, join, settle
from functions.tasks import decisions, events, plans, queries, reserve, reuse, table
from functions.tasks.pieces import charge_of
from functions.tasks.plans import PiecePlan
from functions.tasks.table import Update
from functions.tasks.task import Status, Task, key_of
from functions.videos import bucket, copies, paths
from functions.videos.paths import ArchivePaths
from tests.doors.conftest import PORTRAIT, Workshop, dropped, sqs_event
from tests.doors.test_api import call
from tests.doors.test_long_voice import (
    LAMBDA,
    cut_it,
    fresh,
    look,
    named,
    pieces_of,
    send,
    spent,
)
from tests.doors.test_the_paid_way import ACCEPTED, JOB
from tests.faults import films

RATE = 8000
SPLIT = {"model": "infinitalk/from-audio", "max_usd": 30}
SENTENCES = 40


@cache
def sentence(number: int, seconds: float = 14.0) -> tuple[int, ...]:
    """Noise of its own, with a pause behind it."""
    chance = random.Random(number)
    noise = [int(chance.gauss(0, 3000)) for _ in range(round((seconds - 0.4) * RATE))]
    return (*noise, *[0] * round(0.4 * RATE))


def voice(sentences: Sequence[Sequence[int]], before: int = 0) -> bytes:
    samples = array("h", [0] * before)
    for one in sentences:
        samples.extend(one)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(samples.tobytes())
    return file.getvalue()


def spoken(count: int = 3, **edits: Sequence[int]) -> bytes:
    return voice([edits.get(f"s{number}", sentence(number)) for number in range(count)])


def drop(
    shop: Workshop, content: bytes, settings: Any = SPLIT, key: str = "in/talk.wav",
    face: bytes = PORTRAIT,
) -> Task:  # fmt: skip
    known = {task.task_id for task in shop.all_tasks()}
    stem = key.removesuffix(".wav")
    shop.drop(f"{stem}.png", face)
    shop.drop(f"{stem}.json", json.dumps(settings).encode())
    shop.drop(key, content)
    intake.handler(sqs_event(dropped(shop.inbox, key)), LAMBDA)
    shop.messages(shop.submissions)
    (task,) = [one for one in shop.all_tasks() if one.task_id not in known]
    return task


def to_pay(task: Task) -> list[Task]:
    return [one for one in pieces_of(task) if one.status is not Status.COMPLETED]


def made(shop: Workshop, task: Task) -> Task:
    """Cut, and what is not there yet is made; the workflow's own functions record it."""
    plan = cut_it(task)
    task = look(task)
    assert task.status is Status.IN_PIECES
    for piece in to_pay(task):
        send(shop, piece, {**ACCEPTED, "data": {"taskId": f"{JOB}-{piece.task_id}"}})
        film = films.film_of(piece.task_id)
        path = paths.of(piece)
        stored = shop.s3.put_object(
            Bucket=path.bucket, Key=path.key, Body=film, ChecksumAlgorithm="SHA256"
        )
        video = facts_of(path, stored, film)
        Update(key_of(piece.task_id)).set(
            status="ARCHIVING", video_url="https://x/y", charge_usd=piece.quote_usd,
            archiving_since=table.stamp(table.now()),
        ).run()  # fmt: skip
        settle.handler({**named(piece), "archived": video}, LAMBDA)
    assert len(plan.pieces) == len(pieces_of(task))
    return look(task)


def facts_of(path: ArchivePaths, stored: Any, film: bytes) -> Any:
    return {
        "bucket": path.bucket, "key": path.key, "version_id": stored["VersionId"],
        "sha256": hashlib.sha256(film).hexdigest(), "bytes": len(film), "seconds": 14,
        "manifest_key": path.manifest_key, "etag": stored["ETag"], "ai_generated": True,
    }  # fmt: skip


def plan_of(task: Task) -> PiecePlan:
    file = fresh(task).plan
    assert file is not None
    return plans.read(file)


def again(shop: Workshop, content: bytes, **more: Any) -> Task:
    """Another drop, cut and reserved."""
    task = drop(shop, content, **more)
    cut_it(task)
    return look(task)


def paid_share(task: Task) -> Decimal:
    plan = plan_of(task)
    whole = sum((one.quote_usd for one in plan.pieces), Decimal(0))
    return Decimal(task.quote_usd or 0) / whole


# What is paid again.


@pytest.fixture
def lecture(shop: Workshop) -> Task:
    """Forty sentences, all made."""
    task = made(shop, drop(shop, spoken(SENTENCES)))
    assert len(plan_of(task).pieces) == SENTENCES
    return task


@pytest.mark.parametrize(
    ("edit", "seconds"), [("the same length", 14.0), ("longer", 13.7779), ("shorter", 9.01234)]
)
def test_of_forty_sentences_one_that_was_changed_is_paid_again(
    shop: Workshop, lecture: Task, with_options: Any, edit: str, seconds: float
) -> None:
    with_options(budget_usd_per_day=50)
    edited = again(shop, spoken(SENTENCES, s17=sentence(1000, seconds)))
    assert paid_share(edited) <= Decimal("0.05"), edit
    assert [one.segment["number"] for one in to_pay(edited) if one.segment] == [18]
    assert spent() == edited.quote_usd == reserve.read(edited.task_id).left_usd
    words = f"; 39 of 40 pieces reused of task {lecture.task_id[:8]}, 1 paid"
    assert edited.model_reason.endswith(words)
    seen = events.of(edited).pieces
    assert seen == events.Pieces(all=40, reused=39, reused_of=[lecture.task_id])
    shown = call("GET", f"/tasks/{edited.task_id}")[1]
    assert shown["pieces"]["reused"] == 39


# Each voice is drawn when its test runs: not by every worker that collects this file.
EDITS: dict[str, tuple[Callable[[], bytes], int, int]] = {
    "nothing": (lambda: spoken(3), 3, 0),
    "a sentence of the same length": (lambda: spoken(3, s1=sentence(9)), 2, 1),
    "a longer sentence": (lambda: spoken(3, s1=sentence(9, 13.777)), 2, 1),
    "a sentence that needs two pieces now": (lambda: spoken(3, s1=sentence(9, 20.001)), 2, 2),
    "the first sentence": (lambda: spoken(3, s0=sentence(9, 11.0123)), 2, 1),
    "the last sentence": (lambda: spoken(3, s2=sentence(9, 8.5)), 2, 1),
    "one behind": (lambda: spoken(4), 3, 1),
    "one before": (lambda: voice([sentence(9), *map(sentence, range(3))]), 3, 1),
    "one between": (
        lambda: voice([sentence(0), sentence(9, 7.77), sentence(1), sentence(2)]),
        3,
        1,
    ),
    "one taken out, and the end of a pause with it": (
        lambda: voice([sentence(0), sentence(2)]),
        1,
        1,
    ),
    "a pause that is longer": (
        lambda: voice([sentence(0), [*sentence(1), *[0] * 1001], sentence(2)]),
        2,
        1,
    ),
    "a third of a sample's frame before": (
        lambda: voice([*map(sentence, range(3))], before=107),
        2,
        1,
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_paid_where_it_is(shop: Workshop, edit: str) -> None:
    content, reused, paid = EDITS[edit]
    made(shop, drop(shop, spoken(3)))
    edited = again(shop, content())
    plan = plan_of(edited)
    assert (len(plan.reused), len(to_pay(edited))) == (reused, paid)
    ends = [plan_end(plan, one.end) for one in plan.pieces]
    starts = [plan_end(plan, one.start) for one in plan.pieces]
    assert (starts[0], starts[1:], ends[-1]) == (0, ends[:-1], plan.samples)
    assert all(float(one.file["seconds"]) <= 14.5 for one in plan.pieces)


def plan_end(plan: PiecePlan, frame: float) -> int:
    return min(plan.samples, round(frame * plan.rate / 25))


def test_what_was_reused_is_joined_and_the_whole_is_charged_what_was_paid(shop: Workshop) -> None:
    first = made(shop, drop(shop, spoken(3)))
    edited = made(shop, drop(shop, spoken(3, s1=sentence(9, 13.777))))
    outcome = join.handler(named(edited), LAMBDA)
    settle.handler({**named(edited), "archived": outcome["archived"]}, LAMBDA)
    edited = fresh(edited)
    assert edited.status is Status.COMPLETED
    anew = [one for one in pieces_of(edited) if not one.reused]
    assert len(anew) == 1
    assert edited.charge_usd == charge_of(pieces_of(edited)) == anew[0].quote_usd
    path = paths.of(edited)
    lines = json.loads(bucket.get_small(path.bucket, path.manifest_key) or b"")["pieces"]
    assert [line["charge_usd"] for line in lines] == [0.0, float(anew[0].quote_usd or 0), 0.0]
    before = pieces_of(first)[0]
    assert lines[0]["reused"] == {
        "task_id": before.task_id, "parent": first.task_id, "job_id": before.job_id,
        "charge_usd": str(before.charge_usd), "sha256": before.archived["sha256"],
    }  # fmt: skip
    assert lines[1]["reused"] is None


def test_a_copy_says_of_itself_what_it_is_and_expires_by_itself(shop: Workshop) -> None:
    made(shop, drop(shop, spoken(2)))
    copy = pieces_of(again(shop, spoken(2)))[0]
    path = paths.of(copy)
    written = json.loads(bucket.get_small(path.bucket, path.manifest_key) or b"")
    assert written["reused"] == dict(copy.reused or {})
    assert written["video"]["sha256"] == copy.archived["sha256"]
    tags = shop.s3.get_object_tagging(Bucket=path.bucket, Key=path.key)["TagSet"]
    assert {"Key": "reused", "Value": "true"} in tags


def test_a_voice_that_is_dropped_thrice_reuses_the_copies(shop: Workshop) -> None:
    first = made(shop, drop(shop, spoken(2)))
    second = again(shop, spoken(2))
    for piece in pieces_of(first):
        shop.s3.delete_object(Bucket=shop.archive, Key=piece.archived["key"])
    third = again(shop, spoken(3))
    assert [one.reused and one.reused["parent"] for one in pieces_of(third)] == [
        first.task_id, first.task_id, None,
    ]  # fmt: skip
    assert to_pay(second) == []


def test_a_voice_under_another_name_is_known_by_its_pieces(shop: Workshop) -> None:
    first = made(shop, drop(shop, spoken(3)))
    content = spoken(4, s1=sentence(9, 13.777))
    edited = again(shop, content, key="elsewhere/second.wav")
    assert len(plan_of(edited).reused) == 2
    assert fresh(edited).plan["reused_of"] == [first.task_id]  # type: ignore[index]


# What is never reused.


@pytest.mark.parametrize(
    "more",
    [
        {"face": PORTRAIT + b"\x00"},
        {"settings": {**SPLIT, "seed": 12345}},
        {"settings": {**SPLIT, "resolution": "720p"}},
        {"settings": {**SPLIT, "prompt": "Smile."}},
        {"settings": {**SPLIT, "model": "kling/ai-avatar-standard", "long_voice": "split"}},
    ],
    ids=["portrait", "seed", "resolution", "prompt", "model"],
)
def test_another_portrait_or_setting_is_made_anew(shop: Workshop, more: Any) -> None:
    made(shop, drop(shop, spoken(2)))
    other = drop(shop, spoken(2), **more)
    if other.is_long:
        cut_it(other)
        assert plan_of(other).reused == []


def test_a_sample_more_or_less_is_another_piece(shop: Workshop) -> None:
    made(shop, drop(shop, spoken(2)))
    changed = (sentence(0)[0] + 1, *sentence(0)[1:])
    edited = again(shop, spoken(2, s0=changed))
    assert [bool(one.reused) for one in pieces_of(edited)] == [False, True]


@pytest.mark.parametrize("by", ["task", "option"])
def test_nothing_is_reused_where_that_is_not_wanted(
    shop: Workshop, with_options: Any, by: str
) -> None:
    first = made(shop, drop(shop, spoken(2)))
    if by == "option":
        with_options(reuse=False)
    settings = {**SPLIT, "reuse": False} if by == "task" else SPLIT
    task = again(shop, spoken(2), settings=settings)
    assert plan_of(task).reused == []
    assert task.quote_usd == first.quote_usd
    assert "reused" not in task.model_reason


def test_a_task_may_want_it_where_the_option_does_not(shop: Workshop, with_options: Any) -> None:
    made(shop, drop(shop, spoken(2)))
    with_options(reuse=False)
    assert len(plan_of(again(shop, spoken(2), settings={**SPLIT, "reuse": True})).reused) == 2


@pytest.mark.parametrize("word", ["no", 0, [], "false"])
def test_another_word_than_true_or_false_is_refused(shop: Workshop, word: Any) -> None:
    task = drop(shop, spoken(2), settings={**SPLIT, "reuse": word})
    assert (task.status, task.error["code"]) == (Status.FAILED, "BAD_REUSE")


@pytest.mark.parametrize("what", ["gone", "changed", "shorter", "longer"])
def test_a_video_that_is_gone_or_not_what_was_archived_is_made_and_paid_again(
    shop: Workshop, what: str
) -> None:
    first = made(shop, drop(shop, spoken(2)))
    key, film = pieces_of(first)[0].archived["key"], films.film_of(pieces_of(first)[0].task_id)
    if what == "gone":
        shop.s3.delete_object(Bucket=shop.archive, Key=key)
    else:
        other = {"changed": film[:-1] + b"X", "shorter": film[:-1], "longer": film + b"X"}[what]
        shop.s3.put_object(Bucket=shop.archive, Key=key, Body=other)
    task = again(shop, spoken(2))
    assert [bool(one.reused) for one in pieces_of(task)] == [False, True]
    assert task.quote_usd == pieces_of(task)[0].quote_usd
    assert "1 of 2 pieces reused" in task.model_reason


def test_an_archive_that_does_not_answer_is_tried_again_and_nothing_is_paid_meanwhile(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(shop, drop(shop, spoken(2)))
    task = drop(shop, spoken(2))
    with monkeypatch.context() as meanwhile:
        meanwhile.setenv("TALKDROP_ARCHIVE", "no-such-bucket-of-ours")
        settings.get.cache_clear()
        with pytest.raises(bucket.ArchiveUnavailable):
            cut_it(task)
    settings.get.cache_clear()
    assert (fresh(task).status, fresh(task).plan) == (Status.READY, None)


@pytest.mark.parametrize("status", ["FAILED", "HELD", "ARCHIVING"])
def test_a_piece_that_is_not_completed_is_not_reused(shop: Workshop, status: str) -> None:
    first = made(shop, drop(shop, spoken(2)))
    Update(key_of(pieces_of(first)[0].task_id)).set(status=status).run()
    task = again(shop, spoken(2))
    assert [bool(one.reused) for one in pieces_of(task)] == [False, True]


def test_pieces_of_a_voice_that_was_never_joined_are_reused(shop: Workshop) -> None:
    first = made(shop, drop(shop, spoken(2)))
    decisions.cancel(first, "ada", "a mistake in it")
    assert len(plan_of(again(shop, spoken(2))).reused) == 2


def test_a_video_that_did_not_fit_is_reused_by_no_other_voice(shop: Workshop) -> None:
    first = made(shop, drop(shop, spoken(2)))
    second = pieces_of(first)[1]
    stored = shop.s3.put_object(Bucket=shop.archive, Key="unfit.mp4", Body=b"not a film")
    unfit = {**second.archived, "key": "unfit.mp4", "version_id": stored["VersionId"]}
    Update(key_of(second.task_id)).set(archived=unfit).run()
    join.handler(named(first), LAMBDA)
    assert fresh(first).unfit == 2
    Update(key_of(second.task_id)).set(archived=second.archived).run()
    task = again(shop, spoken(2))
    assert [bool(one.reused) for one in pieces_of(task)] == [True, False]


def test_a_copy_that_does_not_fit_is_made_anew_and_paid_as_a_person_says(
    shop: Workshop, with_options: Any
) -> None:
    with_options(budget_usd_per_day=50)
    made(shop, drop(shop, spoken(2)))
    task = again(shop, spoken(2))
    before = spent()
    quote = plan_of(task).pieces[1].quote_usd
    copy = pieces_of(task)[1]
    stored = shop.s3.put_object(Bucket=shop.archive, Key="unfit.mp4", Body=b"not a film")
    unfit = {**copy.archived, "key": "unfit.mp4", "version_id": stored["VersionId"]}
    Update(key_of(copy.task_id)).set(archived=unfit).run()
    join.handler(named(task), LAMBDA)
    decisions.resubmit(fresh(task), "ada", "anew", accepts_a_second_charge=True)
    task = look(task)
    anew = pieces_of(task)[1]
    assert (anew.status, anew.reused, anew.quote_usd) == (Status.READY, None, quote)
    send(shop, anew, ACCEPTED)
    assert spent() == before + quote


def test_a_whole_of_copies_alone_that_is_cancelled_says_that_nothing_was_paid(
    shop: Workshop,
) -> None:
    made(shop, drop(shop, spoken(2)))
    task = again(shop, spoken(2))
    assert task.quote_usd == 0
    assert "0 pieces were not paid and never will be, 0 are paid" in decisions.cancel(
        task, "ada", "no"
    )


def test_a_cut_that_is_done_again_copies_nothing_twice(shop: Workshop) -> None:
    made(shop, drop(shop, spoken(2)))
    task = drop(shop, spoken(2))
    first = cut_it(task)
    Update(key_of(task.task_id)).remove("plan").run()
    second = cut_it(task)
    assert [one.video for one in first.pieces] == [one.video for one in second.pieces]
    found = shop.s3.list_object_versions(Bucket=shop.archive, Prefix=f"pieces/{task.task_id}/")
    assert len(found["Versions"]) == 4  # two videos and two manifests


def test_where_an_earlier_voice_was_cut_is_of_no_use_once_the_inbox_forgot_it(
    shop: Workshop,
) -> None:
    first = made(shop, drop(shop, spoken(2)))
    folder = plans.folder_of(first)
    shop.s3.delete_object(Bucket=shop.inbox, Key=f"{folder}marks.json")
    task = again(shop, voice([*map(sentence, range(2))], before=107))
    assert plan_of(task).reused == []
    assert len(plan_of(again(shop, spoken(2))).reused) == 2


def test_what_points_to_a_row_that_is_gone_finds_nothing(shop: Workshop) -> None:
    first = made(shop, drop(shop, spoken(2)))
    for one in (first, *pieces_of(first)):
        item = Update(key_of(one.task_id))
        table.transact(table.delete(item))
    assert reuse.earlier(first) is None
    assert plan_of(again(shop, spoken(2))).reused == []
    assert queries.load(first.task_id) is None


def test_a_copy_is_not_made_of_what_is_shorter_than_it_was(shop: Workshop) -> None:
    path = ArchivePaths(shop.archive, "pieces/a/b/c.mp4", "")
    shop.s3.put_object(Bucket=shop.archive, Key="short.mp4", Body=b"short")
    video: Any = {"bucket": shop.archive, "key": "short.mp4", "sha256": "00" * 32, "bytes": 6}
    assert copies.copy(video, path) is None
    assert bucket.find(path) is None
