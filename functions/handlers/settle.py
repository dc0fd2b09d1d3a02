"""The video lies in the archive, proved: record the final word and close the books.

Run twice, it changes nothing: the first word counts.
"""

from __future__ import annotations

from typing import TypedDict

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.tasks import claims, pieces, polls, queries, reuse, table
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import ArchivedVideo, Next, Task

logger = Logger()
metrics = Metrics()


class SettleInput(TypedDict):
    task_id: str
    attempt: int
    archived: ArchivedVideo  # empty: another execution owns this task now


class SettleOutput(TypedDict):
    next: Next


_DONE: SettleOutput = {"next": Next.DONE}


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: SettleInput, context: LambdaContext) -> SettleOutput:
    """Raises when the task's row is busy: the workflow repeats it."""
    logger.append_keys(task_id=event["task_id"], attempt=event["attempt"])
    task = queries.load(event["task_id"])
    if task is None or task.attempt != event["attempt"] or not event["archived"]:
        return _DONE
    if not (task.wants_its_archive or pieces.may_join(task)):
        return _DONE
    archived = event["archived"].copy()
    if archived.pop("job_id", task.job_id) != task.job_id:
        logger.warning("a copy of another job than the task's: it was corrected meanwhile")
        return _DONE
    complete = pieces.complete if task.is_long else claims.complete
    try:
        completed = complete(task, archived)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        logger.info("the task moved meanwhile")
        return _DONE
    if not completed.is_long:
        polls.keep(completed)
        reuse.keep(completed)
    _count(completed)
    return _DONE


def _count(task: Task) -> None:
    """A long voice is one video, and its pieces are what was spent on it."""
    seconds = (now() - instant(task.created_at)).total_seconds()
    if not task.is_long:
        spent = task.counted_usd if task.counted_usd is not None else task.quote_usd
        metrics.add_metric("SpentUsd", MetricUnit.NoUnit, float(spent or 0))
    if not task.parent:
        metrics.add_metric("Completed", MetricUnit.Count, 1)
        metrics.add_metric("SecondsToVideo", MetricUnit.Seconds, seconds)
    logger.info("completed", seconds=round(seconds, 3))
