"""The workflow: watch, archive, settle. It owns time; the table owns truth, so an execution may die
and be replaced.

    First ──▶ Watch ⟲ ──▶ Archive ⟲ ──▶ Settle
      └─────────▲────────▶    │ failed
                │             ▼
                └─────── ArchiveLater

A state costs money each time it is entered, so none only routes. The one usual result of a state
leads to the next; what is rarer is an error of its name, and a Catch says where to: `Interrupt`
(functions/tasks/executions.py) of a wait without a video, `HandOver` of a copy that another
invocation goes on with.

Input: {"task_id", "attempt", "polls": {"first", "steady", "slow", "slow_after"}}, seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import ArnFormat, Aws, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from functions.tasks.executions import Interrupt
from infra.context import Context
from infra.function import Function, log_retention

State = dict[str, Any]

# How long to wait for a callback before the next query. `soon`: callbacks came in a flood, and one
# query answers them all. A day-old job, or one queried two thousand times (a flood of callbacks, an
# eager override), is queried four times a day: so the history of an execution stays far from its
# 25,000 events.
WATCH_SECONDS = """{% (
    $age := ($toMillis($states.context.State.EnteredTime)
        - $toMillis($states.context.Execution.StartTime)) / 1000;
    $wait := $soon > 0 ? $soon
        : ($age > 86400 or $polls_done > 2000) ? 21600
        : $age < $polls.slow_after ? $polls.steady
        : $polls.slow;
    $max([1, $ceil($wait)])
) %}"""

FIRST_SECONDS = "{% $max([1, $ceil($states.input.polls.first)]) %}"

# 30 s, 1 min, 2 min … at most an hour: the link or the provider may be back at any time, and stays
# for days.
LATER_SECONDS = "{% $min([3600, 30 * $power(2, $min([$stumbles - 1, 7]))]) %}"

# What is free to repeat is repeated for hours, since giving up costs a person's time.
PATIENT_RETRY = {
    "ErrorEquals": ["States.ALL"],
    "IntervalSeconds": 5,
    "BackoffRate": 2,
    "MaxDelaySeconds": 600,
    "MaxAttempts": 12,
    "JitterStrategy": "FULL",
}


# Which contract of results and errors an execution speaks: its definition is that of its start, and
# it may outlive the functions of that day.
DEFINITION = 2

LONGEST_SECONDS = 960  # a function's own 15 minutes, and a minute for starting it


def definition() -> dict[str, Any]:
    """The workflow in the Amazon States Language; `${…}` is filled in by CloudFormation."""
    return {
        "Comment": "Watch a job until it is done, archive its video, settle its task",
        "QueryLanguage": "JSONata",
        "StartAt": "First",
        # Longer than any provider keeps a video. What is not settled by then is found by the sweep.
        "TimeoutSeconds": 31 * 86400,
        "States": {
            "First": _first(),
            "Watch": _watch(),
            "Archive": _archive(),
            "ArchiveLater": {"Type": "Wait", "Seconds": LATER_SECONDS, "Next": "Watch"},
            "Settle": settle(),
            "Done": {"Type": "Succeed"},
        },
    }


def _first() -> State:
    """The first wait, until a query may find the job done, or a callback comes. It also keeps what
    the execution was started with."""
    names = ("task_id", "attempt", "polls")
    given = {name: f"{{% $states.input.{name} %}}" for name in names}
    waiting = wait_for_token(
        "Watch",
        FIRST_SECONDS,
        task_id=given["task_id"],
        attempt=given["attempt"],
        definition=DEFINITION,
        polls_done=0,
    )
    return {**waiting, **_after_a_wait(**given, polls_done=1, stumbles=0)}


def _watch() -> State:
    """Query, leave the task token where a callback finds it, sleep. A timeout means that the next
    query is due; it is not a failure."""
    waiting = wait_for_token(
        "Watch",
        WATCH_SECONDS,
        definition=DEFINITION,
        polls_done="{% $polls_done %}",
        stumbles="{% $stumbles %}",
        archive_error="{% $archive_error %}",
    )
    return {**waiting, **_after_a_wait(polls_done="{% $polls_done + 1 %}")}


def _after_a_wait(**kept: str | int) -> State:
    """A video to archive; another look, at once or `soon`; nothing more to do. Everything else, a
    timeout first of all, is the next look by the schedule."""
    kept |= {"soon": 0, "archive_error": ""}
    hurried: dict[str, str | int] = {**kept, "soon": "{% $number($states.errorOutput.Cause) %}"}
    ways: list[tuple[str, dict[str, str | int], str]] = [
        (Interrupt.LOOK_AGAIN.value, hurried, "Watch"),
        (Interrupt.OVER.value, {}, "Done"),
        ("States.ALL", kept, "Watch"),
    ]
    catch = [{"ErrorEquals": [name], "Assign": keeps, "Next": to} for name, keeps, to in ways]
    return {"Catch": catch, "Assign": kept, "Next": "Archive"}


def invocation(function: str, seconds: Any, **payload: str | int) -> State:
    """A function with the task it is about, and how long it may take."""
    about = {"task_id": "{% $task_id %}", "attempt": "{% $attempt %}"}
    return {
        "Type": "Task",
        "Resource": "arn:${Partition}:states:::lambda:invoke",
        "Arguments": {"FunctionName": f"${{{function}}}", "Payload": {**about, **payload}},
        "TimeoutSeconds": seconds,
    }


def wait_for_token(function: str, seconds: str, **payload: str | int) -> State:
    """The same for a function that gets a task token: the state lasts until the token is used."""
    token = {"task_token": "{% $states.context.Task.Token %}"}
    ends = ["States.Timeout", *(one.value for one in Interrupt)]
    return {
        **invocation(function, seconds, **token, **payload),
        "Resource": "arn:${Partition}:states:::lambda:invoke.waitForTaskToken",
        "Retry": [{"ErrorEquals": ends, "MaxAttempts": 0}, PATIENT_RETRY],
    }


def _archive() -> State:
    """No Retry: a failed copy may mean a dead link, and only Watch can get a fresh one."""
    return {
        **invocation("Archive", LONGEST_SECONDS),
        "Catch": [
            {"ErrorEquals": ["HandOver"], "Next": "Archive"},
            {
                "ErrorEquals": ["States.ALL"],
                "Assign": {
                    "stumbles": "{% $stumbles + 1 %}",
                    "archive_error": "{% $states.errorOutput.Error %}",
                    "soon": 0,
                    "polls_done": "{% $polls_done + 1 %}",
                },
                "Next": "ArchiveLater",
            },
        ],
        "Assign": {"outcome": "{% $states.result.Payload %}"},
        "Next": "Settle",
    }


def settle() -> State:
    """The last step, free to repeat."""
    called = invocation("Settle", 120, archived="{% $outcome.archived %}")
    return {**called, "Retry": [PATIENT_RETRY], "End": True}


class Workflow(Construct):
    """A state machine and its role. `definition` is in the Amazon States Language, `steps` the
    functions that it calls by these names; `machine_arn` is what starts it, `execution_arns` are
    all of its executions."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        context: Context,
        definition: Mapping[str, Any],
        steps: Mapping[str, Function],
    ) -> None:
        super().__init__(scope, name)
        machine = sfn.StateMachine(
            self,
            "Machine",
            definition_body=sfn.DefinitionBody.from_string(json.dumps(definition)),
            definition_substitutions={
                "Partition": Aws.PARTITION,
                **{step: function.function_arn for step, function in steps.items()},
            },
            role=self._role(steps),
            tracing_enabled=True,
            # Execution data would put task tokens into the log.
            logs=sfn.LogOptions(
                destination=self._logs(name, context),
                level=sfn.LogLevel.ERROR,
                include_execution_data=False,
            ),
        )
        self.machine = machine
        self.machine_arn = machine.state_machine_arn
        self.execution_arns = Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{machine.state_machine_name}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )

    def _role(self, steps: Mapping[str, Function]) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "states.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            ),
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"],
                resources=[function.function_arn for function in steps.values()],
            )
        )
        return role

    def _logs(self, name: str, context: Context) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            "Logs",
            # Delivery to a name of this prefix needs no room in the account's log policy:
            # https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
            log_group_name=f"/aws/vendedlogs/{context.stack_name}/{name.lower()}",
            retention=log_retention(context.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )

    def may_be_answered_by(self, *functions: Function, actions: Sequence[str]) -> None:
        """Let them use a task token in these ways. A policy beside the role and not in it: a
        function waits for its role's own policies, and the machine waits for the function, so there
        it would be a circle."""
        iam.Policy(
            self,
            "TaskTokens",
            statements=[iam.PolicyStatement(actions=list(actions), resources=[self.machine_arn])],
            roles=[function.role for function in functions if function.role],
        )
