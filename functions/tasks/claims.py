"""The claim before the paid POST, and how an attempt ends.

One transaction claims the task (READY → SUBMITTING) together with a lease for a running job in
place of its turn, the budget of the day and the month, and a closed circuit breaker: all of it or
none. The transaction that ends an attempt gives the lease back and settles the quote to the actual
charge. A lease lapses by itself, so that a crash leaks nothing and nothing can go below zero.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from functions import TalkdropError
from functions.settings import options
from functions.tasks import books, queries, reserve, slots, steps, table, turns
from functions.tasks.table import ConditionFailed, Request, Update, later, now, stamp
from functions.tasks.task import (
    ArchivedVideo,
    PastAttempt,
    Status,
    Task,
    TaskError,
)

MOST_RESENDS = 2


class AlreadyClaimed(TalkdropError):
    """The task is not READY for this attempt any more: another invocation has it."""


class ClaimDeferred(TalkdropError):
    """Not now: come back at `until`. Costs no attempt. `is_news`: the reason lasts, and is worth an
    event."""

    def __init__(self, why: str, until: datetime, *, is_news: bool = False) -> None:
        super().__init__(why)
        self.until = until
        self.is_news = is_news


class ParentOver(TalkdropError):
    """The task that this piece belongs to has ended: nothing more of it is paid."""


class OverBudget(TalkdropError):
    """The quote is above a cap by itself: no waiting makes it fit."""


class TurnLapsed(TalkdropError):
    """The task came too late for its turn, which may be another's by now."""


@dataclass(frozen=True)
class Claim:
    """The right to send one paid POST: `owner` proves it, until `lease_until`. `task` is as it was
    read, with what the claim booked."""

    task: Task
    owner: str


def check(task: Task, quote_usd: Decimal) -> None:
    """What needs no turn to be known. Raises ClaimDeferred while submitting is switched off, and
    OverBudget."""
    if not options().submit_enabled:
        raise ClaimDeferred(
            "submitting is switched off (option submit_enabled)",
            now() + timedelta(minutes=15),
            is_news=True,
        )
    if not task.in_reserve:
        _fits_the_caps(task, quote_usd)


def claim(task: Task, quote_usd: Decimal) -> Claim:
    """Intend to pay, the task's turn being now. Raises AlreadyClaimed, TurnLapsed, OverBudget,
    ParentOver, or ClaimDeferred with the time to come back."""
    if task.is_long:
        raise AlreadyClaimed(f"{task.task_id} is made in pieces, and never sent itself")
    check(task, quote_usd)
    owner = table.nonce()
    bookings = _bookings(task, quote_usd)
    lease, leased = turns.lease(task)
    booked = [*(booking.pk for booking in bookings.values()), *leased]
    writes: dict[str, Update | Request] = {
        "task": _intent(task, owner, quote_usd).set(booked=booked),
        "turn": lease,
        "breaker": books.breaker_closed(task.provider),
        **_of_a_parent(task),
        **bookings,
    }
    try:
        table.transact(*writes.values())
    except ConditionFailed as lost:
        _explain(task, table.refused_writes(writes, lost))
    return Claim(replace(task, booked=tuple(booked)), owner)


def _bookings(task: Task, quote_usd: Decimal) -> dict[str, Update]:
    """What `books.close` settles when the attempt ends. A piece's quote was booked with the whole,
    and is drawn from its parent's reserve."""
    if task.in_reserve:
        return {"parent": reserve.draw(task.parent, quote_usd)}
    return budgets(quote_usd)


def budgets(quote_usd: Decimal) -> dict[str, Update]:
    return {
        f"budget {period}": books.booking(period, cap, quote_usd)
        for period, cap in books.caps().items()
    }


def _of_a_parent(task: Task) -> dict[str, Update]:
    """A piece is paid only while its parent has not ended. Where its quote is reserved, the draw of
    it says so too, and takes the place of this one."""
    return {"parent": reserve.draw(task.parent, Decimal(0))} if task.parent else {}


