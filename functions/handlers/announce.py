"""The table's stream becomes events: a change of status is announced after it is true, at least
once, by one id.

The row is marked after the bus took the event, never before: a crash between the two announces
twice, by the same id, and the other order would announce never.
"""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import TalkdropError
from functions.settings import aws, get
from functions.tasks import callbacks, events, queues, steps
from functions.tasks.table import ConditionFailed, Item
from functions.tasks.task import RESTING, TERMINAL, Status, Task

logger = Logger()
metrics = Metrics()


class NotTaken(TalkdropError):
    """The bus answered, and refused the event: the stream delivers the record again."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: queues.Batch, context: LambdaContext) -> PartialItemFailureResponse:
    return queues.each(event, EventType.DynamoDBStreams, _change, context)


def _change(record: DynamoDBRecord) -> None:
    change = record.dynamodb
    after, before = (change.new_image, change.old_image) if change else (None, None)
    if not after or not str(after.get("pk", "")).startswith("task#"):
        return
    task = Task.of(after)
    logger.append_keys(task_id=task.task_id, attempt=task.attempt)
    for job_id in _second_jobs_to_publish(task, after, before):
        _publish_second_job(task, job_id)
    if _is_news(task, before):
        if task.status in events.DETAIL_TYPES:
            _publish(task)
        if task.status in RESTING:
            _mark(task)
    elif task.status in TERMINAL and task.is_unfinished and not task.due_at:
        _have_it_swept(task)


def _is_news(task: Task, before: Item | None) -> bool:
    """A status, an attempt or an error that was not there before; or a row that the sweep touched
    since it was not announced."""
    if not before:
        return True
    then = Task.of(before)
    moved = (then.status, then.attempt, then.changed_at) != (
        task.status,
        task.attempt,
        task.changed_at,
    )
    return moved or (task.announced != task.event_id and task.status in RESTING)


def _second_jobs_to_publish(task: Task, after: Item, before: Item | None) -> list[str]:
    """Those that this record brought; after a touch by the sweep all that were not announced."""
    is_touched = after.get("touched_at") != (before or {}).get("touched_at")
    known = Task.of(before).second_jobs if before and not is_touched else ()
    return [job_id for job_id in task.silent_second_jobs if job_id not in known]


def _publish_second_job(task: Task, job_id: str) -> None:
    _put(events.SECOND_CHARGE, events.of_second_job(task, job_id))
    metrics.add_metric("PossibleSecondCharge", MetricUnit.Count, 1)
    logger.error("perhaps a second charge", job_id=job_id)
    try:
        callbacks.second_job_announced(task, job_id)
    except ConditionFailed:
        logger.info("announced already, or the attempt is over", job_id=job_id)


def _publish(task: Task) -> None:
    _put(events.DETAIL_TYPES[task.status], events.of(task))
    metrics.add_metric("Announced", MetricUnit.Count, 1)
    # Emitted here because the stream is durable; the invocation that set HELD may have crashed.
    if task.status is Status.HELD:
        metrics.add_metric("TaskHeld", MetricUnit.Count, 1)
    if task.status is Status.FAILED and not task.never_intended:
        metrics.add_metric("JobFailed", MetricUnit.Count, 1)
    if task.status in RESTING and task.charge_differs:
        metrics.add_metric("ChargeDiffers", MetricUnit.Count, 1)
        logger.warning("the charge is not the quote", charge_usd=task.charge_usd)
    logger.info("announced", event_id=task.event_id)


def _put(detail_type: str, event: events.TaskEvent) -> None:
    entry = {
        "EventBusName": get().bus,
        "Source": events.SOURCE,
        "DetailType": detail_type,
        "Detail": event.model_dump_json(exclude_none=True),
        "Resources": [],
    }
    answer = aws("events").put_events(Entries=[entry])  # type: ignore[list-item]
    if answer["FailedEntryCount"]:
        refusal = answer["Entries"][0]
        reason = f"{refusal.get('ErrorCode')} {refusal.get('ErrorMessage')}"
        raise NotTaken(f"{event.event_id}: {reason}")


def _mark(task: Task) -> None:
    try:
        steps.announced(task, task.event_id)
    except ConditionFailed:
        logger.info("the task moved on meanwhile", event_id=task.event_id)


def _have_it_swept(task: Task) -> None:
    """A callback came to an ended task, after its row was marked as announced."""
    try:
        steps.look_again(task)
    except ConditionFailed:
        logger.info("the task moved on meanwhile")
