"""A workshop for the handlers: an emulated table, buckets, queues, bus and workflow, and a provider
on paper.

The handlers run in this process, unmodified; AWS is the emulator's, the provider a real HTTP server
that gives the answers a test writes down and records the requests.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from functions import secrets, settings
from functions.tasks import attributes
from functions.tasks.queries import LISTED
from functions.tasks.task import Task
from local.aws import cloud

SAMPLES = Path("local/samples")
PORTRAIT, VOICE = (SAMPLES / "portrait.png").read_bytes(), (SAMPLES / "voice.mp3").read_bytes()
CONTEXT = SimpleNamespace(
    function_name="door", memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:x:1:function:door",
    aws_request_id="1", get_remaining_time_in_millis=lambda: 100_000,
)  # fmt: skip


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cloud.Cloud]:
    cloud.forget_aws()
    settings.forget()
    running = cloud.start(tmp_path_factory.mktemp("doors"))
    yield running
    running.stop()
    settings.forget()


class Paper:
    """The provider on paper: `answers` are given in turn, the last one for ever; `requests` is
    what came."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[tuple[str, str, Any]] = []
        paper = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.reply("POST", json.loads(raw or b"null"))

            def do_GET(self) -> None:
                self.reply("GET", None)

            def reply(self, method: str, body: Any) -> None:
                if "/chat/credit" in self.path:
                    answer: Any = {"code": 200, "msg": "success", "data": 1000.0}
                else:
                    paper.requests.append((method, self.path, body))
                    answer = paper.answers.pop(0) if len(paper.answers) > 1 else paper.answers[0]
                if answer == "cut":
                    self.connection.close()
                    self.close_connection = True
                    return
                status, content = answer if isinstance(answer, tuple) else (200, answer)
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def posts(self) -> int:
        return sum(method == "POST" for method, _, _ in self.requests)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def paper() -> Iterator[Paper]:
    provider = Paper()
    yield provider
    provider.stop()


class _Clients:
    """The emulator's clients, each made once: making one costs more than most of these tests."""

    _made: ClassVar[dict[str, Any]] = {}

    def __init__(self, running: cloud.Cloud) -> None:
        self.running, self.url = running, running.url

    def client(self, service: str) -> Any:
        if service not in self._made:
            self._made[service] = self.running.client(service)
        return self._made[service]