def _fits_the_caps(task: Task, quote_usd: Decimal) -> None:
    """Raises OverBudget with both figures."""
    caps: dict[str, Decimal | None] = {
        f"the budget of {period}": cap for period, cap in books.caps().items()
    }
    if task.parent:
        pass  # what the whole may cost was asked of the whole
    elif task.max_usd is None:
        caps["option max_usd_per_task"] = options().max_usd_per_task
    else:
        caps["the task's own max_usd"] = Decimal(task.max_usd)
    for name, cap in caps.items():
        if cap is not None and quote_usd > cap:
            raise OverBudget(
                f"this video is quoted {quote_usd} USD and {name} is {cap} USD: raise the cap, "
                "shorten the voice, or choose a cheaper model; then resubmit"
            )


def _intent(task: Task, owner: str, quote_usd: Decimal) -> Update:
    lease = later(seconds=options().lease_seconds)
    intent = steps.step(task, Status.SUBMITTING, come_from=[Status.READY], due_at=lease)
    intent.set(owner=owner, lease_until=lease, intended_at=stamp(now()), quote_usd=quote_usd)
    # What is sent is the row as it was read: a file replaced since has made another one of it. And
    # a callback without a definite answer may mean that this attempt was accepted already.
    intent.given(
        "{changed_at} = :seen AND {callbacks_received} = {callbacks_handled} "
        "AND attribute_not_exists({hints_dropped})",
        seen=task.changed_at,
    )
    # The same id again, after an answer that was lost: a genuine callback would prove a job.
    intent.given(
        "attribute_not_exists({first_sent_at}) OR ({callbacks_received} = :none "
        "AND {resends} <= :most)",
        none=0,
        most=MOST_RESENDS,
    )
    return intent.remove(
        "doubt", "doubt_why", "sent_at", "not_before", "waits_for", "counted_usd", "error",
        "in_reserve",
    )  # fmt: skip


def _explain(task: Task, refused: Sequence[str]) -> None:
    """Which condition failed, and when to come back; raises AlreadyClaimed, ParentOver, TurnLapsed
    or ClaimDeferred."""
    if "task" in refused:
        raise AlreadyClaimed(task.task_id)
    if "parent" in refused and reserve.read(task.parent).is_closed:
        raise ParentOver(f"the task {task.parent} that this piece belongs to has ended")
    lasting = _lasting(task.provider, refused)
    if lasting is not None:
        raise lasting
    if "turn" in refused:
        raise TurnLapsed(task.external_id)
    raise busy()


def busy() -> ClaimDeferred:
    soon = now() + timedelta(seconds=random.uniform(1, 4))  # noqa: S311 - spreads, hides nothing
    return ClaimDeferred("the provider's counters were busy", soon)


def _lasting(provider: str, refused: Iterable[str]) -> ClaimDeferred | None:
    """A reason that lasts, and is worth an event: a stopped provider, a budget that is used up."""
    if "breaker" in refused:
        why = f"{provider} is stopped until its account works again"
        return ClaimDeferred(why, books.next_trial(provider), is_news=True)
    return budget_used_up(refused)


def budget_used_up(refused: Iterable[str]) -> ClaimDeferred | None:
    for name in refused:
        if name.startswith("budget"):
            period = name.split()[1]
            why = f"the budget of {period} is used up"
            return ClaimDeferred(why, books.next_period(period), is_news=True)
    return None


def hand_back(
    task: Task,
    owner: str,
    until: datetime,
    why: str,
    *,
    unsent: bool = False,
    counted: bool = True,
    resend: bool = False,
) -> Task:
    """READY again, the same attempt, and the books as before: it is known that nothing was
    accepted, or the same id may be sent again (`resend`). `unsent`: known because its row says that
    the POST never left, which then must still be so. `counted`: the task itself was refused, and is
    given up when that happens too often."""
    update = _ready_again(task, until, why).given("{owner} = :owner", owner=owner)
    if resend:
        # A callback that came since would prove a job.
        update.add(resends=1).given("{callbacks_received} = :none", none=0)
    elif not task.first_sent_at:  # the attempt's first POST is not in doubt any more
        update.remove("first_sent_at", "account")
    if counted:
        update.add(returns=1)
    if unsent:
        update.given(
            "attribute_not_exists({sent_at}) AND attribute_not_exists({speech_intended_at})"
        )
    return books.close(update, task, Decimal(0))


def _ready_again(task: Task, until: datetime, why: str) -> Update:
    due_at = stamp(until + timedelta(minutes=5))
    # A refusal that is repeated word for word is no news: it was announced the first time.
    update = steps.step(
        task, Status.READY, come_from=[Status.SUBMITTING], why=why, due_at=due_at,
        is_news=why != task.returned_why,
    )  # fmt: skip
    update.set(not_before=stamp(until), waits_for=why, returned_why=why).remove(
        "owner", "lease_until", "lookup", "doubt"
    )
    return update.remove("sent_at", "doubt_why", "speech_intended_at")


