"""A voice that no model takes in one piece: refused with the cure, or cut, reserved, made in pieces
and joined."""

from __future__ import annotations

import io
import json
import random
import struct
import wave
from decimal import Decimal
from typing import Any

import pytest

from functions.handlers import announce, cut, gather, intake, join, settle, submit
from functions.tasks import decisions, events, plans, queries, reserve, table
from functions.tasks.pieces import charge_of
from functions.tasks.plans import PiecePlan
from functions.tasks.table import Update, now
from functions.tasks.task import Status, Task, key_of
from functions.videos import bucket, manifest, paths
from tests.doors.conftest import CONTEXT, PORTRAIT, Workshop, dropped, sqs_event
from tests.doors.test_api import call
from tests.doors.test_the_paid_way import ACCEPTED, JOB
from tests.faults import films

SPLIT = {"model": "infinitalk/from-audio", "long_voice": "split"}
RATE = 8000
LAMBDA: Any = CONTEXT


def speech(seconds: float, *, loud: float = 3000, pauses: bool = True) -> bytes:
    """Noise with a pause of 0.4 s in every 3.5 s, or without; at 0 it is silence."""
    chance = random.Random(5)
    samples = [
        0 if pauses and number % (3.5 * RATE) > 3.1 * RATE else int(chance.gauss(0, loud))
        for number in range(round(seconds * RATE))
    ]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


def drop(shop: Workshop, voice: bytes, settings: dict[str, Any] | None = SPLIT) -> Task:
    shop.drop("in/talk.wav", voice)
    shop.drop("in/talk.png", PORTRAIT)
    if settings is not None:
        shop.drop("in/talk.json", json.dumps(settings).encode())
    intake.handler(sqs_event(dropped(shop.inbox, "in/talk.wav")), LAMBDA)
    shop.messages(shop.submissions)
    return shop.the_task()


def named(task: Task) -> Any:
    return {"task_id": task.task_id, "attempt": task.attempt}


def cut_it(task: Task) -> PiecePlan:
    assert cut.handler(named(task), LAMBDA) == {"next": "gather"}
    file = fresh(task).plan
    assert file is not None
    return plans.read(file)


def look(task: Task) -> Task:
    gather.handler({**named(task), "task_token": "a stale task token"}, LAMBDA)
    return fresh(task)


def fresh(task: Task) -> Task:
    found = queries.load(task.task_id)
    assert found is not None
    return found


def in_pieces(shop: Workshop, seconds: float = 28) -> Task:
    task = drop(shop, speech(seconds))
    cut_it(task)
    return look(task)


def pieces_of(task: Task) -> list[Task]:
    return [fresh(Task(one, Status.READY, "")) for one in plans.ids_of_pieces(task)]


def send(shop: Workshop, piece: Task, *answers: Any) -> Task:
    shop.paper.answers = list(answers)
    event = sqs_event({"task_id": piece.task_id, "turn": fresh(piece).not_before})
    assert submit.handler(event, LAMBDA) == {"batchItemFailures": []}
    return fresh(piece)


def spent() -> Decimal:
    return Decimal((table.read(f"budget#{now():%Y-%m-%d}") or {}).get("spent_usd", 0))


def archived(shop: Workshop, piece: Task, film: bytes) -> None:
    """The piece is made: its video lies in the archive, and its row says so."""
    path = paths.of(piece)
    stored = shop.s3.put_object(Bucket=path.bucket, Key=path.key, Body=film)
    video = {"bucket": path.bucket, "key": path.key, "version_id": stored["VersionId"]}
    video |= {"sha256": "00", "bytes": len(film)}
    update = Update(key_of(piece.task_id)).set(status="COMPLETED", archived=video)
    update.set(charge_usd=piece.quote_usd, job_id=JOB, booked=[]).run()


# What is refused, and what is cut.


