"""On a clock: find what fell through and put it back on its way. Running twice is harmless; it
never pays.

Every step of a task says when it must be looked at, should nothing else happen: those that are due
are read anew and given the push that got lost. The inbox is walked too, for voices and portraits
whose events were lost. What lasts (held tasks, stopped providers, the oldest unfinished task) is
counted anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TypedDict, assert_never

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import providers
from functions.inputs import walk
from functions.settings import options
from functions.tasks import books, executions, gauges, queries, queues, steps, turns
from functions.tasks.table import ConditionFailed, Update, instant, now, stamp
from functions.tasks.task import Status, Task, key_of

logger = Logger()
metrics = Metrics()

_LEFT_MILLISECONDS = 60_000  # kept in hand for what one step may take
_WALK_LEFT_MILLISECONDS = 90_000  # the same for what the walk found


class Swept(TypedDict):
    pushed: int
    found: int


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: Mapping[str, object], context: LambdaContext) -> Swept:
    pushed = 0
    stumbled: list[Exception] = []
    for task_id in queries.due(now()):
        if _is_late(context):
            break
        try:
            pushed += _push(task_id)
        except Exception as error:  # one bad row must not keep the others from being found
            logger.exception("could not push")
            stumbled.append(error)
    logger.remove_keys(["task_id", "attempt"])
    _probe_stopped()
    for name in providers.NAMES:
        turns.hand_on(name, look=True)
    found = _walk_inbox(context)
    gauges.emit()
    metrics.add_metric("Swept", MetricUnit.Count, pushed)
    if stumbled:
        raise ExceptionGroup("tasks that could not be pushed", stumbled)
    return {"pushed": pushed, "found": found}


def _is_late(context: LambdaContext) -> bool:
    return context.get_remaining_time_in_millis() < _LEFT_MILLISECONDS


def _push(task_id: str) -> int:
    # The index lags behind: only the row itself says where the task stands.
    task = queries.load(task_id)
    if task is None or not task.due_at or task.is_waiting or instant(task.due_at) > now():
        return 0
    logger.append_keys(task_id=task_id, attempt=task.attempt)
    logger.info("due", status=task.status)
    try:
        _push_on(task)
    except ConditionFailed:
        logger.info("it moved by itself")
        return 0
    return 1


def _push_on(task: Task) -> None:
    if task.silent_second_jobs:
        _touch(task)
    if task.is_looked_up:
        queues.look_up(task.task_id, task.lookup["at"])
    match task.status:
        case Status.WAITING:
            _waiting(task)
        case Status.READY:
            _send_to_submit(task)
        case Status.IN_PIECES | Status.SUBMITTING | Status.SUBMITTED | Status.ARCHIVING:
            _see_that_it_is_watched(task)
        case Status.HELD:
            _held(task)
        case Status.COMPLETED | Status.FAILED | Status.EXPIRED | Status.CANCELLED:
            _ended(task)
        case _:
            assert_never(task.status)


def _waiting(task: Task) -> None:
    """For a portrait, in vain; or for its own media by URL, whose message was lost."""
    waited = now() - instant(task.created_at)
    if task.imports and waited < timedelta(hours=options().waiting_hours):
        queues.bring_in(task.task_id)
        steps.still_looking(task, seconds=300)
    else:
        steps.expire(task)


def _send_to_submit(task: Task) -> None:
    queues.submit(
        task.task_id, task.not_before, instant(task.not_before) if task.not_before else None
    )
    # Nothing is sent before a callback has its answer; a long voice is cut by an execution.
    watched = task.has_open_callbacks or task.is_long
    revived = executions.see_that_it_runs(task) if watched else ""
    steps.still_looking(task, seconds=300, revived=revived)


def _see_that_it_is_watched(task: Task) -> None:
    steps.still_looking(task, seconds=3600, revived=executions.see_that_it_runs(task))


def _ended(task: Task) -> None:
    """Its event may be missing, or the answer to a callback that came late."""
    if task.announced != task.event_id:
        _touch(task)
        steps.still_looking(task, seconds=1800)
    elif task.open_hints and executions.may_still_come(task):
        _see_that_it_is_watched(task)
    elif task.silent_second_jobs or task.is_looked_up:
        steps.still_looking(task, seconds=1800)
    else:
        steps.rest(task)


def _touch(task: Task) -> None:
    """A touch brings the row through the stream once more; what is announced then is marked."""
    touched = Update(key_of(task.task_id)).set(touched_at=stamp(now()))
    touched.given("attribute_exists(pk)").run()  # a row that was erased must not come back
    metrics.add_metric("AnnouncedLate", MetricUnit.Count, 1)


def _held(task: Task) -> None:
    if task.announced != task.event_id:
        _touch(task)
    if executions.may_still_come(task):
        _see_that_it_is_watched(task)
    else:
        steps.still_looking(task, seconds=86_400)


def _probe_stopped() -> None:
    for name in providers.NAMES:
        if books.trial_is_due(name):
            queues.probe(name)


def _walk_inbox(context: LambdaContext) -> int:
    found = walk.go_on(lambda: context.get_remaining_time_in_millis() > _WALK_LEFT_MILLISECONDS)
    if found:
        logger.warning("voices whose event was lost", count=found)
        metrics.add_metric("FoundInInbox", MetricUnit.Count, found)
    return found
