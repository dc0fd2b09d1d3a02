"""A known job: what the provider says about it now, and what the workflow does next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from functions.jobs import hints, holds, others
from functions.jobs.hints import Hints
from functions.providers import base
from functions.providers.base import Job, JobStatus
from functions.settings import options
from functions.tasks import claims, executions, queries, steps
from functions.tasks.task import Next, Status, Task

logger = Logger(child=True)
metrics = Metrics()

_LOST_GRACE_SECONDS = 3600
_TRY_HELD_AGAIN_HOURS = 6


@dataclass(frozen=True)
class Look:
    """What a look found: what the workflow does next, whether every callback that stood in the row
    has a definite answer now, and of which hints enough is known."""

    next: Next
    is_answered: bool = False
    done: tuple[str, ...] = ()


def known(task: Task, client: base.Provider) -> Look:
    """The task has its job. Another one that is proved to be this attempt's is one too many."""
    named = hints.look_into(task, client)
    if named.proved:
        others.note(task, client, named.proved)
        task = queries.reload(task)
    next = Next.DONE if task.status is Status.COMPLETED else _ask_about(task, client, named)
    if next is Next.DONE and named.is_open and executions.may_still_come(task):
        next = Next.WATCH  # it has ended, and a job that a callback named is not looked into yet
    return Look(next, named.is_complete, named.done)


def _ask_about(task: Task, client: base.Provider, named: Hints) -> Next:
    try:
        job = client.fetch(task.job_id)
    except base.JobNotFound as error:
        return _not_found(task, str(error))
    return follow(task, client, job, is_answered=named.is_complete)


def follow(task: Task, client: base.Provider, job: Job, *, is_answered: bool) -> Next:
    """What the provider says about the job that is this task's. `is_answered`: every callback that
    stands in `task` has a definite answer."""
    if job.unknown_word:
        logger.warning("unknown status word", provider=task.provider, word=job.unknown_word)
        metrics.add_metric("UnknownWord", MetricUnit.Count, 1)
    if job.status is JobStatus.SUCCEEDED and job.video_url:
        return _archive(task, client, job)
    if job.status is JobStatus.FAILED:
        return _failed(task, client, job, is_answered)
    return holds.overdue(task)


def _failed(task: Task, client: base.Provider, job: Job, is_answered: bool) -> Next:
    if task.status is Status.ARCHIVING:
        message = f"{task.provider} made the video of job {job.job_id}, and now says that it failed"
        holds.hold(task, "FAILED_AFTER_SUCCESS", f"{message}: look there whether it was charged")
        return Next.WATCH
    if task.archiving_since:  # HELD, and for a person to decide
        return _look_at_the_archive(task)
    if task.status in {Status.SUBMITTED, Status.HELD}:
        if left := others.not_failed(task, client):
            return _hold_beside(task, client, job, left)
        code, message = job.error_code or "JOB_FAILED", job.error or "no reason given"
        claims.fail(
            task, code, f"{task.provider} could not make the video: {message}",
            come_from=[Status.SUBMITTED, Status.HELD], charge_usd=_charge_of_failed(client, job),
            is_answered=is_answered,
        )  # fmt: skip
    return Next.DONE


def _hold_beside(task: Task, client: base.Provider, job: Job, left: str) -> Next:
    """The task's own job failed, and another one of its attempt did not: that may have been
    charged, and may be its video."""
    if task.status is not Status.HELD:
        message = (
            f"job {job.job_id} failed at {client.name} ({job.error or 'no reason given'}), and job "
            f"{left} of the same attempt did not: adopt that one if it has the video, or fail the "
            "task"
        )
        holds.hold(task, "ANOTHER_JOB", message)
    return holds.overdue(task)


def _look_at_the_archive(task: Task) -> Next:
    """A copy that was cut off may lie there whole, whatever the provider says now: looked for once
    the task is HELD, and again as long as the provider might change its mind."""
    next = holds.overdue(task)
    is_new = task.archive_tried_at < task.changed_at
    is_due = task.wants_its_archive and (is_new or _may_be_tried_again(task))
    if next is not Next.WATCH or not is_due:
        return next
    link = steps.VideoLink(task.video_url, task.trusted_host, task.watermark)
    steps.archive_held(task, link, charge_usd=None).run()
    return Next.ARCHIVE


def _may_be_tried_again(task: Task) -> bool:
    return holds.hours_since(task.archive_tried_at) >= _TRY_HELD_AGAIN_HOURS


def _charge_of_failed(client: base.Provider, job: Job) -> Decimal | None:
    """What the record says; where it says nothing, what the provider documents of failed jobs."""
    if job.charge_usd is not None:
        return job.charge_usd
    return Decimal(0) if client.charges_failed_jobs is False else None


def _archive(task: Task, client: base.Provider, job: Job) -> Next:
    if task.archiving_since and holds.age(task) > timedelta(days=holds.retention_days(task)):
        message = f"the video of job {job.job_id} could not be archived: fetch it there by hand"
        if task.status is not Status.HELD:
            holds.hold(task, "NOT_ARCHIVED", message)
        return Next.DONE
    is_held = task.status is Status.HELD and bool(task.archiving_since)
    if is_held and not _may_be_tried_again(task):
        return Next.WATCH
    keep_mark = bool(job.marked_url) and options().keep_watermark
    url = str(job.marked_url if keep_mark else job.video_url)
    if task.archiving_since and url == task.video_url:
        # This very link did not serve; what is tried next is the record's own again.
        url = client.fresh_link(url)
    host = urlsplit(url).netloc
    trusted = host if host in client.credentials.get("result_hosts", []) else ""
    watermark = "" if not job.marked_url else "kept" if keep_mark else "left"
    link = steps.VideoLink(url, trusted, watermark)
    if is_held:
        steps.archive_held(task, link, charge_usd=job.charge_usd).run()
    else:
        claims.archive(task, link, charge_usd=job.charge_usd)
    return Next.ARCHIVE


def _not_found(task: Task, why: str) -> Next:
    """A fresh job may not be found yet; an old one that is gone may have been paid."""
    if task.status is Status.SUBMITTED and holds.age(task) > timedelta(seconds=_LOST_GRACE_SECONDS):
        holds.hold(
            task,
            "JOB_LOST",
            f"{task.provider} does not know job {task.job_id} any more ({why}): look there"
            + ("" if holds.is_same_account(task) else "; the key is that of another account now"),
        )
        return Next.WATCH
    return holds.overdue(task)
