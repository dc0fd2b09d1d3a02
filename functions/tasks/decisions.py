"""What a person may decide about a task: adopt, resubmit, fail, reopen a provider. Each is
one conditional write, with who and why in the task's history.

The table is the referee here too: what changed since the person looked is not overwritten, the
decision is refused.
"""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

from functions import TalkdropError, providers
from functions.settings import options
from functions.tasks import (
    adoption,
    books,
    claims,
    executions,
    pieces,
    queries,
    queues,
    steps,
    table,
)
from functions.tasks.table import ConditionFailed, instant, now
from functions.tasks.task import LATE, TERMINAL, Status, Task, TaskError

BY_HAND = "FAILED_BY_HAND"
OVER_BUDGET = "OVER_BUDGET"
_NEVER_SENT = (
    "nothing was ever sent for this task, so no job can be its own; only after a restore it may "
    "be, while submitting is switched off (docs/operations.md)"
)
_CHANGED = "the task changed meanwhile and nothing was written: look again"


class Refused(TalkdropError):
    """This cannot be done, or not yet, or not without accepting a risk; the message says which."""


def possible(task: Task) -> dict[str, str]:
    """The decisions that this task's status allows now, each with its risk in words."""
    if task.plan and not task.never_intended:
        return _possible_of_whole(task)
    match task.status:
        case Status.HELD:
            return {"adopt": _ADOPT_RISK, "resubmit": doubt_of(task), "fail": _FAIL_RISK}
        case Status.FAILED if not task.never_intended:
            return {"adopt": _ADOPT_RISK, "resubmit": doubt_of(task) or _PAID_ANEW}
        case Status.SUBMITTING if instant(task.lease_until or task.changed_at) <= now():
            return {"adopt": _ADOPT_RISK}
        case Status.WAITING | Status.READY if not task.parent:
            return {"cancel": _CANCEL_RISK}
        case (
            Status.WAITING
            | Status.READY
            | Status.IN_PIECES
            | Status.SUBMITTING
            | Status.SUBMITTED
            | Status.ARCHIVING
            | Status.COMPLETED
            | Status.FAILED
            | Status.EXPIRED
            | Status.CANCELLED
        ):
            return {}
        case _:
            assert_never(task.status)


def _possible_of_whole(task: Task) -> dict[str, str]:
    if task.status not in {Status.IN_PIECES, Status.HELD}:
        return {}
    if task.status is Status.IN_PIECES:
        return {"cancel": _CANCEL_PIECES_RISK}
    anew = {"resubmit": doubt_of(task)} if task.unfit else {}
    return {**anew, "fail": _FAIL_PIECES_RISK, "cancel": _CANCEL_PIECES_RISK}


_CANCEL_RISK = "nothing was sent and nothing is charged; it cannot be undone"
_ADOPT_RISK = "the job's video becomes this task's: look at the provider that it is the right job"
_FAIL_RISK = "a video that comes all the same is still archived; what it was quoted stays spent"
_PAID_ANEW = "a new attempt is paid anew"
_CANCEL_PIECES_RISK = "pieces that are not paid yet are never sent; what is paid stays paid"
_FAIL_PIECES_RISK = f"there will be no video of the whole; {_CANCEL_PIECES_RISK}"


def usual_seconds(task: Task) -> int | None:
    """How long the task's model usually needs."""
    if task.provider not in providers.NAMES:
        return None
    model = providers.get(task.provider).models.get(task.model)
    return model.usual_seconds if model else None


def adopt(task: Task, job_id: str, who: str, why: str) -> str:
    """This job, found at the provider, is the one whose answer was lost. The provider is queried
    for it first, by the function that holds its key."""
    check_adoption(task, job_id)
    try:
        named = adoption.look_up(task, job_id, who=who, why=why)
    except ConditionFailed as lost:
        raise Refused(_CHANGED) from lost
    queues.look_up(task.task_id, named.lookup["at"])
    return f"{task.provider} is queried about job {job_id}; explain shows whether it was adopted"


