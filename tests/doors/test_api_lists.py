"""Lists, names and links: GET /tasks with its filters, a task by its prefix or key, its files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import pytest

from functions.handlers import intake
from functions.settings import aws
from functions.tasks import steps, table
from functions.tasks.task import Status, Task
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event
from tests.doors.test_api import call


def opened(number: int, **facts: Any) -> str:
    """A task of the folder `ep1` or another, made at the minute of its number."""
    task_id = f"{number:04x}".ljust(32, "0")
    key = f"{facts.pop('folder', 'ep1')}/{number:02d}.mp3"
    known: dict[str, Any] = {
        "status": Status.READY,
        "created_at": f"2026-11-{1 + number // 60:02d}T09:{number % 60:02d}:00.000Z",
        "provider": "kie", "model": "infinitalk/from-audio", "stem": f"{number:02d}",
        "quote_usd": Decimal("0.18"), "audio": {"bucket": "b", "key": key},
    }  # fmt: skip
    steps.open_task(Task(task_id=task_id, **{**known, **facts}))
    return task_id


def listed(query: str) -> list[str]:
    """Every task of a listing, page by page."""
    found, cursor = [], ""
    while True:
        status, page, _ = call("GET", "/tasks", query=f"{query}{cursor and '&cursor=' + cursor}")
        assert status == 200
        found += [task["task_id"] for task in page["tasks"]]
        cursor = page["cursor"]
        if not cursor:
            return found


@contextmanager
def counted() -> Iterator[list[str]]:
    """Every request to the table."""
    calls: list[str] = []
    events = aws("dynamodb").meta.events

    def note(model: Any, **_: Any) -> None:
        calls.append(model.name)

    events.register("before-call.dynamodb", note)
    try:
        yield calls
    finally:
        events.unregister("before-call.dynamodb", note)


def test_tasks_are_listed_by_folder_provider_text_and_time(shop: Workshop) -> None:
    one, two = opened(1), opened(2, folder="ep2", prompt="She SMILES broadly.")
    kling = opened(
        3, provider="kling", status=Status.FAILED, error={"code": "X", "message": "no face"}
    )
    assert listed("limit=2") == [kling, two, one]
    assert listed("prefix=ep1/") == [kling, one]
    assert listed("prefix=ep1/03") == [kling]
    assert listed("provider=kling") == [kling]
    assert listed("q=smiles") == [two]
    assert listed("q=NO FACE") == [kling]
    assert listed("since=2026-11-01T09:02:00Z") == [kling, two]
    assert listed("until=2026-11-01T09:02:00Z&status=ready") == [two, one]
    assert listed("until=2026-11-01") == [kling, two, one]
    assert listed("since=2026-11-02") == []


def test_a_list_by_status_shows_of_a_task_what_every_other_list_does(shop: Workshop) -> None:
    facts = {"error": {"code": "X", "message": "m"}, "model_reason": "the cheapest"}
    opened(1, status=Status.FAILED, intended_at="2026-11-01T09:00:00.000Z", **facts)
    opened(2, not_before="2026-11-01T10:00:00.000Z", waits_for="the budget", consent={"who": "Ada"})
    _, every, _ = call("GET", "/tasks")
    for task in every["tasks"]:
        _, page, _ = call("GET", "/tasks", query=f"status={task['status']}")
        assert page["tasks"] == [task]
    assert set(every["tasks"][1]["actions"]) == {"adopt", "resubmit"}


def test_a_task_that_has_left_its_status_is_not_listed_by_it(shop: Workshop) -> None:
    task_id = opened(1)
    shop.cloud.client("dynamodb").update_item(  # the index lags behind
        TableName=shop.table,
        Key={"pk": {"S": f"task#{task_id}"}},
        UpdateExpression="SET #status = :now",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":now": {"S": "SUBMITTING"}},
    )
    assert listed("status=ready") == []
    assert listed("") == [task_id]


def test_a_page_looks_at_a_bounded_number_of_tasks_and_may_be_empty_with_a_cursor(
    shop: Workshop,
) -> None:
    wanted = opened(0, folder="rare")
    for number in range(1, 230):
        opened(number)
    with counted() as calls:
        _, page, _ = call("GET", "/tasks", query="prefix=rare/")
    assert page["tasks"] == []
    assert page["cursor"]
    assert len(calls) <= 8
    assert listed("prefix=rare/") == [wanted]
    assert len(listed("limit=7")) == 230


def test_a_task_is_named_by_the_first_digits_of_its_id_where_they_are_enough(
    shop: Workshop,
) -> None:
    task_id = opened(0xABCD)
    assert call("GET", "/tasks/abcd")[1]["task_id"] == task_id
    assert call("GET", "/tasks/abc")[0] == 404
    opened(0xABCE)
    steps.open_task(
        Task(
            task_id="abcd1".ljust(32, "1"),
            status=Status.READY,
            created_at="2026-11-21T00:00:00.000Z",
        )
    )
    status, problem, _ = call("GET", "/tasks/abcd")
    assert (status, "more digits" in problem["detail"]) == (409, True)
    assert call("GET", "/tasks/abcd0")[1]["task_id"] == task_id


@pytest.mark.parametrize("key", ["in/hello.mp3", "in/50% of é+ü.mp3"])
def test_a_task_is_named_by_the_key_of_its_voice(shop: Workshop, key: str) -> None:
    shop.drop(key, VOICE)
    shop.drop("in/portrait.png", PORTRAIT)
    intake.handler(sqs_event(dropped(shop.inbox, key)), CONTEXT)
    status, task, _ = call("GET", f"/tasks/{quote(key, safe='')}")
    assert (status, task["task_id"], task["folder"]) == (200, shop.the_task().task_id, "in/")
    by_parameter = call("GET", "/tasks", query=f"key={quote(key, safe='')}")[1]
    assert [one["task_id"] for one in by_parameter["tasks"]] == [shop.the_task().task_id]
    assert call("GET", "/tasks", query="key=in/nobody.mp3")[1] == {"tasks": [], "cursor": None}


def test_files_are_short_links_that_take_ranges(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    intake.handler(sqs_event(dropped(shop.inbox, "in/hello.mp3")), CONTEXT)
    task_id = shop.the_task().task_id
    for what, content in (("portrait", PORTRAIT), ("voice", VOICE)):
        status, link, _ = call("GET", f"/tasks/{task_id}/{what}")
        assert status == 302
        got = httpx.get(link, headers={"Range": "bytes=10-19"})
        assert (got.status_code, got.content) == (206, content[10:20])
    status, problem, _ = call("GET", f"/tasks/{task_id}/video")
    assert (status, "COMPLETED" in problem["detail"]) == (404, True)


def test_a_link_is_answered_as_json_where_a_page_cannot_follow_a_redirect(
    shop: Workshop,
) -> None:
    shop.drop("in/hällo.mp3", VOICE)
    shop.drop("in/hällo.png", PORTRAIT)
    intake.handler(sqs_event(dropped(shop.inbox, "in/hällo.mp3")), CONTEXT)
    voice = f"/tasks/{shop.the_task().task_id}/voice"
    status, link, _ = call("GET", voice, query="as=link")
    assert (status, link["seconds"]) == (200, 900)
    assert httpx.get(link["url"]).content == VOICE
    _, link, _ = call("GET", voice, query="as=attachment")
    signed = dict(parse_qsl(urlsplit(link["url"]).query))
    saved = signed["response-content-disposition"]  # S3's part, which the emulator leaves out
    assert saved == "attachment; filename*=UTF-8''h%C3%A4llo.mp3"
    assert call("GET", voice, query="as=redirect")[0] == 302
    status, problem, _ = call("GET", voice, query="as=file")
    assert (status, "use redirect, link, attachment" in problem["detail"]) == (400, True)


def test_a_completed_task_has_a_video_and_a_manifest(shop: Workshop) -> None:
    shop.s3.put_object(Bucket=shop.archive, Key="videos/v.mp4", Body=b"film")
    shop.s3.put_object(Bucket=shop.archive, Key="videos/manifest.json", Body=b"{}")
    archived = {
        "bucket": shop.archive,
        "key": "videos/v.mp4",
        "manifest_key": "videos/manifest.json",
    }
    task_id = opened(7, status=Status.COMPLETED, archived=archived)
    for what, content in (("video", b"film"), ("manifest", b"{}")):
        assert httpx.get(call("GET", f"/tasks/{task_id}/{what}")[1]).content == content


@pytest.fixture
def ten_million_rows(shop: Workshop) -> Iterator[Counter[str]]:
    """A table that always has more: DynamoDB is answered at its wire, with as many rows as a query
    may read. What is read is counted."""
    read: Counter[str] = Counter()
    newest = datetime(2026, 11, 21, 9, tzinfo=UTC)

    def row(number: int, shard: int) -> dict[str, Any]:
        task_id = f"{number * 4 + shard:032x}"
        created = table.stamp(newest - timedelta(seconds=number * 4 + shard))
        facts = {"pk": f"task#{task_id}", "task_id": task_id, "status": "COMPLETED"}
        facts |= {"created_at": created, "created": f"{created}#{task_id}", "provider": "kie"}
        return {name: {"S": value} for name, value in facts.items()}

    def answer(model: Any, params: Any, **_: Any) -> Any:
        body = json.loads(params["body"])
        read["calls"] += 1
        if model.name == "Query":
            shard = int(body["ExpressionAttributeValues"][":shard"]["S"].rpartition("#")[2])
            items = [row(number, shard) for number in range(body["Limit"])]
            read["rows"] += len(items)
            made: Any = {"Items": items, "Count": len(items), "LastEvaluatedKey": items[-1]}
        else:
            ((name, wanted),) = body["RequestItems"].items()
            numbers = [divmod(int(key["pk"]["S"][5:], 16), 4) for key in wanted["Keys"]]
            read["rows"] += len(numbers)
            made = {"Responses": {name: [row(*one) for one in numbers]}, "UnprocessedKeys": {}}
        return type("Http", (), {"status_code": 200}), made

    hooks = [f"before-call.dynamodb.{name}" for name in ("Query", "BatchGetItem")]
    for hook in hooks:
        aws("dynamodb").meta.events.register(hook, answer)
    yield read
    for hook in hooks:
        aws("dynamodb").meta.events.unregister(hook, answer)


@pytest.mark.parametrize(
    "asks",
    [
        "",
        "limit=200",
        "status=completed&limit=200",
        "prefix=no/such/folder/",
        "q=no+such+words",
        "provider=kling",
        "status=completed&provider=kling&q=x&prefix=y&since=2020-01-01",
    ],
)
def test_a_page_of_ten_million_tasks_is_one_page_of_bounded_reads_whatever_the_filter(
    ten_million_rows: Counter[str], asks: str
) -> None:
    status, page, _ = call("GET", "/tasks", query=asks)
    assert (status, bool(page["cursor"])) == (200, True)
    assert ten_million_rows["calls"] <= 7  # four shards, three batches of rows
    assert ten_million_rows["rows"] <= 4 * 202 + 201
