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
from infra.workflow import (
    LATER_SECONDS,
    LONGEST_SECONDS,
    State,
    invocation,
    settle,
    wait_for_token,
)

# The longest between two looks: what wakes Gather may get lost. After a day a person decides, and
# the history of an execution stays far from its 25,000 events.
GATHER_SECONDS = """{% (
    $age := ($toMillis($states.context.State.EnteredTime)
        - $toMillis($states.context.Execution.StartTime)) / 1000;
    $age > 86400 ? 3600 : 300
) %}"""

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
            "Route": _route(Next.CUT, Next.JOIN, Next.SETTLE, Next.DONE, default="Pause"),
            "Pause": {"Type": "Wait", "Seconds": PAUSE_SECONDS, "Next": "Gather"},
            "Join": _join(),
            "JoinLater": {"Type": "Wait", "Seconds": LATER_SECONDS, "Next": "Gather"},
            "Settle": settle(),
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
        **invocation(name, LONGEST_SECONDS),
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
        **wait_for_token(
            "Gather",
            GATHER_SECONDS,
            stumbles="{% $stumbles %}",
            join_error="{% $join_error %}",
        ),
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Gather"}],
        "Assign": {"outcome": "{% $states.result %}"},
        "Next": "Route",
    }


def _route(*steps: Next, default: str) -> State:
    """To the state named after what the function before wants done next."""
    choices = [
        {"Condition": f"{{% $outcome.next = '{step}' %}}", "Next": step.value.capitalize()}
        for step in steps
    ]
    return {"Type": "Choice", "Choices": choices, "Default": default}
