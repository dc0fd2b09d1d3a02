"""Which job is a task's: a job id is written once, belongs to no other task, and only a person may
correct one that a person named."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from functions.settings import options
from functions.tasks import books, queries, steps, table
from functions.tasks.claims import Claim
from functions.tasks.table import Update, later, now, stamp
from functions.tasks.task import Lookup, Status, Task, job_key, key_of

# A wrong adoption can be corrected here: nothing of it can be in the archive.
CORRECTABLE = frozenset({Status.SUBMITTED, Status.HELD, Status.FAILED})
_LONGEST_DAYS = 31  # that an attempt takes to end, and providers keep a job
_ANSWERED = 600  # seconds in which the provider should have been queried; then the sweep comes


def accept(claimed: Claim, job_id: str) -> Task:
    """The provider took it: SUBMITTED, with a job id that is written once and belongs to no other
    task. Raises ConditionFailed; reasons[1] says that another task has this very job."""
    task = claimed.task
    return _adopt(task, job_id, [Status.SUBMITTING], claimed.owner, "talkdrop")


def adopt(
    task: Task, job_id: str, *, come_from: Iterable[Status], who: str = "talkdrop", why: str = ""
) -> Task:
    """A job that is proved to be this attempt's, found by its callback, by our id at the provider,
    or by a person.

    Raises ConditionFailed; reasons[0] says that the task is elsewhere or has another job,
    reasons[1] that the job is another's.
    """
    return _adopt(task, job_id, come_from, None, who, why)


def look_up(task: Task, job_id: str, *, who: str, why: str) -> Task:
    """A person says that this is the task's job: the provider is queried before anything else is
    written. The last one named counts. Raises ConditionFailed."""
    found = Lookup(job_id=job_id, who=who, why=why, at=stamp(now()))
    update = Update(key_of(task.task_id)).set(lookup=found, **steps.due(task.task_id, _ANSWERED))
    update.append("history", steps.entry("LOOKED UP", f"job {job_id}: {why}", who))
    return Task.of(update.given("{changed_at} = :seen", seen=task.changed_at).run())


def refuse(task: Task, refusal: str) -> None:
    """The job that a person named is not adopted. Raises ConditionFailed when another one was named
    meanwhile, or the row moved."""
    update = Update(key_of(task.task_id)).set(lookup={**task.lookup, "refusal": refusal})
    update.append("history", steps.entry("NOT ADOPTED", refusal))
    update.given("{lookup}.{at} = :at", at=task.lookup["at"]).run()


def correct(task: Task, job_id: str, *, who: str, why: str) -> Task:
    """A person takes back a wrong adoption: this job, and not the one that a person named before.
    The wrong one is free again. Or the attempt has a second job, and that one has the video: both
    stay the task's. Raises ConditionFailed."""
    wrong = task.job_id
    update = _taking(task, job_id, CORRECTABLE, who, f"not {wrong}: {why}")
    update.set(adopted_by=who).given("{job_id} = :wrong", wrong=wrong)
    update.remove("video_url", "trusted_host", "archiving_since", "archive_verdicts")
    writes = books.reopen_for(update, task)
    if job_id in task.second_jobs:
        update.given("contains({second_jobs}, :second)", second=job_id)
    else:
        update.given("attribute_exists({adopted_by})")
        free = Update(job_key(task.provider, wrong)).given("{task_id} = :task", task=task.task_id)
        writes = [free.remove("task_id", "attempt"), *writes]
    table.transact(update, _only_for(task, job_id), *writes, tries=20)
    return queries.reload(task)


def _adopt(
    task: Task, job_id: str, come_from: Iterable[Status], owner: str | None, who: str, why: str = ""
) -> Task:
    update = _taking(task, job_id, come_from, who, why)
    if owner is None and task.never_intended:
        # A person knows of a job that the table has no trace of: from now on the task counts as
        # paid.
        update.set(intended_at=stamp(now()))
    if who != "talkdrop":
        update.set(adopted_by=who)
    update.given("attribute_not_exists({job_id}) OR {job_id} = :job", job=job_id)
    bookings: list[Update] = []
    if owner:
        update.given("{owner} = :owner", owner=owner)
    else:
        bookings = books.reopen_for(update, task)
    # What this loses is known nowhere else.
    table.transact(update, _only_for(task, job_id), *bookings, tries=20)
    return queries.reload(task)


def _taking(task: Task, job_id: str, come_from: Iterable[Status], who: str, why: str) -> Update:
    soon = later(seconds=600)  # an execution should be watching by then
    line = f"{job_id}: {why}" if why else job_id
    update = steps.step(task, Status.SUBMITTED, come_from=come_from, why=line, who=who, due_at=soon)
    update.set(job_id=job_id, submitted_at=stamp(now()))
    return update.remove(
        "doubt", "doubt_why", "error", "expires_at", "lookup", "waits_for", "not_before"
    )


def _only_for(task: Task, job_id: str) -> Update:
    """One job, one task, for about as long as the task's row stands."""
    kept_until = now() + timedelta(days=options().row_retention_days + _LONGEST_DAYS)
    unique = Update(job_key(task.provider, job_id)).set(task_id=task.task_id, attempt=task.attempt)
    unique.set(expires_at=int(kept_until.timestamp()))
    return unique.given("attribute_not_exists({task_id}) OR {task_id} = :task", task=task.task_id)
