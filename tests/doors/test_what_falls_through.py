"""The sweep, by its door: what fell through is put back on its way; and what comes late changes
nothing wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from functions import providers
from functions.handlers import intake, settle, sweep, watch
from functions.inputs import drops
from functions.settings import aws
from functions.tasks import adoption, claims, queries, steps, table, turns
from functions.tasks.table import Update
from functions.tasks.task import Status, Task, key_of
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event

PAST = "2026-01-01T00:00:00.000Z"
RUNNING = {"code": 200, "msg": "success", "data": {"taskId": "job-1", "state": "generating"}}


def standing(status: Status, number: int = 1, **facts: Any) -> Task:
    """A task in this status that was due long ago."""
    task_id = f"{number:032x}"
    given: dict[str, Any] = {
        "stem": "ada",
        "provider": "kie",
        "model": providers.get("kie").default_model,
        "origin": "api",
    }
    steps.open_task(
        Task(
            task_id=task_id,
            status=status,
            created_at=table.stamp(table.now()),
            **{**given, **facts},
        )
    )
    Update(key_of(task_id)).set(due_at=PAST).run()
    return the(task_id)


def the(task_id: str) -> Task:
    found = queries.load(task_id)
    assert found
    return found


def sent(**facts: Any) -> dict[str, Any]:
    return {
        "job_id": "job-1",
        "submitted_at": table.stamp(table.now()),
        "intended_at": table.stamp(table.now()),
        **facts,
    }


def test_a_ready_task_whose_message_was_lost_is_sent_to_submit(shop: Workshop) -> None:
    task = standing(Status.READY)
    assert sweep.handler({}, CONTEXT)["pushed"] == 1
    assert shop.messages(shop.submissions) == [{"task_id": task.task_id, "turn": ""}]
    assert the(task.task_id).due_at > table.stamp(table.now())


def test_one_bad_row_does_not_hide_the_others(shop: Workshop) -> None:
    bad = standing(Status.SUBMITTED, 1, provider="a provider that is no more", **sent())
    good = standing(Status.READY, 2)
    with pytest.raises(ExceptionGroup):
        sweep.handler({}, CONTEXT)
    assert shop.messages(shop.submissions) == [{"task_id": good.task_id, "turn": ""}]
    assert the(bad.task_id).due_at == PAST


def test_what_no_execution_watches_gets_one_in_place_of_the_dead_one(shop: Workshop) -> None:
    task = standing(Status.SUBMITTED, **sent())
    own = shop.states.start_execution(
        stateMachineArn=shop.workflow, name=f"{task.task_id}-1", input="{}"
    )["executionArn"]
    shop.states.stop_execution(executionArn=own)
    sweep.handler({}, CONTEXT)
    assert shop.executions() == [
        f"{task.task_id}-1",
        f"{task.task_id}-1{the(task.task_id).revived}",
    ]


def test_an_execution_that_replaced_a_dead_one_hours_ago_is_not_doubled(shop: Workshop) -> None:
    task = standing(Status.SUBMITTED, **sent(revived="-2026010100"))
    names = [f"{task.task_id}-1", f"{task.task_id}-1-2026010100"]
    for name in names:
        started = shop.states.start_execution(stateMachineArn=shop.workflow, name=name, input="{}")
    shop.states.stop_execution(executionArn=started["executionArn"].removesuffix("-2026010100"))
    sweep.handler({}, CONTEXT)
    assert shop.executions() == names


def test_media_by_url_whose_message_was_lost_are_fetched_and_not_given_up(shop: Workshop) -> None:
    task = standing(Status.WAITING, imports={"portrait": "https://example.test/a.png"})
    sweep.handler({}, CONTEXT)
    assert shop.messages(shop.uploads) == [{"import": task.task_id}]
    assert the(task.task_id).status is Status.WAITING


def test_a_voice_that_waited_too_long_expires_and_says_what_revives_it(shop: Workshop) -> None:
    task = standing(Status.WAITING)
    sweep.handler({}, CONTEXT)
    assert the(task.task_id).status is Status.EXPIRED
    assert "drop it to revive" in the(task.task_id).error["message"]


def test_a_fresh_voice_is_left_to_its_own_event(shop: Workshop) -> None:
    shop.drop("in/fresh.mp3", VOICE)
    assert sweep.handler({}, CONTEXT)["found"] == 0
    assert shop.messages(shop.uploads) == []


@pytest.fixture
def an_hour_old(shop: Workshop) -> Iterator[None]:
    """What S3 lists has lain there for an hour."""

    def aged(parsed: Any, **_: Any) -> None:
        for version in parsed.get("Versions", []):
            version["LastModified"] -= timedelta(hours=1)

    aws("s3").meta.events.register("after-call.s3.ListObjectVersions", aged)
    yield
    aws("s3").meta.events.unregister("after-call.s3.ListObjectVersions", aged)


@pytest.mark.usefixtures("an_hour_old")
def test_a_portrait_or_a_text_that_no_event_announced_is_found(shop: Workshop) -> None:
    voice = shop.drop("in/late.mp3", VOICE)
    intake.handler(sqs_event(dropped(shop.inbox, "in/late.mp3")), CONTEXT)
    shop.drop("in/late.png", PORTRAIT)
    shop.drop(
        "in/said.json", b'{"provider": "kling", "text": "Hello.", "voice_id": "genshin_vindi2"}'
    )
    sweep.handler({}, CONTEXT)
    found = shop.messages(shop.uploads)
    assert sorted(one["audio"]["key"] for one in found) == ["in/late.mp3", "in/said.json"]
    intake.handler(sqs_event(*found), CONTEXT)
    assert the(drops.task_id_of(shop.inbox, "in/late.mp3", voice)).status is Status.READY
    assert {task.status for task in shop.all_tasks()} == {Status.READY, Status.WAITING}


def test_a_held_task_that_no_provider_keeps_is_watched_no_more(shop: Workshop) -> None:
    task = standing(Status.HELD, **sent(submitted_at=PAST))
    sweep.handler({}, CONTEXT)
    assert shop.executions() == []
    assert the(task.task_id).status is Status.HELD


def test_a_task_is_never_completed_with_nothing_archived(shop: Workshop) -> None:
    task = standing(Status.ARCHIVING, **sent())
    assert settle.handler({"task_id": task.task_id, "attempt": 1, "archived": {}}, CONTEXT) == {
        "next": "done"
    }
    assert the(task.task_id).status is Status.ARCHIVING


def test_a_failed_task_whose_job_runs_after_all_is_watched_on(shop: Workshop) -> None:
    shop.paper.answers = [RUNNING]
    task = standing(
        Status.FAILED, **sent(callbacks_received=1), error={"code": "500", "message": "…"}
    )
    watch.handler(
        {"task_id": task.task_id, "attempt": 1, "task_token": "the token", "polls_done": 1}, CONTEXT
    )
    assert the(task.task_id).task_token == "the token"


def test_the_time_of_the_intention_outlives_the_acceptance(shop: Workshop) -> None:
    """Reconciling by credit compares it with the time at which a balance was noted."""
    task = standing(Status.READY)
    assert turns.take(task)
    claimed = claims.claim(task, Decimal("0.18"))
    Update(key_of(claimed.task.task_id)).set(intended_at=PAST).run()
    assert adoption.accept(claimed, "job-1").intended_at == PAST


def test_a_job_that_is_lost_is_held_once(shop: Workshop) -> None:
    shop.paper.answers = [{"code": 422, "msg": "recordInfo is null", "data": None}]
    task = standing(Status.SUBMITTED, **sent(submitted_at=PAST))
    for polls_done in (1, 2):
        watch.handler(
            {"task_id": task.task_id, "attempt": 1, "task_token": "t", "polls_done": polls_done},
            CONTEXT,
        )
    after = the(task.task_id)
    assert (after.status, after.error["code"], after.entered["HELD#1"]) == (
        Status.HELD,
        "JOB_LOST",
        1,
    )


def test_what_lasts_is_a_gauge_at_every_sweep(
    shop: Workshop, with_options: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with_options(budget_usd_per_day="10", budget_usd_per_month="1000")
    day = table.stamp(table.now())[:10]
    Update(f"budget#{day}").set(spent_usd=Decimal("8.5")).run()
    task = standing(Status.ARCHIVING, **sent())
    Update(key_of(task.task_id)).set(changed_at=PAST, due_at=table.later(seconds=60)).run()
    sweep.handler({}, CONTEXT)
    emitted = capsys.readouterr().out
    assert '"BudgetUsedPercent":[85.0]' in emitted
    assert '"OverdueTasks":[1.0]' in emitted
    assert '"HeldTasks":[0.0]' in emitted
