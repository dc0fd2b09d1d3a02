"""Ask the provider what a task's job is now, or wait for the bell.

One state of the workflow both waits and polls_done. A final answer goes on to the archive or ends
the task; otherwise the workflow's task token is left on the task, where a bell finds it, and the
state sleeps until the bell or its timeout.

    the task is   and the provider says          then
    SUBMITTING    (its submit is in doubt)       find the job by our own id, or by a bell that
    proves itself; else wait,
                                                 and after `ambiguous_hold_hours` HELD
    READY         (a bell of this attempt)       if the job it names is ours, it was accepted after
    all: SUBMITTED
    SUBMITTED     running, or a word unknown     wait; after `silent_hold_hours` HELD, and still
    wait
    ARCHIVING     (the link did not serve)       a fresh link, until the provider's retention ends;
    then HELD HELD, FAILED  (a late bell)                  success → ARCHIVING after all
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import links, providers, secrets
from functions.providers import base
from functions.providers.base import Job, JobStatus
from functions.settings import options
from functions.tasks import balance, books, claims, executions, queries, queues, steps
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import Status, Task

logger = Logger()
metrics = Metrics()

_RESEND_GRACE_SECONDS = 600  # a request may arrive long after we gave up on its answer
_LOST_GRACE_SECONDS = 3600


@dataclass(frozen=True)
class Verdict:
    """What the workflow does next: wait for the bell or the clock, `archive`, or nothing more
    (`done`)."""

    next: str


WAIT, ARCHIVE, DONE = Verdict("watch"), Verdict("archive"), Verdict("done")


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """`event`: task_id, attempt, task_token, polls_done. Answers by the task token, or leaves it
    for the bell."""
    task = queries.load(event["task_id"])
    if (
        task is None
        or task.attempt != event["attempt"]
        or task.status in {Status.COMPLETED, Status.EXPIRED}
    ):
        executions.wake(event["task_token"], next="done")
        return
    # The first look only lies down: no job is done at once, and some are not even to be found yet.
    asked = (
        event["polls_done"] > 0
        or task.callbacks_received > task.callbacks_handled
        or bool(task.doubt)
    )
    verdict = _look(task) if asked else WAIT
    if verdict is not WAIT:
        executions.wake(event["task_token"], next=verdict.next)
        return
    try:
        after = steps.leave_token(task, event["task_token"], asked=asked)
    except ConditionFailed:
        executions.wake(event["task_token"], next="done")
        return
    if (
        after.callbacks_received > task.callbacks_received
    ):  # it rang while we asked, and found no token or an old one
        executions.wake(event["task_token"], next="watch")


def _look(task: Task) -> Verdict:
    try:
        return _ask(task)
    except ConditionFailed as lost:
        # Somebody moved the task while we asked; the next look sees where it stands.
        logger.info("somebody was first", task_id=task.task_id, reasons=list(lost.reasons))
        return WAIT


def _ask(task: Task) -> Verdict:
    try:
        client = secrets.client(task.provider)
        if not task.job_id:
            return _reconcile(task, client)
        return _follow(task, client, client.fetch(task.job_id))
    except base.JobNotFound as error:
        return _not_found(task, str(error))
    except base.AccountRejected as error:
        if not secrets.has_changed(task.provider):
            metrics.add_metric("AccountRejected", MetricUnit.Count, 1)
            books.stop(task.provider, str(error))
        return _hold_doubtful(task) or _overdue(task)
    except base.Unavailable as error:
        logger.warning("could not ask", task_id=task.task_id, why=str(error))
        return _overdue(task)


def _follow(task: Task, client: base.Provider, job: Job) -> Verdict:
    """What the provider says about the job that is this task's."""
    if job.unknown_word:
        logger.warning("unknown status word", provider=task.provider, word=job.unknown_word)
        metrics.add_metric("UnknownWord", MetricUnit.Count, 1)
    if job.status is JobStatus.SUCCEEDED and job.video_url:
        return _archive(task, client, job)
    if job.status is JobStatus.FAILED and task.status in {Status.SUBMITTED, Status.HELD}:
        code, message = job.error_code or "JOB_FAILED", job.error or "no reason given"
        claims.fail(
            task, code, f"{task.provider} could not make the video: {message}",
            come_from=[Status.SUBMITTED, Status.HELD], charge_usd=job.charge_usd,
        )  # fmt: skip
        return DONE
    return (
        DONE if job.status is JobStatus.FAILED and task.status is Status.FAILED else _overdue(task)
    )


def _archive(task: Task, client: base.Provider, job: Job) -> Verdict:
    if task.status is Status.ARCHIVING and _age(task) > timedelta(days=_retention_days(task)):
        _hold(
            task,
            "NOT_ARCHIVED",
            f"the video of job {job.job_id} could not be archived: fetch it there by hand",
        )
        return DONE
    url = str(job.video_url)
    if task.status is Status.ARCHIVING and url == task.video_url:
        url = client.fresh_link(
            url
        )  # this very link did not serve; what is tried next is the record's own again
    place = urlsplit(url).netloc
    trusted = place if place in client.credentials.get("result_hosts", []) else ""
    steps.archiving(task, url, trusted, charge_usd=job.charge_usd)
    return ARCHIVE


