"""Many tasks at once, by the table's indexes. An index lags behind: who acts on a task reads
its row anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from functions.settings import aws, get
from functions.tasks import attributes, table
from functions.tasks.table import TASK_PREFIX, ConditionFailed, Item, stamp
from functions.tasks.task import (
    SHARDS,
    Status,
    Task,
    id_shard,
    key_of,
    list_shard,
    waiting_shard,
)

# What the index of statuses has of a task: what a day's summary says of it, and enough to look
# through it by hand. Nothing secret (history, task token, the provider's own link); DynamoDB takes
# twenty names at most.
LISTED = (
    "task_id",
    "status",
    "created_at",
    "changed_at",
    "attempt",
    "origin",
    "provider",
    "model",
    "prompt",
    "settings",
    "stem",
    "portrait",
    "audio",
    "quote_usd",
    "charge_usd",
    "job_id",
    "submitted_at",
    "archived",
    "error",
)

_LOOKED_AT = 200  # tasks that a filtered page looks at, at most
_NUMBERED = 100  # of those that wait for a turn at a provider
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
_MOST_IN_A_BATCH = 100
_BATCH_TRIES = 6
_MOST_PAGES = 25  # a megabyte each, of each of four shards: some 100,000 tasks


def load(task_id: str) -> Task | None:
    item = table.read(key_of(task_id))
    return Task.of(item) if item else None


def reload(task: Task) -> Task:
    """The row after a transaction, which answers nothing. Raises ConditionFailed when it is
    gone."""
    found = load(task.task_id)
    if found is None:
        raise ConditionFailed
    return found


def load_many(task_ids: Sequence[str]) -> list[Task]:
    """The tasks of these ids as they are now, in this order; one that is gone is left out."""
    rows = read_many([key_of(task_id) for task_id in task_ids])
    found = (rows.get(key_of(task_id)) for task_id in task_ids)
    return [Task.of(row) for row in found if row]


def waiting(provider: str, limit: int) -> list[str]:
    """The ids of the tasks that wait for a turn at this provider, the lowest places first."""
    answer = aws("dynamodb").query(
        TableName=get().table,
        IndexName="due",
        KeyConditionExpression="due_shard = :shard",
        ExpressionAttributeValues={":shard": {"S": waiting_shard(provider)}},
        Limit=limit,
    )
    return [str(item["pk"]["S"]).removeprefix("task#") for item in answer["Items"]]


def turn_numbers(tasks: Iterable[Task]) -> dict[str, int]:
    """The numbers of those that wait for a turn among all that do at their provider, by id: 1 is
    the next. Only the first hundred have one. Who comes later may come before, by its folder."""
    providers = {task.provider for task in tasks if task.is_waiting}
    return {
        task_id: number
        for provider in providers
        for number, task_id in enumerate(waiting(provider, _NUMBERED), 1)
    }


def matching(prefix: str) -> list[str]:
    """The ids that begin with these hex digits, two at most: whether one is meant, and which."""
    answer = aws("dynamodb").query(
        TableName=get().table,
        IndexName="by-id",
        KeyConditionExpression="id_shard = :shard AND begins_with(pk, :prefix)",
        ExpressionAttributeValues={
            ":shard": {"S": id_shard(prefix)},
            ":prefix": {"S": key_of(prefix)},
        },
        Limit=2,
    )
    return [str(item["pk"]["S"]).removeprefix(TASK_PREFIX) for item in answer["Items"]]


def page(
    status: Status | None,
    *,
    before: str = "",
    since: str = "",
    limit: int = 50,
    keep: Callable[[Task], bool] | None = None,
) -> tuple[list[Task], str]:
    """Tasks, newest first, and the cursor of the next page (empty: there is none). With a filter a
    page looks at a bounded number of tasks, so it may be short or empty and still have a cursor."""
    most = max(limit, _LOOKED_AT) if keep else limit
    looked_at, more = _newest(status, before, since, most)
    kept: list[Task] = []
    for number, (created, task) in enumerate(looked_at):
        if task and (keep is None or keep(task)):
            kept.append(task)
        if len(kept) == limit:
            return kept, created if more or number + 1 < len(looked_at) else ""
    return kept, looked_at[-1][0] if more and looked_at else ""


def _newest(
    status: Status | None, before: str, since: str, most: int
) -> tuple[list[tuple[str, Task | None]], bool]:
    """The newest `most` of all shards, and whether there are more. A shard whose answer was cut
    hides what is older than its last item, so nothing older is taken from the others."""
    found: list[Item] = []
    horizon = ""
    for shard in range(SHARDS):
        items, cut = _query_page(status, shard, (before, since), most + 1)
        found += items
        if cut and items:
            horizon = max(horizon, str(items[-1]["created"]))
    found.sort(key=lambda item: str(item["created"]), reverse=True)
    newest = [item for item in found if str(item["created"]) >= horizon][:most]
    return _rows(newest, status), len(found) > len(newest) or bool(horizon)


def _rows(items: list[Item], status: Status | None) -> list[tuple[str, Task | None]]:
    """No index holds all that is shown of a task: the rows are read by its keys, as they are now.
    One that has left the status meanwhile is none of it any more."""
    rows = read_many([str(item["pk"]) for item in items])
    tasks = {pk: Task.of(row) for pk, row in rows.items()}
    found = ((str(item["created"]), tasks.get(str(item["pk"]))) for item in items)
    return [
        (created, task if task and status in (None, task.status) else None)
        for created, task in found
    ]


def read_many(pks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The items of these keys as they are now; one that is gone is left out."""
    found: dict[str, dict[str, Any]] = {}
    for first in range(0, len(pks), _MOST_IN_A_BATCH):
        keys = [{"pk": {"S": pk}} for pk in pks[first : first + _MOST_IN_A_BATCH]]
        for tried in range(1, _BATCH_TRIES + 1):
            answer = _read_batch(keys)
            found |= {str(item["pk"]): item for item in answer[0]}
            keys = answer[1]
            if not keys:
                break
            table.pause(tried)
        else:
            raise RuntimeError(f"{len(keys)} items of the table could not be read: it is throttled")
    return found


