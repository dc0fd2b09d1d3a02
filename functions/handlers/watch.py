"""Query the provider for a task's job, or wait for the callback.

One state of the workflow both waits and queries. A final answer goes on to the archive or ends the
task; otherwise the workflow's task token is left on the task, where a callback finds it, and the
state sleeps until the callback or its timeout.

    the task is         and the provider says      then
    SUBMITTING          (its submit is in doubt)   find the job by our own id or by the callback
                                                   that proves it; else wait, and after
                                                   `ambiguous_hold_hours` HELD
    READY               (a callback came)          a job that is ours was accepted after all:
                                                   SUBMITTED; no answer for hours: HELD
    SUBMITTED           running, or unknown word   wait; after `silent_hold_hours` HELD, and wait on
    ARCHIVING           (the copy failed)          a fresh link; after `silent_hold_hours`, or the
                                                   same verdict on two whole downloads, HELD, and
                                                   tried on until the provider's retention ends
    HELD FAILED         (a late callback)          success → ARCHIVING after all
    CANCELLED
    COMPLETED           (a callback of another     one more job of this attempt: announced as a
                        job)                       possible second charge

A callback is handled when every job that it may have named has a definite answer: found and proved,
found and not ours, or not found after the time for which the provider may hide it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import NotRequired, TypedDict
from urllib.parse import urlsplit

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import links, providers, secrets
from functions.providers import base
from functions.providers.base import Job, JobStatus
from functions.settings import options
from functions.tasks import balance, books, claims, executions, queries, queues, steps, table
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import LATE, Next, Status, Task

logger = Logger()
metrics = Metrics()

_RESEND_GRACE_SECONDS = 600  # a request may arrive long after we gave up on its answer
_LOST_GRACE_SECONDS = 3600
_HINTS_A_LOOK = 8
_TRY_HELD_AGAIN_HOURS = 6
_MOST_VERDICTS = 2
# The archive's verdicts on a whole download: another download of the same bytes says the same.
_VERDICTS = frozenset({"NotAVideo", "Unwelcome"})


class WatchInput(TypedDict):
    task_id: str
    attempt: int  # from 1
    task_token: str  # Step Functions', lives until the state's timeout
    polls_done: int  # queries made by this execution so far
    stumbles: NotRequired[int]  # copies that failed in this execution
    archive_error: NotRequired[str]  # the exception of the copy that has just failed


@dataclass(frozen=True)
class Look:
    """What a look found: what the workflow does next, whether every callback that stood in the row
    has a definite answer now, and which hints came to nothing."""

    next: Next
    is_answered: bool = False
    refuted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hints:
    """What became of the jobs that callbacks named: those proved to be this attempt's, those that
    are not, and whether none is left without an answer."""

    proved: tuple[Job, ...]
    refuted: tuple[str, ...]
    is_complete: bool


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: WatchInput, context: LambdaContext) -> None:
    """Answers by the task token, or leaves it for the callback."""
    logger.append_keys(task_id=event["task_id"], attempt=event["attempt"])
    task = queries.load(event["task_id"])
    if task is None or task.attempt != event["attempt"] or _is_over(task):
        executions.wake(event["task_token"], Next.DONE)
        return
    if task.status is Status.ARCHIVING:
        task = _hold_unarchived(task, event)
    queried = _is_due(task, event)
    look = _look(task) if queried else Look(Next.WATCH)
    if look.next is not Next.WATCH:
        executions.wake(event["task_token"], look.next)
        return
    _sleep(task, event["task_token"], look, queried=queried)


def _is_over(task: Task) -> bool:
    match task.status:
        case Status.EXPIRED | Status.WAITING:
            return True
        case Status.COMPLETED:
            return not _other_hints(task)
        case _:
            return False


def _is_due(task: Task, event: WatchInput) -> bool:
    """The first invocation never queries the provider: no job is done at once, and some cannot even
    be found yet. Callbacks in a flood are answered by one query a while."""
    pause = timedelta(seconds=task.query_pause_seconds)
    if pause and task.last_query_at and now() - instant(task.last_query_at) < pause:
        return False
    return event["polls_done"] > 0 or task.has_open_callbacks or bool(task.doubt)


def _sleep(task: Task, task_token: str, look: Look, *, queried: bool) -> None:
    try:
        after = steps.leave_token(
            task, task_token, queried=queried, is_answered=look.is_answered, refuted=look.refuted
        )
    except ConditionFailed:
        executions.wake(task_token, Next.DONE)
        return
    if after.callbacks_received > task.callbacks_received:
        # A callback came during the query, and found no token or an old one.
        executions.wake(task_token, Next.WATCH, soon_seconds=after.query_pause_seconds)


def _look(task: Task) -> Look:
    try:
        return _ask(task)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        # The task moved during the query; the next look sees where it stands.
        logger.info("the task moved meanwhile", reasons=list(lost.reasons))
        return Look(Next.WATCH)


def _ask(task: Task) -> Look:
    try:
        client = secrets.client(task.provider)
        return _known(task, client) if task.job_id else _reconcile(task, client)
    except base.AccountRejected as error:
        if not secrets.has_changed(task.provider):
            metrics.add_metric("AccountRejected", MetricUnit.Count, 1)
            books.stop(task.provider, str(error))
    except base.Unavailable as error:
        logger.warning("the query failed", reason=str(error))
    return Look(_hold_doubtful(task) or _overdue(task))


def _known(task: Task, client: base.Provider) -> Look:
    """The task has its job. Another one that is proved to be this attempt's is one too many."""
    hints = _look_into_hints(task, client)
    for other in hints.proved:
        _note_second_job(task, other)
    done = tuple(job.job_id for job in hints.proved)
    if task.status is Status.COMPLETED:
        over = hints.is_complete or not executions.may_still_come(task)
        return Look(Next.DONE if over else Next.WATCH, hints.is_complete, hints.refuted + done)
    try:
        next = _follow(task, client, client.fetch(task.job_id))
    except base.JobNotFound as error:
        return Look(_not_found(task, str(error)), False, hints.refuted + done)
    return Look(next, hints.is_complete, hints.refuted + done)