@pytest.mark.parametrize("named_by", ["option", "task"])
def test_a_long_voice_is_refused_where_that_is_wanted_and_the_refusal_names_the_cure(
    shop: Workshop, with_options: Any, named_by: str
) -> None:
    with_options(**({"long_voice": "refuse"} if named_by == "option" else {}))
    word = {"long_voice": "refuse"} if named_by == "task" else {}
    task = drop(shop, speech(15.2), {"model": "infinitalk/from-audio", **word})
    assert (task.status, task.error["code"]) == (Status.FAILED, "AUDIO_TOO_LONG")
    assert 'set "long_voice" to "split"' in task.error["message"]


def test_a_voice_of_exactly_the_limit_goes_in_one_piece(shop: Workshop) -> None:
    task = drop(shop, speech(15.0))
    assert (task.status, task.is_long) == (Status.READY, False)


def test_a_voice_of_a_fifth_of_a_second_over_the_limit_is_cut_in_two(shop: Workshop) -> None:
    task = drop(shop, speech(15.2))
    assert (task.status, task.is_long) == (Status.READY, True)
    plan = cut_it(task)
    assert len(plan.pieces) == 2
    assert all(float(one.file["seconds"]) <= 14.5 for one in plan.pieces)
    assert sum(float(one.file["seconds"]) for one in plan.pieces) == pytest.approx(15.2, abs=0.01)


def test_a_voice_without_a_pause_is_cut_at_the_quietest_place_and_the_plan_says_so(
    shop: Workshop,
) -> None:
    plan = cut_it(drop(shop, speech(20, pauses=False)))
    assert "no pause within 14.5 s" in plan.pieces[0].why
    assert not plan.pieces[0].in_pause


def test_silence_is_cut_just_below_a_whole_second(shop: Workshop) -> None:
    plan = cut_it(drop(shop, speech(29, loud=0)))
    assert plan.quote_usd <= Decimal("0.015") * 30


def test_more_than_an_hour_is_refused_in_words_also_where_voices_are_split(shop: Workshop) -> None:
    header = wave_of_seconds(3 * 3600)
    task = drop(shop, header)
    assert (task.status, task.error["code"]) == (Status.FAILED, "AUDIO_TOO_LONG")
    assert "Talkdrop cuts voices of at most 3,600 s" in task.error["message"]


def wave_of_seconds(seconds: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 1, 1000, 0, "NONE", ""))
        out.writeframes(bytes(seconds * 1000))
    return file.getvalue()


@pytest.mark.parametrize("word", ["cut", True, ["split"], 7])
def test_another_word_than_split_or_refuse_is_refused(shop: Workshop, word: Any) -> None:
    task = drop(shop, speech(3), {"long_voice": word})
    assert (task.status, task.error["code"]) == (Status.FAILED, "BAD_LONG_VOICE")


def test_a_long_voice_is_cut_by_default(shop: Workshop) -> None:
    task = drop(shop, speech(16), {"model": "infinitalk/from-audio"})
    assert (task.is_long, task.status) == (True, Status.READY)
    assert task.model_reason == (
        "16 s of voice, in about 2 pieces: infinitalk/from-audio, about 0.26 USD"
    )


def test_a_task_may_want_it_cut_where_the_option_refuses(shop: Workshop, with_options: Any) -> None:
    with_options(long_voice="refuse")
    assert drop(shop, speech(16)).is_long


def test_a_voice_that_some_model_takes_by_its_documentation_is_not_cut(shop: Workshop) -> None:
    task = drop(shop, speech(16), {"model": "auto", "long_voice": "split"})
    assert (task.is_long, task.model) == (False, "kling/ai-avatar-standard")


def test_auto_takes_the_plan_that_costs_least_and_says_what_the_others_cost(
    shop: Workshop,
) -> None:
    task = drop(shop, speech(301), {"model": "auto", "long_voice": "split", "max_usd": 30})
    plan = cut_it(task)
    assert plan.model == "infinitalk/from-audio"
    assert plan.reason.startswith("301 s of voice: infinitalk/from-audio in ")
    assert "kling/ai-avatar-standard in 2 pieces, 12.0" in plan.reason


