"""The jobs that callbacks named: which of them are this attempt's, by the provider's own record.

A callback is handled when every job that it may have named has a definite answer: found and proved,
found and not ours, or not found after the time for which the provider may hide it.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_lambda_powertools import Logger

from functions import links
from functions.jobs import holds
from functions.providers import base
from functions.providers.base import Job
from functions.settings import options
from functions.tasks.task import Task

logger = Logger(child=True)

_HINTS_A_LOOK = 8


@dataclass(frozen=True)
class Hints:
    """What became of the jobs that callbacks named: those proved to be this attempt's, those that
    are not, whether one of them is left without an answer, and whether every callback has one: its
    hint may have found no room."""

    proved: tuple[Job, ...]
    refuted: tuple[str, ...]
    is_open: bool
    is_complete: bool

    @property
    def done(self) -> tuple[str, ...]:
        return (*self.refuted, *(job.job_id for job in self.proved))


def look_into(task: Task, client: base.Provider) -> Hints:
    named = task.open_hints
    proved: list[Job] = []
    refuted: list[str] = []
    for hint in _next_of(named, task.polls_done):
        job = _fetch_hint(task, client, hint)
        if job is None:
            continue
        if isinstance(job, Job) and _is_ours(task, client, job):
            proved.append(job)
        else:
            refuted.append(hint)
    is_open = len(proved) + len(refuted) < len(named)
    return Hints(tuple(proved), tuple(refuted), is_open, not is_open and not task.hints_dropped)


def _next_of(named: list[str], polls_done: int) -> list[str]:
    """A few a look, others each time: unknown ones must not crowd out the true one."""
    first = polls_done * _HINTS_A_LOOK % len(named) if named else 0
    return (named[first:] + named[:first])[:_HINTS_A_LOOK]


def _fetch_hint(task: Task, client: base.Provider, hint: str) -> Job | str | None:
    """The job; a word where there surely is none; None where there is no definite answer yet."""
    try:
        job = client.fetch(hint)
    except base.JobNotFound:
        return "no such job" if _is_none_of_its(task, client, hint) else None
    except base.Unavailable as error:
        logger.warning("a hint could not be looked into", job_id=hint, reason=str(error))
        return None
    if client.proves_by_callback_url and job.callback_url is None and options().callbacks:
        return None  # the record says neither that it is ours nor that it is not
    if isinstance(client, base.FindsJobs) and not job.external_id:
        return None
    return job


def _is_none_of_its(task: Task, client: base.Provider, hint: str) -> bool:
    """Does it prove something that the provider knows no such job? For a task that has its own, an
    id that only the vendor behind a gateway knows is that job's other name."""
    is_old = holds.is_past_hiding(task.job_hints[hint], client)
    is_a_name = client.callbacks_name_jobs or bool(task.job_id)
    return is_old and is_a_name and holds.is_same_account(task)


def _is_ours(task: Task, client: base.Provider, job: Job) -> bool:
    """Is it surely this attempt's: it carries our id, or the provider remembers this attempt's
    callback URL?"""
    if client.proves_by_callback_url:
        return links.is_callback_url_of(job.callback_url, task.provider, task.task_id, task.attempt)
    if isinstance(client, base.FindsJobs):
        return job.external_id == task.external_id
    # No proof at the provider: the callback itself, whose address only this attempt was given, and
    # an id if it kept one.
    return job.external_id in {None, "", task.external_id}
