"""A listener on Talkdrop's event bus: a rule and a queue beside the stack, as a customer would have
them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from local.aws.cloud import Cloud

Event = dict[str, Any]


class EventListener:
    """Receives every event of one bus, in the order the queue gives them; `received` keeps all."""

    def __init__(self, cloud: Cloud, bus: str) -> None:
        self.received: list[Event] = []
        self._sqs = cloud.client("sqs")
        name = f"listener-{bus}"[:64]
        self._url: str = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        about = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        events = cloud.client("events")
        events.put_rule(
            Name=name, EventBusName=bus, EventPattern=json.dumps({"source": ["talkdrop"]})
        )
        target = {"Id": "listener", "Arn": about["Attributes"]["QueueArn"]}
        events.put_targets(Rule=name, EventBusName=bus, Targets=[target])

    def listen(self, seconds: int = 1) -> list[Event]:
        """The events since the last call; waits up to `seconds` for the first one."""
        answer = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=seconds
        )
        messages = answer.get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        new = [json.loads(message["Body"]) for message in messages]
        self.received += new
        return new

    def until(self, wanted: Callable[[Event], bool], patience_seconds: float) -> Event:
        """The first event, received before or to come, that is `wanted`. Raises TimeoutError."""
        seen = 0
        deadline = time.monotonic() + patience_seconds
        while True:
            for event in self.received[seen:]:
                if wanted(event):
                    return event
            seen = len(self.received)
            if time.monotonic() > deadline:
                last = "; ".join(in_short(one) for one in self.received[-8:])
                raise TimeoutError(
                    f"no such event within {patience_seconds:.0f} s; the last were: "
                    f"{last or 'none at all'}"
                )
            self.listen()


def in_short(event: Event) -> str:
    """One event in one line: what, which task, and where its video lies or why there is none."""
    detail = event["detail"]
    video, trouble = detail.get("video"), detail.get("error")
    more = f"s3://{video['bucket']}/{video['key']}" if video else (trouble or {}).get("message", "")
    return f"{event['detail-type']:<15} {detail['stem']} ({detail['task_id']}) {more}".rstrip()
