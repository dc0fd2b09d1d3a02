"""A job beside the task's own: its other name at a gateway, or one more than there may be."""

from __future__ import annotations

from collections.abc import Iterable

from aws_lambda_powertools import Logger

from functions import providers, secrets
from functions.providers import base
from functions.providers.base import Job, JobStatus
from functions.tasks import callbacks, table
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Task

logger = Logger(child=True)


def may_have_two_names(provider: str) -> bool:
    """Does it pass on the callbacks of the vendor behind it, who has ids of his own?"""
    kind = providers.get(provider)
    return not (issubclass(kind, base.FindsJobs) or kind.proves_by_callback_url)


def note(task: Task, client: base.Provider, proved: Iterable[Job]) -> None:
    """Jobs that are proved to be this attempt's, beside its own."""
    for other in proved:
        if _is_another_name(task, client, other):
            callbacks.note_alias(task, other.job_id)
        else:
            why = f"proved to be of the same attempt as {task.job_id}, and {other.status}"
            note_second(task, other.job_id, why)


def note_if_other_name(task: Task, job_id: str) -> bool:
    """Whether the job that a POST was answered with is the task's own, by the name that the gateway
    gave it: a callback had named it by the vendor's. Raises ProviderError while that is unknown."""
    if not task.job_id or not may_have_two_names(task.provider):
        return False
    client = secrets.client(task.provider)
    if not _is_another_name(task, client, client.fetch(job_id)):
        return False
    try:
        callbacks.note_alias(task, job_id)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        return False  # it has its other name already
    return True


def not_failed(task: Task, client: base.Provider) -> str:
    """One of the attempt's second jobs that did not fail, as far as is known; empty where all did.
    Raises Unavailable."""
    rest = (job_id for job_id in task.second_jobs if job_id != task.job_id)
    return next((job_id for job_id in rest if not _failed(client, job_id)), "")


def _failed(client: base.Provider, job_id: str) -> bool:
    try:
        return client.fetch(job_id).status is JobStatus.FAILED
    except base.JobNotFound:
        return False  # it was there once


def _is_another_name(task: Task, client: base.Provider, other: Job) -> bool:
    """It is no second job unless it was made at another time."""
    if not may_have_two_names(task.provider):
        return False
    made_at = client.fetch(task.job_id).created_at
    if made_at and other.created_at:
        return made_at == other.created_at
    return task.job_id not in task.job_hints and task.job_alias in {"", other.job_id}


def note_second(task: Task, job_id: str, why: str) -> None:
    """One more job of an attempt than there may be: announced as a possible second charge."""
    logger.error("a second job of one attempt", job_id=job_id, reason=why)
    try:
        callbacks.note_second_job(task, job_id, why)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        logger.info("noted already, or the attempt is over", job_id=job_id)