def test_a_voice_that_is_gone_when_it_is_cut_fails_the_task_and_nothing_was_paid(
    shop: Workshop,
) -> None:
    task = drop(shop, speech(16))
    version = str(task.audio["version_id"])
    shop.s3.delete_object(Bucket=shop.inbox, Key="in/talk.wav", VersionId=version)
    cut.handler(named(task), LAMBDA)
    assert (fresh(task).status, fresh(task).error["code"]) == (Status.FAILED, "INPUT_GONE")


# The whole first.


def test_the_whole_is_reserved_before_a_piece_is_opened(shop: Workshop, with_options: Any) -> None:
    with_options(budget_usd_per_day=5)
    task = in_pieces(shop)
    assert task.status is Status.IN_PIECES
    assert spent() == task.quote_usd == reserve.read(task.task_id).left_usd
    pieces = pieces_of(task)
    assert [one.status for one in pieces] == [Status.READY] * len(pieces)
    assert sum(Decimal(one.quote_usd or 0) for one in pieces) == task.quote_usd
    assert {one.task_id for one in pieces} == {
        message["task_id"] for message in shop.messages(shop.submissions)
    }


def test_a_whole_that_no_budget_allows_is_refused_and_no_piece_is_opened(
    shop: Workshop, with_options: Any
) -> None:
    with_options(budget_usd_per_day="0.1")
    task = in_pieces(shop)
    assert (task.status, task.error["code"]) == (Status.FAILED, "OVER_BUDGET")
    assert shop.all_tasks() == [task]
    assert shop.messages(shop.submissions) == []


def test_a_whole_whose_exact_quote_is_over_what_a_task_may_cost_is_refused_and_nothing_is_paid(
    shop: Workshop, with_options: Any
) -> None:
    task = drop(shop, speech(28))
    cut_it(task)
    with_options(max_usd_per_task="0.4")
    task = look(task)
    assert (task.status, task.error["code"]) == (Status.FAILED, "OVER_BUDGET")
    assert "option max_usd_per_task is 0.4 USD" in task.error["message"]
    assert shop.all_tasks() == [task]


def test_an_estimate_over_its_own_max_usd_is_refused_at_once(shop: Workshop) -> None:
    task = drop(shop, speech(28), {**SPLIT, "max_usd": "0.43"})
    assert (task.status, task.error["code"]) == (Status.FAILED, "TOO_DEAR")


def test_a_whole_waits_where_the_budget_is_used_up_and_no_piece_is_opened(
    shop: Workshop, with_options: Any
) -> None:
    with_options(budget_usd_per_day="0.5")
    Update(f"budget#{now():%Y-%m-%d}").set(spent_usd=Decimal("0.4")).run()
    task = in_pieces(shop)
    assert task.status is Status.READY
    assert "the budget of" in task.waits_for
    assert shop.all_tasks() == [task]
    assert spent() == Decimal("0.4")


def test_looking_twice_opens_nothing_twice(shop: Workshop) -> None:
    task = in_pieces(shop)
    count = len(shop.all_tasks())
    look(task)
    assert len(shop.all_tasks()) == count
    assert len(shop.messages(shop.submissions)) == count - 1


def test_the_whole_itself_is_never_sent(shop: Workshop) -> None:
    task = drop(shop, speech(28))
    send(shop, task, ACCEPTED)
    assert shop.paper.posts == 0
    assert shop.executions(shop.pieces_workflow) == [f"{task.task_id}-1"]


# Each piece on the paid way.


def test_a_piece_is_paid_out_of_the_reserve_and_not_out_of_the_budget(
    shop: Workshop, with_options: Any
) -> None:
    with_options(budget_usd_per_day=5)
    task = in_pieces(shop)
    first = send(shop, pieces_of(task)[0], ACCEPTED)
    assert (first.status, shop.paper.posts) == (Status.SUBMITTED, 1)
    assert spent() == task.quote_usd
    assert reserve.read(task.task_id).left_usd == Decimal(task.quote_usd or 0) - Decimal(
        first.quote_usd or 0
    )


