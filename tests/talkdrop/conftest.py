"""A stack with all that a person's verbs touch, and no functions: what they do stands still to be
looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from functions import settings
from functions.tasks import queries, steps, table
from functions.tasks.task import Status, Task
from local.aws import cloud
from talkdrop.__main__ import main

STACK = "Talkdrop-verbs"
FACE_KEY, VOICE_KEY = "verbs/ada.png", "verbs/ada.mp3"


@dataclass(frozen=True)
class Town:
    """The emulated AWS with that stack on it."""

    cloud: cloud.Cloud
    outputs: dict[str, str]

    def open(self, task_id: str, **facts: Any) -> Task:
        """A task as if it had come this far."""
        said: dict[str, Any] = {
            "status": Status.HELD, "created_at": "2026-03-01T10:00:00.000Z", "stem": "ada",
            "provider": "kie",
            "model": "infinitalk/from-audio", "quote_usd": Decimal("0.18"),
            "intended_at": table.stamp(table.now()),
            "portrait": {"bucket": self.outputs["InboxBucket"], "key": FACE_KEY,
            "version_id": "v1"},
            "audio": {"bucket": self.outputs["InboxBucket"], "key": VOICE_KEY, "version_id": "v2",
            "seconds": 11},
        }  # fmt: skip
        task_id = task_id.ljust(32, "0")
        steps.open_task(Task(task_id=task_id, **{**said, **facts}))
        found = queries.load(task_id)
        assert found
        return found

    def told_to_submit(self) -> list[Any]:
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
    def options(self, **told: Any) -> Iterator[None]:
        """The stack as if it had been deployed with these options."""
        self._tell(told)
        try:
            yield
        finally:
            self._tell({})

    def _tell(self, options: Any) -> None:
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
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    cloud.forget_aws()
    up = cloud.start(tmp_path_factory.mktemp("verbs"), processes=1)
    try:
        made = up.client("cloudformation")
        template = (Path(__file__).parent / "template.json").read_text()
        made.create_stack(StackName=STACK, TemplateBody=template, Capabilities=["CAPABILITY_IAM"])
        made.get_waiter("stack_create_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        stack = made.describe_stacks(StackName=STACK)["Stacks"][0]
        yield Town(up, {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]})
    finally:
        up.stop()


@pytest.fixture
def town(running: Town, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    known = dict(os.environ)
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.cloud.url)
    monkeypatch.setenv("AWS_REGION", cloud.REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", cloud.REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.KEY)
    monkeypatch.setenv("TALKDROP_TABLE", running.outputs["TaskTableName"])
    settings.forget()
    yield running
    for name in set(os.environ) - set(known):
        if name.startswith("TALKDROP_"):
            del os.environ[name]
    settings.forget()


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


class Person:
    """Types commands."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def types(self, *words: str, stack: str = STACK) -> Said:
        code = main(["--stack", stack, *words])
        said = self.capsys.readouterr()
        return Said(code, said.out, said.err)


@pytest.fixture
def person(capsys: pytest.CaptureFixture[str], town: Town) -> Person:
    return Person(capsys)