def _note_second_job(task: Task, other: Job) -> None:
    why = f"proved to be of the same attempt as {task.job_id}, and {other.status}"
    logger.error("a second job of one attempt", job_id=other.job_id, reason=why)
    try:
        steps.note_second_job(task, other.job_id, why)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        logger.info("noted already", job_id=other.job_id)


def _follow(task: Task, client: base.Provider, job: Job) -> Next:
    """What the provider says about the job that is this task's."""
    if job.unknown_word:
        logger.warning("unknown status word", provider=task.provider, word=job.unknown_word)
        metrics.add_metric("UnknownWord", MetricUnit.Count, 1)
    if job.status is JobStatus.SUCCEEDED and job.video_url:
        return _archive(task, client, job)
    if job.status is JobStatus.FAILED:
        return _failed(task, client, job)
    return _overdue(task)


def _failed(task: Task, client: base.Provider, job: Job) -> Next:
    if task.status is Status.ARCHIVING:
        message = f"{task.provider} made the video of job {job.job_id}, and now says that it failed"
        _hold(task, "FAILED_AFTER_SUCCESS", f"{message}: look there whether it was charged")
        return Next.WATCH
    if task.archiving_since:  # HELD, and for a person to decide
        return _overdue(task)
    if task.status in {Status.SUBMITTED, Status.HELD}:
        code, message = job.error_code or "JOB_FAILED", job.error or "no reason given"
        claims.fail(
            task, code, f"{task.provider} could not make the video: {message}",
            come_from=[Status.SUBMITTED, Status.HELD], charge_usd=_charge_of_failed(client, job),
            is_answered=True,
        )  # fmt: skip
    return Next.DONE


def _charge_of_failed(client: base.Provider, job: Job) -> Decimal | None:
    """What the record says; where it says nothing, what the provider documents of failed jobs."""
    if job.charge_usd is not None:
        return job.charge_usd
    return Decimal(0) if client.charges_failed_jobs is False else None


