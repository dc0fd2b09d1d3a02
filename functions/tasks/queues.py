"""The two internal SQS queues: message shapes, delays, the batch loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypedDict, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.settings import aws, get
from functions.tasks.table import now

logger = Logger(child=True)

_LONGEST_DELAY_SECONDS = 900  # of SQS; a message for later than that is sent on when it comes back


Record = TypeVar("Record")


class Batch(TypedDict):
    """What Lambda hands to a function that a queue or a stream feeds."""

    Records: list[dict[str, object]]


class Submission(TypedDict):
    """Submit this task. `turn` is its `not_before`: a message with an older turn is a leftover and
    is dropped, so that however often messages double, one is followed."""

    task_id: str
    turn: str


class Probe(TypedDict):
    """Ask whether a stopped provider's account works again."""

    probe: str


class Acceptance(TypedDict):
    """A job was accepted, and the row could not be written: the second durable copy of its id."""

    task_id: str
    attempt: int
    accepted: str


class LookUp(TypedDict):
    """Query the provider for the job that a person named, at that instant, and adopt it."""

    task_id: str
    look_up: str


def submit(task_id: str, turn: str = "", at: datetime | None = None) -> None:
    """Ask for this task to be submitted, at a time if one is given."""
    delay = (
        0
        if at is None
        else max(0, min(_LONGEST_DELAY_SECONDS, round((at - now()).total_seconds() + 0.5)))
    )
    message = Submission(task_id=task_id, turn=turn)
    send(get().submissions_queue_url, message, delay_seconds=delay)


def probe(provider: str) -> None:
    send(get().submissions_queue_url, Probe(probe=provider))


def keep_acceptance(task_id: str, attempt: int, job_id: str) -> None:
    message = Acceptance(task_id=task_id, attempt=attempt, accepted=job_id)
    send(get().submissions_queue_url, message, delay_seconds=30)


def look_up(task_id: str, at: str) -> None:
    send(get().submissions_queue_url, LookUp(task_id=task_id, look_up=at))


def look_at(audio_keys: Iterable[str]) -> None:
    """Ask intake to look at these voices of the inbox."""
    entries = [{"audio": {"bucket": get().inbox, "key": key}} for key in audio_keys]
    for first in range(0, len(entries), 10):
        batch = entries[first : first + 10]
        answer = aws("sqs").send_message_batch(
            QueueUrl=get().uploads_queue_url,
            Entries=[
                {"Id": str(number), "MessageBody": json.dumps(body)}
                for number, body in enumerate(batch)
            ],
        )
        if answer.get("Failed"):
            raise RuntimeError(
                f"{len(answer['Failed'])} of {len(batch)} messages to the uploads queue were "
                "refused"
            )


def go_on_in_folder(key: str, after: str) -> None:
    """Ask intake to go on with the folder that this file is for, behind the key `after`."""
    send(get().uploads_queue_url, {"folder": {"key": key, "after": after}})


def bring_in(task_id: str) -> None:
    """Ask intake to fetch the media of a task that named them by https URL."""
    send(get().uploads_queue_url, {"import": task_id})


def each(
    event: Batch, kind: EventType, work: Callable[[Record], None], context: LambdaContext
) -> PartialItemFailureResponse:
    """Work through a batch: what fails is logged and comes again, what passed does not."""

    def logged(record: Record) -> None:
        try:
            work(record)
        except Exception:
            logger.exception("a message failed and will come again")
            if isinstance(record, SQSRecord):
                _come_again(record)
            raise

    return process_partial_response(
        dict(event), logged, BatchProcessor(kind, raise_on_entire_batch_failure=False), context
    )


def _come_again(record: SQSRecord) -> None:
    """Soon at first, then ever later. A queue's visibility timeout is made for sandboxes that die,
    and is long."""
    tries = int(record.attributes.get("ApproximateReceiveCount") or 1)
    name = record.event_source_arn.rpartition(":")[2]
    urls = {
        url.rpartition("/")[2]: url
        for url in (get().uploads_queue_url, get().submissions_queue_url)
    }
    if name in urls:
        seconds = min(_LONGEST_DELAY_SECONDS, 15 * 4 ** (tries - 1))
        aws("sqs").change_message_visibility(
            QueueUrl=urls[name], ReceiptHandle=record.receipt_handle, VisibilityTimeout=seconds
        )


def send(queue_url: str, body: Mapping[str, object], *, delay_seconds: int = 0) -> None:
    aws("sqs").send_message(
        QueueUrl=queue_url, MessageBody=json.dumps(body), DelaySeconds=delay_seconds
    )
