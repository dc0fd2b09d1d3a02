"""What a person must decide or hear of: a task is HELD while the provider still keeps the video.

How long a doubt, a silence or an archive that fails may last stands here.
"""

from __future__ import annotations

from datetime import timedelta

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from functions import providers, secrets
from functions.providers import base
from functions.settings import options
from functions.tasks import balance, claims, steps, table
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import LATE, Next, Status, Task

logger = Logger(child=True)
metrics = Metrics()

_MOST_VERDICTS = 2
_CLOCKS_SECONDS = 240  # two sandboxes, each two minutes off
# The archive's verdicts on a whole download: another download of the same bytes says the same.
_VERDICTS = frozenset({"NotAVideo", "Unwelcome"})


def hold(task: Task, code: str, message: str, evidence: str = "") -> Task:
    logger.error("held", code=code, reason=message)
    return steps.hold(task, code, message, evidence)


def overdue(task: Task) -> Next:
    """Still running, as far as is known. A provider that is silent for a day is a person's matter;
    the workflow waits on even then, since a video that arrives while the provider keeps it is still
    archived."""
    since = age(task)
    if task.status is Status.READY:
        return Next.WATCH
    if since > timedelta(days=retention_days(task)):
        if task.status not in LATE | {Status.COMPLETED}:
            message = f"{task.provider} gave no result in {since.days} days and keeps none longer"
            hold(task, "SILENT", message)
        return Next.DONE
    if task.status is Status.SUBMITTED and since > timedelta(hours=options().silent_hold_hours):
        hours = since.total_seconds() / 3600
        hold(
            task,
            "SILENT",
            f"in {hours:.0f} hours {task.provider} did not say that job {task.job_id} ended: look "
            "there",
        )
    return Next.WATCH


def hold_doubtful(task: Task, client: base.Provider | None = None) -> Next | None:
    """A submit, or a callback, without an answer for so long that waiting proves nothing more."""
    longest = options().ambiguous_hold_hours
    if task.status is Status.READY:
        if not task.hints_dropped and hours_since(task.last_callback_at) <= longest:
            return None
        if not task.has_open_callbacks:
            return None
        message = (
            f"{task.provider} called back for a submit that it had refused, and could not be asked "
            "which job it is: look there, then adopt it, resubmit the task or fail it"
        )
        logger.error("held", code="AMBIGUOUS", reason=message)
        claims.hold_returned(task, "AMBIGUOUS", message)
        return Next.WATCH
    if task.status is not Status.SUBMITTING or not task.sent_at:
        return None
    if hours_in_doubt(task) <= longest or instant(task.lease_until) > now():
        return None
    hold(task, "AMBIGUOUS", _ambiguous(task), _evidence(task, client))
    return Next.WATCH


def _ambiguous(task: Task) -> str:
    why = f" ({task.doubt_why})" if task.doubt_why else ""
    account = "" if _has_its_account(task) else "; the key is that of another account now"
    return (
        f"the answer of {task.provider} to the submit was lost{why} and no callback proves a job"
        f"{account}: look there whether a job exists, then adopt it, resubmit the task or fail it"
    )


def _has_its_account(task: Task) -> bool:
    try:
        return is_same_account(task)
    except base.AccountRejected:
        return False


def _evidence(task: Task, client: base.Provider | None) -> str:
    try:
        return balance.evidence(task, client) if client else ""
    except base.ProviderError as error:
        logger.warning("the balance could not be asked", reason=str(error))
        return ""


def hold_unarchived(task: Task, error: str, stumbles: int) -> Task:
    """A video that the provider has and the archive does not take is a person's matter while the
    provider still keeps it. The task as it stands then."""
    if error and stumbles >= 3:
        logger.error("the archive fails", reason=error, stumbles=stumbles)
        metrics.add_metric("ArchiveFailed", MetricUnit.Count, 1)
    try:
        if error in _VERDICTS:
            task = steps.count_verdict(task)
        return _unarchived(task, error)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        logger.info("the task moved meanwhile")
    return task


def _unarchived(task: Task, error: str) -> Task:
    if task.archive_verdicts >= _MOST_VERDICTS and error in _VERDICTS:
        return hold(
            task, "NOT_A_VIDEO",
            f"what {task.provider} serves for job {task.job_id} was downloaded whole "
            f"{task.archive_verdicts} times and is not this task's video ({error}): look there",
        )  # fmt: skip
    hours = hours_since(task.archiving_since)
    if hours > options().silent_hold_hours:
        return hold(
            task, "ARCHIVE_STUCK",
            f"the video of job {task.job_id} could not be archived in {hours:.0f} hours "
            f"({error or 'no reason'}): see the log of archive; it is tried on",
        )  # fmt: skip
    return task


def is_same_account(task: Task) -> bool:
    return not task.account or task.account == secrets.account_of(task.provider)


def age(task: Task) -> timedelta:
    return now() - instant(task.submitted_at or task.intended_at or task.created_at)


def hours_in_doubt(task: Task) -> float:
    return hours_since(task.first_sent_at or task.sent_at or task.intended_at)


def hours_since(at: str) -> float:
    """0 where it never happened."""
    return (now() - instant(at)).total_seconds() / 3600 if at else 0.0


def is_past_hiding(at: str, client: base.Provider) -> bool:
    """Is what happened then so old that the provider hides its job no more, whatever the clocks of
    two sandboxes say?"""
    return hours_since(at) * 3600 > client.hidden_seconds + _CLOCKS_SECONDS


def retention_days(task: Task) -> int:
    return providers.get(task.provider).retention_days
