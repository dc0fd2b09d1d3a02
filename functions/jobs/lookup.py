"""A job that a person named: the provider is queried for it before the task takes it over."""

from __future__ import annotations

from aws_lambda_powertools import Logger

from functions import links, secrets
from functions.providers import base
from functions.providers.base import Job
from functions.tasks import adoption, decisions, executions, queries, queues, steps
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Task

logger = Logger(child=True)

_QUERIED_AGAIN_SECONDS = 300


def look_up(message: queues.LookUp) -> None:
    """Adopt it, or refuse it in words that explain and the API show."""
    task = queries.load(message["task_id"])
    if task is None or not task.is_looked_up or task.lookup["at"] != message["look_up"]:
        return  # answered already, or another job was named since
    logger.append_keys(task_id=task.task_id, attempt=task.attempt)
    try:
        refusal = _refusal(task)
    except base.Unavailable as error:
        _later(task, error)
        return
    if not refusal:
        try:
            executions.resume(decisions.take_over(task))
            return
        except decisions.Refused as refused:
            refusal = str(refused)
    logger.warning("not adopted", job_id=task.lookup["job_id"], reason=refusal)
    try:
        adoption.refuse(task, refusal)
    except ConditionFailed:
        logger.info("another job was named meanwhile")


def _later(task: Task, error: base.Unavailable) -> None:
    """The sweep sends the message again."""
    logger.warning("the query failed", reason=str(error))
    try:
        steps.still_looking(task, seconds=_QUERIED_AGAIN_SECONDS)
    except ConditionFailed:
        logger.info("the task moved meanwhile")


def _refusal(task: Task) -> str:
    """Why the provider's answer speaks against it; empty where it does not."""
    job_id = task.lookup["job_id"]
    try:
        job = secrets.client(task.provider).fetch(job_id)
    except base.JobNotFound as error:
        return f"{task.provider} knows no job {job_id} of this account ({error})"
    except base.AccountRejected as error:
        return f"{task.provider} could not be queried: {error}; then adopt it again"
    other = _task_named_by(job)
    if other in {"", task.task_id} or queries.load(other) is None:
        return ""  # its own, or of a table that is gone: the person's word counts
    return f"job {job_id} of {task.provider} was made for task {other}"


def _task_named_by(job: Job) -> str:
    """The task that the provider's record of the job names; empty where it names none."""
    by_url = links.task_of_callback_url(job.callback_url or "")
    return by_url or (job.external_id or "").rpartition("-")[0]