def test_a_cap_that_was_lowered_meanwhile_holds_up_no_piece(
    shop: Workshop, with_options: Any
) -> None:
    with_options(budget_usd_per_day=5)
    task = in_pieces(shop)
    with_options(budget_usd_per_day="0.01")
    assert send(shop, pieces_of(task)[0], ACCEPTED).status is Status.SUBMITTED


def test_a_piece_that_comes_back_unsent_gives_its_share_back_to_the_reserve(
    shop: Workshop, with_options: Any
) -> None:
    with_options(budget_usd_per_day=5)
    task = in_pieces(shop)
    first = send(shop, pieces_of(task)[0], {"code": 429, "msg": "slow down", "data": None})
    assert (first.status, first.in_reserve) == (Status.READY, True)
    assert reserve.read(task.task_id).left_usd == task.quote_usd == spent()


def test_a_piece_that_fails_holds_the_whole_until_it_is_sent_again(
    shop: Workshop,
) -> None:
    task = in_pieces(shop)
    refused = send(shop, pieces_of(task)[1], {"code": 422, "msg": "no face", "data": None})
    assert refused.status is Status.FAILED
    task = look(task)
    assert (task.status, task.error["code"]) == (Status.HELD, "PIECE_HELD")
    segment = refused.segment
    assert segment is not None
    assert f"{segment['start_seconds']} s to {segment['end_seconds']} s" in task.error["message"]
    decisions.resubmit(fresh(refused), "ada", "again", accepts_a_second_charge=False)
    assert look(task).status is Status.IN_PIECES


def test_a_cancelled_whole_takes_back_what_nobody_has_paid_for(
    shop: Workshop, with_options: Any
) -> None:
    with_options(budget_usd_per_day=5)
    task = in_pieces(shop)
    paid = send(shop, pieces_of(task)[0], ACCEPTED)
    result = decisions.cancel(task, "ada", "changed my mind")
    assert "1 are paid or on their way" in result
    statuses = [one.status for one in pieces_of(task)]
    assert statuses == [Status.SUBMITTED, *[Status.CANCELLED] * (len(statuses) - 1)]
    assert spent() == paid.quote_usd == fresh(task).quote_usd
    assert reserve.read(task.task_id).is_closed


def test_a_piece_whose_message_comes_after_the_whole_was_cancelled_is_not_paid(
    shop: Workshop,
) -> None:
    task = in_pieces(shop)
    first = pieces_of(task)[0]
    ready = Update(key_of(first.task_id)).set(status="READY")
    decisions.cancel(task, "ada", "changed my mind")
    ready.run()  # as if it had been opened a moment later
    assert send(shop, first, ACCEPTED).status is Status.CANCELLED
    assert shop.paper.posts == 0


def test_a_piece_is_not_cancelled_by_itself(shop: Workshop) -> None:
    task = in_pieces(shop)
    with pytest.raises(decisions.Refused, match=task.task_id):
        decisions.cancel(pieces_of(task)[0], "ada", "not this one")


def test_a_piece_is_no_event_and_its_end_is_counted_at_its_whole(shop: Workshop) -> None:
    task = in_pieces(shop)
    refused = send(shop, pieces_of(task)[0], {"code": 422, "msg": "no face", "data": None})
    rows = shop.cloud.client("dynamodb").get_item(
        TableName=shop.table, Key={"pk": {"S": key_of(refused.task_id)}}
    )
    record = {
        "eventSource": "aws:dynamodb", "eventName": "MODIFY",
        "dynamodb": {"NewImage": rows["Item"], "SequenceNumber": "1"},
    }  # fmt: skip
    assert announce.handler({"Records": [record]}, LAMBDA) == {"batchItemFailures": []}
    assert fresh(task).pieces_changed == 1
    assert fresh(refused).announced == refused.event_id


# The join.


def made(shop: Workshop, films_of: list[bytes] | None = None) -> Task:
    task = drop(shop, films.long_wav())
    cut_it(task)
    task = look(task)
    for number, piece in enumerate(pieces_of(task)):
        archived(shop, piece, films_of[number] if films_of else films.film())
    return look(task)


