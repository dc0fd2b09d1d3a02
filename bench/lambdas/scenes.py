"""A task for each handler: its row, the event that comes for it, and the settings."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from functions import links
from functions.tasks import slots
from functions.tasks.attributes import typed
from functions.tasks.task import Status, Task, id_of, key_of

SAMPLES = Path(__file__).parents[2] / "local" / "samples"
OBJECTS: Mapping[str, bytes] = {
    "/inbox/spring/hello.png": (SAMPLES / "portrait.png").read_bytes(),
    "/inbox/spring/hello.mp3": (SAMPLES / "voice.mp3").read_bytes(),
}
KEYS = {"current": "k1", "k1": "0123456789abcdef0123456789abcdef0123456789abcdef"}
AT = "2026-11-21T10:00:00.000Z"
VERSION, ETAG = "3HL4kqtJlcpXroDTDmJ", '"5d41402abc4b2a76b9719d911017c592"'
# No job runs and no task waits: the first place is free.
SLOTS = {"pk": typed("slots#kie"), "leases": typed({}), "step": typed("a")}
STATUSES = {
    "submit": Status.READY,
    "callback": Status.SUBMITTED,
    "watch": Status.SUBMITTED,
    "archive": Status.ARCHIVING,
    "settle": Status.ARCHIVING,
    "announce": Status.COMPLETED,
    "api": Status.SUBMITTED,
}
ARCHIVED: Mapping[str, Any] = {
    "bucket": "archive", "key": "videos/2026/11/21/hello.mp4", "version_id": VERSION,
    "manifest_key": "videos/2026/11/21/manifest.json", "sha256": "ab" * 32,
    "bytes": 1_000_000, "seconds": 7.3,
}  # fmt: skip


def task_of(handler: str) -> str:
    return id_of("bench", handler)


def slots_with_a_turn() -> dict[str, Any]:
    """The same after submit's task was given its turn, for now."""
    lapses = int(1000 * (time.time() + slots.TURN_LAPSES_SECONDS))
    return {**SLOTS, "leases": typed({f"{task_of('submit')}-1": lapses})}


def row(handler: str, origin: str) -> dict[str, Any]:
    """The row as DynamoDB types it; `origin` is where its video is served."""
    file = {"bucket": "inbox", "version_id": VERSION, "etag": ETAG.strip('"'), "bytes": 117_000}
    status = STATUSES[handler]
    task = Task(
        task_of(handler), status, AT, AT, provider="kie", model="infinitalk/from-audio",
        prompt="a person speaks to the camera", stem="hello", quote_usd=1,
        portrait={**file, "key": "spring/hello.png", "content_type": "image/png"},  # type: ignore[typeddict-item]
        audio={**file, "key": "spring/hello.mp3", "content_type": "audio/mpeg"},  # type: ignore[typeddict-item]
        booked=("slots#kie", "lapsing_999999"), entered={status.value: 1}, due_at=AT,
        history=({"at": AT, "what": "READY", "who": "talkdrop"},),
    )  # fmt: skip
    item = {name: value for name, value in dataclasses.asdict(task).items() if value}
    item |= {"pk": key_of(task.task_id), "callbacks_received": 0, "callbacks_handled": 0}
    if handler != "submit":
        item |= {"job_id": "job-1", "intended_at": AT, "sent_at": AT, "first_sent_at": AT}
        item |= {"submitted_at": AT, "task_token": "t" * 600}
    if handler in ("archive", "settle"):
        item |= {"video_url": f"{origin}/film.mp4", "trusted_host": origin.partition("//")[2]}
    if handler == "announce":
        item |= {"archived": dict(ARCHIVED), "charge_usd": 1}
    return {name: typed(value) for name, value in item.items()}


def event(handler: str, origin: str) -> Any:
    """What Lambda is given."""
    task_id = task_of(handler)
    workflow = {"task_id": task_id, "attempt": 1}
    match handler:
        case "submit":
            return _message({"task_id": task_id, "turn": ""})
        case "intake":
            about = {"bucket": {"name": "inbox"}, "object": {"key": "spring/hello.mp3"}}
            return _message({"source": "aws.s3", "detail": about})
        case "callback":
            return _callback(task_id)
        case "watch":
            return {**workflow, "task_token": "t" * 600, "polls_done": 1}
        case "archive":
            return workflow
        case "settle":
            return {**workflow, "archived": dict(ARCHIVED)}
        case "announce":
            return _change(origin)
        case "api":
            return _request(task_id)
        case "summary":
            return {"time": AT}
        case _:
            return {}


def _message(body: Mapping[str, Any]) -> Any:
    record = {
        "messageId": "m-1", "receiptHandle": "r", "body": json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {},
        "eventSource": "aws:sqs", "awsRegion": "eu-central-1",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:queue",
    }  # fmt: skip
    return {"Records": [record]}


def _callback(task_id: str) -> Any:
    signature = links.callback_url("kie", task_id, 1, KEYS).rpartition("/")[2]
    path = {"provider": "kie", "task_id": task_id, "attempt": "1", "signature": signature}
    body = {"code": 200, "msg": "ok", "data": {"taskId": "job-1", "state": "success"}}
    return {"pathParameters": path, "headers": {}, "body": json.dumps(body)}


def _change(origin: str) -> Any:
    after = row("announce", origin)
    before = {
        **after,
        "status": typed("ARCHIVING"),
        "changed_at": typed("2026-11-21T09:59:00.000Z"),
    }
    change = {
        "Keys": {"pk": after["pk"]}, "NewImage": after, "OldImage": before,
        "SequenceNumber": "1", "StreamViewType": "NEW_AND_OLD_IMAGES",
    }  # fmt: skip
    record = {
        "eventID": "1",
        "eventName": "MODIFY",
        "eventSource": "aws:dynamodb",
        "dynamodb": change,
    }
    return {"Records": [record]}


def _request(task_id: str) -> Any:
    return {
        "version": "2.0", "routeKey": "$default", "rawPath": f"/tasks/{task_id}",
        "rawQueryString": "", "headers": {},
        "requestContext": {
            "http": {"method": "GET", "path": f"/tasks/{task_id}"}, "stage": "$default",
            "requestId": "r",
        },
        "isBase64Encoded": False,
    }  # fmt: skip


def settings(origin: str) -> dict[str, str]:
    """The environment of every handler, ours and the naive ones."""
    account = "eu-central-1:123456789012"
    values = {
        "TABLE": "tasks", "INBOX": "inbox", "ARCHIVE": "archive", "BUS": "bus",
        "UPLOADS_QUEUE_URL": f"{origin}/123456789012/uploads",
        "SUBMISSIONS_QUEUE_URL": f"{origin}/123456789012/submissions",
        "WORKFLOW_ARN": f"arn:aws:states:{account}:stateMachine:talkdrop",
        "CALLBACK_BASE_URL": "https://callbacks.example.com", "CALLBACK_SECRET": "callback",
        "PROVIDER_SECRETS": '{"kie":"kie"}', "DEAD_LETTER_URLS": "{}",
    }  # fmt: skip
    return {f"TALKDROP_{name}": value for name, value in values.items()}


def secrets(origin: str) -> dict[str, dict[str, Any]]:
    host = origin.partition("//")[2]
    return {"callback": KEYS, "kie": {"api_key": "key", "base_url": origin, "result_hosts": [host]}}
