"""The workflow's executions: one a task and attempt, started twice without harm, woken by its task token."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from functions import providers
from functions.settings import aws, get, options
from functions.table import now
from functions.tasks import Task

# A task token that nobody waits for any more: timed out, used, or of an execution that is gone. The bell was noted in
# the table, so the next look sees it.
_ASLEEP = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})


def start(task: Task, suffix: str = "") -> None:
    """Start watching this attempt. Running already, or run before: fine."""
    name = f"{task.task_id}-{task.attempt}{suffix}"
    told = {"task_id": task.task_id, "attempt": task.attempt, "polls": polls(task)}
    try:
        aws("stepfunctions").start_execution(stateMachineArn=get().workflow_arn, name=name, input=json.dumps(told))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
            raise


def polls(task: Task) -> dict[str, float]:
    """When to ask, in seconds: `first` after the model's known minimum, then every `steady`, and every `slow` when the
    job is older than `slow_after`. Growing delays would be the wrong shape: the chance that it is done rises with age."""
    model = providers.get(task.provider).models[task.model]
    schedule = {"first": model.first_seconds, "steady": 15, "slow": 300, "slow_after": 4 * model.usual_seconds}
    return {**schedule, **options().polls}


def is_running(task: Task) -> bool:
    """Does an execution watch this task? Its own, or one that the sweep started for it this hour."""
    return any(_status(task, suffix) == "RUNNING" for suffix in ("", "-late", revival()))


def revival() -> str:
    """The suffix of an execution started in place of a dead one: at most one an hour."""
    return now().strftime("-%Y%m%d%H")


def _status(task: Task, suffix: str) -> str:
    machine = get().workflow_arn
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{task.task_id}-{task.attempt}{suffix}"
    try:
        return str(aws("stepfunctions").describe_execution(executionArn=arn)["status"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return "NONE"


def wake(task_token: str, **said: Any) -> bool:
    """Answer the workflow's task token: `next` is watch, archive or done. False if nobody waits for it any more."""
    try:
        aws("stepfunctions").send_task_success(taskToken=task_token, output=json.dumps(said))
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ASLEEP:
            raise
        return False
    return True
