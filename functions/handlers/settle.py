"""The video lies in the archive, proved: record the final word and close the books.

Run twice, it changes nothing: the first word counts.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.tasks import claims, queries
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import Status

logger = Logger()
metrics = Metrics()


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`event`: task_id, attempt, archived. Raises when the task's row is busy: the workflow asks
    again."""
    task = queries.load(event["task_id"])
    is_ours = (
        task is not None and task.status is Status.ARCHIVING and task.attempt == event["attempt"]
    )
    # Nothing archived: the archive saw the task elsewhere, so whoever brought it back here has an
    # execution of his own.
    if task is None or not is_ours or not event["archived"]:
        return {"next": "done"}
    try:
        claims.complete(task, event["archived"])
    except ConditionFailed as lost:
        if "TransactionConflict" in lost.reasons:
            raise
        logger.info("somebody was first", task_id=task.task_id)
        return {"next": "done"}
    whole = (now() - instant(task.created_at)).total_seconds()
    metrics.add_metric("Completed", MetricUnit.Count, 1)
    metrics.add_metric("SecondsToVideo", MetricUnit.Seconds, whole)
    logger.info("completed", task_id=task.task_id, seconds=round(whole, 3))
    return {"next": "done"}
