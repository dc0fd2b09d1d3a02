"""Many files in the inbox: what a round of the sweep costs, and a folder that no one invocation can
go through. S3's listings are made at its wire, in the shape that S3 gives them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.handlers import intake, sweep
from functions.settings import aws
from functions.tasks import table
from functions.tasks.table import Update
from functions.tasks.task import Status, key_of
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event

PAST = "2026-01-01T00:00:00.000Z"
PAGE = 1000


class Shelf:
    """Objects of the inbox that lie only in what S3's listings answer, and rows of their tasks that
    lie only in what DynamoDB's GetItem answers."""

    def __init__(self) -> None:
        self.objects: dict[str, datetime] = {}
        self.without_row: set[str] = set()
        self.calls: Counter[str] = Counter()

    def add(self, key: str, *, minutes_ago: float) -> None:
        self.objects[key] = datetime.now(UTC) - timedelta(minutes=minutes_ago)

    def versions(self, params: Any) -> dict[str, Any]:
        keys, more = self._page(params["query_string"].get("key-marker", ""))
        found = [
            {"Key": key, "VersionId": f"v-{key}", "IsLatest": True, "ETag": '"e"',
             "LastModified": self.objects[key]}
            for key in keys
        ]  # fmt: skip
        marks = {"NextKeyMarker": keys[-1], "NextVersionIdMarker": "v"} if more else {}
        return {"Versions": found, "IsTruncated": more, **marks}

    def contents(self, params: Any) -> dict[str, Any]:
        query = params["query_string"]
        after = query.get("continuation-token") or query.get("start-after", "")
        keys, more = self._page(after, query.get("prefix", ""))
        found = [{"Key": key, "LastModified": self.objects[key]} for key in keys]
        token = {"NextContinuationToken": keys[-1]} if more else {}
        return {"Contents": found, "IsTruncated": more, "KeyCount": len(keys), **token}

    def _page(self, after: str, prefix: str = "") -> tuple[list[str], bool]:
        keys = [key for key in sorted(self.objects) if key > after and key.startswith(prefix)]
        return keys[:PAGE], len(keys) > PAGE

    def row(self, params: Any) -> dict[str, Any] | None:
        pk = json.loads(params["body"])["Key"]["pk"]["S"]
        if not pk.startswith("task#"):
            return None
        row = {"pk": pk, "task_id": pk[5:], "status": "COMPLETED", "created_at": PAST}
        return {"Item": {name: {"S": value} for name, value in row.items()}}


@pytest.fixture
def shelf(shop: Workshop) -> Iterator[Shelf]:
    """AWS's clients, answered where their requests would leave."""
    shelf = Shelf()

    def at_the_wire(model: Any, params: Any, **_: Any) -> Any:
        shelf.calls[model.name] += 1
        if model.name == "GetItem":
            answer = None if shelf.without_row else shelf.row(params)
        else:
            made = {"ListObjectVersions": shelf.versions, "ListObjectsV2": shelf.contents}
            answer = made[model.name](params)
        return None if answer is None else (type("Http", (), {"status_code": 200}), answer)

    places = (
        ("s3", "ListObjectVersions"), ("s3", "ListObjectsV2"), ("dynamodb", "GetItem"),
    )  # fmt: skip
    for service, call in places:
        aws(service).meta.events.register(f"before-call.{service}.{call}", at_the_wire)  # type: ignore[call-overload]
    yield shelf
    for service, call in places:
        aws(service).meta.events.unregister(f"before-call.{service}.{call}", at_the_wire)  # type: ignore[call-overload]


def an_hour_later() -> None:
    Update("sweep#inbox").set(again_at=PAST).run()


