"""What became of a POST without an answer: find its job by proof, or wait, or hold it for a person.

Nothing is sent from here; the same id goes out again only by the way that every submit takes, where
an option allows it and nothing proves a job.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from aws_lambda_powertools import Logger

from functions import providers
from functions.jobs import follow, hints, holds, others
from functions.jobs.follow import Look
from functions.jobs.hints import Hints
from functions.providers import base
from functions.settings import options
from functions.tasks import adoption, claims, queues
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import LATE, Next, Status, Task

logger = Logger(child=True)

_RESEND_GRACE_SECONDS = 600  # a request may arrive long after we gave up on its answer


def reconcile(task: Task, client: base.Provider) -> Look:
    """A submit whose answer was lost. Find the job by proof, or wait; never send from here."""
    has_ended = task.status in {Status.FAILED, Status.CANCELLED}
    if has_ended and not task.job_hints and not isinstance(client, base.FindsJobs):
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
        return Look(Next.DONE, True, found.refuted)
    if is_lost and found.is_complete and _may_resend(task) and _is_in_no_list(task, client):
        _send_again(
            task, "no lookup knows a job with our id: the same id is sent again", resend=True
        )
        return Look(Next.WATCH, True, found.refuted)
    next = holds.hold_doubtful(task, client) or holds.overdue(task)
    return Look(next, found.is_complete and _is_explained(task, found), found.refuted)


def _never_sent(task: Task) -> Look:
    if task.speech_intended_at:
        message = (
            f"whether {task.provider} was paid for the speech is not known; no video was asked "
            "for: resubmit to buy the speech anew, or fail the task"
        )
        holds.hold(task, "SPEECH_LOST", message)
    else:
        _send_again(task, "the invocation ended before the POST", unsent=True)
    return Look(Next.WATCH)


def _find(task: Task, client: base.Provider) -> Hints:
    """The job by our own id, and what became of the hints."""
    named = hints.look_into(task, client)
    if not isinstance(client, base.FindsJobs):
        return named
    try:
        found = client.find(task.external_id)
    except base.JobNotFound:
        since = task.sent_at or task.intended_at
        is_definite = holds.is_same_account(task) and holds.is_past_hiding(since, client)
        return replace(named, is_complete=named.is_complete and is_definite)
    rest = tuple(job for job in named.proved if job.job_id != found.job_id)
    return replace(named, proved=(found, *rest))


def _take_over(task: Task, client: base.Provider, found: Hints) -> Look:
    job, *rest = found.proved
    come_from = [Status.READY, Status.SUBMITTING, *sorted(LATE)]
    try:
        adopted = adoption.adopt(task, job.job_id, come_from=come_from)
    except ConditionFailed as lost:
        if list(lost.reasons[1:2]) != ["ConditionalCheckFailed"] or task.status in LATE:
            raise
        message = f"job {job.job_id} of {task.provider} is proved to be this task's, and another's"
        holds.hold(task, "JOB_ID_TAKEN", message)
        return Look(Next.WATCH)
    logger.info("adopted", job_id=job.job_id)
    others.note(adopted, client, rest)
    next = follow.follow(adopted, client, job, is_answered=found.is_complete)
    return Look(next, found.is_complete, found.done)


def _is_explained(task: Task, found: Hints) -> bool:
    """Is there a definite answer to callbacks that named no job? Only where our own id finds it."""
    if found.refuted or task.job_hints:
        return True
    return not task.has_open_callbacks or issubclass(providers.get(task.provider), base.FindsJobs)


def _may_resend(task: Task) -> bool:
    """May the same id be sent again? Only where an option says so, a few times, soon enough, to the
    same account, and never after a genuine callback."""
    return (
        options().resend_same_id
        and issubclass(providers.get(task.provider), base.FindsJobs)
        and not task.callbacks_received
        and task.resends < claims.MOST_RESENDS
        and holds.is_same_account(task)
        and (now() - instant(task.doubt or task.lease_until)).total_seconds()
        > _RESEND_GRACE_SECONDS
        and holds.hours_in_doubt(task) <= options().ambiguous_hold_hours
    )


def _is_in_no_list(task: Task, client: base.Provider) -> bool:
    """Is no job with our id on any page of the provider's list, back to the first POST?"""
    if not isinstance(client, base.ListsJobs):
        return False
    since = instant(task.first_sent_at or task.sent_at) - timedelta(minutes=10)
    try:
        found = client.find_in_list(task.external_id, since)
    except base.JobNotFound:
        return True
    adoption.adopt(task, found.job_id, come_from=[Status.SUBMITTING])
    logger.info("adopted", job_id=found.job_id)
    return False


def _send_again(task: Task, why: str, *, unsent: bool = False, resend: bool = False) -> None:
    """The same attempt, by the way that every submit takes."""
    back = claims.hand_back(task, task.owner, now(), why, unsent=unsent, resend=resend)
    queues.submit(task.task_id, back.not_before)
