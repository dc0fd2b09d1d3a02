"""What came of the POST: accepted, not accepted, or in doubt. Each ends in one conditional write,
and none of them sends again."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from functions import secrets
from functions.jobs import holds, others
from functions.providers import base
from functions.settings import options
from functions.tasks import (
    adoption,
    books,
    callbacks,
    claims,
    executions,
    polls,
    queries,
    queues,
    steps,
    table,
)
from functions.tasks.table import ConditionFailed, instant, now, stamp
from functions.tasks.task import Status, Task

logger = Logger(child=True)
metrics = Metrics()

_MOST_RETURNS = 200  # about two days of waiting: long enough for any maintenance window
_ACCEPTED_TOO = "accepted while the task has another job"


def accepted(claimed: claims.Claim, job_id: str) -> None:
    task = claimed.task
    # The log line comes before the write: should the write be lost, it is the second durable copy
    # of what was bought.
    logger.info("accepted", provider=task.provider, job_id=job_id)
    metrics.add_metric("Accepted", MetricUnit.Count, 1)
    try:
        adoption.accept(claimed, job_id)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            queues.keep_acceptance(task.task_id, task.attempt, job_id)
            return
        known = queries.load(task.task_id)
        if known is None or known.job_id != job_id:
            _not_free(task, known, job_id)
            return
    except Exception:
        # The table cannot be written: another service keeps the id until it can.
        logger.exception("an accepted job could not be written", job_id=job_id)
        queues.keep_acceptance(task.task_id, task.attempt, job_id)
        return
    executions.start(task, schedule=polls.learnt(task))


def take_over(message: queues.Acceptance) -> None:
    """A job that was accepted, and whose id could not be written then."""
    task, job_id = queries.load(message["task_id"]), message["accepted"]
    if task is None or job_id in {task.job_id, task.job_alias}:
        return
    logger.append_keys(task_id=task.task_id, attempt=message["attempt"])
    if task.attempt != message["attempt"]:
        _note_past(task.task_id, message["attempt"], job_id)
        return
    come_from = [Status.READY, Status.SUBMITTING, Status.HELD, Status.FAILED, Status.CANCELLED]
    try:
        task = adoption.adopt(task, job_id, come_from=come_from, why="accepted, and written late")
    except ConditionFailed as lost:
        task = queries.reload(task)
        is_free = list(lost.reasons[1:2]) != ["ConditionalCheckFailed"]
        has_moved = task.attempt != message["attempt"] or (is_free and not task.job_id)
        if table.is_busy(lost) or has_moved:
            raise  # since it was read: the message comes again
        if job_id not in {task.job_id, task.job_alias}:
            _note_other(task, job_id)
        return
    executions.start(task)


def _note_past(task_id: str, attempt: int, job_id: str) -> None:
    """A person accepted another attempt before this was known: perhaps a second charge."""
    logger.error("a job of a past attempt: a second charge?", job_id=job_id)
    metrics.add_metric("CallbackForPastAttempt", MetricUnit.Count, 1)
    with suppress(ConditionFailed):  # noted often enough, or there was no such attempt
        callbacks.record_past(task_id, attempt, job_id)


def _note_other(task: Task, job_id: str) -> None:
    """The task has a job already: is this its other name, or one too many?"""
    try:
        if others.note_if_other_name(task, job_id):
            return
    except base.ProviderError as error:
        if holds.hours_in_doubt(task) <= options().ambiguous_hold_hours:
            logger.warning("an accepted job could not be looked into", reason=str(error))
            queues.keep_acceptance(task.task_id, task.attempt, job_id)
            return
    others.note_second(task, job_id, _ACCEPTED_TOO)


def _not_free(task: Task, known: Task | None, job_id: str) -> None:
    """The job belongs to another task, or ours has another job: a person must look, and nothing is
    overwritten. At a gateway it may be the same job, which a callback named first: that is asked
    later, since to ask may fail and what was bought is known only here."""
    logger.error("the job id is not free", job_id=job_id)
    if known and known.attempt != task.attempt:
        _note_past(task.task_id, task.attempt, job_id)
        return
    if known and known.job_id and others.may_have_two_names(task.provider):
        queues.keep_acceptance(task.task_id, task.attempt, job_id)
        return
    message = (
        f"{task.provider} answered with job {job_id}, which is another task's, or this task has "
        "another job"
    )
    try:
        steps.hold(task, "JOB_ID_TAKEN", message)
    except ConditionFailed:
        others.note_second(task, job_id, _ACCEPTED_TOO)


def not_accepted(claimed: claims.Claim, error: base.ProviderError) -> None:
    if claimed.task.first_sent_at and not isinstance(error, base.Ambiguous):
        # The same id was sent again: whatever its words, a refusal may mean that the id is known.
        doubt(claimed, f"the re-send was refused: {error}", error)
        return
    match error:
        case base.NotSent():
            come_again(claimed, str(error))
        case base.RejectedLater():
            come_again(claimed, str(error), seconds=error.retry_seconds)
        case base.AccountRejected():
            _stop(claimed, error)
        case base.Rejected():
            refuse(claimed, error.code or "REJECTED", str(error))
        case _:
            doubt(claimed, str(error), error)


def come_again(claimed: claims.Claim, why: str, *, seconds: float = 0) -> None:
    """Nothing was accepted: the same attempt comes again, later each time and never all at once."""
    task = claimed.task
    if task.returns >= _MOST_RETURNS:
        refuse(claimed, "GAVE_UP", f"not accepted in {task.returns} tries, the last: {why}")
        return
    widest = min(900.0, 2.0 ** min(task.returns + 2, 10))
    until = now() + timedelta(seconds=seconds + random.uniform(0.5, widest))  # noqa: S311 - spreads, hides nothing
    _hand_back(claimed, until, why)


def _hand_back(claimed: claims.Claim, until: datetime, why: str, *, counted: bool = True) -> None:
    logger.warning("not accepted", reason=why)
    task, owner = claimed.task, claimed.owner
    refusal = queues.Rejection(
        task_id=task.task_id, attempt=task.attempt, refused=owner, why=why,
        until=stamp(until), counted=counted, first_sent_at=task.first_sent_at,
    )  # fmt: skip
    _write_or_keep(refusal, task)


def write_refusal(message: queues.Rejection) -> None:
    """A clear no that could not be written when it came. The same conditions hold as then."""
    task = queries.load(message["task_id"])
    if task is None or task.attempt != message["attempt"] or task.owner != message["refused"]:
        return
    logger.append_keys(task_id=task.task_id, attempt=task.attempt)
    try:
        # As the claim saw it: an earlier POST of the attempt may be in doubt, this one is not.
        _write_refusal(message, replace(task, first_sent_at=message["first_sent_at"]))
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        logger.info("the task moved meanwhile")


def _write_or_keep(refusal: queues.Rejection, task: Task) -> None:
    """That nothing was accepted is known only here: unwritten, it would be a POST in doubt. So
    another service keeps it until the table can be written."""
    try:
        _write_refusal(refusal, task)
    except ConditionFailed as lost:
        if not table.is_busy(lost):
            raise
        queues.keep_refusal(refusal)
    except Exception:
        logger.exception("a refusal could not be written")
        queues.keep_refusal(refusal)


def _write_refusal(refusal: queues.Rejection, task: Task) -> None:
    owner, why, code = refusal["refused"], refusal["why"], refusal.get("code")
    if code:
        claims.fail(
            task, code, why, come_from=[Status.SUBMITTING], charge_usd=Decimal(0), owner=owner
        )
        return
    until = instant(refusal["until"])
    claims.hand_back(task, owner, until, why, counted=refusal["counted"])
    queues.submit(task.task_id, stamp(until), until)


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


def refuse(claimed: claims.Claim, code: str, message: str) -> None:
    if claimed.task.first_sent_at:  # it is sure of this POST, not of the one before
        doubt(claimed, f"{code}: {message}")
        return
    logger.warning("refused", code=code, reason=message)
    task = claimed.task
    refusal = queues.Rejection(
        task_id=task.task_id, attempt=task.attempt, refused=claimed.owner, why=message,
        until=stamp(now()), counted=True, first_sent_at="", code=code,
    )  # fmt: skip
    _write_or_keep(refusal, task)


def doubt(claimed: claims.Claim, why: str, error: base.ProviderError | None = None) -> None:
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
