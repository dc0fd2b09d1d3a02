"""Where this Talkdrop is: the embedded run that is up on this machine, or a deployed stack."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from functions import settings

DEFAULT = "Talkdrop"
# What `make up` leaves while it runs: how to reach it, and the process that is it.
EMBEDDED = Path("build") / "up.json"
# Where the embedded run's simulated providers are, for who does not stand in its directory.
SIMULATOR = "TALKDROP_SIMULATOR"
_HERE = "http://127.0.0.1"

_OUTPUTS = {
    "TALKDROP_TABLE": "TaskTableName",
    "TALKDROP_INBOX": "InboxBucket",
    "TALKDROP_ARCHIVE": "ArchiveBucket",
    "TALKDROP_BUS": "EventBusName",
    "TALKDROP_UPLOADS_QUEUE_URL": "UploadsQueueUrl",
    "TALKDROP_SUBMISSIONS_QUEUE_URL": "SubmissionsQueueUrl",
    "TALKDROP_WORKFLOW_ARN": "WorkflowArn",
    "TALKDROP_PIECES_WORKFLOW_ARN": "PiecesWorkflowArn",
}
_HAS_ALL_OPTIONS = "SweepFunction"


class NoStack(Exception):
    """The stack cannot be found or reached; the message says what to check."""


@dataclass(frozen=True)
class Stack:
    """A Talkdrop that was found: CloudFormation's outputs, and whether it is the embedded run.
    `simulator` is the address of the control endpoint of that run's simulated providers; empty on
    AWS."""

    name: str
    region: str
    outputs: Mapping[str, str]
    embedded: bool
    simulator: str = ""

    def secret_id(self, provider: str) -> str:
        """The name of a provider's secret; empty where the stack has none."""
        return self.outputs.get(f"ProviderSecret{provider.capitalize()}", "")


def secret(secret_id: str) -> dict[str, Any]:
    """A provider's secret as it is stored: never to be shown."""
    text = _client("secretsmanager").get_secret_value(SecretId=secret_id)["SecretString"]
    return dict(json.loads(text or "{}"))


def connect(name: str = DEFAULT) -> Stack:
    """Find the stack: the embedded run in this directory or above it, unless the environment points
    elsewhere (AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID). Raises NoStack."""
    embedded = use_embedded_run()
    if region := os.environ.get("AWS_REGION"):  # which the AWS CLI reads first, and boto3 never
        os.environ["AWS_DEFAULT_REGION"] = region
    outputs = _outputs(name)
    region = str(_client("cloudformation").meta.region_name)
    return Stack(name, region, outputs, embedded, _simulator() if embedded else "")


def enter(name: str) -> Stack:
    """From here on, the functions' own modules work on this stack. Raises NoStack."""
    found = connect(name)
    if missing := [output for output in _OUTPUTS.values() if output not in found.outputs]:
        raise NoStack(f"the stack {name!r} is no Talkdrop: it has no output {', '.join(missing)}")
    variables = {variable: found.outputs[output] for variable, output in _OUTPUTS.items()}
    os.environ.update(variables, TALKDROP_OPTIONS=_options(name))
    settings.forget()
    return found


def use_embedded_run() -> bool:
    """Point AWS's clients at the embedded run that is up, if there is one and nothing else was
    chosen: what `talkdrop env` exported for a run that is over is no choice."""
    chosen = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID")
    endpoint, run = os.environ.get("AWS_ENDPOINT_URL", ""), _embedded_run()
    over = bool(run) and endpoint != run.get("endpoint") and _is_over(endpoint)
    if any(os.environ.get(name) for name in chosen) and not over:
        return endpoint.startswith(_HERE)
    if run:
        os.environ.update(
            AWS_ENDPOINT_URL=str(run["endpoint"]),
            AWS_REGION=str(run["region"]),
            AWS_DEFAULT_REGION=str(run["region"]),
            AWS_ACCESS_KEY_ID=str(run["access_key"]),
            AWS_SECRET_ACCESS_KEY=str(run["secret_key"]),
        )
    return bool(run)


def _is_over(endpoint: str) -> bool:
    """An emulated AWS of this machine whose port is closed."""
    if not endpoint.startswith(f"{_HERE}:"):
        return False
    try:
        socket.create_connection(("127.0.0.1", urlsplit(endpoint).port or 80), timeout=1).close()
    except OSError:
        return True
    return False


def _simulator() -> str:
    """Of the run that AWS's clients are pointed at, not of another one."""
    run = _embedded_run()
    if run.get("endpoint") != os.environ.get("AWS_ENDPOINT_URL"):
        return os.environ.get(SIMULATOR, "")
    return str(dict(run.get("simulator") or {}).get("control", ""))


def _embedded_run() -> dict[str, Any]:
    """What `make up` wrote, in this directory or above it; empty where none is up."""
    paths = (directory / EMBEDDED for directory in _directories())
    return next((run for path in paths if path.is_file() and (run := _state(path))), {})


def _directories() -> Iterator[Path]:
    here = Path.cwd()
    yield from (here, *here.parents)
    yield Path(__file__).parent.parent  # the checkout that this command was installed from


def _state(path: Path) -> dict[str, Any]:
    """What this file says of its run; empty if the run is over."""
    try:
        state = dict(json.loads(path.read_text()))
        os.kill(int(state["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    needed = {"endpoint", "region", "access_key", "secret_key"}
    return state if needed <= state.keys() else {}


def caller() -> str:
    """Who acts, for the task's history: the AWS identity, or the name of the account on this
    machine."""
    try:
        return str(_client("sts").get_caller_identity()["Arn"])
    except (ClientError, BotoCoreError):
        return getpass.getuser()


def _outputs(name: str) -> dict[str, str]:
    try:
        described = _client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        message = error.response["Error"].get("Message", "")
        raise NoStack(
            f"AWS does not describe the stack {name!r}: {message}. Check --stack, region and "
            "rights."
        ) from error
    except BotoCoreError as error:
        raise NoStack(
            f"AWS cannot be reached ({error}): check AWS_REGION, the credentials and "
            "AWS_ENDPOINT_URL; or start the embedded run with make up."
        ) from error
    return {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}


def _options(stack: str) -> str:
    """The options as a function of the stack has them: the same waiting times must hold for a
    person."""
    pages = (
        _client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    )
    for page in pages:
        for one in page["StackResourceSummaries"]:
            if (
                one["LogicalResourceId"].startswith(_HAS_ALL_OPTIONS)
                and one["ResourceType"] == "AWS::Lambda::Function"
            ):
                found = _client("lambda").get_function_configuration(
                    FunctionName=one["PhysicalResourceId"]
                )
                variables = found.get("Environment", {}).get("Variables", {})
                return str(variables.get("TALKDROP_OPTIONS", "{}"))
    return "{}"


def _client(service: str) -> Any:
    session: Any = boto3
    return session.client(service)