def check_adoption(task: Task, job_id: str) -> None:
    """Raises Refused where this task cannot take over that job as it stands."""
    if task.is_long:
        raise Refused("a long voice has no job of its own: adopt the job for the piece it is of")
    if task.never_intended and (task.status is not Status.READY or options().submit_enabled):
        raise Refused(_NEVER_SENT)
    if task.status is Status.SUBMITTING and instant(task.lease_until) > now():
        raise Refused(f"its submit may still be under way until {task.lease_until}: wait")
    if task.job_id and task.job_id != job_id:
        _check_correction(task, job_id)
    elif task.status not in {Status.READY, Status.SUBMITTING, *LATE}:
        raise Refused(
            f"the task is {task.status}: only one that is READY, SUBMITTING, HELD, FAILED or "
            "CANCELLED can take over a job"
        )


def _check_correction(task: Task, job_id: str) -> None:
    is_another = task.adopted_by or job_id in task.second_jobs
    if not is_another or task.status not in adoption.CORRECTABLE:
        raise Refused(
            f"attempt {task.attempt} has the job {task.job_id} already: a job id is written once, "
            "unless a person adopted it, or this is a second job of the attempt, and the task is "
            "SUBMITTED, HELD or FAILED"
        )


def take_over(task: Task) -> Task:
    """Adopt the job that a person named, after the provider answered for it. Raises Refused."""
    job_id, who, why = (task.lookup[name] for name in ("job_id", "who", "why"))
    check_adoption(task, job_id)
    try:
        if task.job_id and task.job_id != job_id:
            return adoption.correct(task, job_id, who=who, why=why)
        return adoption.adopt(task, job_id, come_from=[task.status], who=who, why=why)
    except ConditionFailed as lost:
        if table.is_busy(lost):
            raise
        raise Refused(_why_not_adopted(task, job_id, lost)) from lost


def cancel(task: Task, who: str, why: str) -> str:
    """Take a task back before anything of it is paid. Again is harmless."""
    if task.status is Status.CANCELLED:
        return "CANCELLED already"
    if task.is_long and task.status in {Status.IN_PIECES, Status.HELD}:
        return _end_pieces(task, Status.CANCELLED, "CANCELLED", who, f"cancelled: {why}")
    if task.parent and not _has_ended(task.parent):
        raise Refused(f"this is a piece of {task.parent}: cancel that task")
    if task.status not in {Status.WAITING, Status.READY}:
        raise Refused(f"the task is {task.status}: only a WAITING or READY one can be cancelled")
    try:
        steps.cancel(task, message=f"cancelled before it was sent: {why}", who=who)
    except ConditionFailed as lost:
        raise Refused(
            "the task was sent meanwhile, or an earlier submit of it is in doubt: look again with "
            "explain"
        ) from lost
    return "CANCELLED; nothing of it was paid"


def _has_ended(task_id: str) -> bool:
    task = queries.load(task_id)
    return task is None or task.status in TERMINAL


def _why_not_adopted(task: Task, job_id: str, lost: ConditionFailed) -> str:
    if len(lost.reasons) > 1 and lost.reasons[1] == "ConditionalCheckFailed":
        return f"job {job_id} of {task.provider} is another task's"
    return _CHANGED


def resubmit(task: Task, who: str, why: str, *, accepts_a_second_charge: bool) -> str:
    """One more attempt, paid anew. Where the last one may have been paid, only if that is
    accepted."""
    if task.is_long and not task.never_intended:
        return _make_piece_anew(task, who, why, accepts_a_second_charge=accepts_a_second_charge)
    if task.status not in {Status.FAILED, Status.HELD}:
        raise Refused(f"the task is {task.status}: only a FAILED or HELD one can be sent again")
    if task.never_intended and task.error.get("code") != OVER_BUDGET:
        raise Refused(
            "nothing was ever sent for this task: mend or replace its files, and it goes on by "
            "itself"
        )
    doubt = doubt_of(task)
    if doubt and not accepts_a_second_charge:
        raise Refused(f"{doubt}. To accept that, add --i-accept-a-second-charge")
    try:
        ready = claims.resubmit(task, who=who, why=f"attempt {task.attempt + 1}: {why}")
    except ConditionFailed as lost:
        raise Refused(_CHANGED) from lost
    queues.submit(ready.task_id, ready.not_before)
    return f"READY for attempt {ready.attempt}, and in the submissions queue"


