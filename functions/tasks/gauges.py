"""What lasts, as metrics that are emitted anew at every sweep: a change is counted once, a state
must be seen until it ends."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from functions import providers
from functions.settings import options
from functions.tasks import books, queries
from functions.tasks.table import instant, now
from functions.tasks.task import Status

logger = Logger(child=True)
metrics = Metrics()

_HOUR = 3600


def _longest_hours() -> dict[Status, float]:
    """How long a task may stay where it is: what is older is stuck, whatever else is well. A
    doubtful or silent task is HELD by then, which has an alarm of its own."""
    submitted = options().silent_hold_hours + 6
    return {
        Status.READY: 24,
        Status.SUBMITTING: options().ambiguous_hold_hours + 1,
        Status.SUBMITTED: submitted,
        Status.ARCHIVING: 6,
        # Each piece may be as long in the others as they allow; one that stops holds the whole.
        Status.IN_PIECES: 24 + submitted + 6,
    }


def emit() -> None:
    metrics.add_metric("HeldTasks", MetricUnit.Count, queries.count(Status.HELD))
    stopped = [name for name in providers.NAMES if books.stopped_since(name) is not None]
    metrics.add_metric("StoppedProviders", MetricUnit.Count, len(stopped))
    longest = _longest_hours()
    overdue = [status for status, hours in longest.items() if _oldest(status) > hours * _HOUR]
    metrics.add_metric("OverdueTasks", MetricUnit.Count, len(overdue))
    if overdue:
        logger.error("tasks are overdue", statuses=overdue)
    if caps := books.caps():
        shares = [100 * books.spent(period) / cap for period, cap in caps.items() if cap]
        used = max(shares, default=100)  # a cap of 0 lets nothing out
        metrics.add_metric("BudgetUsedPercent", MetricUnit.Percent, float(used))


def _camel(status: Status) -> str:
    return status.title().replace("_", "")


def _oldest(status: Status) -> float:
    """How long the oldest task has been in this status, in seconds; 0 where there is none."""
    since = queries.longest_since(status)
    seconds = (now() - instant(since)).total_seconds() if since else 0.0
    metrics.add_metric(f"Oldest{_camel(status)}Seconds", MetricUnit.Seconds, seconds)
    return seconds
