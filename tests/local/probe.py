"""Small resources for the tests of the emulator: a function, a queue, a state machine; and what
came of them."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any, TypeVar

from local.aws import runtime
from local.aws.cloud import Cloud

PATIENCE_SECONDS = 60
T = TypeVar("T")


def function(cloud: Cloud, source: str, *, allow: dict[str, str] | None = None) -> str:
    """Create a Lambda function from the text of its module `probe`; `allow` maps an action to a
    resource."""
    name = unique("function")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("probe.py", source)
        boot = zipfile.ZipInfo("bootstrap")
        boot.external_attr = 0o755 << 16
        archive.writestr(boot, runtime.BOOTSTRAP)
    iam = cloud.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    if allow:
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": on} for action, on in allow.items()
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="probe", PolicyDocument=policy)
    created = cloud.client("lambda").create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="probe.handler",
        Role=role,
        Code={"ZipFile": packed.getvalue()},
        Timeout=20,
    )
    arn: str = created["FunctionArn"]
    return arn


def streamed_table(cloud: Cloud, name: str) -> str:
    """Create a table; answers the ARN of its stream."""
    created = cloud.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    )
    arn: str = created["TableDescription"]["LatestStreamArn"]
    return arn


def queue(cloud: Cloud) -> tuple[str, str]:
    """URL and ARN of a new queue."""
    sqs = cloud.client("sqs")
    url: str = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]


def machine(cloud: Cloud, task: dict[str, Any]) -> str:
    """A state machine of one JSONata state."""
    definition = {
        "QueryLanguage": "JSONata",
        "StartAt": "Only",
        "States": {"Only": {**task, "End": True}},
    }
    name = unique("machine")
    role = cloud.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"][
        "Arn"
    ]
    created = cloud.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=role
    )
    arn: str = created["stateMachineArn"]
    return arn


def start(cloud: Cloud, machine_arn: str) -> str:
    arn: str = cloud.client("stepfunctions").start_execution(stateMachineArn=machine_arn)[
        "executionArn"
    ]
    return arn


def outcome(cloud: Cloud, execution: str) -> dict[str, Any]:
    """The description of an execution that has ended."""
    describe = cloud.client("stepfunctions").describe_execution

    def ended() -> dict[str, Any] | None:
        described: dict[str, Any] = describe(executionArn=execution)
        return described if described["status"] != "RUNNING" else None

    return until(ended)


def receive(cloud: Cloud, url: str) -> Any:
    """The next message of a queue, decoded and deleted."""
    sqs = cloud.client("sqs")
    message = until(lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"))[0]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return json.loads(message["Body"])


def diary(cloud: Cloud, name: str) -> list[str]:
    """The lines that functions wrote to $HOME/<name>."""
    path = cloud.state / "home" / name
    return path.read_text().split() if path.exists() else []


def until(look: Callable[[], T | None], patience: float = PATIENCE_SECONDS) -> T:
    """The first thing that `look` finds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing came within {patience} s")


def unique(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:8]}"