def _archive(task: Task, client: base.Provider, job: Job) -> Next:
    if task.archiving_since and _age(task) > timedelta(days=_retention_days(task)):
        message = f"the video of job {job.job_id} could not be archived: fetch it there by hand"
        if task.status is not Status.HELD:
            _hold(task, "NOT_ARCHIVED", message)
        return Next.DONE
    is_held = task.status is Status.HELD and bool(task.archiving_since)
    if is_held and _hours_since(task.archive_tried_at) < _TRY_HELD_AGAIN_HOURS:
        return Next.WATCH
    url = str(job.video_url)
    if task.archiving_since and url == task.video_url:
        # This very link did not serve; what is tried next is the record's own again.
        url = client.fresh_link(url)
    host = urlsplit(url).netloc
    trusted = host if host in client.credentials.get("result_hosts", []) else ""
    keep = steps.archive_held if is_held else steps.archiving
    keep(task, url, trusted, charge_usd=job.charge_usd)
    return Next.ARCHIVE


def _hold_unarchived(task: Task, event: WatchInput) -> Task:
    """A video that the provider has and the archive does not take is a person's matter while the
    provider still keeps it. The task as it stands then."""
    error = event.get("archive_error", "")
    if error and event.get("stumbles", 0) >= 3:
        logger.error("the archive fails", reason=error, stumbles=event["stumbles"])
        metrics.add_metric("ArchiveFailed", MetricUnit.Count, 1)
    try:
        if error in _VERDICTS:
            task = steps.count_verdict(task)
        if task.archive_verdicts >= _MOST_VERDICTS and error in _VERDICTS:
            return _hold(
                task, "NOT_A_VIDEO",
                f"what {task.provider} serves for job {task.job_id} was downloaded whole "
                f"{task.archive_verdicts} times and is not this task's video ({error}): look there",
            )  # fmt: skip
        if _hours_since(task.archiving_since) > options().silent_hold_hours:
            return _hold(
                task, "ARCHIVE_STUCK",
                f"the video of job {task.job_id} could not be archived in "
                f"{_hours_since(task.archiving_since):.0f} hours ({error or 'no reason'}): see the "
                "log of archive; it is tried on",
            )  # fmt: skip
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        logger.info("the task moved meanwhile")
    return task


def _overdue(task: Task) -> Next:
    """Still running, as far as is known. A provider that is silent for a day is a person's matter;
    the workflow waits on even then, since a video that arrives while the provider keeps it is still
    archived."""
    age = _age(task)
    if task.status is Status.READY:
        return Next.WATCH
    if age > timedelta(days=_retention_days(task)):
        if task.status not in LATE | {Status.COMPLETED}:
            message = f"{task.provider} gave no result in {age.days} days and keeps none longer"
            _hold(task, "SILENT", message)
        return Next.DONE
    if task.status is Status.SUBMITTED and age > timedelta(hours=options().silent_hold_hours):
        hours = age.total_seconds() / 3600
        _hold(
            task,
            "SILENT",
            f"in {hours:.0f} hours {task.provider} did not say that job {task.job_id} ended: look "
            "there",
        )
    return Next.WATCH


def _not_found(task: Task, why: str) -> Next:
    """A fresh job may not be found yet; an old one that is gone may have been paid."""
    if task.status is Status.SUBMITTED and _age(task) > timedelta(seconds=_LOST_GRACE_SECONDS):
        _hold(
            task,
            "JOB_LOST",
            f"{task.provider} does not know job {task.job_id} any more ({why}): look there"
            + ("" if _is_same_account(task) else "; the key is that of another account now"),
        )
        return Next.WATCH
    return _overdue(task)


