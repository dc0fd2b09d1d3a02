"""A stack with all that the commands touch, and no functions: what they write can be looked at. The
tasks API is served by the handler itself, in this process, behind a real HTTP server."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import boto3
import pytest

from functions import settings
from functions.handlers import api
from functions.tasks import queries, steps, table
from functions.tasks.task import Status, Task
from local.aws import cloud
from talkdrop import stack
from talkdrop.__main__ import main

STACK = "Talkdrop-operator"
FACE_KEY, VOICE_KEY = "faces/ada.png", "faces/ada.mp3"


@dataclass(frozen=True)
class Account:
    """The emulated AWS with that stack on it."""

    cloud: cloud.Cloud
    outputs: dict[str, str]

    def open(self, task_id: str, **facts: Any) -> Task:
        """A task as if it had come this far."""
        inbox = self.outputs["InboxBucket"]
        known: dict[str, Any] = {
            "status": Status.HELD, "created_at": "2026-03-01T10:00:00.000Z", "stem": "ada",
            "provider": "kie", "model": "infinitalk/from-audio", "quote_usd": Decimal("0.18"),
            "intended_at": table.stamp(table.now()),
            "portrait": {"bucket": inbox, "key": FACE_KEY, "version_id": "v1"},
            "audio": {"bucket": inbox, "key": VOICE_KEY, "version_id": "v2", "seconds": 11},
        }  # fmt: skip
        task_id = task_id.ljust(32, "0")
        steps.open_task(Task(task_id=task_id, **{**known, **facts}))
        found = queries.load(task_id)
        assert found
        return found

    def submissions(self) -> list[Any]:
        sqs = self.cloud.client("sqs")
        found = sqs.receive_message(
            QueueUrl=self.outputs["SubmissionsQueueUrl"], MaxNumberOfMessages=10
        )
        for message in found.get("Messages", []):
            sqs.delete_message(
                QueueUrl=self.outputs["SubmissionsQueueUrl"], ReceiptHandle=message["ReceiptHandle"]
            )
        return [json.loads(message["Body"]) for message in found.get("Messages", [])]

    @contextmanager
    def options(self, **options: Any) -> Iterator[None]:
        """The stack as if it had been deployed with these options."""
        self._deploy(options)
        try:
            yield
        finally:
            self._deploy({})

    def _deploy(self, options: Any) -> None:
        functions = self.cloud.client("lambda")
        name = functions.list_functions()["Functions"][0]["FunctionName"]
        variables = {"TALKDROP_OPTIONS": json.dumps(options)}
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": variables}
        )

    def executions(self) -> list[str]:
        machine = self.outputs["WorkflowArn"]
        found = self.cloud.client("stepfunctions").list_executions(stateMachineArn=machine)
        return [one["name"] for one in found["executions"]]


@pytest.fixture(scope="session")
def api_url() -> Iterator[str]:
    """The handler behind a real HTTP server, by the events that API Gateway would send."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Gateway(BaseHTTPRequestHandler):
    """API Gateway: refuses what is not signed, and hands the rest to the function."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "AWS4-HMAC-SHA256" not in self.headers.get("Authorization", ""):
            self._send(403, {"Content-Type": "application/json"}, '{"message":"Forbidden"}')
            return
        path, _, query = self.path.partition("?")
        context = SimpleNamespace(
            function_name="api", memory_limit_in_mb=512, aws_request_id="1",
            invoked_function_arn="arn:aws:lambda:x:1:function:api",
        )  # fmt: skip
        event = {
            "version": "2.0", "rawPath": path, "rawQueryString": query, "isBase64Encoded": False,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "queryStringParameters": dict(parse_qsl(query)) or None, "body": body.decode() or None,
            "requestContext": {"http": {"method": self.command, "path": path}, "stage": "$default"},
        }  # fmt: skip
        answer = api.handler(event, context)
        self._send(answer["statusCode"], answer["headers"], answer["body"])

    def _send(self, status: int, headers: dict[str, str], body: str) -> None:
        raw = body.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture(scope="session")
def running(api_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    cloud.forget_aws()
    up = cloud.start(tmp_path_factory.mktemp("commands"), processes=1)
    try:
        made = up.client("cloudformation")
        template = (Path(__file__).parent / "template.json").read_text()
        made.create_stack(
            StackName=STACK,
            TemplateBody=template,
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": "ApiUrl", "ParameterValue": api_url}],
        )
        made.get_waiter("stack_create_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        stack = made.describe_stacks(StackName=STACK)["Stacks"][0]
        yield Account(up, {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]})
    finally:
        up.stop()


@pytest.fixture
def account(running: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    known = dict(os.environ)
    # It keeps the credentials that were in the environment when it was first used.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.cloud.url)
    monkeypatch.setenv("AWS_REGION", cloud.REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", cloud.REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.KEY)
    monkeypatch.setenv("TALKDROP_TABLE", running.outputs["TaskTableName"])
    stack.enter(STACK)
    # The messages that a test did not look at are not the next one's.
    running.cloud.client("sqs").purge_queue(QueueUrl=running.outputs["SubmissionsQueueUrl"])
    yield running
    for name in set(os.environ) - set(known):
        if name.startswith("TALKDROP_"):
            del os.environ[name]
    settings.forget()


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


class Person:
    """Types commands."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def types(self, *words: str, stack: str = STACK) -> Outcome:
        code = main(["--stack", stack, *words])
        printed = self.capsys.readouterr()
        return Outcome(code, printed.out, printed.err)


@pytest.fixture
def person(capsys: pytest.CaptureFixture[str], account: Account) -> Person:
    return Person(capsys)
