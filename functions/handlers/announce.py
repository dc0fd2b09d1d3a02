"""The table's stream becomes events: a change of status is announced after it is true, at least
once, by one id.

The row is marked after the bus took the event, never before: a crash between the two announces
twice, by the same id, and the other order would announce never.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.settings import aws, get
from functions.tasks import events, queues, steps
from functions.tasks.table import ConditionFailed
from functions.tasks.task import RESTING, Status, Task

logger = Logger()
metrics = Metrics()


class NotTaken(Exception):
    """The bus answered, and did not take the event: the stream will bring the record again."""


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return queues.each(event, EventType.DynamoDBStreams, _change, context)


def _change(record: DynamoDBRecord) -> None:
    change = record.dynamodb
    after, before = (change.new_image, change.old_image) if change else (None, None)
    if not after or not str(after.get("pk", "")).startswith("task#"):
        return
    task = Task.of(after)
    if not _is_news(task, before):
        return
    if task.status in events.DETAIL_TYPES:
        _publish(task)
    if task.status in RESTING:
        _mark(task)


def _is_news(task: Task, before: Any) -> bool:
    """A status, an attempt or an error that was not there before; or a row the sweep touched since
    nobody announced."""
    if not before:
        return True
    then = Task.of(before)
    moved = (then.status, then.attempt, then.changed_at) != (
        task.status,
        task.attempt,
        task.changed_at,
    )
    return moved or (task.announced != task.event_id and task.status in RESTING)


def _publish(task: Task) -> None:
    entry = {
        "EventBusName": get().bus,
        "Source": events.SOURCE,
        "DetailType": events.DETAIL_TYPES[task.status],
        "Detail": events.of(task).model_dump_json(exclude_none=True),
        "Resources": [],
    }
    answer = aws("events").put_events(Entries=[entry])  # type: ignore[list-item]
    if answer["FailedEntryCount"]:
        refusal = answer["Entries"][0]
        raise NotTaken(f"{task.event_id}: {refusal.get('ErrorCode')} {refusal.get('ErrorMessage')}")
    metrics.add_metric("Announced", MetricUnit.Count, 1)
    if (
        task.status is Status.HELD
    ):  # counted here, where nothing is forgotten: whoever holds a task may die before he says so
        metrics.add_metric("TaskHeld", MetricUnit.Count, 1)
    logger.info("announced", event_id=task.event_id)


def _mark(task: Task) -> None:
    try:
        steps.announced(task, task.event_id)
    except ConditionFailed:
        logger.info("the task moved on meanwhile", event_id=task.event_id)
