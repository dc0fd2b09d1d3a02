"""An upgrade in the middle of everything: rows, messages and inputs of executions as the version
before wrote them go on under this one, and nothing is paid twice.

`rows/v1` holds what that version left in its table, by the status of its one task. They stay for
ever: a row lives for 400 days, an execution for 31.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from functions.api.views import view
from functions.handlers import announce, archive, intake, settle, submit, sweep, watch
from functions.inputs import drops
from functions.tasks import attributes, events, table
from functions.tasks.task import TERMINAL, Status, Task
from talkdrop import explain
from tests.archive.films import film
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event
from tests.doors.test_the_paid_way import ACCEPTED, JOB, done

ROWS = Path(__file__).parent / "rows" / "v1"
NAMES = sorted(path.stem for path in ROWS.glob("*.json"))
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def as_it_was(shop: Workshop, name: str) -> Task:
    """The table of the version before, as old as it was then, and the files that it is about."""
    versions = {"hello.mp3": shop.drop("in/hello.mp3", VOICE)}
    if name != "waiting":
        versions["hello.png"] = shop.drop("in/hello.png", PORTRAIT)
    text = (ROWS / f"{name}.json").read_text()
    (row,) = [row for row in json.loads(text) if row["pk"]["S"].startswith("task#")]
    for field in ("audio", "portrait"):
        if stored := row.get(field, {}).get("M"):
            key = stored["key"]["S"].rpartition("/")[2]
            text = text.replace(stored["version_id"]["S"], versions[key])
    task_id = drops.task_id_of(shop.inbox, "in/hello.mp3", versions["hello.mp3"])
    text = text.replace(row["task_id"]["S"], task_id).replace("INBOX", shop.inbox)
    text = text.replace("ARCHIVE", shop.archive)
    text = text.replace("PROVIDER", shop.paper.url.removeprefix("http://"))
    aged = table.now() - table.instant(row["changed_at"]["S"])
    for item in json.loads(STAMP.sub(lambda found: later(found[0], aged), text)):
        shop.cloud.client("dynamodb").put_item(TableName=shop.table, Item=item)
    return shop.the_task()


def later(stamp: str, by: Any) -> str:
    return table.stamp(datetime.fromisoformat(stamp) + by)


def watched(task: Task) -> Any:
    """An execution of the version before invokes watch with exactly these names."""
    event: Any = {
        "task_id": task.task_id, "attempt": task.attempt, "task_token": "of yesterday",
        "polls_done": 3, "stumbles": 0, "archive_error": "",
    }  # fmt: skip
    return watch.handler(event, CONTEXT)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_the_version_before_is_read_shown_explained_and_announced(
    shop: Workshop, name: str
) -> None:
    task = as_it_was(shop, name)
    assert view(task)["task_id"] == task.task_id
    assert task.status in explain.page(task)
    assert events.of(task).status is task.status
    image = {
        name: attributes.typed(value)
        for name, value in (table.read(f"task#{task.task_id}") or {}).items()
    }
    record = {
        "eventID": "1", "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "dynamodb": {"NewImage": image, "SequenceNumber": "1"},
    }  # fmt: skip
    assert announce.handler({"Records": [record]}, CONTEXT) == {"batchItemFailures": []}


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_finds_nothing_wrong_with_any_of_them_and_pays_nothing(
    shop: Workshop, name: str
) -> None:
    before = as_it_was(shop, name)
    table.Update(f"task#{before.task_id}").set(due_at="2020-01-01T00:00:00.000Z").run()
    sweep.handler({}, CONTEXT)
    after = shop.the_task()
    assert after.status is before.status or before.status is Status.WAITING
    assert shop.paper.posts == 0


def test_a_task_that_was_ready_is_paid_once(shop: Workshop) -> None:
    task = as_it_was(shop, "ready")
    shop.paper.answers = [ACCEPTED]
    for _ in range(3):
        submit.handler(sqs_event({"task_id": task.task_id, "turn": ""}), CONTEXT)
    assert (shop.the_task().status, shop.paper.posts) == (Status.SUBMITTED, 1)


def test_a_voice_that_waited_goes_on_when_its_portrait_comes(shop: Workshop) -> None:
    as_it_was(shop, "waiting")
    shop.drop("in/hello.png", PORTRAIT)
    intake.handler(sqs_event(dropped(shop.inbox, "in/hello.png")), CONTEXT)
    assert shop.the_task().status is Status.READY


@pytest.mark.parametrize("name", ["submitted", "archiving", "held"])
def test_what_was_paid_comes_to_its_video_and_is_not_paid_again(shop: Workshop, name: str) -> None:
    task = as_it_was(shop, name)
    shop.paper.answers = [done(shop)]
    watched(task)
    shop.paper.answers = [(200, film(seconds=float(task.audio["seconds"])))]
    context: Any = CONTEXT
    archived = archive.handler({"task_id": task.task_id, "attempt": 1}, context)
    assert archived["next"] == "settle"
    event: Any = {"task_id": task.task_id, "attempt": 1, "archived": archived["archived"]}
    settle.handler(event, CONTEXT)
    after = shop.the_task()
    assert (after.status, after.job_id, after.booked) == (Status.COMPLETED, JOB, ())
    submit.handler(sqs_event({"task_id": task.task_id, "turn": ""}), CONTEXT)
    assert [path for method, path, _ in shop.paper.requests if "create" in path.lower()] == []


def test_an_unanswered_submit_of_the_version_before_is_not_sent_again(shop: Workshop) -> None:
    task = as_it_was(shop, "submitting")
    shop.paper.answers = [{"code": 200, "msg": "success", "data": {"taskId": "x"}}]
    submit.handler(sqs_event({"task_id": task.task_id, "turn": ""}), CONTEXT)
    assert (shop.the_task().status, shop.paper.posts) == (Status.SUBMITTING, 0)


def test_there_is_a_row_of_every_status_that_lasts() -> None:
    found = set()
    for name in NAMES:
        rows = json.loads((ROWS / f"{name}.json").read_text())
        found |= {row["status"]["S"] for row in rows if "status" in row}
    unended = set(Status) - TERMINAL - {Status.IN_PIECES}  # it came with long voices, after v1
    assert found >= {status.value for status in unended | {Status.COMPLETED, Status.FAILED}}
