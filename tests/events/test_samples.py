"""The events' schema, version 1. The samples stay for ever: who has read them can read every later
event of version 1.

A new field is added to the model and to the samples, with a default; a field that goes or changes
is version 2.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from functions.tasks import events
from functions.tasks.task import Status, Task

SAMPLES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parent / "v1").glob("*.json"))
}
TASK_ID = "5f3ac9e1b7d84c2e9a6f0b1d2c3e4f5a"
BUCKET = "talkdrop-inbox-1a2b3c"


def task(status: Status, **facts: Any) -> Task:
    usual: dict[str, Any] = {
        "task_id": TASK_ID, "status": status, "created_at": "2026-11-21T09:00:00.000Z",
        "changed_at": "2026-11-21T09:04:41.250Z", "stem": "hello", "provider": "kie",
        "model": "infinitalk/from-audio",
        "portrait": {"bucket": BUCKET, "key": "ada/hello.png", "version_id": "3sL4kqtJlcpXroDTDmJ",
        "width": 1024},
        "audio": {"bucket": BUCKET, "key": "ada/hello.mp3", "version_id": "QUpfdndhfd8438MNFD",
        "seconds": Decimal("11.52")},
        "quote_usd": Decimal("0.18"), "settings": {"resolution": "480p"},
        "entered": {f"{status}#1": 1}, "video_url": "https://cdn.example.com/x.mp4?X-Amz-Signature=secret",
    }  # fmt: skip
    return Task(**{**usual, **facts})


VIDEO = {
    "bucket": "talkdrop-archive-4d5e6f", "key": f"videos/2026/11/21/{TASK_ID}/hello.mp4",
    "version_id": "bnEnx8Qzs2CuDzUXcVnrOJ", "etag": '"9b2cf535f27731c974343645a3985328"',
    "bytes": 1482037,
    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "seconds": Decimal("12.267"),
    "manifest_key": f"videos/2026/11/21/{TASK_ID}/manifest.json",
}  # fmt: skip

TASKS = {
    "task-waiting": task(Status.WAITING, portrait={}, quote_usd=None),
    "task-ready": task(
        Status.READY, max_usd=Decimal(5),
        model_reason="12 s of voice: infinitalk/from-audio, 0.18 USD",
    ),
    "task-submitted": task(Status.SUBMITTED),
    "task-completed": task(
        Status.COMPLETED, archived=VIDEO, charge_usd=Decimal("0.18"),
        consent={"who": "Ada Lovelace", "scope": "training videos", "until": "2027-12-31",
        "document_sha256": VIDEO["sha256"]},
    ),
    "task-failed": task(
        Status.FAILED, quote_usd=None, provider="kie", entered={"FAILED#1": 2},
        error={"code": "NOT_A_SOUND",
        "message": "hello.mp3 is an HTML page: give an MP3, WAV, AAC, M4A or OGG file."},
    ),
    "task-held": task(
        Status.HELD, charge_usd=None,
        error={"code": "AMBIGUOUS",
        "message": "the answer of kie to the submit was lost and no callback came"},
    ),
    "task-expired": task(
        Status.EXPIRED, portrait={}, quote_usd=None,
        error={"code": "EXPIRED",
        "message": "No portrait came for 'hello' within 24 hours: drop it to revive the task."},
    ),
    "task-cancelled": task(
        Status.CANCELLED,
        error={"code": "WITHDRAWN",
        "message": "hello.mp3 was deleted from the inbox before the task was sent; nothing was "
        "paid."},
    ),
}  # fmt: skip


def test_every_fact_that_is_announced_has_a_sample() -> None:
    words = {word.lower().replace(" ", "-") for word in events.DETAIL_TYPES.values()}
    assert set(SAMPLES) == set(TASKS) == words


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_announced_as_its_sample_says(name: str) -> None:
    event = json.loads(events.of(TASKS[name]).json())
    assert event == SAMPLES[name]["detail"]
    assert SAMPLES[name]["detail-type"] == events.DETAIL_TYPES[TASKS[name].status]
    assert SAMPLES[name]["source"] == events.SOURCE


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_version_1_is_still_an_event(name: str) -> None:
    event = TypeAdapter(events.TaskEvent).validate_python(SAMPLES[name]["detail"])
    assert event.version == "1"
    assert json.loads(event.json()) == SAMPLES[name]["detail"]  # nothing of it is unknown now


@pytest.mark.parametrize("name", TASKS)
def test_no_event_grants_access_to_anything(name: str) -> None:
    event = events.of(TASKS[name]).json()
    assert "://" not in event
    assert "Signature" not in event


def test_a_status_entered_again_is_another_fact_with_another_id() -> None:
    assert events.of(TASKS["task-failed"]).event_id == f"{TASK_ID}#FAILED#1#2"
    assert (
        events.of(task(Status.READY, attempt=2, entered={"READY#2": 1})).event_id
        == f"{TASK_ID}#READY#2"
    )


def test_a_second_delivery_of_a_fact_has_the_same_id() -> None:
    assert (
        events.of(TASKS["task-completed"]).event_id == events.of(TASKS["task-completed"]).event_id
    )
