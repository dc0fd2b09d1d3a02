"""What brings work to the functions: SQS with its visibility and dead letters, and the table's
stream."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.faults.expressions import Item

if TYPE_CHECKING:
    from tests.faults.account import Account

_MOST_RECEIVES = 5
_STREAM_TRIES = 20


@dataclass
class Message:
    number: int
    body: str
    sent_at: float
    receives: int = 0
    is_gone: bool = False


class Queue:
    """Delivers at least once. What is not done within `visibility` seconds comes again, and after
    five times no more."""

    def __init__(
        self, account: Account, name: str, function: str, *, visibility: float, delay: float
    ) -> None:
        self.account = account
        self.name = name
        self.function = function
        self.visibility = visibility
        self.delay = delay
        self.dead: list[str] = []
        self.sent: list[str] = []
        self.most_at_once: int | None = None  # of the mapping; None where it does not matter
        self._running = 0
        self._waiting: deque[Message] = deque()
        self._messages: list[Message] = []
        self._numbers = itertools.count(1)
        self._due: dict[
            str, float
        ] = {}  # by receipt: when a message that is not deleted by then comes again

    @property
    def url(self) -> str:
        return f"https://sqs.eu-west-1.amazonaws.com/000000000000/{self.name}"

    def oldest_seconds(self) -> float:
        """How old the oldest message is that is not deleted yet; 0 where there is none."""
        self._messages = [one for one in self._messages if not one.is_gone]
        return self.account.clock.now - self._messages[0].sent_at if self._messages else 0.0

    def send(self, body: str, delay: float | None = None) -> None:
        self.sent.append(body)
        clock, plan = self.account.clock, self.account.plan
        message = Message(next(self._numbers), body, clock.now)
        self._messages.append(message)
        for more in plan.deliveries(f"message of {self.name}"):
            wait = (delay if delay is not None else self.delay) + more
            clock.after(wait + plan.latency("sqs"), lambda: self._receive(message))

    def change_visibility(self, receipt: str, seconds: float) -> None:
        self._due[receipt] = self.account.clock.now + seconds

    def _receive(self, message: Message) -> None:
        if message.is_gone:
            return
        if self.most_at_once is not None and self._running >= self.most_at_once:
            self._waiting.append(message)
            return
        message.receives += 1
        if message.receives > _MOST_RECEIVES:
            message.is_gone = True
            self.dead.append(message.body)
            self.account.clock.note(f"☠ {self.name}: {message.body}")
            return
        receipt = f"{message.number}.{message.receives}"
        record = {
            "messageId": f"{self.name}-{message.number}",
            "receiptHandle": receipt,
            "body": message.body,
            "attributes": {"ApproximateReceiveCount": str(message.receives)},
            "messageAttributes": {},
            "md5OfBody": "",
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:eu-west-1:000000000000:{self.name}",
            "awsRegion": "eu-west-1",
        }
        self._due[receipt] = self.account.clock.now + self.visibility

        def done(result: Any, error: Any) -> None:
            self._running -= 1
            if error is not None or (result or {}).get("batchItemFailures"):
                wait = self._due[receipt] - self.account.clock.now
                self.account.clock.after(max(0.0, wait), lambda: self._receive(message))
            else:
                message.is_gone = True
            if self._waiting:
                self._receive(self._waiting.popleft())

        self._running += 1
        self.account.invoke(self.function, {"Records": [record]}, done)


@dataclass
class _Lane:
    records: list[Item] = field(default_factory=list)
    is_busy: bool = False
    tries: int = 0


class Stream:
    """The table's stream: each item's changes in their order, at least once."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.lanes: dict[str, _Lane] = {}
        self.dead: list[Item] = []
        self.past: list[Item] = []
        self._numbers = itertools.count(1)

    def add(self, pk: str, old: Item | None, new: Item | None) -> None:
        kind = "INSERT" if old is None else "REMOVE" if new is None else "MODIFY"
        number = next(self._numbers)
        change = {
            "Keys": {"pk": {"S": pk}},
            "SequenceNumber": f"{number:020}",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
        images = {
            name: image
            for name, image in (("NewImage", new), ("OldImage", old))
            if image is not None
        }
        record = {
            "eventID": str(number),
            "eventName": kind,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "eventSourceARN": "arn:aws:dynamodb:eu-west-1:000000000000:table/t/stream/s",
            "dynamodb": {**change, **images},
        }
        self.past.append(record)
        lane = self.lanes.setdefault(pk, _Lane())
        lane.records.append(record)
        if not lane.is_busy:
            lane.is_busy = True
            self.account.clock.after(
                self.account.plan.latency("stream"), lambda: self._deliver(lane)
            )
        for more in self.account.plan.deliveries("stream record")[1:]:
            self.account.clock.after(more, lambda: self.replay([record]))

    def replay(self, records: list[Item]) -> None:
        """A batch that was handled comes again: the checkpoint was lost."""
        self.account.invoke("announce", {"Records": records}, lambda _result, _error: None)

    def _deliver(self, lane: _Lane) -> None:
        if not lane.records:
            lane.is_busy = False
            return
        batch = lane.records[:25]

        def done(result: Any, error: Any) -> None:
            failed = {one["itemIdentifier"] for one in (result or {}).get("batchItemFailures", [])}
            numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
            handled = (
                0
                if error is not None
                else next((i for i, n in enumerate(numbers) if n in failed), len(batch))
            )
            del lane.records[:handled]
            lane.tries = lane.tries + 1 if handled == 0 else 0
            if lane.tries > _STREAM_TRIES:
                self.dead.append(lane.records.pop(0))
                lane.tries = 0
            wait = 0.0 if handled == len(batch) else min(60.0, 2.0**lane.tries)
            self.account.clock.after(wait, lambda: self._deliver(lane))

        self.account.invoke("announce", {"Records": batch}, done)
