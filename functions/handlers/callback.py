"""Webhook endpoint: verify the URL's MAC, record the callback, resume the waiting execution.

Nothing in the body is believed: at most it hints which job it is about. The provider is queried
over our own connection, by `watch`. This function holds no provider's key and makes no outbound
call.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TypedDict

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from functions import links, providers, secrets
from functions.providers.base import Hint
from functions.tasks import callbacks, executions
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import Status, Task

logger = Logger()
metrics = Metrics()

_MOST_BODY_BYTES = 256 << 10


class CallbackRequest(TypedDict, total=False):
    """API Gateway's HTTP event, payload format 2.0, as far as it is read."""

    pathParameters: dict[str, str]
    headers: dict[str, str]
    body: str | None
    isBase64Encoded: bool


class HttpAnswer(TypedDict, total=False):
    statusCode: int
    headers: dict[str, str]
    body: str


_OK: HttpAnswer = {
    "statusCode": 200,
    "headers": {"Content-Type": "application/json"},
    "body": '{"code":200,"msg":"success"}',
}
_NOT_FOUND: HttpAnswer = {"statusCode": 404}
_TOO_LARGE: HttpAnswer = {"statusCode": 413}
_TRY_AGAIN: HttpAnswer = {"statusCode": 503}


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: CallbackRequest, context: LambdaContext) -> HttpAnswer:
    # MAC first: nothing is looked up for a stranger.
    ref = links.verify_callback(event.get("pathParameters"), secrets.callback_keys())
    if ref is None or ref.provider not in providers.NAMES:
        metrics.add_metric("CallbackRefused", MetricUnit.Count, 1)
        return _NOT_FOUND
    logger.append_keys(task_id=ref.task_id, attempt=ref.attempt)
    body = _body(event)
    if body is None:
        return _TOO_LARGE
    if not _signed(ref.provider, event.get("headers") or {}, body):
        logger.warning("signature refused", provider=ref.provider)
        metrics.add_metric("CallbackRefused", MetricUnit.Count, 1)
        return _NOT_FOUND
    try:
        _record(ref, providers.get(ref.provider).read_callback(event.get("headers") or {}, body))
    except (ClientError, BotoCoreError):
        logger.exception("the callback could not be recorded")
        return _TRY_AGAIN
    return _OK


def _body(event: CallbackRequest) -> bytes | None:
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
    except ValueError:  # not base64, or not even ASCII
        return b""


def _signed(provider: str, headers: Mapping[str, str], body: bytes) -> bool:
    """The provider's own signature, where a webhook key of it is configured; without one our MAC
    alone must do."""
    configured = secrets.callback_keys().get(provider) or ()
    found = (configured,) if isinstance(configured, str) else tuple(configured)
    signing = tuple(key.strip() for key in found)
    if not signing:
        return True
    if not all(map(providers.get(provider).is_webhook_key, signing)):
        logger.error(
            f"a webhook key of {provider} in the callback secret cannot sign: write it as "
            f"{provider} shows it; until then its callbacks are refused, and tasks go on by polling"
        )
    lowered = {name.lower(): value for name, value in headers.items()}
    return providers.get(provider).callback_is_genuine(lowered, body, signing, time.time())


def _record(ref: links.CallbackRef, hint: Hint) -> None:
    try:
        task = callbacks.record(ref.task_id, ref.attempt, hint.job_id)
    except ConditionFailed as lost:
        if lost.item:
            _record_past(ref, hint)
        return
    logger.info("callback", status=task.status, final=hint.final, received=task.callbacks_received)
    if task.hints_dropped:
        metrics.add_metric("CallbackHintDropped", MetricUnit.Count, 1)
    is_other = bool(task.job_id and hint.job_id in task.open_hints)
    if hint.final is False and not is_other:
        return
    if task.status is Status.EXPIRED or (task.status is Status.COMPLETED and not is_other):
        return
    _resume(task)


def _resume(task: Task) -> None:
    """Have the provider queried: at once for the few callbacks of a job, once a while where they
    come in a flood."""
    soon = _seconds_until_query(task)
    if task.query_pause_seconds:
        try:
            callbacks.plan_soon_query(task, task.query_pause_seconds)
        except ConditionFailed:
            return  # one is planned, and answers this callback too
    if executions.wake(task, soon_seconds=soon):
        return
    # No execution waits: it is still starting, was never started, or ended. Starting twice is
    # harmless.
    if task.status in {Status.READY, Status.SUBMITTING, Status.SUBMITTED, Status.ARCHIVING}:
        executions.start(task)
    else:
        executions.start(task, executions.late(task))


def _seconds_until_query(task: Task) -> float:
    if not task.last_query_at:
        return 0
    due = instant(task.last_query_at) + timedelta(seconds=task.query_pause_seconds)
    return max(0.0, round((due - now()).total_seconds(), 1))


def _record_past(ref: links.CallbackRef, hint: Hint) -> None:
    logger.error("a callback of a past attempt: a second charge?", job_id=hint.job_id)
    metrics.add_metric("CallbackForPastAttempt", MetricUnit.Count, 1)
    try:
        callbacks.record_past(ref.task_id, ref.attempt, hint.job_id)
    except ConditionFailed:
        logger.error("a callback of an attempt that never was")
