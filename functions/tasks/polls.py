"""When to query a provider for a running job: learnt from the jobs of the same model that this
stack saw end.

Where callbacks come, a query is insurance: the first when 95 of 100 jobs have ended, then one a
minute. Where none come, the first when 5 of 100 have, then every 18 s. Growing delays would be the
wrong shape: the chance that it is done rises with age. Until 30 jobs are known, the model's own
numbers stand in.

A row a model (`durations#…`) keeps the latest jobs, each in a place by its task's id: seconds from
the acceptance to the end, and whether a callback told of it.
"""

from __future__ import annotations

import zlib

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from functions import providers
from functions.settings import options
from functions.tasks import table
from functions.tasks.table import Update, instant
from functions.tasks.task import Task

logger = Logger(child=True)

_KEPT = 64
_ENOUGH = 30
_INSURANCE_SECONDS = 60
_STEADY_SECONDS = 18
_CALLBACKS_COME = 0.9  # of the jobs; below that they are not relied on


def of_its_model(task: Task) -> dict[str, float]:
    """By the model's own numbers, in seconds: the `first` query, then `steady` ones, and `slow`
    ones once the job is `slow_after` old."""
    first, usual = _own(task)
    return _schedule(first, usual, 4 * usual, comes=options().callbacks)


def learnt(task: Task) -> dict[str, float]:
    """By the jobs that are known, where they are enough. What cannot be read is not waited for."""
    try:
        item = table.read(_row(task)) or {}
    except (BotoCoreError, ClientError):
        logger.exception("how long such jobs take could not be read")
        return of_its_model(task)
    jobs = [job for name, job in item.items() if name.startswith("job_")]
    if len(jobs) < _ENOUGH:
        return of_its_model(task)
    seconds = sorted(float(job[0]) for job in jobs)
    early, late = (seconds[int(share * (len(seconds) - 1))] for share in (0.05, 0.95))
    comes = options().callbacks and sum(job[1] for job in jobs) >= _CALLBACKS_COME * len(jobs)
    return _schedule(early, late, 4 * max(late, _own(task)[1]), comes=comes)


def keep(task: Task) -> None:
    """Keep how long the job of this completed task took. One that a query found had ended before
    it: half a pause before, or, if it was the first query, it is not known when."""
    if not task.submitted_at or not task.archiving_since or task.adopted_by:
        return
    took = (instant(task.archiving_since) - instant(task.submitted_at)).total_seconds()
    if not task.callbacks_received:
        took -= _STEADY_SECONDS / (2 if task.polls_done else 1)
    place = zlib.crc32(task.task_id.encode()) % _KEPT
    job = [round(max(1.0, took), 1), int(task.callbacks_received > 0)]
    try:
        Update(_row(task)).set(**{f"job_{place}": job}).run()
    except (BotoCoreError, ClientError):
        logger.exception("how long the job took could not be kept")


def _schedule(early: float, late: float, slow_after: float, *, comes: bool) -> dict[str, float]:
    first, steady = (late, _INSURANCE_SECONDS) if comes else (early, _STEADY_SECONDS)
    schedule = {"first": first, "steady": steady, "slow": 300, "slow_after": slow_after}
    return {**schedule, **options().polls}


def _own(task: Task) -> tuple[float, float]:
    # A deployment may have taken the model away meanwhile.
    model = providers.get(task.provider).models.get(task.model)
    return (model.first_seconds, model.usual_seconds) if model else (60, 360)


def _row(task: Task) -> str:
    return f"durations#{task.provider}#{task.model}"