def _reconcile(task: Task, client: base.Provider) -> Look:
    """A submit whose answer was lost. Find the job by proof, or wait; never send from here."""
    has_ended = task.status in {Status.FAILED, Status.CANCELLED}
    if has_ended and not task.job_hints and not client.finds_by_task_id:
        return Look(Next.DONE)
    if task.status is Status.READY and not task.has_open_callbacks:
        return Look(Next.WATCH)
    is_lost = task.status is Status.SUBMITTING and instant(task.lease_until) <= now()
    if is_lost and not task.sent_at:
        return _never_sent(task)
    found = _find(task, client)
    if found.proved:
        return _take_over(task, client, found)
    if has_ended and found.is_complete:
        return Look(Next.DONE)
    if is_lost and found.is_complete and _may_resend(task) and _is_in_no_list(task, client):
        _send_again(
            task, "no lookup knows a job with our id: the same id is sent again", resend=True
        )
        return Look(Next.WATCH, True, found.refuted)
    next = _hold_doubtful(task, client) or _overdue(task)
    return Look(next, found.is_complete and _is_explained(task, found), found.refuted)


def _never_sent(task: Task) -> Look:
    if task.speech_intended_at:
        message = (
            f"whether {task.provider} was paid for the speech is not known; no video was asked "
            "for: resubmit to buy the speech anew, or fail the task"
        )
        _hold(task, "SPEECH_LOST", message)
    else:
        _send_again(task, "the invocation ended before the POST", unsent=True)
    return Look(Next.WATCH)


def _find(task: Task, client: base.Provider) -> Hints:
    """The job by our own id, and what became of the hints."""
    hints = _look_into_hints(task, client)
    if not client.finds_by_task_id:
        return hints
    try:
        found = client.find(task.external_id)
    except base.JobNotFound:
        since = task.sent_at or task.intended_at
        is_definite = _is_same_account(task) and _hours_since(since) * 3600 > client.hidden_seconds
        return replace(hints, is_complete=hints.is_complete and is_definite)
    others = tuple(job for job in hints.proved if job.job_id != found.job_id)
    return replace(hints, proved=(found, *others))


def _take_over(task: Task, client: base.Provider, found: Hints) -> Look:
    job, *others = found.proved
    come_from = [Status.READY, Status.SUBMITTING, *sorted(LATE)]
    try:
        adopted = claims.adopt(task, job.job_id, come_from=come_from)
    except ConditionFailed as lost:
        if list(lost.reasons[1:2]) != ["ConditionalCheckFailed"] or task.status in LATE:
            raise
        message = f"job {job.job_id} of {task.provider} is proved to be this task's, and another's"
        _hold(task, "JOB_ID_TAKEN", message)
        return Look(Next.WATCH)
    logger.info("adopted", job_id=job.job_id)
    for other in others:
        _note_second_job(adopted, other)
    return Look(_follow(adopted, client, job), found.is_complete, found.refuted)


def _look_into_hints(task: Task, client: base.Provider) -> Hints:
    named = _other_hints(task)
    proved: list[Job] = []
    refuted: list[str] = []
    for hint in named[:_HINTS_A_LOOK]:
        job = _fetch_hint(task, client, hint)
        if job is None:
            continue
        if isinstance(job, Job) and _is_ours(task, client, job):
            proved.append(job)
        else:
            refuted.append(hint)
    is_complete = len(proved) + len(refuted) == len(named) and not task.hints_dropped
    return Hints(tuple(proved), tuple(refuted), is_complete)


def _other_hints(task: Task) -> list[str]:
    return [hint for hint in task.job_hints if hint != task.job_id and hint not in task.second_jobs]


def _fetch_hint(task: Task, client: base.Provider, hint: str) -> Job | str | None:
    """The job; a word where there surely is none; None where there is no definite answer yet."""
    try:
        job = client.fetch(hint)
    except base.JobNotFound:
        is_old = _hours_since(task.job_hints[hint]) * 3600 > client.hidden_seconds
        return "no such job" if is_old and _is_same_account(task) else None
    except base.Unavailable as error:
        logger.warning("a hint could not be looked into", job_id=hint, reason=str(error))
        return None
    if client.proves_by_callback_url and job.callback_url is None and options().callbacks:
        return None  # the record says neither that it is ours nor that it is not
    if client.finds_by_task_id and not job.external_id:
        return None
    return job