def test_the_pieces_are_joined_into_one_video_and_the_whole_is_completed(shop: Workshop) -> None:
    task = made(shop)
    outcome = join.handler(named(task), LAMBDA)
    assert outcome["next"] == "settle"
    settle.handler({**named(task), "archived": outcome["archived"]}, LAMBDA)
    task = fresh(task)
    assert task.status is Status.COMPLETED
    assert float(task.archived["seconds"]) == pytest.approx(28.0, abs=0.04)
    assert task.charge_usd == task.quote_usd
    assert reserve.read(task.task_id).is_closed
    path = paths.of(task)
    written = json.loads(bucket.get_small(path.bucket, path.manifest_key) or b"")
    assert [line["task_id"] for line in written["pieces"]] == list(plans.ids_of_pieces(task))
    assert {line["job_id"] for line in written["pieces"]} == {JOB}


def test_a_join_that_begins_before_every_piece_is_made_joins_nothing(shop: Workshop) -> None:
    task = in_pieces(shop)
    archived(shop, pieces_of(task)[0], films.film())
    assert join.handler(named(task), LAMBDA) == {"next": "gather"}
    assert bucket.find(paths.of(task)) is None


def test_the_pieces_may_expire_once_the_join_is_proved(shop: Workshop) -> None:
    task = made(shop)
    join.handler(named(task), LAMBDA)
    for piece in pieces_of(task):
        tags = shop.s3.get_object_tagging(Bucket=shop.archive, Key=piece.archived["key"])
        assert {"Key": "joined", "Value": "true"} in tags["TagSet"]


def test_a_second_join_finds_the_first_ones_video(shop: Workshop) -> None:
    task = made(shop)
    first, second = (join.handler(named(task), LAMBDA) for _ in range(2))
    assert first == second
    versions = shop.s3.list_object_versions(Bucket=shop.archive, Prefix="videos/")["Versions"]
    assert len([one for one in versions if one["Key"].endswith(".mp4")]) == 1


def test_a_join_that_was_killed_before_its_manifest_is_done_again_and_leaves_one_video(
    shop: Workshop,
) -> None:
    task = made(shop)
    path = paths.of(task)
    first = join.handler(named(task), LAMBDA)
    shop.s3.delete_object(Bucket=path.bucket, Key=path.manifest_key)
    again = join.handler(named(task), LAMBDA)
    assert again["archived"]["sha256"] == first["archived"]["sha256"]
    assert manifest.read(path) is not None
    versions = shop.s3.list_object_versions(Bucket=shop.archive, Prefix=path.key)["Versions"]
    assert len(versions) == 1


def test_a_piece_that_does_not_fit_holds_the_whole_and_is_made_anew_when_a_person_says_so(
    shop: Workshop,
) -> None:
    task = made(shop, [films.film(), b"not a film"])
    assert join.handler(named(task), LAMBDA) == {"next": "gather"}
    task = fresh(task)
    assert (task.status, task.error["code"], task.unfit) == (Status.HELD, "PIECE_UNFIT", 2)
    assert look(task).status is Status.HELD
    with pytest.raises(decisions.Refused, match="paid anew"):
        decisions.resubmit(task, "ada", "anew", accepts_a_second_charge=False)
    before = list(plans.ids_of_pieces(task))
    decisions.resubmit(task, "ada", "anew", accepts_a_second_charge=True)
    task = look(task)
    after = list(plans.ids_of_pieces(task))
    assert task.status is Status.IN_PIECES
    assert (after[0], after[1] != before[1]) == (before[0], True)
    anew = pieces_of(task)[1]
    assert (anew.status, anew.in_reserve) == (Status.READY, False)


# What others see.