@pytest.mark.parametrize("count", [1_000, 20_000])
def test_a_round_looks_up_what_is_new_and_nothing_that_was_dealt_with(
    shop: Workshop, shelf: Shelf, count: int
) -> None:
    for number in range(count):
        shelf.add(f"in/{number:07}.mp3", minutes_ago=60 * 24 * 20)
        shelf.add(f"in/{number:07}.png", minutes_ago=60 * 24 * 20)
    sweep.handler({}, CONTEXT)
    assert shelf.calls["GetItem"] >= count  # the first round of all knows nothing
    an_hour_later()
    shelf.calls.clear()
    sweep.handler({}, CONTEXT)
    idle = shelf.calls["GetItem"]  # what the sweep reads of providers and of itself
    an_hour_later()
    shelf.calls.clear()
    shelf.add("in/0000500.new.mp3", minutes_ago=15.5)
    sweep.handler({}, CONTEXT)
    assert shelf.calls["GetItem"] == idle + 1 < 20
    assert shelf.calls["ListObjectVersions"] == -(-(2 * count + 1) // PAGE)


def test_a_voice_whose_event_was_lost_is_found_and_kept_in_view_until_it_has_a_task(
    shop: Workshop, shelf: Shelf
) -> None:
    for number in range(3_000):
        shelf.add(f"in/{number:07}.mp3", minutes_ago=60 * 24 * 20)
    sweep.handler({}, CONTEXT)
    shelf.add("in/0001500.lost.mp3", minutes_ago=16)
    shelf.without_row = {"in/0001500.lost.mp3"}
    for _ in range(3):  # its message may end in the dead letters: it is asked for again
        an_hour_later()
        assert sweep.handler({}, CONTEXT)["found"] == 1
        (message,) = shop.messages(shop.uploads)
        assert message["audio"]["key"] == "in/0001500.lost.mp3"
    shelf.without_row = set()
    an_hour_later()
    assert sweep.handler({}, CONTEXT)["found"] == 0


def test_a_round_that_does_not_fit_into_one_run_goes_on_where_it_stopped(
    shop: Workshop, shelf: Shelf
) -> None:
    for number in range(5_000):
        shelf.add(f"in/{number:07}.mp3", minutes_ago=60 * 24)
    left = iter([200_000] * 2 + [1_000] * 100)
    context: Any = type("Short", (), dict(vars(CONTEXT)))
    context.get_remaining_time_in_millis = lambda: next(left)
    sweep.handler({}, context)
    assert shelf.calls["ListObjectVersions"] < 5
    sweep.handler({}, CONTEXT)
    assert shelf.calls["ListObjectVersions"] == 5


def test_an_upload_in_parts_is_found_though_it_bears_the_time_at_which_it_began(
    shop: Workshop,
) -> None:
    """So does S3. https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
    sweep.handler({}, CONTEXT)
    an_hour_later()
    key = "in/long.wav"
    upload = shop.s3.create_multipart_upload(Bucket=shop.inbox, Key=key)["UploadId"]
    part = shop.s3.upload_part(
        Bucket=shop.inbox, Key=key, UploadId=upload, PartNumber=1, Body=VOICE
    )
    parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    shop.s3.complete_multipart_upload(
        Bucket=shop.inbox, Key=key, UploadId=upload, MultipartUpload=parts
    )

    def hours_ago(parsed: Any, **_: Any) -> None:
        for version in parsed["Versions"]:
            version["LastModified"] -= timedelta(hours=5)

    aws("s3").meta.events.register("after-call.s3.ListObjectVersions", hours_ago)
    try:
        assert sweep.handler({}, CONTEXT)["found"] == 1
    finally:
        aws("s3").meta.events.unregister("after-call.s3.ListObjectVersions", hours_ago)


def test_a_portrait_for_a_folder_reaches_every_voice_though_no_one_invocation_could(
    shop: Workshop, shelf: Shelf
) -> None:
    count = 25_000
    shelf.add("in/portrait.png", minutes_ago=0)
    for number in range(count):
        shelf.add(f"in/{number:07}.mp3", minutes_ago=0)
    batches: list[str] = []

    def sent(params: Any, **_: Any) -> Any:
        entries = json.loads(params["body"])["Entries"]
        batches.extend(json.loads(one["MessageBody"])["audio"]["key"] for one in entries)
        return type("Http", (), {"status_code": 200}), {"Successful": entries}

    aws("sqs").meta.events.register("before-call.sqs.SendMessageBatch", sent)
    try:
        message, steps = dropped(shop.inbox, "in/portrait.png"), 0
        while message:
            answer = intake.handler(sqs_event(message), CONTEXT)
            assert answer == {"batchItemFailures": []}
            steps += 1
            message = next(iter(shop.messages(shop.uploads)), {})
    finally:
        aws("sqs").meta.events.unregister("before-call.sqs.SendMessageBatch", sent)
    assert steps == 3
    assert len(batches) == len(set(batches)) == count


def test_what_is_new_beside_a_waiting_voice_wakes_it_and_no_other(shop: Workshop) -> None:
    """Their own portrait came, or the folder's, and its event was lost."""
    keys = {"a/one.mp3": "a/one.png", "b/two.mp3": "b/portrait.png", "c/three.mp3": "d/three.png"}
    for number, voice in enumerate(keys, 1):
        task_id = f"{number:032x}"
        facts = {"status": "WAITING", "status_shard": "WAITING#0", "created": f"{PAST}#{task_id}"}
        audio = {"bucket": shop.inbox, "key": voice, "version_id": "v"}
        row = Update(key_of(task_id)).set(task_id=task_id, created_at=PAST, audio=audio, **facts)
        row.run()
    assert {task.status for task in shop.all_tasks()} == {Status.WAITING}
    for portrait in keys.values():
        shop.drop(portrait, PORTRAIT)

    def settled(parsed: Any, **_: Any) -> None:
        for version in parsed["Versions"]:
            version["LastModified"] -= timedelta(minutes=20)

    assert table.read("sweep#inbox") is None
    aws("s3").meta.events.register("after-call.s3.ListObjectVersions", settled)
    try:
        sweep.handler({}, CONTEXT)
    finally:
        aws("s3").meta.events.unregister("after-call.s3.ListObjectVersions", settled)
    found = sorted(one["audio"]["key"] for one in shop.messages(shop.uploads))
    assert found == ["a/one.mp3", "b/two.mp3"]