def _is_ours(task: Task, client: base.Provider, job: Job) -> bool:
    """Is it surely this attempt's: it carries our id, or the provider remembers this attempt's
    callback URL?"""
    if client.proves_by_callback_url:
        return links.is_callback_url_of(job.callback_url, task.provider, task.task_id, task.attempt)
    if client.finds_by_task_id:
        return job.external_id == task.external_id
    # No proof at the provider: the callback itself, whose address only this attempt was given, and
    # an id if it kept one.
    return job.external_id in {None, "", task.external_id}


def _is_explained(task: Task, found: Hints) -> bool:
    """Is there a definite answer to callbacks that named no job? Only where our own id finds it."""
    if found.refuted or task.job_hints:
        return True
    return not task.has_open_callbacks or providers.get(task.provider).finds_by_task_id


def _may_resend(task: Task) -> bool:
    """May the same id be sent again? Only where an option says so, a few times, soon enough, to the
    same account, and never after a genuine callback."""
    return (
        options().resend_same_id
        and providers.get(task.provider).finds_by_task_id
        and not task.callbacks_received
        and task.resends < claims.MOST_RESENDS
        and _is_same_account(task)
        and (now() - instant(task.doubt or task.lease_until)).total_seconds()
        > _RESEND_GRACE_SECONDS
        and _hours_in_doubt(task) <= options().ambiguous_hold_hours
    )


def _is_in_no_list(task: Task, client: base.Provider) -> bool:
    """Is no job with our id on any page of the provider's list, back to the first POST?"""
    if not client.lists_jobs:
        return False
    since = instant(task.first_sent_at or task.sent_at) - timedelta(minutes=10)
    try:
        found = client.find_in_list(task.external_id, since)
    except base.JobNotFound:
        return True
    claims.adopt(task, found.job_id, come_from=[Status.SUBMITTING])
    logger.info("adopted", job_id=found.job_id)
    return False


def _is_same_account(task: Task) -> bool:
    return not task.account or task.account == secrets.account_of(task.provider)


def _hours_in_doubt(task: Task) -> float:
    return _hours_since(task.first_sent_at or task.sent_at or task.intended_at)


def _hold_doubtful(task: Task, client: base.Provider | None = None) -> Next | None:
    """A submit, or a callback, without an answer for so long that waiting proves nothing more."""
    longest = options().ambiguous_hold_hours
    if task.status is Status.READY:
        if not task.hints_dropped and _hours_since(task.last_callback_at) <= longest:
            return None
        if not task.has_open_callbacks:
            return None
        message = (
            f"{task.provider} called back for a submit that it had refused, and could not be asked "
            "which job it is: look there, then adopt it, resubmit the task or fail it"
        )
        _hold(task, "AMBIGUOUS", message)
        return Next.WATCH
    if task.status is not Status.SUBMITTING or not task.sent_at:
        return None
    if _hours_in_doubt(task) <= longest or instant(task.lease_until) > now():
        return None
    _hold(task, "AMBIGUOUS", _ambiguous(task), _evidence(task, client))
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
        return _is_same_account(task)
    except base.AccountRejected:
        return False


def _evidence(task: Task, client: base.Provider | None) -> str:
    try:
        return balance.evidence(task, client) if client else ""
    except base.ProviderError as error:
        logger.warning("the balance could not be asked", reason=str(error))
        return ""


def _send_again(task: Task, why: str, *, unsent: bool = False, resend: bool = False) -> None:
    """The same attempt, by the way that every submit takes."""
    back = claims.hand_back(task, task.owner, now(), why, unsent=unsent, resend=resend)
    queues.submit(task.task_id, back.not_before)


def _hold(task: Task, code: str, message: str, evidence: str = "") -> Task:
    logger.error("held", code=code, reason=message)
    return steps.hold(task, code, message, evidence)


def _age(task: Task) -> timedelta:
    return now() - instant(task.submitted_at or task.intended_at or task.created_at)


def _hours_since(at: str) -> float:
    """0 where it never happened."""
    return (now() - instant(at)).total_seconds() / 3600 if at else 0.0


def _retention_days(task: Task) -> int:
    return providers.get(task.provider).retention_days
