"""A provider calls back: is it a bell we hung? Note that it rang and wake the waiting execution.

Nothing in the body is believed: at most it hints which job it is about. The provider is asked over
our own connection, by somebody else. This function holds no provider's key and calls nobody
outside.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from functions import links, providers, secrets
from functions.providers.base import Hint
from functions.tasks import executions, steps
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Status

logger = Logger()
metrics = Metrics()

_MOST_BODY_BYTES = 256 << 10
_HEARD = {
    "statusCode": 200,
    "headers": {"Content-Type": "application/json"},
    "body": '{"code":200,"msg":"success"}',
}
_NOBODY = {"statusCode": 404}
_TOO_LARGE = {"statusCode": 413}
_TRY_AGAIN = {"statusCode": 503}


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    bell = links.verify_callback(
        event.get("pathParameters"), secrets.callback_keys()
    )  # MAC first: strangers cost no look-up
    if bell is None or bell.provider not in providers.NAMES:
        metrics.add_metric("CallbackRefused", MetricUnit.Count, 1)
        return _NOBODY
    body = _body(event)
    if body is None:
        return _TOO_LARGE
    if not _signed(bell.provider, event.get("headers") or {}, body):
        logger.warning("signature refused", task_id=bell.task_id, provider=bell.provider)
        metrics.add_metric("CallbackRefused", MetricUnit.Count, 1)
        return _NOBODY
    try:
        _ring(bell, providers.get(bell.provider).read_callback(event.get("headers") or {}, body))
    except (ClientError, BotoCoreError):
        logger.exception("the bell could not be noted", task_id=bell.task_id)
        return _TRY_AGAIN
    return _HEARD


def _body(event: dict[str, Any]) -> bytes | None:
    """The raw body; empty if it is not what it says it is, None if it is absurdly large."""
    text = event.get("body") or ""
    if len(text) > _MOST_BODY_BYTES * 4 // 3:
        return None
    try:
        return (
            base64.b64decode(text)
            if event.get("isBase64Encoded")
            else text.encode("utf-8", "surrogatepass")
        )
    except binascii.Error:
        return b""


def _signed(provider: str, headers: dict[str, str], body: bytes) -> bool:
    """The provider's own signature, where a webhook key of it is configured; without one our MAC
    alone must do."""
    configured = secrets.callback_keys().get(provider) or ()
    signing = (configured,) if isinstance(configured, str) else tuple(configured)
    if not signing:
        return True
    lowered = {name.lower(): value for name, value in headers.items()}
    return providers.get(provider).callback_is_genuine(lowered, body, signing, time.time())


def _ring(bell: links.CallbackRef, hint: Hint) -> None:
    try:
        task = steps.record_callback(bell.task_id, bell.attempt, hint.job_id)
    except ConditionFailed as lost:
        if lost.item:
            _ring_of_the_past(bell, hint)
        return
    logger.info(
        "rang", task_id=bell.task_id, attempt=bell.attempt, status=task.status, final=hint.final
    )
    if hint.final is False or task.status in {Status.COMPLETED, Status.EXPIRED}:
        return
    if task.task_token and executions.wake(task.task_token, next="watch"):
        return
    # Nobody sleeps on it: the execution is still starting, was never started, or ended. Starting
    # twice is harmless.
    if task.status in {Status.READY, Status.SUBMITTING, Status.SUBMITTED}:
        executions.start(task)
    elif task.status in {Status.FAILED, Status.HELD}:
        executions.start(task, executions.late(task))


def _ring_of_the_past(bell: links.CallbackRef, hint: Hint) -> None:
    logger.error(
        "a bell of a past attempt: a second charge?", task_id=bell.task_id, attempt=bell.attempt
    )
    metrics.add_metric("CallbackForPastAttempt", MetricUnit.Count, 1)
    try:
        steps.record_past_callback(bell.task_id, bell.attempt, hint.job_id)
    except ConditionFailed:
        logger.error(
            "a bell of an attempt that never was", task_id=bell.task_id, attempt=bell.attempt
        )
