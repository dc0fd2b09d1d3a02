"""The two internal SQS queues: message shapes, delays, the batch loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import NotRequired, TypedDict

from aws_lambda_powertools import Logger

from functions.settings import aws, get
from functions.tasks.table import now

logger = Logger(child=True)

_LONGEST_DELAY_SECONDS = 900  # of SQS; a message for later than that is sent on when it comes back


class Message(TypedDict):
    """A message as Lambda is given it, as far as it is read."""

    messageId: str
    receiptHandle: str
    body: str
    attributes: Mapping[str, str]
    eventSourceARN: str


class Batch(TypedDict):
    """What Lambda hands to a function that a queue feeds."""

    Records: list[Message]


class Submission(TypedDict):
    """Submit this task. `turn` is its `not_before`: a message with an older turn is a leftover and
    is dropped, so that however often messages double, one is followed. `at`: the time of the turn
    that it was called for, in milliseconds since 1970."""

    task_id: str
    turn: str
    at: NotRequired[int]


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


class Rejection(TypedDict):
    """A provider's clear no to the submit of this owner, that could not be written: the task comes
    again at `until`, or fails with `code`."""

    task_id: str
    attempt: int
    refused: str  # the owner of the claim
    why: str
    until: str
    counted: bool
    first_sent_at: str  # of an earlier POST of the attempt, which is still in doubt
    code: NotRequired[str]


def submit(task_id: str, turn: str = "", at: datetime | None = None) -> None:
    """Ask for this task to be submitted, at a time if one is given."""
    delay = (
        0
        if at is None
        else max(0, min(_LONGEST_DELAY_SECONDS, round((at - now()).total_seconds() + 0.5)))
    )
    message = Submission(task_id=task_id, turn=turn)
    send(get().submissions_queue_url, message, delay_seconds=delay)


def call(times: Mapping[str, int], turn: str = "") -> None:
    """Ask for these tasks to be submitted, each at its own time (milliseconds since 1970) or less
    than a second before."""
    answer = aws("sqs").send_message_batch(
        QueueUrl=get().submissions_queue_url,
        Entries=[
            {
                "Id": task_id,
                "MessageBody": json.dumps(Submission(task_id=task_id, turn=turn, at=at)),
                "DelaySeconds": max(0, min(_LONGEST_DELAY_SECONDS, int(_seconds_until(at)))),
            }
            for task_id, at in times.items()
        ],
    )
    if answer.get("Failed"):
        raise RuntimeError(f"{len(answer['Failed'])} of {len(times)} tasks were not called")


def _seconds_until(at: int) -> float:
    return at / 1000 - now().timestamp()


def probe(provider: str) -> None:
    send(get().submissions_queue_url, Probe(probe=provider))


def keep_acceptance(task_id: str, attempt: int, job_id: str) -> None:
    message = Acceptance(task_id=task_id, attempt=attempt, accepted=job_id)
    send(get().submissions_queue_url, message, delay_seconds=30)


def look_up(task_id: str, at: str) -> None:
    send(get().submissions_queue_url, LookUp(task_id=task_id, look_up=at))


def keep_refusal(refusal: Rejection) -> None:
    send(get().submissions_queue_url, refusal, delay_seconds=30)


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


class FailedRecord(TypedDict):
    itemIdentifier: str


class BatchAnswer(TypedDict):
    """Which records of a batch come again; those of a stream with all that follow them.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html"""

    batchItemFailures: list[FailedRecord]


def come_again(identifiers: Iterable[str]) -> BatchAnswer:
    return {"batchItemFailures": [{"itemIdentifier": one} for one in identifiers]}


def each(event: Batch, work: Callable[[str], None]) -> BatchAnswer:
    """Work through a queue's messages: what fails is logged and comes again, what passed does
    not."""
    failed = [record for record in event["Records"] if not _is_done(record, work)]
    return come_again(record["messageId"] for record in failed)


def _is_done(record: Message, work: Callable[[str], None]) -> bool:
    try:
        work(record["body"])
    except Exception:
        logger.exception("a message failed and will come again")
        _delay(record)
        return False
    return True


def _delay(record: Message) -> None:
    """Soon at first, then ever later. A queue's visibility timeout is made for sandboxes that die,
    and is long."""
    tries = int(record["attributes"].get("ApproximateReceiveCount") or 1)
    name = record["eventSourceARN"].rpartition(":")[2]
    urls = {
        url.rpartition("/")[2]: url
        for url in (get().uploads_queue_url, get().submissions_queue_url)
    }
    if name in urls:
        seconds = min(_LONGEST_DELAY_SECONDS, 15 * 4 ** (tries - 1))
        aws("sqs").change_message_visibility(
            QueueUrl=urls[name], ReceiptHandle=record["receiptHandle"], VisibilityTimeout=seconds
        )


def send(queue_url: str, body: Mapping[str, object], *, delay_seconds: int = 0) -> None:
    aws("sqs").send_message(
        QueueUrl=queue_url, MessageBody=json.dumps(body), DelaySeconds=delay_seconds
    )