def _make_piece_anew(task: Task, who: str, why: str, *, accepts_a_second_charge: bool) -> str:
    """The one decision about a whole that pays: a piece was made and does not fit."""
    if task.status is not Status.HELD or not task.unfit:
        raise Refused(
            f"the task is {task.status}, and made in pieces: resubmit the piece that failed or is "
            "held, which explain names; the rest goes on by itself"
        )
    if not accepts_a_second_charge:
        raise Refused(f"{doubt_of(task)}. To accept that, add --i-accept-a-second-charge")
    try:
        remade = pieces.remake(task, task.unfit, who=who, why=why)
    except ConditionFailed as lost:
        raise Refused(_CHANGED) from lost
    executions.resume(remade)
    return f"piece {task.unfit} is made anew; the whole goes on by itself"


def _end_pieces(task: Task, to: Status, code: str, who: str, why: str) -> str:
    """The whole ends; those of its pieces that are not paid yet end with it."""
    try:
        pieces.end(task, to, TaskError(code=code, message=why), who)
    except ConditionFailed as lost:
        raise Refused(_CHANGED) from lost
    cancelled, paid = pieces.cancel_unpaid(task, who)
    return (
        f"{to}; {cancelled} pieces were not paid and never will be, {paid} are paid or on their way"
    )


def doubt_of(task: Task) -> str:
    """Why another attempt could be a second charge; empty where the provider itself refused the
    last one."""
    if task.is_long and task.status is Status.HELD:
        return _doubt_of_whole(task)
    check = f"look at {task.provider} first"
    if task.status is Status.HELD:
        return (
            f"attempt {task.attempt} is held ({task.error.get('code')}) and may have been "
            f"charged: {check}"
        )
    if task.error.get("code") == BY_HAND:
        return (
            f"attempt {task.attempt} was failed by a person, so it may have been charged: {check}"
        )
    if task.callbacks_received > task.callbacks_handled:
        return (
            f"a genuine callback for attempt {task.attempt} came and was not handled yet: wait, "
            f"or {check}"
        )
    return ""


def fail(task: Task, who: str, why: str) -> str:
    """Give the task up. A video that comes all the same is still archived."""
    if task.status is not Status.HELD:
        raise Refused(f"the task is {task.status}: only a HELD one waits for this decision")
    if task.is_long:
        return _end_pieces(task, Status.FAILED, BY_HAND, who, why)
    is_known = task.charge_usd is not None
    charge_usd = Decimal(task.charge_usd or 0) if is_known else None
    try:
        claims.fail(task, BY_HAND, why, come_from=[Status.HELD], who=who, charge_usd=charge_usd)
    except ConditionFailed as lost:
        raise Refused(_CHANGED) from lost
    return f"FAILED; what it was {'charged' if is_known else 'quoted'} stays counted as spent"


def _doubt_of_whole(task: Task) -> str:
    if task.unfit:
        return (
            f"piece {task.unfit} was made and paid, and does not fit: to make it anew is paid anew"
        )
    return "it goes on by itself once the pieces that stopped are resubmitted, or adopted"


def reopen(provider: str, who: str) -> str:
    """Submit to this provider again."""
    if provider not in providers.NAMES:
        raise Refused(f"there is no provider {provider!r}; there are: {', '.join(providers.NAMES)}")
    if not books.reopen(provider, who):
        raise Refused(f"{provider} is not stopped")
    return (
        f"{provider} is open again; its waiting tasks come back by themselves, the first within "
        "six minutes"
    )
