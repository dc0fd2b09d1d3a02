"""The embedded run, started together: the emulated AWS, the stack on it, the simulated providers, a
listener on the event bus."""

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
from local.event_listener import EventListener
from local.screen import Screen
from local.simulated_providers import SimulatedProviders

# A bill and a quota make polling slow on AWS; here a person waits, and a poll costs nothing.
OPTIONS: Mapping[str, Any] = {"polls": {"first": 5, "steady": 3, "slow": 5}}

_plain = TypeDeserializer()


@dataclass(frozen=True)
class Environment:
    """Everything that runs, and the few things one does with it. `simulator` is None where the
    providers are the real ones."""

    cloud: Cloud
    stack: Stack
    listener: EventListener
    simulator: SimulatedProviders | None

    @property
    def inbox(self) -> str:
        return self.stack.outputs["InboxBucket"]

    def drop(self, key: str, content: bytes) -> None:
        """A file into the inbox: a plain S3 upload, like any customer's."""
        self.cloud.client("s3").put_object(Bucket=self.inbox, Key=key, Body=content)

    def task(self, task_id: str) -> dict[str, Any]:
        """The task's row as it is now."""
        found = self.cloud.client("dynamodb").get_item(
            TableName=self.stack.outputs["TaskTableName"],
            Key={"pk": {"S": f"task#{task_id}"}},
            ConsistentRead=True,
        )
        return _row(found.get("Item", {}))

    def tasks(self) -> list[dict[str, Any]]:
        """Every task's row."""
        pages = (
            self.cloud.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.stack.outputs["TaskTableName"], ConsistentRead=True)
        )
        rows = [_row(item) for page in pages for item in page["Items"]]
        return [row for row in rows if str(row["pk"]).startswith("task#")]

    def charges_of(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The lines of the simulator's ledger about this task: known by its job, or by the callback
        URL that only this task has."""
        lines = self.simulator.charges() if self.simulator else []
        return [
            line
            for line in lines
            if line["job_id"] == row.get("job_id") or str(row["task_id"]) in line["callback_url"]
        ]

    def let_submit(self, allowed: bool) -> None:
        """Stop or start that `submit` is given tasks: while it is stopped, nothing can be paid."""
        lambda_ = self.cloud.client("lambda")
        submit = self.stack.function("submit")
        for one in lambda_.list_event_source_mappings(FunctionName=submit)["EventSourceMappings"]:
            lambda_.update_event_source_mapping(UUID=one["UUID"], Enabled=allowed)

    def sweep_each_minute(self) -> None:
        """Every schedule of the stack by the minute, for those who do not want to wait."""
        events = self.cloud.client("events")
        for rule in events.list_rules()["Rules"]:
            if rule.get("ScheduleExpression"):
                events.put_rule(
                    Name=rule["Name"], ScheduleExpression="rate(1 minute)", State="ENABLED"
                )

    def dead_letters(self) -> int:
        """How many messages ended in any dead-letter queue."""
        sqs = self.cloud.client("sqs")
        queues = [
            url for name, url in self.stack.outputs.items() if name.endswith("DeadLetterQueueUrl")
        ]
        attributes = [
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            for url in queues
        ]
        return sum(int(one["ApproximateNumberOfMessages"]) for one in attributes)

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
        if self.simulator:
            self.simulator.stop()
        self.cloud.stop()


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain.deserialize(value) for name, value in item.items()}


def _in_short(message: str) -> str:
    """A log line for a person: its message, and the last line of its traceback."""
    try:
        logged = json.loads(message)
    except ValueError:
        return message.strip()[-300:]
    trouble = str(logged.get("exception", "")).strip().rpartition("\n")[2]
    return f"{logged.get('message', '')} {trouble}".strip()[:300]


def _is_error(event: Mapping[str, Any]) -> bool:
    return bool(re.search(r'"level":\s*"(ERROR|CRITICAL)"|\[ERROR\]|Traceback', event["message"]))


def start(
    screen: Screen,
    options: Mapping[str, Any] | None = None,
    *,
    simulate: Mapping[str, Any] | None = MappingProxyType({}),
    state: Path | None = None,
    port: int = 0,
    keep: bool = False,
) -> Environment:
    """Start everything and show each step. Whatever runs is stopped again if a later step fails.

    `options` are laid over the functions' own; `simulate` are the simulator's, and None leaves the
    providers real; `port` is the emulated AWS's, any free one by default; `keep` goes on with what
    `state` holds of an earlier run, and gives buckets and API names that stay.
    """
    cloud.forget_aws()
    state = state or new_state()
    assembly, made = screen.during(
        "synthesising the stack (a minute the first time)", synthesis.assembly
    )
    screen.detail(f"stack synthesised{'' if made else ' before'}")
    simulator = None
    running = screen.during(
        "starting the emulated AWS", lambda: cloud.start(state, port=port, keep=keep)
    )
    try:
        laid = {**OPTIONS, **(options or {})}
        stack = screen.during("deploying", lambda: deploy.deploy(running, assembly, laid))
        _show(screen, running, stack)
        if simulate is not None:
            simulator = screen.during(
                "starting the simulated providers",
                lambda: SimulatedProviders(state / "simulator", **simulate),
            )
            for provider, secret in simulator.secrets().items():
                put_secret(running, stack, provider, secret)
            screen.detail(f"providers simulated: {', '.join(simulator.secrets())}")
        listener = EventListener(running, stack.outputs["EventBusName"])
        return Environment(running, stack, listener, simulator)
    except BaseException:
        if simulator:
            simulator.stop()
        running.stop()
        raise


def _show(screen: Screen, running: Cloud, stack: Stack) -> None:
    screen.say(f"deployed    {len(stack.physical)} resources to emulated AWS at {running.url}")
    screen.detail("for the emulator we changed")
    for line in summary(stack.changes):
        screen.detail(f"  {line}")


def put_secret(running: Cloud, stack: Stack, provider: str, secret: Mapping[str, Any]) -> None:
    """Put a provider's secret, as a person would with the AWS CLI."""
    running.client("secretsmanager").put_secret_value(
        SecretId=stack.outputs[f"ProviderSecret{provider.capitalize()}"],
        SecretString=json.dumps(dict(secret)),
    )


def new_state() -> Path:
    """A directory for this run. Those of runs that have ended are removed now: until then they can
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
