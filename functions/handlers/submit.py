"""A task is ready: presign its media, pay once, remember.

The order is the protocol. The claim stands in the table before anything leaves; then exactly one
POST, which no layer repeats; then what came of it. A crash at any point leaves a row that says how
far it came, and whatever finds it reconciles without a second POST.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions import TalkdropError, links, providers, secrets
from functions.providers import base
from functions.settings import aws, options
from functions.tasks import balance, books, claims, executions, queries, queues, steps, table
from functions.tasks.table import ConditionFailed, instant, now, stamp
from functions.tasks.task import Status, StoredFile, Task

logger = Logger()
metrics = Metrics()
_MOST_RETURNS = 200  # about two days of waiting: long enough for any maintenance window
_LOOK_AGAIN_SECONDS = 60


class InputGone(TalkdropError):
    """Our own media cannot be read any more: the task fails, and nothing was sent."""


class LinkBroken(TalkdropError):
    """S3 does not serve our own link just now: the task comes again."""


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return queues.each(event, EventType.SQS, _message, context)


def _message(record: SQSRecord) -> None:
    message = json.loads(record.body)
    logger.remove_keys(["task_id", "attempt"])
    if "probe" in message:
        _probe(message["probe"])
    elif "accepted" in message:
        _take_over(message)
    else:
        _submit(message["task_id"], message.get("turn", ""))


def _submit(task_id: str, turn: str) -> None:
    task = queries.load(task_id)
    if task is None or task.status is not Status.READY or turn != task.not_before:
        return  # a leftover: the task was claimed, or its turn is another
    logger.append_keys(task_id=task.task_id, attempt=task.attempt)
    if turn and instant(turn) > now() + timedelta(seconds=1):
        queues.submit(task_id, turn, instant(turn))
        return
    try:
        if not _is_held_up(task):
            _pay(claims.claim(task, providers.get(task.provider), Decimal(task.quote_usd or 0)))
    except claims.AlreadyClaimed:
        logger.info("already claimed, or a callback is not answered yet")
    except claims.OverBudget as error:
        _end_unclaimed(task, "OVER_BUDGET", str(error))
    except claims.ClaimDeferred as deferred:
        _come_back(task, deferred)


def _is_held_up(task: Task) -> bool:
    """What stands against the claim before it is tried: a re-send that is not allowed any more, a
    callback without an answer, media that their owner took back."""
    if task.first_sent_at and not _may_resend(task):
        steps.hold(
            task,
            "AMBIGUOUS",
            f"the answer of {task.provider} to the submit was lost, and the same id may not be "
            "sent again: look there whether a job exists",
        )
        return True
    if task.has_open_callbacks:
        why = "a callback of this attempt is looked into first"
        executions.start(task)
        raise claims.ClaimDeferred(why, now() + timedelta(seconds=_LOOK_AGAIN_SECONDS))
    return _is_withdrawn(task)


def _may_resend(task: Task) -> bool:
    longest = timedelta(hours=options().ambiguous_hold_hours)
    in_time = now() - instant(task.first_sent_at) <= longest
    return options().resend_same_id and in_time and not task.callbacks_received


def _is_withdrawn(task: Task) -> bool:
    """Is the latest version of a medium not the one that the task was made of? What its owner took
    back is not paid."""
    for name, file in (("voice", task.audio), ("portrait", task.portrait)):
        if not file.get("key") or not file.get("version_id"):
            continue
        latest, etag = _latest_version(file)
        if latest == file["version_id"] or (latest and task.origin != "files"):
            continue  # a task opened by the API names a file as it was then
        if name == "portrait" and etag == file.get("etag"):
            continue  # the same bytes again are the same portrait, to intake too
        _withdraw(task, name, str(file["key"]).rpartition("/")[2], is_replaced=bool(latest))
        return True
    return False


def _latest_version(file: StoredFile) -> tuple[str, str]:
    """The version and the ETag that lie there now; empty when it was deleted."""
    place = {"Bucket": file["bucket"], "Key": file["key"]}
    try:
        found = aws("s3").head_object(**place)  # type: ignore[arg-type]
        return str(found.get("VersionId") or file["version_id"]), found["ETag"].strip('"')
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
    # Without the right to list, S3 says 403 of what is not there: is the version itself readable?
    try:
        aws("s3").head_object(**place, VersionId=file["version_id"])  # type: ignore[arg-type]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
        return file[
            "version_id"
        ], ""  # gone for good, or no rights: asking for its first byte tells
    return "", ""


def _withdraw(task: Task, what: str, name: str, *, is_replaced: bool) -> None:
    if what == "portrait" and task.origin == "files" and task.never_intended:
        # Intake sees what lies there now: another portrait, or none, for which the task waits.
        queues.look_at([str(task.audio["key"])] if task.audio.get("key") else [])
        why = "its portrait was replaced or deleted: the files are looked at anew"
        raise claims.ClaimDeferred(why, now() + timedelta(seconds=_LOOK_AGAIN_SECONDS))
    done = "replaced in" if is_replaced else "deleted from"
    cure = "the new one is a task of its own" if is_replaced else "drop the voice again to make it"
    if is_replaced and what == "portrait":
        cure = "drop the voice again to make it with the new one"
    message = f"{name} was {done} the inbox before the task was sent; nothing was paid: {cure}"
    logger.warning("withdrawn", reason=message)
    steps.cancel(task, code="WITHDRAWN", message=message)


def _end_unclaimed(task: Task, code: str, message: str) -> None:
    logger.warning("refused", code=code, reason=message)
    if task.first_sent_at:
        steps.hold(task, "AMBIGUOUS", f"{message}; an earlier POST of it is in doubt")
    else:
        steps.refuse(task, code, message)


def _come_back(task: Task, deferred: claims.ClaimDeferred) -> None:
    logger.info("not now", reason=str(deferred))
    # The message goes first: were the task written first, a crash between the two would strand it
    # until the sweep.
    queues.submit(task.task_id, stamp(deferred.until), deferred.until)
    try:
        steps.postpone(task, deferred.until, str(deferred), is_news=deferred.is_news)
    except ConditionFailed:
        logger.info("the task was claimed meanwhile")


def _pay(claimed: claims.Claim) -> None:
    try:
        client = secrets.client(claimed.task.provider)
        request = client.prepare(_request(claimed.task))
    except (base.AccountRejected, base.NotSent, base.Rejected, base.RejectedLater) as error:
        _not_accepted(claimed, error)
        return
    except InputGone as gone:
        _refuse(claimed, "INPUT_GONE", str(gone))
        return
    except Exception as error:
        logger.exception("could not prepare the submit")
        _return(claimed, f"could not prepare the submit: {type(error).__name__}")
        return
    spoken = _speak(claimed, client, request) if _needs_speech(claimed.task) else (claimed, request)
    if spoken is not None:
        _post(*spoken, client)


def _post(claimed: claims.Claim, request: base.Request, client: base.Provider) -> None:
    """The paid POST, with nothing between the note that it leaves and itself."""
    _note_balance(claimed.task, client)
    try:
        steps.sending(claimed.task, claimed.owner, secrets.account_of(claimed.task.provider))
    except ConditionFailed:
        logger.info("the claim was lost, or the account is not the one of the first POST")
        if claimed.task.first_sent_at:
            _doubt(
                claimed, "the key is not that of the first POST: nothing is known of its account"
            )
        return
    try:
        job = client.submit(request)
    except base.ProviderError as error:
        _not_accepted(claimed, error)
    else:
        _accepted(claimed, job.job_id)


def _needs_speech(task: Task) -> bool:
    """Is the voice a text whose speech must be bought first?"""
    has_voice = bool(task.audio.get("key") or task.settings.get("audio_id"))
    return not has_voice and bool(task.settings.get("text"))


def _speak(
    claimed: claims.Claim, client: base.Provider, request: base.Request
) -> tuple[claims.Claim, base.Request] | None:
    """The speech is a paid POST of its own, and goes by the same order: the note, the POST, the
    answer. One that was bought and is not ready is only looked for. None where the video cannot be
    sent now."""
    try:
        if not claimed.task.settings.get("speech_id"):
            steps.speaking(claimed.task, claimed.owner)
        bought = client.speak(request)
    except ConditionFailed:
        logger.info("the claim was lost, or a speech is in doubt")
        return None
    except base.ProviderError as error:
        _not_spoken(claimed, error)
        return None
    logger.info("speech bought", bought=bought)
    task = steps.keep_speech(claimed.task, claimed.owner, bought)
    return replace(claimed, task=task), replace(request, settings=task.settings)


def _not_spoken(claimed: claims.Claim, error: base.ProviderError) -> None:
    if error.bought:
        logger.info("speech bought", bought=error.bought)
        task = steps.keep_speech(claimed.task, claimed.owner, error.bought)
        claimed = replace(claimed, task=task)
    elif isinstance(error, base.Ambiguous):
        _hold_speech(claimed.task, str(error))
        return
    _not_accepted(claimed, error)


def _hold_speech(task: Task, why: str) -> None:
    metrics.add_metric("Ambiguous", MetricUnit.Count, 1)
    message = (
        f"the answer of {task.provider} to the speech was lost, so it may be paid; no video was "
        f"asked for: resubmit to buy the speech anew, or fail the task ({why})"
    )
    steps.hold(task, "SPEECH_LOST", message)


def _not_accepted(claimed: claims.Claim, error: base.ProviderError) -> None:
    if claimed.task.first_sent_at and not isinstance(error, base.Ambiguous):
        # The same id was sent again: whatever its words, a refusal may mean that the id is known.
        _doubt(claimed, f"the re-send was refused: {error}", error)
        return
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
            _doubt(claimed, str(error), error)


def _request(task: Task) -> base.Request:
    """What is sent, with media as this provider takes them, each tried by ourselves before anything
    is paid."""
    delivery = cast(
        base.Delivery,
        options().media_delivery.get(
            task.provider, providers.get(task.provider).media_deliveries[0]
        ),
    )
    url = links.callback_url(task.provider, task.task_id, task.attempt, secrets.callback_keys())
    return base.Request(
        external_id=task.external_id,
        model=task.model,
        portrait=_media(task.portrait, delivery, "drop the voice and its portrait again"),
        voice=_media(task.audio, delivery, "drop the voice again")
        if task.audio.get("key")
        else None,
        prompt=task.prompt,
        settings=task.settings,
        callback_url=url if options().callbacks else None,
    )


def _media(file: StoredFile, delivery: base.Delivery, cure: str) -> base.Media:
    name, kind = str(file["key"]).rsplit("/", 1)[-1], str(file.get("content_type", ""))
    if delivery in base.BY_LINK:
        url = links.presign(file["bucket"], file["key"], file.get("version_id"))
        _try_link(url, name, cure)
        return base.Media(name, kind, url=url, delivery=delivery)
    version = {"VersionId": file["version_id"]} if file.get("version_id") else {}
    try:
        body = aws("s3").get_object(Bucket=file["bucket"], Key=file["key"], **version)["Body"]  # type: ignore[arg-type]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
        raise InputGone(f"{name} is no longer in the inbox: {cure}") from error
    return base.Media(name, kind, content=body.read(), delivery=delivery)


def _try_link(url: str, name: str, cure: str) -> None:
    """Ask for the first byte ourselves: a link that we cannot read, no provider can. A redirect is
    not followed, since a provider need not follow it; a body is not read."""
    first = {"Range": "bytes=0-0"}
    with secrets.wire().stream("GET", url, headers=first, timeout=10) as answer:
        status = answer.status_code
    if status in {403, 404}:
        raise InputGone(f"{name} cannot be read from the inbox any more ({status}): {cure}")
    if status not in {200, 206}:  # httpx's own error would quote the link, signature and all
        raise LinkBroken(f"S3 answered {status} for {name}")


def _note_balance(task: Task, client: base.Provider) -> None:
    try:
        balance.checkpoint(task, client)
    except base.ProviderError as error:
        logger.warning("the balance could not be noted", reason=str(error))


def _accepted(claimed: claims.Claim, job_id: str) -> None:
    task = claimed.task
    # The log line comes before the write: should the write be lost, it is the second durable copy
    # of what was bought.
    logger.info("accepted", provider=task.provider, job_id=job_id)
    metrics.add_metric("Accepted", MetricUnit.Count, 1)
    try:
        claims.accept(claimed, job_id)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            queues.keep_acceptance(task.task_id, task.attempt, job_id)
            return
        standing = queries.load(task.task_id)
        if standing is None or standing.job_id != job_id:
            _hold_taken(task, job_id)
            return
    except Exception:
        # The table cannot be written: another service keeps the id until it can.
        logger.exception("an accepted job could not be written", job_id=job_id)
        queues.keep_acceptance(task.task_id, task.attempt, job_id)
        return
    executions.start(task)


def _take_over(message: queues.Acceptance) -> None:
    """A job that was accepted, and whose id could not be written then."""
    task, job_id = queries.load(message["task_id"]), message["accepted"]
    if task is None or task.attempt != message["attempt"] or task.job_id == job_id:
        return
    logger.append_keys(task_id=task.task_id, attempt=task.attempt)
    come_from = [Status.READY, Status.SUBMITTING, Status.HELD, Status.FAILED, Status.CANCELLED]
    try:
        task = claims.adopt(task, job_id, come_from=come_from, why="accepted, and written late")
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        _note_second_job(task, job_id)
        return
    executions.start(task)


def _note_second_job(task: Task, job_id: str) -> None:
    logger.error("a second job of one attempt", job_id=job_id)
    try:
        steps.note_second_job(task, job_id, "accepted while the task has another job")
    except ConditionFailed:
        logger.info("noted already, or the attempt is over")


def _hold_taken(task: Task, job_id: str) -> None:
    """The job belongs to another task, or ours has another job: a person must look, and nothing is
    overwritten."""
    logger.error("the job id is not free", job_id=job_id)
    message = (
        f"{task.provider} answered with job {job_id}, which is another task's, or this task has "
        "another job"
    )
    try:
        steps.hold(task, "JOB_ID_TAKEN", message)
    except ConditionFailed:
        _note_second_job(task, job_id)


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
    logger.warning("not accepted", reason=why)
    claims.hand_back(claimed.task, claimed.owner, until, why, counted=counted)
    queues.submit(claimed.task.task_id, stamp(until), until)


def _stop(claimed: claims.Claim, error: base.AccountRejected) -> None:
    """The account is refused, not the task: stop this provider, unless a new key has come since we
    read ours. The task goes first: that nothing was accepted is known only here, and a breaker left
    closed is opened by the next."""
    provider = claimed.task.provider
    until = now() + timedelta(seconds=random.uniform(3, 10))  # noqa: S311 - spreads, hides nothing
    _hand_back(claimed, until, str(error), counted=False)
    if not secrets.has_changed(provider):
        logger.error("provider stopped", provider=provider, reason=str(error))
        metrics.add_metric("AccountRejected", MetricUnit.Count, 1)
        books.stop(provider, str(error), Decimal(claimed.task.quote_usd or 0))


def _refuse(claimed: claims.Claim, code: str, message: str) -> None:
    if claimed.task.first_sent_at:  # it is sure of this POST, not of the one before
        _doubt(claimed, f"{code}: {message}")
        return
    logger.warning("refused", code=code, reason=message)
    claims.fail(
        claimed.task,
        code,
        message,
        come_from=[Status.SUBMITTING],
        charge_usd=Decimal(0),
        owner=claimed.owner,
    )


def _doubt(claimed: claims.Claim, why: str, error: base.ProviderError | None = None) -> None:
    """Sent, and the outcome is unknown: the workflow waits for the callback or asks by our own id.
    Never a second POST from here."""
    job_id = (error.job_id if error else None) or ""
    logger.error("ambiguous", reason=why, job_id=job_id)
    metrics.add_metric("Ambiguous", MetricUnit.Count, 1)
    try:
        steps.doubt(claimed.task, claimed.owner, why, job_id)
    except ConditionFailed:
        logger.info("the callback was faster")
    executions.start(claimed.task)


def _probe(provider: str) -> None:
    """A stopped provider is tried by a free query; only when it passes may tasks be paid again."""
    if books.stopped_since(provider) is None:
        return
    try:
        secrets.has_changed(provider)
        client = secrets.client(provider)
        client.probe()
        left = client.balance_usd() if client.tells_balance else None
    except base.ProviderError as error:
        logger.warning("provider still stopped", provider=provider, reason=str(error))
        return
    if left is not None and left < books.needed_usd(provider):
        logger.warning("provider still stopped: too little is left", provider=provider)
        return
    books.reopen(provider)
