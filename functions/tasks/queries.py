"""Many tasks at once, by the table's two indexes. An index lags behind: who acts on a task reads
its row anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from functions.settings import aws, get
from functions.tasks import table
from functions.tasks.table import stamp
from functions.tasks.task import SHARDS, Status, Task, key_of


def load(task_id: str) -> Task | None:
    item = table.read(key_of(task_id))
    return Task.of(item) if item else None


def page(status: Status | None, *, before: str = "", limit: int = 50) -> tuple[list[Task], str]:
    """Tasks, newest first, and the cursor of the next page (empty: there is none)."""
    found: list[dict[str, Any]] = []
    for one in [status] if status else list(Status):
        for shard in range(SHARDS):
            found += _query_page(f"{one}#{shard}", before, limit + 1)
    found.sort(key=lambda item: str(item["created"]), reverse=True)
    cursor = str(found[limit - 1]["created"]) if len(found) > limit else ""
    return [Task.of(item) for item in found[:limit]], cursor


def _query_page(shard: str, before: str, limit: int) -> list[dict[str, Any]]:
    bounded = " AND created < :before" if before else ""
    answer = aws("dynamodb").query(
        TableName=get().table,
        IndexName="by-status",
        KeyConditionExpression=f"status_shard = :shard{bounded}",
        ExpressionAttributeValues={":shard": {"S": shard}}
        | ({":before": {"S": before}} if before else {}),
        ScanIndexForward=False,
        Limit=limit,
    )
    return [table.plain(item) for item in answer["Items"]]


def due(at: datetime) -> Iterator[str]:
    """The ids of the tasks that somebody must look at, the longest due first in each shard."""
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
            yield from (str(item["pk"]["S"]).removeprefix("task#") for item in answer["Items"])
