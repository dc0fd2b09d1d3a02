"""What the bus is sent: ten events a request, and again only what it refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from functions import settings
from functions.handlers import announce
from functions.tasks import attributes, callbacks, steps, table
from functions.tasks.task import Status, Task, key_of
from tests.doors.conftest import CONTEXT, Paper, Workshop

AT = "2026-11-21T10:00:00.000Z"


@pytest.fixture
def bus(shop: Workshop, paper: Paper, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paper]:
    """The event bus on paper; the table stays the emulator's."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", paper.url)
    settings.forget()
    yield paper
    settings.forget()


def taken(count: int, refused: int | None = None) -> dict[str, Any]:
    entries: list[dict[str, str]] = [{"EventId": str(number)} for number in range(count)]
    if refused is not None:
        entries[refused] = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
    return {"FailedEntryCount": int(refused is not None), "Entries": entries}


def changes(count: int, status: Status = Status.READY) -> dict[str, Any]:
    """The stream's records of so many tasks that are new in this status."""

    def image(number: int) -> dict[str, Any]:
        row = {"pk": f"task#{number:032}", "task_id": f"{number:032}", "status": status.value}
        return {
            name: attributes.typed(value)
            for name, value in {**row, "created_at": AT, "changed_at": AT}.items()
        }

    return {
        "Records": [
            {"dynamodb": {"SequenceNumber": str(100 + number), "NewImage": image(number)}}
            for number in range(count)
        ]
    }


def test_ten_events_go_in_one_request(bus: Paper) -> None:
    bus.answers = [taken(10), taken(3)]
    assert announce.handler(changes(13), CONTEXT) == {"batchItemFailures": []}
    sent = [[entry["DetailType"] for entry in body["Entries"]] for _, _, body in bus.requests]
    assert sent == [["Task Ready"] * 10, ["Task Ready"] * 3]


def test_only_the_record_that_the_bus_refused_comes_again(bus: Paper) -> None:
    bus.answers = [taken(3, refused=1)]
    again = announce.handler(changes(3), CONTEXT)
    assert again == {"batchItemFailures": [{"itemIdentifier": "101"}]}


def test_a_row_that_cannot_be_read_comes_again_and_holds_up_no_other(bus: Paper) -> None:
    bus.answers = [taken(1)]
    event = changes(2)
    event["Records"][0]["dynamodb"]["NewImage"]["settings"] = {"SS": ["never written by us"]}
    again = announce.handler(event, CONTEXT)
    assert again == {"batchItemFailures": [{"itemIdentifier": "100"}]}
    assert len(bus.requests) == 1


def test_a_status_that_nobody_needs_costs_no_request(bus: Paper) -> None:
    assert announce.handler(changes(2, Status.SUBMITTING), CONTEXT) == {"batchItemFailures": []}
    assert bus.requests == []


def test_a_poll_is_no_news_and_every_step_is(shop: Workshop) -> None:
    def is_news() -> bool:
        return bool((table.read(key_of(task.task_id)) or {})["news"] == table.NEWS)

    task = steps.open_task(Task("0" * 32, Status.READY, AT))
    assert is_news()
    callbacks.leave_token(task, "token", queried=True, is_answered=True)
    assert not is_news()
    steps.refuse(task, "NO", "for a reason")
    assert is_news()