class Workshop:
    """One account's worth of resources, new for each test."""

    def __init__(self, emulator: cloud.Cloud, paper: Paper) -> None:
        self.cloud, self.paper = _Clients(emulator), paper
        mark = uuid.uuid4().hex[:8]
        self.inbox, self.archive, self.table = f"inbox-{mark}", f"archive-{mark}", f"tasks-{mark}"
        running = self.cloud
        self.s3, self.sqs = running.client("s3"), running.client("sqs")
        for bucket in (self.inbox, self.archive):
            self.s3.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": cloud.REGION}
            )
            self.s3.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        self._make_table()
        self.uploads = self.sqs.create_queue(QueueName=f"uploads-{mark}")["QueueUrl"]
        self.submissions = self.sqs.create_queue(QueueName=f"submissions-{mark}")["QueueUrl"]
        self.bus = (
            running.client("events")
            .create_event_bus(Name=f"bus-{mark}")["EventBusArn"]
            .split("/")[-1]
        )
        secrets = running.client("secretsmanager")
        key = {
            "api_key": "sk-canary-key",
            "base_url": paper.url,
            "result_hosts": [paper.url.removeprefix("http://")],
        }
        callback_keys = {
            "current": "k1",
            "k1": "a callback key of forty-eight characters, or more",
        }
        self.provider_secret = secrets.create_secret(
            Name=f"kie-{mark}", SecretString=json.dumps(key)
        )["ARN"]
        self.callback_secret = secrets.create_secret(
            Name=f"callback-{mark}", SecretString=json.dumps(callback_keys)
        )["ARN"]
        self.states = running.client("stepfunctions")
        trust = {"Version": "2012-10-17", "Statement": []}
        role = running.client("iam").create_role(
            RoleName=f"states-{mark}", AssumeRolePolicyDocument=json.dumps(trust)
        )
        asleep = {
            "StartAt": "Sleep",
            "States": {"Sleep": {"Type": "Wait", "Seconds": 600, "End": True}},
        }
        self.workflow, self.pieces_workflow = (
            self.states.create_state_machine(
                name=f"{name}-{mark}", definition=json.dumps(asleep), roleArn=role["Role"]["Arn"]
            )["stateMachineArn"]
            for name in ("watch", "pieces")
        )

    def _make_table(self) -> None:
        def indexed(name: str, partition: str, sort: str) -> dict[str, Any]:
            schema = [
                {"AttributeName": partition, "KeyType": "HASH"},
                {"AttributeName": sort, "KeyType": "RANGE"},
            ]
            kept: dict[str, Any] = {"ProjectionType": "KEYS_ONLY"}
            if name == "by-status":
                kept = {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(LISTED)}
            return {"IndexName": name, "KeySchema": schema, "Projection": kept}

        names = (
            "pk", "status_shard", "created", "list_shard", "id_shard", "due_shard", "due_at",
        )  # fmt: skip
        self.cloud.client("dynamodb").create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            GlobalSecondaryIndexes=[
                indexed("by-status", "status_shard", "created"),
                indexed("by-created", "list_shard", "created"),
                indexed("by-id", "id_shard", "pk"),
                indexed("due", "due_shard", "due_at"),
            ],
            BillingMode="PAY_PER_REQUEST",
        )

    def environment(self, **options: Any) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.cloud.url, "AWS_REGION": cloud.REGION,
            "AWS_DEFAULT_REGION": cloud.REGION,
            "AWS_ACCESS_KEY_ID": cloud.KEY, "AWS_SECRET_ACCESS_KEY": cloud.KEY,
            "POWERTOOLS_SERVICE_NAME": "door", "POWERTOOLS_METRICS_NAMESPACE": "Talkdrop",
            "TALKDROP_TABLE": self.table, "TALKDROP_INBOX": self.inbox,
            "TALKDROP_ARCHIVE": self.archive, "TALKDROP_BUS": self.bus,
            "TALKDROP_UPLOADS_QUEUE_URL": self.uploads,
            "TALKDROP_SUBMISSIONS_QUEUE_URL": self.submissions,
            "TALKDROP_WORKFLOW_ARN": self.workflow,
            "TALKDROP_PIECES_WORKFLOW_ARN": self.pieces_workflow,
            "TALKDROP_CALLBACK_BASE_URL": "https://callbacks.example.test",
            "TALKDROP_CALLBACK_SECRET": self.callback_secret,
            "TALKDROP_PROVIDER_SECRETS": json.dumps({"kie": self.provider_secret}),
            "TALKDROP_OPTIONS": json.dumps(options),
        }  # fmt: skip

    def drop(self, key: str, content: bytes) -> str:
        return str(self.s3.put_object(Bucket=self.inbox, Key=key, Body=content)["VersionId"])

    def note(self, key: str) -> dict[str, Any]:
        return dict(json.loads(self.s3.get_object(Bucket=self.inbox, Key=key)["Body"].read()))

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """What lies in a queue, taken out; delayed messages stay."""
        found: list[dict[str, Any]] = []
        while got := self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in got:
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def all_tasks(self) -> list[Task]:
        rows = self.cloud.client("dynamodb").scan(TableName=self.table)["Items"]
        return [
            Task.of(attributes.plain(row)) for row in rows if row["pk"]["S"].startswith("task#")
        ]

    def the_task(self) -> Task:
        (task,) = self.all_tasks()
        return task

    def at_once(self, task: Task) -> None:
        """The task's turn is now."""
        self.cloud.client("dynamodb").update_item(
            TableName=self.table,
            Key={"pk": {"S": f"task#{task.task_id}"}},
            UpdateExpression="REMOVE not_before",
        )

    def executions(self, workflow: str = "") -> list[str]:
        machine = workflow or self.workflow
        found = self.states.list_executions(stateMachineArn=machine)["executions"]
        return sorted(one["name"] for one in found)


@pytest.fixture
def shop(
    emulator: cloud.Cloud, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workshop]:
    workshop = Workshop(emulator, paper)
    for name, value in workshop.environment().items():
        monkeypatch.setenv(name, value)
    _forget()
    yield workshop
    _forget()


def _forget() -> None:
    """What was read of the environment; the clients may stay, all of them talk to the one
    emulator."""
    settings.get.cache_clear()
    settings.options.cache_clear()
    secrets.forget()


@pytest.fixture
def with_options(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_options(**options: Any) -> None:
        monkeypatch.setenv("TALKDROP_OPTIONS", json.dumps(options))
        _forget()

    return set_options


def sqs_event(*bodies: Any) -> dict[str, Any]:
    """What Lambda hands to a function that a queue feeds."""
    return {
        "Records": [
            {
                "messageId": str(number),
                "eventSource": "aws:sqs",
                "body": json.dumps(body),
                "attributes": {},
                "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:none",
                "receiptHandle": "none",
            }
            for number, body in enumerate(bodies)
        ]
    }


def dropped(bucket: str, key: str) -> dict[str, Any]:
    """EventBridge's word of a new object: its key is raw."""
    return {
        "version": "0", "detail-type": "Object Created", "source": "aws.s3",
        "detail": {"version": "0", "bucket": {"name": bucket},
        "object": {"key": key, "sequencer": "00"}},
    }  # fmt: skip
