"""Query the provider for a task's job, or wait for the callback.

One state of the workflow both waits and queries. A final answer goes on to the archive or ends the
task; otherwise the workflow's task token is left on the task, where a callback finds it, and the
state sleeps until the callback or its timeout.

    the task is         and the provider says      then
    SUBMITTING          (its submit is in doubt)   find the job by our own id or by the callback
                                                   that proves it; else wait, and after
                                                   `ambiguous_hold_hours` HELD
    READY               (a callback came)          a job that is ours was accepted after all:
                                                   SUBMITTED; no answer for hours: HELD
    SUBMITTED           running, or unknown word   wait; after `silent_hold_hours` HELD, and wait on
    ARCHIVING           (the copy failed)          a fresh link; after `silent_hold_hours`, or the
                                                   same verdict on two whole downloads, HELD, and
                                                   tried on until the provider's retention ends
    HELD FAILED         (a late callback)          success → ARCHIVING after all
    CANCELLED
    COMPLETED           (a callback of another     one more job of this attempt: announced as a
                        job)                       possible second charge
"""

from __future__ import annotations

from datetime import timedelta
from typing import NotRequired, TypedDict

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import secrets
from functions.jobs import follow, holds, reconcile
from functions.jobs.follow import Look
from functions.providers import base
from functions.tasks import books, callbacks, executions, queries, table
from functions.tasks.executions import Interrupt
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import Next, Status, Task

logger = Logger()
metrics = Metrics()


class WatchInput(TypedDict):
    task_id: str
    attempt: int  # from 1
    task_token: str  # Step Functions', lives until the state's timeout
    polls_done: int  # queries made by this execution so far
    stumbles: NotRequired[int]  # copies that failed in this execution
    archive_error: NotRequired[str]  # the exception of the copy that has just failed
    definition: NotRequired[int]  # from 2 on it catches `Interrupt`; without, it reads `next`


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: WatchInput, context: LambdaContext) -> None:
    """Answers by the task token, or leaves it for the callback."""
    logger.append_keys(task_id=event["task_id"], attempt=event["attempt"])
    task = queries.load(event["task_id"])
    if task is None or task.attempt != event["attempt"] or _is_over(task):
        _end(event, Next.DONE)
        return
    if task.status is Status.ARCHIVING:
        task = holds.hold_unarchived(task, event.get("archive_error", ""), event.get("stumbles", 0))
    queried = _is_due(task, event)
    look = _look(task) if queried else Look(Next.WATCH)
    if look.next is not Next.WATCH:
        _keep_answers(task, look)
        _end(event, look.next)
        return
    _sleep(task, event, look, queried=queried)


def _end(event: WatchInput, next: Next, *, soon_seconds: float = 0) -> None:
    """End the wait of this state, in the way that its execution knows."""
    token = event["task_token"]
    if next is Next.ARCHIVE or "definition" not in event:
        executions.end_wait(token, next, soon_seconds=soon_seconds)
        return
    why = Interrupt.LOOK_AGAIN if next is Next.WATCH else Interrupt.OVER
    executions.interrupt(token, why, soon_seconds=soon_seconds)


def _is_over(task: Task) -> bool:
    match task.status:
        case Status.EXPIRED | Status.WAITING:
            return True
        case Status.COMPLETED:
            return not task.open_hints
        case _:
            return False


def _is_due(task: Task, event: WatchInput) -> bool:
    """The first invocation never queries the provider: no job is done at once, and some cannot even
    be found yet. Callbacks in a flood are answered by one query a while."""
    pause = timedelta(seconds=task.query_pause_seconds)
    if pause and task.last_query_at and now() - instant(task.last_query_at) < pause:
        return False
    return event["polls_done"] > 0 or task.has_open_callbacks or bool(task.doubt)


def _sleep(task: Task, event: WatchInput, look: Look, *, queried: bool) -> None:
    token = event["task_token"]
    try:
        after = callbacks.leave_token(
            task, token, queried=queried, is_answered=look.is_answered, done=look.done
        )
    except ConditionFailed:
        _end(event, Next.DONE)
        return
    if after.callbacks_received > task.callbacks_received:
        # A callback came during the query, and found no token or an old one.
        _end(event, Next.WATCH, soon_seconds=after.query_pause_seconds)


def _keep_answers(task: Task, look: Look) -> None:
    is_answer = look.next is Next.DONE and look.is_answered and task.has_open_callbacks
    if not look.done and not is_answer:
        return
    try:
        callbacks.answer(task, is_answered=look.is_answered, done=look.done)
    except ConditionFailed:
        logger.info("a person began another attempt meanwhile")


def _look(task: Task) -> Look:
    try:
        return _ask(task)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        # The task moved during the query; the next look sees where it stands.
        logger.info("the task moved meanwhile", reasons=list(lost.reasons))
        return Look(Next.WATCH)


def _ask(task: Task) -> Look:
    try:
        client = secrets.client(task.provider)
        return follow.known(task, client) if task.job_id else reconcile.reconcile(task, client)
    except base.AccountRejected as error:
        if not secrets.has_changed(task.provider):
            metrics.add_metric("AccountRejected", MetricUnit.Count, 1)
            books.stop(task.provider, str(error))
    except base.Unavailable as error:
        logger.warning("the query failed", reason=str(error))
    return Look(holds.hold_doubtful(task) or holds.overdue(task))
