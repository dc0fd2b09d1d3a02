"""Patches of the emulated Lambda: bursts, and batches of a stream that failed in part."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from ministack.services import lambda_svc

Record = dict[str, Any]
Result = dict[str, Any]


def queue_for_a_process() -> None:
    """Gap: nothing bounds the processes of a function, and a burst of 200 files starts hundreds of
    interpreters.

    AWS has the machines for it; this one does not. An invocation waits here until one of a few
    processes is free, before its own timeout begins to run. A function that synchronously invokes
    itself would wait for itself: none does.
    """
    at_once = int(os.environ.get("TALKDROP_LAMBDA_PROCESSES", "3"))
    execute: Callable[[Record, Any, str], Result] = lambda_svc._execute_function_provided_warm
    turns: dict[str, threading.BoundedSemaphore] = {}
    guard = threading.Lock()

    def execute_in_turn(function: Record, event: Any, request_id: str) -> Result:
        key = lambda_svc._inflight_key(function.get("config") or function)
        with guard:
            turn = turns.setdefault(key, threading.BoundedSemaphore(at_once))
        with turn:
            return execute(function, event, request_id)

    lambda_svc._execute_function_provided_warm = execute_in_turn


def repeat_stream_batches_reported_failed() -> None:
    """Gap: `batchItemFailures` of a DynamoDB stream's batch are ignored, so records that failed are
    lost.

    AWS repeats from the first failed record. Here the whole batch is repeated, which at-least-once
    delivery allows.
    """
    execute: Callable[[Record, Any], Result] = lambda_svc._execute_function

    def execute_and_believe_failures(function: Record, event: Any) -> Result:
        result = execute(function, event)
        if not result.get("error") and _is_stream_batch(event) and _failures(result):
            failure = {
                "errorType": "BatchItemFailures",
                "errorMessage": f"{len(_failures(result))} of the batch failed",
            }
            return {**result, "error": True, "body": failure}
        return result

    lambda_svc._execute_function = execute_and_believe_failures


def keep_no_stream_positions() -> None:
    """Gap: with kept state a stream's reader goes on where it was, but the stream begins anew: what
    is written after a restart is skipped until the old position is reached."""
    get_state: Callable[[], dict[str, Any]] = lambda_svc.get_state

    def without_positions() -> dict[str, Any]:
        state = get_state()
        return {name: one for name, one in state.items() if name != "dynamodb_stream_positions"}

    lambda_svc.get_state = without_positions


def _is_stream_batch(event: Any) -> bool:
    records = event.get("Records") if isinstance(event, dict) else None
    return bool(
        records and isinstance(records[0], dict) and records[0].get("eventSource") == "aws:dynamodb"
    )


def _failures(result: Result) -> list[Any]:
    body = result.get("body")
    return list(body.get("batchItemFailures") or []) if isinstance(body, dict) else []
