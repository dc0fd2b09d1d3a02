"""The embedded run, up together: the emulated AWS, the stack on it, the pretended providers, an ear
on the event bus."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from local.aws import cloud, deploy, synthesis
from local.aws.cloud import Cloud
from local.aws.deploy import Stack
from local.aws.template import summary
from local.event_listener import Ear
from local.screen import Screen
from local.simulated_providers import Pretenders

# A bill and a quota make polling slow on AWS; here somebody is watching, and it costs nothing.
OPTIONS: Mapping[str, Any] = {"polls": {"first": 5, "steady": 3, "slow": 5}}

_plain = TypeDeserializer()


@dataclass(frozen=True)
class World:
    """Everything that is up, and the few things one does with it."""

    cloud: Cloud
    stack: Stack
    ear: Ear
    pretenders: Pretenders | None

    @property
    def inbox(self) -> str:
        return self.stack.outputs["InboxBucket"]

    def drop(self, key: str, content: bytes) -> None:
        """A file into the inbox: a plain S3 upload, like anybody's."""
        self.cloud.client("s3").put_object(Bucket=self.inbox, Key=key, Body=content)

    def task(self, task_id: str) -> dict[str, Any]:
        """The task's row as it is now."""
        asked = self.cloud.client("dynamodb").get_item(
            TableName=self.stack.outputs["TaskTableName"],
            Key={"pk": {"S": f"task#{task_id}"}},
            ConsistentRead=True,
        )
        return _row(asked.get("Item", {}))

    def tasks(self) -> list[dict[str, Any]]:
        """Every task's row."""
        pages = (
            self.cloud.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.stack.outputs["TaskTableName"], ConsistentRead=True)
        )
        rows = [_row(item) for page in pages for item in page["Items"]]
        return [row for row in rows if str(row["pk"]).startswith("task#")]

    def dead_letters(self) -> int:
        """How many messages ended in any dead-letter queue."""
        sqs = self.cloud.client("sqs")
        queues = [
            url for name, url in self.stack.outputs.items() if name.endswith("DeadLetterQueueUrl")
        ]
        asked = [
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            for url in queues
        ]
        return sum(int(one["ApproximateNumberOfMessages"]) for one in asked)

    def errors(self, most: int = 12) -> list[str]:
        """The last errors that the functions logged."""
        logs = self.cloud.client("logs")
        found = []
        for group in logs.describe_log_groups()["logGroups"]:
            name = group["logGroupName"]
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=name)
            events = [event for page in pages for event in page["events"]]
            found += [
                (event["timestamp"], name, _in_short(event["message"]))
                for event in events
                if _is_error(event)
            ]
        return [f"{name}: {message}" for _, name, message in sorted(found)[-most:]]

    def stop(self) -> None:
        if self.pretenders:
            self.pretenders.stop()
        self.cloud.stop()


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain.deserialize(value) for name, value in item.items()}


def _in_short(message: str) -> str:
    """A log line for a person: what was said, and the last line of its traceback."""
    try:
        said = json.loads(message)
    except ValueError:
        return message.strip()[-300:]
    trouble = str(said.get("exception", "")).strip().rpartition("\n")[2]
    return f"{said.get('message', '')} {trouble}".strip()[:300]


def _is_error(event: Mapping[str, Any]) -> bool:
    return bool(re.search(r'"level":\s*"(ERROR|CRITICAL)"|\[ERROR\]|Traceback', event["message"]))


def raise_up(
    screen: Screen,
    options: Mapping[str, Any] | None = None,
    *,
    pretend: Mapping[str, Any] | None = MappingProxyType({}),
    state: Path | None = None,
) -> World:
    """Bring everything up, telling each step. Whatever was started is stopped again if a later step
    fails.

    `options` are laid over the functions' own; `pretend` are the simulator's, and None leaves the
    providers real.
    """
    cloud.forget_aws()
    state = state or new_state()
    assembly, made = screen.during(
        "synthesising the stack (a minute the first time)", synthesis.assembly
    )
    screen.say(f"stack synthesised{'' if made else ' before'}")
    pretenders = None
    running = screen.during("starting the emulated AWS", lambda: cloud.start(state))
    screen.say(f"emulated AWS up at {running.url}")
    try:
        laid = {**OPTIONS, **(options or {})}
        stack = screen.during("deploying", lambda: deploy.deploy(running, assembly, laid))
        screen.say(
            f"{stack.name} deployed by CloudFormation: {len(stack.physical)} resources; for the "
            "emulator we changed"
        )
        for line in summary(stack.changes):
            screen.plain(f"             {line}")
        if pretend is not None:
            doing = "starting the pretended providers"
            pretenders = screen.during(doing, lambda: Pretenders(state / "pretenders", **pretend))
            screen.say(f"providers pretended: {', '.join(pretenders.secrets())}")
            for provider, secret in pretenders.secrets().items():
                give_key(running, stack, provider, secret)
        return World(running, stack, Ear(running, stack.outputs["EventBusName"]), pretenders)
    except BaseException:
        if pretenders:
            pretenders.stop()
        running.stop()
        raise


def give_key(running: Cloud, stack: Stack, provider: str, secret: Mapping[str, Any]) -> None:
    """Put a provider's secret, as a person would with the AWS CLI."""
    place = stack.outputs[f"ProviderSecret{provider.capitalize()}"]
    running.client("secretsmanager").put_secret_value(
        SecretId=place, SecretString=json.dumps(dict(secret))
    )


def new_state() -> Path:
    """A directory for this run. Those of runs that are no more are removed now: they were kept to
    be looked at."""
    synthesis.BUILD.mkdir(parents=True, exist_ok=True)
    for old in synthesis.BUILD.glob("run-*"):
        if not _lives(int(old.name.split("-")[1])):
            shutil.rmtree(old, ignore_errors=True)
    return synthesis.BUILD / f"run-{os.getpid()}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
