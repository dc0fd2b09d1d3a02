"""Where this Talkdrop is: a deployed stack's outputs, told to `functions.settings` as the functions
are told."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from functions import settings

_OUTPUTS = {
    "TALKDROP_TABLE": "TaskTableName",
    "TALKDROP_INBOX": "InboxBucket",
    "TALKDROP_ARCHIVE": "ArchiveBucket",
    "TALKDROP_BUS": "EventBusName",
    "TALKDROP_UPLOADS_QUEUE_URL": "UploadsQueueUrl",
    "TALKDROP_SUBMISSIONS_QUEUE_URL": "SubmissionsQueueUrl",
    "TALKDROP_WORKFLOW_ARN": "WorkflowArn",
}
_HAS_ALL_OPTIONS = "SweepFunction"


class NoStack(Exception):
    """The stack cannot be found or asked; the message says what to check."""


def enter(stack: str) -> None:
    """From here on, the functions' own nouns speak to this stack."""
    if region := os.environ.get("AWS_REGION"):  # which the AWS CLI reads, and boto3 does not
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    try:
        os.environ.update(_told(stack))
    except ClientError as error:
        said = error.response["Error"].get("Message", "")
        raise NoStack(
            f"AWS would not tell of the stack {stack!r}: {said}. Check --stack, region and rights."
        ) from error
    except BotoCoreError as error:
        raise NoStack(
            f"AWS cannot be asked ({error}): check AWS_REGION, the credentials and "
            "AWS_ENDPOINT_URL."
        ) from error
    settings.forget()


def who() -> str:
    """Who acts, for the task's history: the AWS identity, or the name of the account on this
    machine."""
    try:
        return str(_client("sts").get_caller_identity()["Arn"])
    except (ClientError, BotoCoreError):
        return getpass.getuser()


def _told(stack: str) -> Mapping[str, str]:
    described = _client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}
    if missing := [output for output in _OUTPUTS.values() if output not in outputs]:
        raise NoStack(f"the stack {stack!r} is no Talkdrop: it has no output {', '.join(missing)}")
    told = {name: outputs[output] for name, output in _OUTPUTS.items()}
    return {**told, "TALKDROP_OPTIONS": _options(stack)}


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
                return str(
                    found.get("Environment", {}).get("Variables", {}).get("TALKDROP_OPTIONS", "{}")
                )
    return "{}"


def _client(service: str) -> Any:
    session: Any = boto3
    return session.client(service)