def test_a_list_shows_the_whole_and_not_its_pieces_and_the_whole_says_how_far_they_are(
    shop: Workshop,
) -> None:
    task = in_pieces(shop)
    count = len(pieces_of(task))
    for query, found in (("", 1), ("status=ready", 0), ("status=in_pieces", 1)):
        listed = call("GET", "/tasks", query=query)[1]["tasks"]
        assert [one["task_id"] for one in listed] == [task.task_id] * found
    shown = call("GET", f"/tasks/{task.task_id}")[1]
    assert shown["pieces"] == {"all": count, "done": 0, "stopped": 0, "reused": 0}
    piece = call("GET", f"/tasks/{pieces_of(task)[0].task_id}")[1]["piece"]
    assert (piece["parent"], piece["number"], piece["start_seconds"]) == (task.task_id, 1, 0.0)


def test_a_task_of_the_api_may_be_split_too(shop: Workshop) -> None:
    shop.drop("in/face.png", PORTRAIT)
    shop.drop("in/voice.wav", speech(16))
    media = {"portrait": "in/face.png", "audio": "in/voice.wav", "model": "infinitalk/from-audio"}
    assert call("POST", "/tasks", {**media, "long_voice": "refuse"}, key="1")[0] == 422
    status, quote, _ = call("POST", "/quote", media)
    assert (status, quote["model"], quote["pieces"]) == (200, "infinitalk/from-audio", 2)
    status, task, _ = call("POST", "/tasks", media, key="2")
    assert (status, task["status"], task["quote_usd"]) == (201, "READY", quote["quote_usd"])


def test_pieces_too_large_for_one_video_hold_the_whole_and_are_kept(shop: Workshop) -> None:
    task = made(shop)
    second = pieces_of(task)[1]
    grown = {**second.archived, "bytes": 6 << 30}
    Update(key_of(second.task_id)).set(archived=grown).run()
    assert join.handler(named(task), LAMBDA) == {"next": "gather"}
    task = look(task)
    assert (task.status, task.error["code"]) == (Status.HELD, "JOIN_TOO_LARGE")
    assert "6.4 GB" in task.error["message"]
    assert [one.status for one in pieces_of(task)] == [Status.COMPLETED] * 2
    decisions.fail(task, "ada", "joined elsewhere")
    assert fresh(task).status is Status.FAILED


def test_what_an_earlier_attempt_of_a_piece_was_charged_is_in_the_charge_of_the_whole(
    shop: Workshop,
) -> None:
    task = made(shop)
    past = [{"attempt": 1, "job_id": "earlier", "charge_usd": Decimal("0.1"), "error": {}}]
    Update(key_of(pieces_of(task)[0].task_id)).set(past=past).run()
    assert look(task).charge_usd == Decimal(task.quote_usd or 0) + Decimal("0.1")


def test_what_a_piece_was_charged_is_unknown_of_the_whole_where_it_is_unknown_of_a_piece(
    shop: Workshop,
) -> None:
    task = made(shop)
    Update(key_of(pieces_of(task)[0].task_id)).remove("charge_usd").run()
    join.handler(named(task), LAMBDA)
    path = paths.of(task)
    written = json.loads(bucket.get_small(path.bucket, path.manifest_key) or b"")
    assert [line["charge_usd"] is None for line in written["pieces"]] == [True, False]
    assert charge_of(pieces_of(task)) is None


@pytest.mark.parametrize("is_still", [True, False])
def test_a_joined_video_in_which_nothing_moves_is_archived_with_a_warning(
    shop: Workshop, is_still: bool
) -> None:
    task = made(shop, [films.still() if is_still else films.film()] * 2)
    video = join.handler(named(task), LAMBDA)["archived"]
    assert (video["motion"]["mouth"] < 0.1) is is_still
    assert video.get("warning", "").startswith("STILL: nothing moves") is is_still
    settle.handler({**named(task), "archived": video}, LAMBDA)
    task = fresh(task)
    assert task.status is Status.COMPLETED
    announced = events.of(task).video
    assert announced is not None
    measured = {name: float(str(score)) for name, score in video["motion"].items()}
    assert announced.motion == events.VideoMotion(**measured)
    path = paths.of(task)
    written = json.loads(bucket.get_small(path.bucket, path.manifest_key) or b"")
    assert written["video"]["motion"] == video["motion"]
