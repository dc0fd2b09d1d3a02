"""Patches of the emulated Step Functions: names, tokens, timeouts, delays, and Lambdas that fail
while waited for."""

from __future__ import annotations

import contextvars
import json
import random
import threading
from collections.abc import Callable
from typing import Any

from ministack.services import stepfunctions

State = dict[str, Any]
Context = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

machine_of_token: dict[
    str, str
] = {}  # task token → ARN of the state machine whose task it is, for IAM
FOR_EVER = 99_999_999  # Step Functions' own default, in seconds


def start_again_is_harmless() -> None:
    """Gap: starting a running execution again, same name and same input, fails; AWS answers with
    the same ARN."""
    start: Callable[[dict[str, Any]], Response] = stepfunctions._start_execution

    def start_or_answer(data: dict[str, Any]) -> Response:
        running = _execution_named(data)
        if (
            running
            and running["status"] == "RUNNING"
            and running["input"] == data.get("input", "{}")
        ):
            known = {"executionArn": running["executionArn"], "startDate": running["startDate"]}
            response: Response = stepfunctions.json_response(known)
            return response
        return start(data)

    stepfunctions._start_execution = start_or_answer


def _execution_named(data: dict[str, Any]) -> dict[str, Any] | None:
    machine = stepfunctions._resolve_state_machine_arn(data.get("stateMachineArn", ""))
    if machine is None or "name" not in data:
        return None
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{data['name']}"
    execution: dict[str, Any] | None = stepfunctions._executions.get(arn)
    return execution


def new_token_each_attempt() -> None:
    """Gap: a retried task keeps its task token, so that a late answer to the first attempt ends the
    second."""
    apply: Callable[..., Any] = stepfunctions._apply_jsonata_arguments

    def apply_with_new_token(state: State, raw: Any, context: Context | None = None) -> Any:
        if context is not None and ".waitForTaskToken" in state.get("Resource", ""):
            token = stepfunctions.new_uuid()
            context["Task"] = {"Token": token}
            machine_of_token[token] = context["StateMachine"]["Id"]
        return apply(state, raw, context)

    stepfunctions._apply_jsonata_arguments = apply_with_new_token


def reckon_timeouts() -> None:
    """Gap: a `TimeoutSeconds` that is a JSONata expression breaks the execution instead of being
    evaluated."""
    execute: Callable[..., Any] = stepfunctions._execute_task

    def execute_with_number(
        state: State, raw: Any, execution: dict[str, Any], context: Context
    ) -> Any:
        if isinstance(state.get("TimeoutSeconds"), str):
            seconds = stepfunctions._jsonata_state_field(
                state, "TimeoutSeconds", "number", raw, context
            )
            state = {**state, "TimeoutSeconds": seconds}
        return execute(state, raw, execution, context)

    stepfunctions._execute_task = execute_with_number


def fail_a_waiting_task_with_its_lambda() -> None:
    """Gap: a Lambda that fails while its task waits for a token is ignored, and the task hangs
    until its timeout.

    AWS fails the task at once. Here the timeout also begins with the invocation, as on AWS, and not
    after it.
    """
    stock: Callable[..., Any] = stepfunctions._invoke_with_callback

    def wait_for_token_or_failure(resource: str, sent: Any, token: str, state: State) -> Any:
        if "lambda:invoke" not in resource:
            return stock(resource, sent, token, state)
        task: dict[str, Any] = {
            "event": threading.Event(),
            "result": None,
            "error": None,
            "heartbeat": None,
        }
        stepfunctions._task_tokens[token] = task
        _invoke_aside(resource, sent, task)
        answered = task["event"].wait(state.get("TimeoutSeconds", FOR_EVER))
        stepfunctions._task_tokens.pop(token, None)
        if not answered:
            raise stepfunctions._ExecutionError(
                "States.Timeout", "Task timed out waiting for its token"
            )
        if task["error"]:
            raise stepfunctions._ExecutionError(
                task["error"].get("Error", ""), task["error"].get("Cause", "")
            )
        return json.loads(task["result"])

    stepfunctions._invoke_with_callback = wait_for_token_or_failure


def _invoke_aside(resource: str, sent: Any, task: dict[str, Any]) -> None:
    """Invoke the Lambda in a thread of its own; if it fails before the token came back, that is the
    task's answer."""

    def invoke() -> None:
        try:
            stepfunctions._invoke_resource(resource.replace(".waitForTaskToken", ""), sent)
        except stepfunctions._ExecutionError as error:
            if not task["event"].is_set():
                task["error"] = {"Error": error.error, "Cause": error.cause}
                task["event"].set()

    context = (
        contextvars.copy_context()
    )  # carries the account and region the emulator looks things up by
    threading.Thread(target=context.run, args=(invoke,), daemon=True).start()


def keep_to_longest_delay() -> None:
    """Gap: `MaxDelaySeconds` and `JitterStrategy` of a retrier are ignored, so its delays grow past
    their bound."""
    find: Callable[..., Any] = stepfunctions._find_matching_retrier

    def find_with_bounds(
        retriers: list[State], error: str, counts: dict[int, int]
    ) -> tuple[State | None, int]:
        retrier, index = find(retriers, error, counts)
        if retrier is None or not {"MaxDelaySeconds", "JitterStrategy"} & set(retrier):
            return retrier, index
        grown = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(
            index, 0
        )
        delay = min(grown, retrier.get("MaxDelaySeconds", FOR_EVER))
        if retrier.get("JitterStrategy") == "FULL":
            delay = random.uniform(0, delay)
        return {**retrier, "IntervalSeconds": delay, "BackoffRate": 1}, index

    stepfunctions._find_matching_retrier = find_with_bounds


def refuse_output_that_is_not_json() -> None:
    """Gap: `SendTaskSuccess` takes any text as output; AWS answers InvalidOutput to what is not
    JSON."""
    send: Callable[[dict[str, Any]], Response] = stepfunctions._send_task_success

    def send_json_only(data: dict[str, Any]) -> Response:
        try:
            json.loads(data.get("output", ""))
        except ValueError:
            response: Response = stepfunctions.error_response_json(
                "InvalidOutput", "Invalid Output: not JSON", 400
            )
            return response
        return send(data)

    stepfunctions._send_task_success = send_json_only
