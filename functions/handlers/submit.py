"""A task is ready: presign its media, pay once, remember.

The order is the protocol. The claim stands in the table before anything leaves; then exactly one
POST, which no layer repeats; then what came of it. A crash at any point leaves a task that says how
far it came, and whoever finds it reconciles without a second POST.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import httpx
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import links, providers, secrets
from functions.providers import base
from functions.settings import aws, options
from functions.tasks import balance, books, claims, executions, queries, queues, steps, table
from functions.tasks.table import ConditionFailed, instant, now, stamp
from functions.tasks.task import Status, Task

logger = Logger()
metrics = Metrics()
_MOST_RETURNS = 200  # about two days of waiting: long enough for any maintenance window


class InputGone(Exception):
    """Our own media cannot be read any more: the task fails, and nothing was sent."""


class LinkBroken(Exception):
    """S3 does not serve our own link just now: the task comes again."""


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return queues.each(event, EventType.SQS, _message, context)


def _message(record: SQSRecord) -> None:
    said = json.loads(record.body)
    if "probe" in said:
        _probe(said["probe"])
    else:
        _submit(said["task_id"], said.get("turn", ""))


def _submit(task_id: str, turn: str) -> None:
    task = queries.load(task_id)
    if task is None or task.status is not Status.READY or turn != task.not_before:
        return  # a leftover: somebody has the task, or its turn is another
    if turn and instant(turn) > now() + timedelta(seconds=1):
        queues.submit(task_id, turn, instant(turn))
        return
    try:
        claimed = claims.claim(task, providers.get(task.provider), Decimal(task.quote_usd or 0))
    except claims.AlreadyClaimed:
        return
    except claims.ClaimDeferred as shut:
        logger.info("not now", task_id=task_id, why=str(shut))
        _come_back(task, shut)
        return
    _pay(claimed)


def _come_back(task: Task, shut: claims.ClaimDeferred) -> None:
    # The message goes first: were the task written first, a crash between the two would strand it
    # until the sweep.
    queues.submit(task.task_id, stamp(shut.until), shut.until)
    try:
        steps.postpone(task, shut.until, str(shut))
    except ConditionFailed:
        logger.info("somebody claimed the task meanwhile", task_id=task.task_id)


def _pay(claimed: claims.Claim) -> None:
    task = claimed.task
    try:
        client = secrets.client(task.provider)
        request = _request(task)
        _note_credit(task, client)
        steps.sending(task, claimed.owner)
    except base.AccountRejected as error:  # the secret holds no key that could be sent
        _stop(claimed, error)
        return
    except InputGone as gone:
        _refuse(claimed, "INPUT_GONE", str(gone))
        return
    except ConditionFailed:
        logger.info("taken for lost, and sent again by others", task_id=task.task_id)
        return
    except Exception as error:
        logger.exception("could not prepare the submit", task_id=task.task_id)
        _return(claimed, f"could not prepare the submit: {type(error).__name__}")
        return
    try:
        job = client.submit(request)
    except base.ProviderError as error:
        _not_accepted(claimed, error)
    else:
        _accepted(claimed, job.job_id)


def _not_accepted(claimed: claims.Claim, error: base.ProviderError) -> None:
    # the speech was, the video was not: should the attempt be sent again, it is not bought twice
    if error.bought:
        claimed = replace(claimed, task=steps.keep(claimed.task, claimed.owner, error.bought))
    match error:
        case base.NotSent():
            _return(claimed, str(error))
        case base.RejectedLater():
            _return(claimed, str(error), seconds=error.retry_seconds)
        case base.AccountRejected():
            _stop(claimed, error)
        case base.Rejected():
            _refuse(claimed, error.code or "REJECTED", str(error))
        case _:
            _doubt(claimed, str(error))


def _request(task: Task) -> base.Request:
    """What is sent, with media as this provider takes them, each tried by ourselves before anything
    is paid."""
    delivery = cast(
        base.Delivery,
        options().media_delivery.get(
            task.provider, providers.get(task.provider).media_deliveries[0]
        ),
    )
    bell = links.callback_url(task.provider, task.task_id, task.attempt, secrets.callback_keys())
    return base.Request(
        external_id=task.external_id,
        model=task.model,
        portrait=_media(task.portrait, delivery),
        voice=_media(task.audio, delivery) if task.audio.get("key") else None,
        prompt=task.prompt,
        settings=task.settings,
        callback_url=bell if options().callbacks else None,
    )


def _media(file: Any, delivery: base.Delivery) -> base.Media:
    name, kind = str(file["key"]).rsplit("/", 1)[-1], str(file.get("content_type", ""))
    if delivery in base.BY_LINK:
        url = links.presign(file["bucket"], file["key"], file.get("version_id"))
        _try_link(url, name)
        return base.Media(name, kind, url=url, delivery=delivery)
    version = {"VersionId": file["version_id"]} if file.get("version_id") else {}
    s3 = aws("s3")
    try:
        body = s3.get_object(Bucket=file["bucket"], Key=file["key"], **version)["Body"]
    except (s3.exceptions.NoSuchKey, s3.exceptions.ClientError) as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
        raise InputGone(f"{name} is no longer in the inbox: drop it again") from error
    return base.Media(name, kind, content=body.read(), delivery=delivery)


def _try_link(url: str, name: str) -> None:
    """Ask for the first byte ourselves: a link that we cannot read, no provider can."""
    answer = httpx.get(url, headers={"Range": "bytes=0-0"}, timeout=10, trust_env=False)
    if answer.status_code in {403, 404}:
        raise InputGone(
            f"{name} cannot be read from the inbox any more ({answer.status_code}): drop it again"
        )
    if answer.status_code >= 400:  # httpx's own error would quote the link, signature and all
        raise LinkBroken(f"S3 answered {answer.status_code} for {name}")


def _note_credit(task: Task, client: base.Provider) -> None:
    try:
        balance.checkpoint(task, client)
    except base.ProviderError as error:
        logger.warning("no credit checkpoint", task_id=task.task_id, why=str(error))


def _accepted(claimed: claims.Claim, job_id: str) -> None:
    task = claimed.task
    # The log line comes before the write: should the write be lost, it is the second durable copy
    # of what was bought.
    logger.info(
        "accepted",
        task_id=task.task_id,
        attempt=task.attempt,
        provider=task.provider,
        job_id=job_id,
    )
    metrics.add_metric("Accepted", MetricUnit.Count, 1)
    try:
        claims.accept(claimed, job_id)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            # nobody was first: the bell or the watch finds the job, and its id stands in the log
            raise
        standing = queries.load(task.task_id)
        if standing is None or standing.job_id != job_id:
            _hold_stranger(task, job_id)
            return
    executions.start(task)


def _hold_stranger(task: Task, job_id: str) -> None:
    """The job belongs to another task, or ours has another job: somebody must look, nobody may
    overwrite."""
    logger.error("the job id is not free", task_id=task.task_id, job_id=job_id)
    message = (
        f"{task.provider} answered with job {job_id}, which is another task's, or this task has "
        "another job"
    )
    steps.hold(task, "JOB_ID_TAKEN", message)


def _return(claimed: claims.Claim, why: str, *, seconds: float = 0) -> None:
    """Nothing was accepted: the same attempt comes again, later each time and never all at once."""
    task = claimed.task
    if task.returns >= _MOST_RETURNS:
        _refuse(claimed, "GAVE_UP", f"not accepted in {task.returns} tries, the last: {why}")
        return
    widest = min(900.0, 2.0 ** min(task.returns + 2, 10))
    until = now() + timedelta(seconds=seconds + random.uniform(0.5, widest))  # noqa: S311 - spreads, hides nothing
    _hand_back(claimed, until, why)


def _hand_back(claimed: claims.Claim, until: datetime, why: str, *, counted: bool = True) -> None:
    logger.warning("not accepted", task_id=claimed.task.task_id, why=why)
    claims.hand_back(claimed.task, claimed.owner, until, why, counted=counted)
    queues.submit(claimed.task.task_id, stamp(until), until)


def _stop(claimed: claims.Claim, error: base.AccountRejected) -> None:
    """The account is refused, not the task: stop this provider, unless a new key has come since we
    read ours. The task goes first: that nothing was accepted is known to nobody else, and a breaker
    left closed is opened by the next."""
    provider = claimed.task.provider
    until = now() + timedelta(seconds=random.uniform(3, 10))  # noqa: S311 - spreads, hides nothing
    _hand_back(claimed, until, str(error), counted=False)
    if not secrets.has_changed(provider):
        logger.error("provider stopped", provider=provider, why=str(error))
        metrics.add_metric("AccountRejected", MetricUnit.Count, 1)
        books.stop(provider, str(error))


def _refuse(claimed: claims.Claim, code: str, message: str) -> None:
    logger.warning("refused", task_id=claimed.task.task_id, code=code, why=message)
    claims.fail(
        claimed.task,
        code,
        message,
        come_from=[Status.SUBMITTING],
        charge_usd=Decimal(0),
        owner=claimed.owner,
    )


def _doubt(claimed: claims.Claim, why: str) -> None:
    """Sent, and we do not know: the workflow waits for the bell or asks by our own id. Never a
    second POST from here."""
    logger.error("ambiguous", task_id=claimed.task.task_id, why=why)
    metrics.add_metric("Ambiguous", MetricUnit.Count, 1)
    try:
        steps.doubt(claimed.task, claimed.owner, why)
    except ConditionFailed:
        logger.info("the bell was faster", task_id=claimed.task.task_id)
    executions.start(claimed.task)


def _probe(provider: str) -> None:
    """A stopped provider is tried by a free query; only when it passes may tasks be paid again."""
    if books.stopped_since(provider) is None:
        return
    try:
        secrets.has_changed(provider)
        secrets.client(provider).probe()
    except base.ProviderError as error:
        logger.warning("provider still stopped", provider=provider, why=str(error))
        return
    books.reopen(provider)