def _read_batch(keys: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The items, and the keys that DynamoDB left for another request."""
    name = get().table
    answer: Any = aws("dynamodb").batch_get_item(
        RequestItems={name: {"Keys": keys, "ConsistentRead": True}}
    )
    left = answer.get("UnprocessedKeys", {}).get(name, {}).get("Keys", [])
    return [attributes.plain(item) for item in answer["Responses"].get(name, [])], list(left)


def _query_page(
    status: Status | None, shard: int, bounds: tuple[str, str], limit: int
) -> tuple[list[Item], bool]:
    before, since = bounds
    index, attribute = ("by-status", "status_shard") if status else ("by-created", "list_shard")
    answer = aws("dynamodb").query(
        TableName=get().table,
        IndexName=index,
        KeyConditionExpression=f"{attribute} = :shard AND created BETWEEN :since AND :before",
        ExpressionAttributeValues={
            ":shard": {"S": f"{status}#{shard}" if status else list_shard(shard)},
            ":since": {"S": since or " "},
            ":before": {"S": before or "~"},
        },
        ScanIndexForward=False,
        Limit=limit + 1,
    )
    items = [attributes.plain(item) for item in answer["Items"]]
    return [item for item in items if item["created"] != before], "LastEvaluatedKey" in answer


def held() -> tuple[int, bool]:
    """How many tasks are HELD, and whether that is all of them: one look at each shard."""
    counted, complete = 0, True
    for shard in range(SHARDS):
        answer = aws("dynamodb").query(
            TableName=get().table,
            IndexName="by-status",
            KeyConditionExpression="status_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": f"{Status.HELD}#{shard}"}},
            Select="COUNT",
        )
        counted += answer["Count"]
        complete = complete and "LastEvaluatedKey" not in answer
    return counted, complete


def count(status: Status) -> int:
    """How many tasks are in this status."""
    found = 0
    for shard in range(SHARDS):
        pages = aws("dynamodb").get_paginator("query").paginate(
            TableName=get().table, IndexName="by-status", Select="COUNT",
            KeyConditionExpression="status_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": f"{status}#{shard}"}},
        )  # fmt: skip
        found += sum(answer["Count"] for answer in pages)
    return found


def longest_since(status: Status) -> str:
    """Since when the task has been in this status that has been there longest, among the first
    made; empty where there is none."""
    return min((str(item["changed_at"]) for item in _first_made(status)), default="")


def oldest(status: Status) -> list[Task]:
    """The first made of the tasks in this status, pieces of others left out: a hundred at most."""
    tasks = (Task.of(item) for item in _first_made(status))
    return sorted((one for one in tasks if one.origin != "piece"), key=lambda one: one.created_at)


def _first_made(status: Status) -> list[Item]:
    found: list[Item] = []
    for shard in range(SHARDS):
        answer = aws("dynamodb").query(
            TableName=get().table, IndexName="by-status", Limit=25,
            KeyConditionExpression="status_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": f"{status}#{shard}"}},
        )  # fmt: skip
        found += [attributes.plain(item) for item in answer["Items"]]
    return found


def ended(
    status: Status, created: tuple[str, str], changed: tuple[str, str]
) -> tuple[list[Task], bool]:
    """The tasks that came into this status between these instants, and were created between those,
    the newest first and pieces of others left out; and whether that is all of them: of each shard a
    bounded number of pages is read."""
    found: list[Task] = []
    complete = True
    for shard in range(SHARDS):
        pages = aws("dynamodb").get_paginator("query").paginate(
            TableName=get().table, IndexName="by-status", ScanIndexForward=False,
            KeyConditionExpression="status_shard = :shard AND created BETWEEN :first AND :last",
            FilterExpression="changed_at BETWEEN :begin AND :end AND origin <> :piece",
            ExpressionAttributeValues={
                ":shard": {"S": f"{status}#{shard}"}, ":piece": {"S": "piece"},
                ":first": {"S": created[0]}, ":last": {"S": created[1]},
                ":begin": {"S": changed[0]}, ":end": {"S": changed[1]},
            },
        )  # fmt: skip
        for answer in islice(pages, _MOST_PAGES):
            found += [Task.of(attributes.plain(item)) for item in answer["Items"]]
            last = answer
        complete = complete and "LastEvaluatedKey" not in last
    return sorted(found, key=lambda task: task.created_at, reverse=True), complete


def due(at: datetime) -> Iterator[str]:
    """The ids of the tasks that must be looked at, the longest due first in each shard."""
    for shard in range(SHARDS):
        pages = (
            aws("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=get().table,
                IndexName="due",
                KeyConditionExpression="due_shard = :shard AND due_at <= :at",
                ExpressionAttributeValues={
                    ":shard": {"S": f"due#{shard}"},
                    ":at": {"S": stamp(at)},
                },
            )
        )
        for answer in pages:
            yield from (str(item["pk"]["S"]).removeprefix(TASK_PREFIX) for item in answer["Items"])
