"""Step Functions, as far as our own workflows go: the states are read from infra/workflow.py and
infra/pieces_workflow.py, not written again.

Only the few JSONata expressions stand here in Python, by their very text, so that one that changes
there is missed here at once; test_model.py holds each of them to a real evaluator.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.dynamo import Refused

if TYPE_CHECKING:
    from tests.faults.account import Account

_INFRA = Path(__file__).parents[2] / "infra"
_JOB, _PIECES = "workflow", "pieces_workflow"  # whose definition is in which file
# As it was until 2026-11-21, kept for ever: an execution goes on by the definition of its start.
BEFORE = "workflow_1"
_PLAIN = (ast.Assign, ast.AnnAssign, ast.FunctionDef)


class Undefined(Exception):
    """JSONata found nothing where a value must be: States.QueryEvaluationError."""


@cache
def definition(name: str = _JOB) -> dict[str, Any]:
    """A workflow as its file in infra/ writes it, without the CDK, which its words do not need."""
    if name == BEFORE:
        kept: dict[str, Any] = json.loads(Path(__file__).with_name(f"{BEFORE}.json").read_text())
        return kept
    from functions.tasks.executions import Interrupt  # not at import: a mutant must come first
    from functions.tasks.task import Next

    names: dict[str, Any] = {"Any": Any, "json": json, "Next": Next, "Interrupt": Interrupt}
    for file in dict.fromkeys((_JOB, name)):  # the second takes constants of the first
        source = _INFRA / f"{file}.py"
        tree = ast.parse(source.read_text())
        tree.body = [node for node in tree.body if isinstance(node, _PLAIN)]
        exec(compile(tree, str(source), "exec"), names)
    made: dict[str, Any] = names["definition"]()
    return made


def _path(text: str, scope: Mapping[str, Any]) -> Any:
    found: Any = scope
    for part in text.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise Undefined(text)
        found = found[part]
    return found


def _gather_seconds(scope: Mapping[str, Any]) -> int:
    context = scope["states"]["context"]
    entered, started = (datetime.fromisoformat(context[name]) for name in ("State", "Execution"))
    return 3600 if (entered - started).total_seconds() > 86400 else 300


def _watch_seconds(scope: Mapping[str, Any]) -> int:
    context, polls = scope["states"]["context"], scope["polls"]
    entered, started = (datetime.fromisoformat(context[name]) for name in ("State", "Execution"))
    age = (entered - started).total_seconds()
    if scope["soon"] > 0:
        wait: float = scope["soon"]
    elif age > 86400 or scope["polls_done"] > 2000:
        wait = 21600
    else:
        wait = polls["steady"] if age < polls["slow_after"] else polls["slow"]
    return max(1, math.ceil(wait))


def _watch_seconds_before(scope: Mapping[str, Any]) -> int:
    is_first = scope["polls_done"] == 0 and not scope["soon"]
    return max(1, math.ceil(scope["polls"]["first"])) if is_first else _watch_seconds(scope)


# Expressions that are more than a name, a sum or a comparison of words: the text, white space made
# one, to its meaning.
KNOWN: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "( $age := ($toMillis($states.context.State.EnteredTime) - "
    "$toMillis($states.context.Execution.StartTime)) / 1000; "
    "$wait := $soon > 0 ? $soon : ($age > 86400 or $polls_done > 2000) ? 21600 "
    ": $age < $polls.slow_after ? $polls.steady : $polls.slow; "
    "$max([1, $ceil($wait)]) )": _watch_seconds,
    "( $age := ($toMillis($states.context.State.EnteredTime) - "
    "$toMillis($states.context.Execution.StartTime)) / 1000; "
    "$age > 86400 ? 3600 : 300 )": _gather_seconds,
    "( $age := ($toMillis($states.context.State.EnteredTime) - "
    "$toMillis($states.context.Execution.StartTime)) / 1000; "
    "$wait := $soon > 0 ? $soon : $polls_done = 0 ? $polls.first "
    ": ($age > 86400 or $polls_done > 2000) ? 21600 "
    ": $age < $polls.slow_after ? $polls.steady : $polls.slow; "
    "$max([1, $ceil($wait)]) )": _watch_seconds_before,
    "$states.result.soon ? $states.result.soon : 0": lambda scope: (
        scope["states"]["result"].get("soon") or 0
    ),
    "$max([1, $ceil($states.input.polls.first)])": lambda scope: max(
        1, math.ceil(scope["states"]["input"]["polls"]["first"])
    ),
    "$number($states.errorOutput.Cause)": lambda scope: float(
        scope["states"]["errorOutput"]["Cause"]
    ),
    "$min([3600, 30 * $power(2, $min([$stumbles - 1, 7]))])": lambda scope: min(
        3600, 30 * 2 ** min(scope["stumbles"] - 1, 7)
    ),
}
_NAME = re.compile(r"\$([a-z_]+(?:\.[A-Za-z_]+)*)")
_NEXT = re.compile(r"\$([a-z_]+) \+ 1")
_SAYS = re.compile(r"\$([a-z_.]+) = '([a-z]+)'")


def evaluate(value: Any, scope: Mapping[str, Any]) -> Any:
    """A value of the definition with its expressions worked out."""
    if isinstance(value, Mapping):
        return {name: evaluate(inner, scope) for name, inner in value.items()}
    if not isinstance(value, str) or not value.startswith("{%"):
        return value
    return meaning(" ".join(value[2:-2].split()))(scope)


@cache
def meaning(text: str) -> Callable[[Mapping[str, Any]], Any]:
    if text in KNOWN:
        return KNOWN[text]
    if found := _NAME.fullmatch(text):
        path = {"states.context.Task.Token": "states.context.Token"}.get(found[1], found[1])
        return lambda scope: _path(path, scope)
    if found := _NEXT.fullmatch(text):
        name = found[1]
        return lambda scope: scope[name] + 1
    if found := _SAYS.fullmatch(text):
        path, word = found[1], found[2]

        def says(scope: Mapping[str, Any]) -> bool:
            try:
                return bool(_path(path, scope) == word)
            except Undefined:
                return False

        return says
    raise NotImplementedError(f"the model of the workflow does not know the expression {text!r}")


class Execution:
    """One run. What comes from a state that was left (an old timer, a late answer) is dropped by
    its `turn`."""

    def __init__(
        self, machine: Workflow, name: str, value: dict[str, Any], *, in_pieces: bool
    ) -> None:
        self.machine = machine
        self.definition = definition(_PIECES if in_pieces else machine.current)
        self.account = machine.account
        self.name = name
        self.input = value
        self._statuses = [(machine.account.clock.now, "RUNNING")]
        self.started = self._stamp()
        self.entered = self.started
        self.variables: dict[str, Any] = {}
        self.state = ""
        self.turn = 0
        self.token = ""
        self.retries: dict[int, int] = {}

    @property
    def status(self) -> str:
        return self._statuses[-1][1]

    @status.setter
    def status(self, word: str) -> None:
        self._statuses.append((self.account.clock.now, word))

    def status_at(self, at: float) -> str:
        """As it was then; empty before it began."""
        return next((word for since, word in reversed(self._statuses) if since <= at), "")

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self.account.clock.now, UTC).isoformat()

    def scope(self, **more: Any) -> dict[str, Any]:
        context = {"State": self.entered, "Execution": self.started, "Token": self.token}
        return {**self.variables, "states": {"input": self.input, "context": context, **more}}

    def enter(self, state: str) -> None:
        if self.status != "RUNNING":
            return
        self.state, self.entered, self.retries = state, self._stamp(), {}
        self._begin()

    def _begin(self) -> None:
        if self.status != "RUNNING":
            return
        self.turn += 1
        turn, one = self.turn, self.definition["States"][self.state]
        self.account.clock.note(f"◇ {self.name[:6]}…{self.name[32:]} {self.state}")
        kind = one["Type"]
        if kind == "Succeed":
            self.status = "SUCCEEDED"
        elif kind == "Pass":
            self._leave(one, {})
        elif kind == "Choice":
            scope = self.scope()
            to = next(
                (way["Next"] for way in one["Choices"] if evaluate(way["Condition"], scope)),
                one["Default"],
            )
            self._go(to)
        elif kind == "Wait":
            seconds = evaluate(one["Seconds"], self.scope())
            self.account.clock.after(
                seconds, lambda: self._if_still(turn, lambda: self._go(one["Next"]))
            )
        else:
            self._task(one, turn)

    def _if_still(self, turn: int, act: Callable[[], None]) -> None:
        if self.status == "RUNNING" and self.turn == turn:
            act()

    def _go(self, to: str) -> None:
        self.turn += 1
        turn = self.turn
        wait = self.account.plan.latency("workflow")
        self.account.clock.after(wait, lambda: self._if_still(turn, lambda: self.enter(to)))

    def _leave(self, one: dict[str, Any], result: Any) -> None:
        scope = self.scope(result=result)
        try:
            self.variables |= evaluate(one.get("Assign", {}), scope)
        except Undefined:
            self._failed(one, "States.QueryEvaluationError")
            return
        if one.get("End"):
            self.status = "SUCCEEDED"
        else:
            self._go(one["Next"])

    def _task(self, one: dict[str, Any], turn: int) -> None:
        waits = one["Resource"].endswith("waitForTaskToken")
        self.token = self.machine.new_token(self, turn) if waits else ""
        try:
            arguments = evaluate(one["Arguments"], self.scope())
            seconds = evaluate(one["TimeoutSeconds"], self.scope())
        except Undefined:
            self._failed(one, "States.QueryEvaluationError")
            return
        clock = self.account.clock
        clock.after(
            seconds, lambda: self._if_still(turn, lambda: self._failed(one, "States.Timeout"))
        )

        def done(result: Any, error: Any) -> None:
            if error is not None:
                name = error if isinstance(error, str) else type(error).__name__
                self._if_still(turn, lambda: self._failed(one, name))
            elif not waits:
                value = json.loads(json.dumps(result))
                self._if_still(turn, lambda: self._leave(one, {"Payload": value}))

        function = re.sub(r"\W", "", arguments["FunctionName"]).lower()
        for more in self.account.plan.deliveries("workflow invoke"):
            answered = done if more == 0 else (lambda _result, _error: None)
            clock.after(
                more,
                lambda answered=answered: self.account.invoke(
                    function, arguments["Payload"], answered
                ),
            )

    def _begin_again(self, seconds: float) -> None:
        turn = self.turn
        self.account.clock.after(seconds, lambda: self._if_still(turn, self._begin))

    def answered(self, turn: int, value: Any) -> None:
        self._if_still(turn, lambda: self._leave(self.definition["States"][self.state], value))

    def interrupted(self, turn: int, error: str, cause: str) -> None:
        one = self.definition["States"][self.state]
        self._if_still(turn, lambda: self._failed(one, error, cause))

    def _failed(self, one: dict[str, Any], error: str, cause: str = "") -> None:
        self.account.clock.note(f"◇ {self.name[:6]}… {self.state} failed: {error}")
        self.turn += 1
        for number, retrier in enumerate(one.get("Retry", [])):
            if not {error, "States.ALL"} & set(retrier["ErrorEquals"]):
                continue
            tried = self.retries.get(number, 0)
            if tried < retrier.get("MaxAttempts", 3):
                self.retries[number] = tried + 1
                wait = min(
                    retrier["IntervalSeconds"] * retrier["BackoffRate"] ** tried,
                    retrier["MaxDelaySeconds"],
                )
                self._begin_again(wait * self.account.clock.random.random())
                return
            break
        for catcher in one.get("Catch", []):
            if {error, "States.ALL"} & set(catcher["ErrorEquals"]):
                self.variables |= evaluate(
                    catcher.get("Assign", {}),
                    self.scope(errorOutput={"Error": error, "Cause": cause}),
                )
                self._go(catcher["Next"])
                return
        self.status = "FAILED"


class Workflow:
    """The state machines: executions by name, task tokens, and the three calls our functions
    make."""

    arn = "arn:aws:states:eu-west-1:000000000000:stateMachine:talkdrop"

    def __init__(self, account: Account) -> None:
        self.account = account
        self.current = _JOB  # which definition an execution starts with
        self.executions: dict[str, Execution] = {}
        self.inputs: list[str] = []
        self._tokens: dict[str, tuple[Execution, int]] = {}
        self._numbers = itertools.count(1)

    def new_token(self, execution: Execution, turn: int) -> str:
        token = f"task-token-{next(self._numbers)}"
        self._tokens[token] = (execution, turn)
        return token

    def start_execution(self, name: str, input: str, stateMachineArn: str = "") -> dict[str, Any]:
        self.inputs.append(input)
        standing = self.executions.get(name)
        if standing is not None:
            if standing.status == "RUNNING" and standing.input == json.loads(input):
                return {"executionArn": name}
            raise Refused("ExecutionAlreadyExists", name)
        in_pieces = stateMachineArn.endswith("-pieces")
        execution = Execution(self, name, json.loads(input), in_pieces=in_pieces)
        self.executions[name] = execution
        start = execution.definition["StartAt"]
        self.account.clock.after(0.0, lambda: execution.enter(start))
        for _ in self.account.plan.deliveries("execution dies")[1:]:
            self.account.clock.after(self.account.plan.moment(3600), lambda: self.abort(execution))
        return {"executionArn": name}

    def abort(self, execution: Execution) -> None:
        if execution.status == "RUNNING":
            self.account.clock.note(f"◇ {execution.name[:6]}… aborted")
            execution.status = "ABORTED"

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        execution = self.executions.get(executionArn.rpartition(":")[2])
        one = self.account.clock.current
        lag = one.fault.seconds if one is not None and one.fault is not None else 0.0
        status = execution.status_at(self.account.clock.now - lag) if execution else ""
        if not status:
            raise Refused("ExecutionDoesNotExist", executionArn)
        return {"status": status}

    def send_task_success(self, taskToken: str, output: str) -> dict[str, Any]:
        value = json.loads(output)
        execution, turn = self._use(taskToken)
        self.account.clock.after(0.0, lambda: execution.answered(turn, value))
        return {}

    def send_task_failure(self, taskToken: str, error: str, cause: str) -> dict[str, Any]:
        execution, turn = self._use(taskToken)
        self.account.clock.after(0.0, lambda: execution.interrupted(turn, error, cause))
        return {}

    def _use(self, task_token: str) -> tuple[Execution, int]:
        if task_token not in self._tokens:
            raise Refused("InvalidToken", task_token)
        execution, turn = self._tokens[task_token]
        if execution.status != "RUNNING" or execution.turn != turn:
            raise Refused("TaskTimedOut", task_token)
        execution.turn += 1
        return execution, execution.turn