def _overdue(task: Task) -> Verdict:
    """Still running, as far as we know. A provider that is silent for a day is a person's matter;
    the workflow waits on even then, since a video that arrives while the provider keeps it is still
    archived."""
    age = _age(task)
    if task.status is Status.READY:
        return WAIT
    if age > timedelta(days=_retention_days(task)):
        if task.status not in {Status.HELD, Status.FAILED}:
            _hold(
                task,
                "SILENT",
                f"{task.provider} gave no result in {age.days} days and keeps none longer",
            )
        return DONE
    if task.status is Status.SUBMITTED and age > timedelta(hours=options().silent_hold_hours):
        hours = age.total_seconds() / 3600
        _hold(
            task,
            "SILENT",
            f"in {hours:.0f} hours {task.provider} did not say that job {task.job_id} ended: look "
            "there",
        )
    return WAIT


def _not_found(task: Task, why: str) -> Verdict:
    """A fresh job may not be found yet; an old one that is gone may have been paid."""
    if task.status is Status.SUBMITTED and _age(task) > timedelta(seconds=_LOST_GRACE_SECONDS):
        _hold(
            task,
            "JOB_LOST",
            f"{task.provider} does not know job {task.job_id} any more ({why}): look there",
        )
        return WAIT
    return _overdue(task)


def _reconcile(task: Task, client: base.Provider) -> Verdict:
    """A submit whose answer nobody has. Find the job by proof, or learn that there is none; never
    send from here."""
    if task.status is Status.FAILED and not task.job_hint:
        return DONE
    if task.status is Status.READY and task.callbacks_received == task.callbacks_handled:
        return WAIT
    is_lost = task.status is Status.SUBMITTING and instant(task.lease_until) <= now()
    if is_lost and not task.sent_at:
        _send_again(task, "whoever had it ended before the POST", unsent=True)
        return WAIT
    found = _prove(task, client)
    if found is not None:
        adopted = claims.adopt(
            task,
            found.job_id,
            come_from=[Status.READY, Status.SUBMITTING, Status.HELD, Status.FAILED],
        )
        logger.info("adopted", task_id=task.task_id, job_id=found.job_id)
        return _follow(adopted, client, found)
    if not is_lost:
        return _overdue(task)
    if client.finds_by_task_id and _doubt_age(task) > _RESEND_GRACE_SECONDS:
        # The provider knows no job with our id, and refuses the same id twice: sending it again
        # cannot buy two.
        _send_again(task, "the provider knows no job with our id, and takes the same id only once")
        return WAIT
    if balance.shows_nothing_was_taken(task, client):
        _send_again(task, "the provider's credit shows that nothing was accepted")
        return WAIT
    return _hold_doubtful(task) or WAIT


def _hold_doubtful(task: Task) -> Verdict | None:
    """A submit in doubt for so long that waiting proves nothing more."""
    in_doubt = task.status is Status.SUBMITTING and task.sent_at
    if not in_doubt or _doubt_age(task) <= options().ambiguous_hold_hours * 3600:
        return None
    _hold(
        task, "AMBIGUOUS",
        f"the answer of {task.provider} to the submit was lost and no callback came: look there "
        "whether a job "
        "exists, then adopt it, resubmit the task or fail it",
    )  # fmt: skip
    return WAIT


def _send_again(task: Task, why: str, *, unsent: bool = False) -> None:
    """The same attempt, by the door every submit takes."""
    back = claims.hand_back(task, task.owner, now(), why, unsent=unsent)
    queues.submit(task.task_id, back.not_before)


def _prove(task: Task, client: base.Provider) -> Job | None:
    """The job that is surely this attempt's: it carries our id, or the provider remembers this
    attempt's bell."""
    if client.finds_by_task_id:
        try:
            return client.find(task.external_id)
        except base.JobNotFound:
            return None
    for hint in task.job_hints:
        try:
            job = client.fetch(hint)
        except base.JobNotFound:
            continue
        if client.proves_by_callback_url:
            proved = links.is_callback_url_of(
                job.callback_url, task.provider, task.task_id, task.attempt
            )
        else:
            # No proof at the provider: the bell itself, whose address nobody else was given, and an
            # id if it kept one.
            proved = job.external_id in {None, "", task.external_id}
        if proved:
            return job
    return None


def _hold(task: Task, code: str, message: str) -> None:
    logger.error("held", task_id=task.task_id, code=code, why=message)
    steps.hold(task, code, message)


def _age(task: Task) -> timedelta:
    return now() - instant(task.submitted_at or task.intended_at or task.created_at)


def _doubt_age(task: Task) -> float:
    return (now() - instant(task.doubt or task.lease_until)).total_seconds()


def _retention_days(task: Task) -> int:
    return providers.get(task.provider).retention_days
