"""The customer's AWS account, in memory: what the stack deploys, with the real handlers in its
functions."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

from functions.settings import Options
from functions.tasks.table import NEWS
from infra.fleet import fleet
from tests.faults.bucket import Buckets, Stored
from tests.faults.clockwork import Clock, Invocation
from tests.faults.dynamo import Refused, Table
from tests.faults.expressions import Item
from tests.faults.queues import Queue, Stream
from tests.faults.workflow import Workflow

INBOX, ARCHIVE, BUS = "inbox-of-the-test", "archive-of-the-test", "bus-of-the-test"
DOOR = "https://door.talkdrop.test"
TIMEOUTS = {name: row.seconds for name, row in fleet(Options()).items()}
# Canaries: whatever carries one of these must stay where it is.
API_KEY = "canary-api-key-5b1f"
NEXT_KEY = "canary-next-key-c81d"
CALLBACK_KEY = "canary-callback-key-90c2"
NEXT_CALLBACK_KEY = "canary-next-callback-key-41e7"
WEBHOOK_KEY = "canary-webhook-key-77aa"

Done = Callable[[Any, Any], None]


class Account:
    """`on_write`, `on_event` and `on_line` are the invariants' hooks."""

    def __init__(
        self, clock: Clock, plan: Any, callback_keys: dict[str, Any] | None = None
    ) -> None:
        self.clock = clock
        self.plan = plan
        self.on_write: Callable[[str, Item | None, Item | None], None] = lambda _pk, _old, _new: (
            None
        )
        self.on_event: Callable[[dict[str, Any]], None] = lambda _entry: None
        self.lines: list[tuple[str, str]] = []
        self.events: list[dict[str, Any]] = []
        self.table = Table(clock, self._written)
        self.stream = Stream(self)
        self.buckets = Buckets(clock, self._dropped)
        self.uploads = Queue(self, "uploads", "intake", visibility=6 * TIMEOUTS["intake"], delay=2)
        self.submissions = Queue(
            self, "submissions", "submit", visibility=6 * TIMEOUTS["submit"], delay=0
        )
        self.workflow = Workflow(self)
        self.secrets = {
            "callback-key": {"current": "k1", "k1": CALLBACK_KEY, **(callback_keys or {})},
            **{
                name: {"api_key": API_KEY, "account": "main"}
                for name in ("kie", "kling", "comet", "relay")
            },
        }
        self.secret_caches: dict[str, dict[str, Any]] = {}
        self.turns = 0
        self.sweep_seconds = 300.0

    # What AWS does by itself.

    def _written(self, pk: str, old: Item | None, new: Item | None) -> None:
        self.on_write(pk, old, new)
        if new is not None and new.get("news") == {"S": NEWS}:  # the filter of the event source
            self.stream.add(pk, old, new)

    def _dropped(self, bucket: str, stored: Stored) -> None:
        if (
            bucket != INBOX
            or stored.key.startswith("_talkdrop/")
            or stored.key.endswith(".error.json")
        ):
            return
        event = {
            "source": "aws.s3",
            "detail": {"bucket": {"name": bucket}, "object": {"key": stored.key}},
        }
        for more in self.plan.deliveries("event of the inbox"):
            self.clock.after(more, lambda: self.uploads.send(json.dumps(event)))

    def start_sweeping(self) -> None:
        self.clock.after(self.sweep_seconds, self._sweep)

    def _sweep(self) -> None:
        """A turn that can find nothing changes nothing, so most of those are not played: one an
        hour is, always."""
        self.turns += 1
        if self.turns % 12 == 0 or self._has_work():
            self.invoke("sweep", {}, lambda _result, _error: None)
        self.clock.after(self.sweep_seconds, self._sweep)

    def _has_work(self) -> bool:
        from functions.tasks.table import now, stamp

        at = stamp(now())
        for pk, item in self.table.items.items():
            if pk.startswith("breaker#") and "open" in item:
                return True
            if "due_at" in item and item["due_at"]["S"] <= at:
                return True
        return False

    def invoke(self, function: str, event: dict[str, Any], done: Done) -> Invocation:
        handler = importlib.import_module(f"functions.handlers.{function}").handler
        return self.clock.invoke(function, handler, event, TIMEOUTS[function], done)

    # The two HTTP doors.

    def post_callback(
        self, path: str, headers: dict[str, str], body: str, done: Callable[[int], None]
    ) -> None:
        """POST to a callback URL, as API Gateway brings it to the function."""
        parts = path.strip("/").split("/")
        if len(parts) != 5 or parts[0] != "callbacks":
            done(404)
            return
        named = dict(zip(("provider", "task_id", "attempt", "signature"), parts[1:], strict=True))
        event = {
            "pathParameters": named,
            "headers": headers,
            "body": body,
            "isBase64Encoded": False,
        }
        self.invoke(
            "callback",
            event,
            lambda result, error: done(500 if error is not None else result["statusCode"]),
        )

    def post_task(
        self, body: dict[str, Any], key: str, done: Callable[[int, dict[str, Any]], None]
    ) -> None:
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/tasks",
            "rawQueryString": "",
            "headers": {"content-type": "application/json", "idempotency-key": key},
            "requestContext": {
                "http": {"method": "POST", "path": "/tasks"},
                "stage": "$default",
                "requestId": "r",
            },
            "body": json.dumps(body),
            "isBase64Encoded": False,
        }

        def answered(result: Any, error: Any) -> None:
            if error is not None:
                done(500, {})
            else:
                done(result["statusCode"], json.loads(result["body"]))

        self.invoke("api", event, answered)

    # The services that our functions call.

    def call(self, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        if service == "dynamodb":
            parameters.pop("TableName", None)
            parameters.pop("ReturnValues", None)
            if operation == "TransactWriteItems":
                parameters = {
                    **parameters,
                    "TransactItems": [_nameless(one) for one in parameters["TransactItems"]],
                }
            return getattr(self.table, _snake(operation))(**parameters)
        if service == "s3":
            return getattr(self.buckets, _snake(operation))(**parameters)
        if service == "stepfunctions":
            return getattr(self.workflow, _snake(operation))(**parameters)
        return getattr(self, f"_{_snake(operation)}")(**parameters)

    def _send_message(
        self, QueueUrl: str, MessageBody: str, DelaySeconds: float | None = None
    ) -> dict[str, Any]:
        self._queue(QueueUrl).send(MessageBody, DelaySeconds)
        return {"MessageId": "m"}

    def _send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        for entry in Entries:
            self._queue(QueueUrl).send(entry["MessageBody"], entry.get("DelaySeconds"))
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def _change_message_visibility(
        self, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: float
    ) -> dict[str, Any]:
        self._queue(QueueUrl).change_visibility(ReceiptHandle, VisibilityTimeout)
        return {}

    def _queue(self, url: str) -> Queue:
        return next(queue for queue in (self.uploads, self.submissions) if queue.url == url)

    def _get_secret_value(self, SecretId: str) -> dict[str, Any]:
        return {"SecretString": json.dumps(self.secrets[SecretId])}

    def _put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        if self.plan.refuses_events():
            refused = [
                {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"} for _ in Entries
            ]
            return {"FailedEntryCount": len(Entries), "Entries": refused}
        for entry in Entries:
            self.events.append(entry)
            self.on_event(entry)
        return {
            "FailedEntryCount": 0,
            "Entries": [{"EventId": str(len(self.events))} for _ in Entries],
        }


def _nameless(one: dict[str, Any]) -> dict[str, Any]:
    return {
        verb: {name: value for name, value in parameters.items() if name != "TableName"}
        for verb, parameters in one.items()
    }


_SNAKES: dict[str, str] = {}


def _snake(name: str) -> str:
    if name not in _SNAKES:
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        _SNAKES[name] = words.lstrip("_").replace("_v2", "_v2")
    return _SNAKES[name]


__all__ = ["ARCHIVE", "BUS", "DOOR", "INBOX", "Account", "Refused"]