def fail(
    task: Task,
    code: str,
    message: str,
    *,
    come_from: Iterable[Status],
    charge_usd: Decimal | None = None,
    who: str = "talkdrop",
    owner: str = "",
    is_answered: bool = False,
) -> Task:
    """The final word is no. `charge_usd` is what it cost all the same, None when the provider does
    not say. `is_answered`: a query has just answered every callback that stands in `task`."""
    update = steps.step(task, Status.FAILED, come_from=come_from, why=f"{code}: {message}", who=who)
    update.set(error=TaskError(code=code, message=message))
    if is_answered:
        update.set(callbacks_handled=task.callbacks_received)
    if charge_usd is not None:
        update.set(charge_usd=charge_usd)
    if owner:
        update.given("{owner} = :owner", owner=owner)
    return books.close(update, task, charge_usd)


def hold_returned(task: Task, code: str, message: str) -> Task:
    """HELD though nothing had been accepted: a callback says otherwise. What it may have cost
    counts from now on. Raises ConditionFailed."""
    update = steps.holding(task, code, message)
    table.transact(update, *books.reopen_for(update, task))
    return queries.reload(task)


def resubmit(task: Task, *, who: str, why: str) -> Task:
    """A person wants one more attempt: READY again, under the next number, with nothing of the last
    one but its trace in `past`. Holds only for the row as that person saw it, with no callback
    since. Raises ConditionFailed.

    What the last attempt booked stays spent: it may have been."""
    update = _next_attempt(task, who, why)
    update.given(
        "{changed_at} = :seen AND {callbacks_received} = :callbacks_received",
        seen=task.changed_at,
        callbacks_received=task.callbacks_received,
    )
    update.given("{booked} = :booked", booked=list(task.booked))
    table.transact(update, *slots.returning(task))
    return queries.reload(task)


def _next_attempt(task: Task, who: str, why: str) -> Update:
    come_from = [Status.FAILED, Status.HELD]
    update = steps.step(task, Status.READY, come_from=come_from, why=why, who=who)
    trace = PastAttempt(
        attempt=task.attempt, job_id=task.job_id, charge_usd=task.charge_usd, error=task.error
    )
    update.append("past", trace).set(
        attempt=task.attempt + 1,
        booked=[],
        callbacks_received=0,
        callbacks_handled=0,
        polls_done=0,
        returns=0,
        job_hints={},
    )
    return update.remove(*_OF_ONE_ATTEMPT)


# The settings stay, and with them a speech that was bought: it is the voice of every attempt. So do
# second jobs: what was perhaps charged twice stays to be looked at.
_OF_ONE_ATTEMPT = (
    "account", "adopted_by", "archive_tried_at", "archive_verdicts",
    "archiving_since", "charge_usd", "counted_usd", "doubt", "doubt_why", "error", "expires_at",
    "first_sent_at", "hints_dropped", "job_alias", "job_hint", "job_id", "last_callback_at",
    "last_query_at", "lease_until", "not_before", "owner", "resends", "returned_why", "revived",
    "sent_at", "soon_until", "speech_intended_at", "submitted_at", "task_token", "trusted_host",
    "video_url", "waits_for", "waits_place",
)  # fmt: skip


def archive(task: Task, link: steps.VideoLink, *, charge_usd: Decimal | None) -> Task:
    """The provider says that it is done. Where the task had ended before, its books are opened
    again. Raises ConditionFailed."""
    update = steps.archiving(task, link, charge_usd=charge_usd)
    if task.status not in {Status.FAILED, Status.CANCELLED}:
        return Task.of(update.run())
    table.transact(update, *books.reopen_for(update, task))
    return queries.reload(task)


def complete(task: Task, archived: ArchivedVideo) -> Task:
    """The video lies in the archive, proved: the last step."""
    update = steps.step(task, Status.COMPLETED, come_from=[Status.ARCHIVING, Status.HELD])
    update.set(archived=archived).remove("error", "task_token", "video_url")
    charge = task.charge_usd
    return books.close(update, task, None if charge is None else Decimal(charge))
