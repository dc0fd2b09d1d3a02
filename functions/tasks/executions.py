"""The workflow's executions: one a task and attempt, started twice without harm, resumed by its
task token."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum

from botocore.exceptions import ClientError

from functions import providers
from functions.settings import aws, get
from functions.tasks import polls
from functions.tasks.table import instant, now
from functions.tasks.task import Next, Task

# A task token that is not waited for any more: timed out, used, or of an execution that is gone.
# The callback was noted in the table, so the next query answers it.
_STALE_TOKEN = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
_MOST_LATE = 50


class Interrupt(StrEnum):
    """Errors by which a wait for a job ends without a video to archive. A Catch of the workflow
    routes them, since a Choice state would be one more that is paid for."""

    LOOK_AGAIN = "LookAgain"
    OVER = "Over"


def start(task: Task, suffix: str = "", *, schedule: Mapping[str, float] | None = None) -> None:
    """Start watching this attempt; `schedule` is when to query, where it is not by the model's own
    numbers. Running already, or run before: fine."""
    name = f"{task.task_id}-{task.attempt}{suffix}"
    payload: dict[str, object] = {"task_id": task.task_id, "attempt": task.attempt}
    if not task.is_long:
        payload["polls"] = dict(schedule or polls.of_its_model(task))
    try:
        aws("stepfunctions").start_execution(
            stateMachineArn=_machine(task), name=name, input=json.dumps(payload)
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
            raise


def _machine(task: Task) -> str:
    """A long voice has a state machine of its own: cut, gather, join."""
    return get().pieces_workflow_arn if task.is_long else get().workflow_arn


def see_that_it_runs(task: Task) -> str:
    """Some execution watches this task: its own, that of a late callback, the one last started in
    place of a dead one, or a new one, at most one an hour. The suffix of the one last started so,
    for the row."""
    if running(task):
        return task.revived
    start(task)
    if running(task):
        return task.revived
    suffix = now().strftime("-%Y%m%d%H")
    start(task, suffix)
    return suffix


def resume(task: Task) -> None:
    """See that it is watched now: by the execution that waits, or by another."""
    if not wake(task):
        see_that_it_runs(task)


def wake(task: Task, *, soon_seconds: float = 0) -> bool:
    """Have the execution that waits look again: at once, or in so many seconds where that is sooner
    than its schedule. False if none waits."""
    if not task.task_token:
        return False
    if task.is_long:
        return end_wait(task.task_token, Next.GATHER)
    return interrupt(task.task_token, Interrupt.LOOK_AGAIN, soon_seconds=soon_seconds)


def late(task: Task) -> str:
    """The suffix of the execution that a late callback starts: another for each callback, since one
    that looked too early has ended, and its name is taken for 90 days. No more than a few, however
    many callbacks come."""
    return f"-late{min(task.callbacks_received, _MOST_LATE)}"


def running(task: Task) -> bool:
    """Does an execution watch this task?"""
    suffixes = dict.fromkeys(("", late(task), task.revived))
    return any(_status(task, suffix) == "RUNNING" for suffix in suffixes)


def may_still_come(task: Task) -> bool:
    """Would the provider still keep a video of this attempt, if there is one? What a long voice
    waits for is its pieces, as long as it takes."""
    if task.is_long:
        return True
    since = instant(task.submitted_at or task.intended_at or task.created_at)
    return now() - since < timedelta(days=providers.get(task.provider).retention_days)


def _status(task: Task, suffix: str) -> str:
    machine = _machine(task)
    arn = (
        f"{machine.replace(':stateMachine:', ':execution:')}:{task.task_id}-{task.attempt}{suffix}"
    )
    try:
        return str(aws("stepfunctions").describe_execution(executionArn=arn)["status"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return "NONE"


def end_wait(task_token: str, next: Next, *, soon_seconds: float = 0) -> bool:
    """Answer the workflow's task token. `soon_seconds`: when the next look is due, where that is
    sooner than the schedule says. False if the token is stale."""
    output = {"next": next.value} | ({"soon": soon_seconds} if soon_seconds else {})
    send = aws("stepfunctions").send_task_success
    return _is_taken(send, taskToken=task_token, output=json.dumps(output))


def interrupt(task_token: str, why: Interrupt, *, soon_seconds: float = 0) -> bool:
    """The same, by an error that a Catch routes. An execution of before these errors repeats the
    state by its Retry, within seconds, and looks then."""
    send = aws("stepfunctions").send_task_failure
    return _is_taken(send, taskToken=task_token, error=why.value, cause=str(soon_seconds))


def _is_taken(send: Callable[..., object], **answer: str) -> bool:
    try:
        send(**answer)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _STALE_TOKEN:
            raise
        return False
    return True
