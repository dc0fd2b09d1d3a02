"""A task is ready: presign its media, pay once, remember.

The order is the protocol. The claim stands in the table before anything leaves; then exactly one
POST, which no layer repeats; then what came of it. A crash at any point leaves a row that says how
far it came, and whatever finds it reconciles without a second POST.
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import secrets
from functions.jobs import lookup, outcomes, payment, withdrawal
from functions.providers import base
from functions.settings import options
from functions.tasks import books, claims, executions, queries, queues, steps, turns
from functions.tasks.slots import Turn
from functions.tasks.table import ConditionFailed, instant, now, stamp
from functions.tasks.task import Status, Task

logger = Logger()
metrics = Metrics()

_LOOK_AGAIN_SECONDS = 60


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: queues.Batch, context: LambdaContext) -> queues.BatchAnswer:
    return queues.each(event, _message)


def _message(body: str) -> None:
    message = json.loads(body)
    logger.remove_keys(["task_id", "attempt"])
    if "probe" in message:
        _probe(message["probe"])
    elif "accepted" in message:
        outcomes.take_over(message)
    elif "look_up" in message:
        lookup.look_up(message)
    elif "refused" in message:
        outcomes.write_refusal(message)
    else:
        _submit(message["task_id"], message.get("turn", ""), message.get("at"))


def _submit(task_id: str, turn: str, at: int | None) -> None:
    task = queries.load(task_id)
    if task is None or task.status is not Status.READY or turn != task.not_before:
        return  # a leftover: the task was claimed, or its turn is another
    logger.append_keys(task_id=task.task_id, attempt=task.attempt)
    if turn and instant(turn) > now() + timedelta(seconds=1):
        queues.submit(task_id, turn, instant(turn))
        return
    try:
        if task.is_long:
            _cut(task)
            return
        claims.check(task, Decimal(task.quote_usd or 0))
        if taken := turns.take(task, at):
            _use(taken, task)
    except claims.OverBudget as error:
        _end_unclaimed(task, "OVER_BUDGET", str(error))
    except claims.ParentOver as over:
        _end_piece(task, str(over))
    except claims.ClaimDeferred as deferred:
        _come_back(task, deferred)


def _use(turn: Turn, task: Task) -> None:
    """Claim the task and pay, then call whoever may come next. A turn that nothing came of is given
    back."""
    try:
        if _is_held_up(task):
            turns.give_back(turn)
        else:
            payment.pay(claims.claim(task, Decimal(task.quote_usd or 0)))
    except claims.AlreadyClaimed:
        logger.info("already claimed, or a callback is not answered yet")
    except (claims.ClaimDeferred, claims.OverBudget, claims.ParentOver):
        turns.give_back(turn)
        raise
    except claims.TurnLapsed:
        turns.line_up(task)
    turns.hand_on(task.provider)


def _is_held_up(task: Task) -> bool:
    """What stands against the claim before it is tried: a re-send that is not allowed any more, a
    callback without an answer, media that their owner took back."""
    if task.first_sent_at and not _may_resend(task):
        steps.hold(
            task,
            "AMBIGUOUS",
            f"the answer of {task.provider} to the submit was lost, and the same id may not be "
            "sent again: look there whether a job exists",
        )
        return True
    if task.has_open_callbacks:
        why = "a callback of this attempt is looked into first"
        executions.start(task)
        raise claims.ClaimDeferred(why, now() + timedelta(seconds=_LOOK_AGAIN_SECONDS))
    return withdrawal.is_withdrawn(task)


def _may_resend(task: Task) -> bool:
    longest = timedelta(hours=options().ambiguous_hold_hours)
    in_time = now() - instant(task.first_sent_at) <= longest
    return options().resend_same_id and in_time and not task.callbacks_received


def _end_unclaimed(task: Task, code: str, message: str) -> None:
    logger.warning("refused", code=code, reason=message)
    if task.first_sent_at:
        steps.hold(task, "AMBIGUOUS", f"{message}; an earlier POST of it is in doubt")
    else:
        steps.refuse(task, code, message)


def _cut(task: Task) -> None:
    """A long voice is never sent itself: an execution of its own cuts it, and its pieces come
    here."""
    if not withdrawal.is_withdrawn(task):
        executions.start(task)


def _end_piece(task: Task, why: str) -> None:
    """Its parent ended before it was paid: it is not paid any more."""
    try:
        steps.cancel(task, code="PARENT_ENDED", message=f"{why}; nothing was paid")
    except ConditionFailed:
        steps.hold(task, "AMBIGUOUS", f"{why}; an earlier POST of it is in doubt")


def _come_back(task: Task, deferred: claims.ClaimDeferred) -> None:
    logger.info("not now", reason=str(deferred))
    # The message goes first: were the task written first, a crash between the two would strand it
    # until the sweep.
    queues.submit(task.task_id, stamp(deferred.until), deferred.until)
    try:
        steps.postpone(task, deferred.until, str(deferred), is_news=deferred.is_news)
    except ConditionFailed:
        logger.info("the task was claimed meanwhile")


def _probe(provider: str) -> None:
    """A stopped provider is tried by a free query; only when it passes may tasks be paid again."""
    if books.stopped_since(provider) is None:
        return
    try:
        secrets.has_changed(provider)
        client = secrets.client(provider)
        client.probe()
        left = client.balance_usd() if client.tells_balance else None
    except base.ProviderError as error:
        logger.warning("provider still stopped", provider=provider, reason=str(error))
        return
    if left is not None and left < books.needed_usd(provider):
        logger.warning("provider still stopped: too little is left", provider=provider)
        return
    books.reopen(provider)
