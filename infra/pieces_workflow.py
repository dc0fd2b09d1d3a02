"""The workflow of a long voice: cut it, wait until its pieces are made, join them, settle.

    Begin → Cut ──▶ Route ──▶ Gather ⟲ (Pause) ──join──▶ Join ──▶ Settle
             ▲ │ failed          ▲                        │ failed
             CutLater            └──────── JoinLater ◀────┘

A piece is a task of its own, with an execution of the other workflow; this one waits for them all,
so it may wait as long as a person takes to decide about one of them.

Input: {"task_id", "attempt"}.
"""

from __future__ import annotations

from typing import Any

from functions.tasks.task import Next
from infra.workflow import PATIENT_RETRY, State

# The longest between two looks: what wakes Gather may get lost. After a day a person decides, and
# the history of an execution stays far from its 25,000 events.
GATHER_SECONDS = """{% (
    $age := ($toMillis($states.context.State.EnteredTime)
        - $toMillis($states.context.Execution.StartTime)) / 1000;
    $age > 86400 ? 3600 : 300
) %}"""

# 30 s, 1 min, 2 min … at most an hour.
LATER_SECONDS = "{% $min([3600, 30 * $power(2, $min([$stumbles - 1, 7]))]) %}"

# Pieces end in waves: one look for all that end within so many seconds.
PAUSE_SECONDS = 2


def definition() -> dict[str, Any]:
    """The workflow in the Amazon States Language; `${…}` is filled in by CloudFormation."""
    return {
        "Comment": "Cut a long voice, wait for its pieces, join their videos, settle the task",
        "QueryLanguage": "JSONata",
        "StartAt": "Begin",
        "TimeoutSeconds": 31 * 86400,  # what is not settled by then is found by the sweep
        "States": {
            "Begin": _begin(),
            "Cut": _cut(),
            "CutLater": {"Type": "Wait", "Seconds": LATER_SECONDS, "Next": "Cut"},
            "Gather": _gather(),
            "Route": _route(),
            "Pause": {"Type": "Wait", "Seconds": PAUSE_SECONDS, "Next": "Gather"},
            "Join": _join(),
            "JoinLater": {"Type": "Wait", "Seconds": LATER_SECONDS, "Next": "Gather"},
            "Settle": _settle(),
            "Done": {"Type": "Succeed"},
        },
    }


def _begin() -> State:
    given = {name: f"{{% $states.input.{name} %}}" for name in ("task_id", "attempt")}
    return {"Type": "Pass", "Assign": {**given, "stumbles": 0, "join_error": ""}, "Next": "Cut"}


def _stumbled(goes_to: str) -> State:
    return {
        "ErrorEquals": ["States.ALL"],
        "Assign": {
            "stumbles": "{% $stumbles + 1 %}",
            "join_error": "{% $states.errorOutput.Error %}",
        },
        "Next": goes_to,
    }


def _task(name: str, goes_to: str) -> State:
    """A step that runs for minutes and is free to repeat, ever later."""
    return {
        "Type": "Task",
        "Resource": "arn:${Partition}:states:::lambda:invoke",
        "Arguments": {
            "FunctionName": f"${{{name}}}",
            "Payload": {"task_id": "{% $task_id %}", "attempt": "{% $attempt %}"},
        },
        "TimeoutSeconds": 960,  # the function's own 15 minutes, and a minute for starting it
        "Catch": [_stumbled(f"{name}Later")],
        "Next": goes_to,
    }


def _cut() -> State:
    outcome = {"outcome": "{% $states.result.Payload %}", "stumbles": 0, "join_error": ""}
    return {**_task("Cut", "Route"), "Assign": outcome}


def _join() -> State:
    return {**_task("Join", "Route"), "Assign": {"outcome": "{% $states.result.Payload %}"}}


def _gather() -> State:
    """Look at the pieces, leave the task token where the next one that ends finds it, sleep."""
    return {
        "Type": "Task",
        "Resource": "arn:${Partition}:states:::lambda:invoke.waitForTaskToken",
        "Arguments": {
            "FunctionName": "${Gather}",
            "Payload": {
                "task_id": "{% $task_id %}",
                "attempt": "{% $attempt %}",
                "task_token": "{% $states.context.Task.Token %}",
                "stumbles": "{% $stumbles %}",
                "join_error": "{% $join_error %}",
            },
        },
        "TimeoutSeconds": GATHER_SECONDS,
        "Retry": [{"ErrorEquals": ["States.Timeout"], "MaxAttempts": 0}, PATIENT_RETRY],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Gather"}],
        "Assign": {"outcome": "{% $states.result %}"},
        "Next": "Route",
    }


def _route() -> State:
    def when(step: Next, goes_to: str) -> dict[str, str]:
        return {"Condition": f"{{% $outcome.next = '{step}' %}}", "Next": goes_to}

    return {
        "Type": "Choice",
        "Choices": [
            when(Next.CUT, "Cut"),
            when(Next.JOIN, "Join"),
            when(Next.SETTLE, "Settle"),
            when(Next.DONE, "Done"),
        ],
        "Default": "Pause",
    }


def _settle() -> State:
    return {
        "Type": "Task",
        "Resource": "arn:${Partition}:states:::lambda:invoke",
        "Arguments": {
            "FunctionName": "${Settle}",
            "Payload": {
                "task_id": "{% $task_id %}",
                "attempt": "{% $attempt %}",
                "archived": "{% $outcome.archived %}",
            },
        },
        "TimeoutSeconds": 120,
        "Retry": [PATIENT_RETRY],
        "Next": "Done",
    }
