"""See how far the pieces of a long voice are, and what comes next.

    the task is    and its pieces             then
    READY          are not cut                cut
                   are planned                reserve the whole quote: IN_PIECES; or it waits
    IN_PIECES      are not all opened         open them; each goes the paid way by itself
                   one failed or is held      HELD; `resubmit` of that piece is enough
                   are on their way           wait
                   are all COMPLETED          join
    HELD           none is stopped any more   IN_PIECES

One state of the workflow both waits and looks: its task token is left on the task, where `announce`
finds it when a piece's status changes. A token that got lost costs a look at the next timeout.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict, assert_never

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.tasks import callbacks, claims, executions, pieces, plans, queries, steps, table
from functions.tasks.plans import PiecePlan
from functions.tasks.table import ConditionFailed
from functions.tasks.task import Next, Status, Task, TaskError

logger = Logger()
metrics = Metrics()

_MOST_STUMBLES = 6  # of the join, over an hour: then a person is told, and it is tried on
_MOST_NAMED = 5  # stopped pieces in one message
JOIN_FAILED = "JOIN_FAILED"


class GatherInput(TypedDict):
    task_id: str
    attempt: int
    task_token: str  # Step Functions', lives until the state's timeout
    stumbles: NotRequired[int]  # joins that failed in this execution
    join_error: NotRequired[str]  # the exception of the join that has just failed


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: GatherInput, context: LambdaContext) -> None:
    """Answers by the task token, or leaves it for the next piece that ends."""
    logger.append_keys(task_id=event["task_id"], attempt=event["attempt"])
    task = queries.load(event["task_id"])
    if task is None or task.attempt != event["attempt"] or not task.is_long:
        executions.end_wait(event["task_token"], Next.DONE)
        return
    next = _look(task, event)
    if next is Next.GATHER:
        _sleep(task, event["task_token"])
    else:
        executions.end_wait(event["task_token"], next)


def _look(task: Task, event: GatherInput) -> Next:
    try:
        return _next(task, event)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        # The task moved meanwhile; the next look sees where it stands.
        logger.info("the task moved meanwhile", reasons=list(lost.reasons))
        return Next.GATHER


def _next(task: Task, event: GatherInput) -> Next:
    match task.status:
        case Status.READY:
            return _take(task) if task.plan else Next.CUT
        case Status.IN_PIECES | Status.HELD:
            return _gather(task, event)
        case (
            Status.WAITING
            | Status.SUBMITTING
            | Status.SUBMITTED
            | Status.ARCHIVING
            | Status.COMPLETED
            | Status.FAILED
            | Status.EXPIRED
            | Status.CANCELLED
        ):
            return Next.DONE
        case _:
            assert_never(task.status)


def _take(task: Task) -> Next:
    """The whole is reserved before the first piece is opened; else nothing is."""
    try:
        taken = pieces.take(task)
    except claims.AlreadyClaimed:
        logger.info("the task moved meanwhile")
        return Next.GATHER
    except claims.OverBudget as error:
        logger.warning("refused", code="OVER_BUDGET", reason=str(error))
        steps.refuse(task, "OVER_BUDGET", str(error))
        return Next.DONE
    except claims.ClaimDeferred as deferred:
        logger.info("not now", reason=str(deferred))
        steps.postpone(task, deferred.until, str(deferred), is_news=deferred.is_news)
        return Next.GATHER
    logger.info("reserved", usd=str(taken.quote_usd))
    return _open(taken)


def _open(task: Task) -> Next:
    if task.plan:
        pieces.opened(task, plans.read(task.plan))
    return Next.GATHER


def _gather(task: Task, event: GatherInput) -> Next:
    if task.plan is None:
        raise ValueError(f"task {task.task_id} is {task.status} without a plan")
    plan = plans.read(task.plan)
    found = pieces.opened(task, plan)
    pieces.note_progress(task, found)
    if stopped := [one for one in found if one.status in pieces.STOPPED]:
        return _hold(task, pieces.PIECE_HELD, _words(stopped, len(plan.pieces)))
    if len(found) < len(plan.pieces) and (expected := pieces.expected_bytes(plan, found)):
        return _hold(task, pieces.TOO_LARGE, _too_large(expected, found, plan))
    if task.status is Status.HELD and task.error.get("code") == pieces.PIECE_HELD:
        task = pieces.go_on(task, "no piece is stopped any more")
    made = sum(one.status is Status.COMPLETED for one in found)
    if made < len(plan.pieces):
        return Next.GATHER
    if task.error.get("code") in {pieces.UNFIT, pieces.TOO_LARGE}:
        return Next.GATHER
    if event.get("stumbles", 0) >= _MOST_STUMBLES and event.get("join_error"):
        why = f"the pieces could not be joined ({event['join_error']}): see the log of join; "
        _hold(task, JOIN_FAILED, why + "every piece is made and kept, and it is tried on")
    pieces.all_made(task, pieces.charge_of(found))
    return Next.JOIN


def _hold(task: Task, code: str, message: str) -> Next:
    if task.status is not Status.HELD:
        logger.error("held", code=code, reason=message)
        steps.hold(task, code, message)
    return Next.GATHER


def _too_large(expected: int, found: list[Task], plan: PiecePlan) -> str:
    seconds, most = plan.seconds, pieces.MOST_JOINED_BYTES
    return (
        f"{len(found)} of {len(plan.pieces)} pieces are there, and by what they weigh the video of "
        f"{seconds:.0f} s will have {expected / 1e9:.1f} GB; at most {most / 1e9:.1f} are joined "
        "here. No other piece was paid. Fail the task; then drop a shorter voice, or choose a "
        "smaller resolution"
    )


def _words(stopped: list[Task], count: int) -> str:
    """Which seconds of the voice, what befell each piece, and what to do."""
    lines = [_line(one) for one in stopped[:_MOST_NAMED]]
    more = f"; and {len(stopped) - _MOST_NAMED} more" if len(stopped) > _MOST_NAMED else ""
    return (
        f"{len(stopped)} of {count} pieces stopped: {'; '.join(lines)}{more}. Resubmit each, and "
        "the rest goes on by itself; or fail the task"
    )


def _line(piece: Task) -> str:
    segment = piece.segment
    where = f"{segment['start_seconds']} s to {segment['end_seconds']} s" if segment else ""
    number = segment["number"] if segment else "?"
    error: TaskError = piece.error
    return (
        f"piece {number} ({where}, task {piece.task_id[:8]}) is {piece.status}: "
        f"{error.get('code')} {error.get('message')}"
    )


def _sleep(task: Task, task_token: str) -> None:
    after = callbacks.leave_token(task, task_token, queried=False, is_answered=False)
    if after.pieces_changed > task.pieces_changed or after.changed_at != task.changed_at:
        # A piece ended meanwhile, and found no token or an old one; or this very look changed it.
        executions.end_wait(task_token, Next.GATHER)
