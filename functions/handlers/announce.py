"""The table's stream becomes events: a change of status is announced after it is true, at least
once, by one id.

The row is marked after the bus took the event, never before: a crash between the two announces
twice, by the same id, and the other order would announce never.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypedDict

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from functions.settings import aws, get
from functions.tasks import callbacks, events, queues, steps
from functions.tasks.attributes import Attributes, plain
from functions.tasks.table import TASK_PREFIX, ConditionFailed, Item
from functions.tasks.task import RESTING, TERMINAL, Status, Task

if TYPE_CHECKING:
    from types_boto3_events.type_defs import PutEventsRequestEntryTypeDef

logger = Logger()
metrics = Metrics()

# A request's: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html
_MOST_ENTRIES, _MOST_BYTES = 10, 250_000
_COMPARED = ("status", "attempt", "changed_at", "second_jobs", "touched_at")


class StreamRecord(TypedDict, total=False):
    """What a write left in the table's stream, as far as it is read: the row's images, typed."""

    SequenceNumber: str
    NewImage: Attributes
    OldImage: Attributes


class StreamBatch(TypedDict):
    Records: list[Mapping[Literal["dynamodb"], StreamRecord]]


@dataclass(frozen=True)
class Fact:
    """An event to announce, of the record of the stream with this sequence number."""

    record: str
    task: Task
    detail_type: str
    event: events.TaskEvent

    @cached_property
    def detail(self) -> str:
        return self.event.json()

    def entry(self) -> PutEventsRequestEntryTypeDef:
        return {
            "EventBusName": get().bus,
            "Source": events.SOURCE,
            "DetailType": self.detail_type,
            "Detail": self.detail,
            "Resources": [],
        }


@dataclass(frozen=True)
class Change:
    """A record of the stream: a task's row as it is now, and the events that it makes. The news of
    a piece is no event: its whole looks at it."""

    record: str
    task: Task
    facts: tuple[Fact, ...]
    is_news_of_piece: bool = False


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: StreamBatch, context: LambdaContext) -> queues.BatchAnswer:
    """What the bus did not take comes again, and what could not be marked as announced."""
    failed: set[str] = set()
    read = [_read(record.get("dynamodb") or StreamRecord(), failed) for record in event["Records"]]
    changes = [change for change in read if change]
    for batch in _batches(fact for change in changes for fact in change.facts):
        failed |= _refused(batch)
    failed |= {one.record for one in changes if one.record not in failed and not _is_noted(one)}
    return queues.come_again(sorted(failed))


def _read(change: StreamRecord, failed: set[str]) -> Change | None:
    """One record. One that cannot be read comes again alone, and ends among the dead letters."""
    record = str(change.get("SequenceNumber", ""))
    try:
        return _change(record, change.get("NewImage") or {}, change.get("OldImage") or {})
    except Exception:
        logger.exception("a row could not be read and will come again", record=record)
        failed.add(record)
        return None


def _change(record: str, after: Attributes, old: Attributes) -> Change | None:
    if not after.get("pk", {}).get("S", "").startswith(TASK_PREFIX):
        return None
    if after["status"]["S"] not in events.DETAIL_TYPES and "second_jobs" not in after:
        return None
    item, before = plain(after), plain({name: old[name] for name in _COMPARED if name in old})
    task = Task.of(item)
    facts = [
        Fact(record, task, events.SECOND_CHARGE, events.of_second_job(task, job_id))
        for job_id in _second_jobs_to_publish(task, item, before)
    ]
    is_news = task.status in events.DETAIL_TYPES and _is_news(task, before)
    if is_news and not task.parent:
        facts.append(Fact(record, task, events.DETAIL_TYPES[task.status], events.of(task)))
    return Change(record, task, tuple(facts), is_news and bool(task.parent))


def _second_jobs_to_publish(task: Task, after: Item, before: Item) -> list[str]:
    """Those that this record brought; after a touch by the sweep all that were not announced."""
    is_touched = after.get("touched_at") != before.get("touched_at")
    known = () if is_touched else before.get("second_jobs", ())
    return [job_id for job_id in task.silent_second_jobs if job_id not in known]


def _is_news(task: Task, before: Item) -> bool:
    """A status, an attempt or an error that was not there before; or a row that the sweep touched
    since it was not announced."""
    then = (before.get("status"), before.get("attempt", 1), before.get("changed_at", ""))
    if then != (task.status.value, task.attempt, task.changed_at):
        return True
    return task.announced != task.event_id and task.status in RESTING


def _batches(facts: Iterable[Fact]) -> Iterator[list[Fact]]:
    """As many to a request as the bus takes."""
    batch: list[Fact] = []
    size = 0
    for fact in facts:
        more = len(fact.detail.encode())
        if batch and (len(batch) == _MOST_ENTRIES or size + more > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(fact)
        size += more
    if batch:
        yield batch


def _refused(batch: list[Fact]) -> set[str]:
    """The records of which the bus did not take an event."""
    try:
        answer = aws("events").put_events(Entries=[fact.entry() for fact in batch])
    except (ClientError, BotoCoreError):
        logger.exception("the bus took no event", event_ids=[one.event.event_id for one in batch])
        return {fact.record for fact in batch}
    refused = set()
    for fact, result in zip(batch, answer["Entries"], strict=True):
        if "ErrorCode" in result:
            reason = f"{result['ErrorCode']} {result.get('ErrorMessage')}"
            logger.error("the bus refused", event_id=fact.event.event_id, reason=reason)
            refused.add(fact.record)
    return refused


def _is_noted(change: Change) -> bool:
    """What is out is counted and marked in the row; False where that must be tried again."""
    task = change.task
    logger.append_keys(task_id=task.task_id, attempt=task.attempt)
    try:
        for fact in change.facts:
            _note_second_job(fact) if fact.event.second_job else _note(fact)
        if change.is_news_of_piece:
            _pass_on(task)
        is_announced = any(not fact.event.second_job for fact in change.facts)
        if not is_announced and task.status in TERMINAL and task.is_unfinished and not task.due_at:
            _have_it_swept(task)
    except (ClientError, BotoCoreError):
        logger.exception("a row could not be marked and will come again", record=change.record)
        return False
    return True


def _pass_on(piece: Task) -> None:
    from functions.tasks import pieces

    if piece.status in RESTING or piece.attempt > 1:
        pieces.wake_parent(piece)
    if piece.status in RESTING:
        _mark(piece)


def _note_second_job(fact: Fact) -> None:
    job_id = str(fact.event.second_job)
    metrics.add_metric("PossibleSecondCharge", MetricUnit.Count, 1)
    logger.error("perhaps a second charge", job_id=job_id)
    try:
        callbacks.second_job_announced(fact.task, job_id)
    except ConditionFailed:
        logger.info("announced already, or the attempt is over", job_id=job_id)


def _note(fact: Fact) -> None:
    task = fact.task
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
    if task.status in RESTING:
        _mark(task)


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
