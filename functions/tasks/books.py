"""The books of a provider and of the account: the budgets, the circuit breaker, and how an
attempt ends in them.

A claim writes them in its own transaction, and `close` settles them in the transaction that ends
the attempt: the lease that was its turn (`turns`) is given back, and the next task is called.
"""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from functions import providers
from functions.settings import options
from functions.tasks import balance, queries, reserve, slots, table, turns
from functions.tasks.table import ConditionFailed, Item, Request, Update, instant, later, now, stamp
from functions.tasks.task import Task

_FIRST_STOP_SECONDS = 300
_LONGEST_STOP_SECONDS = 4 * 3600


def breaker_closed(provider: str) -> Request:
    check = Update(f"breaker#{provider}").given("attribute_not_exists({open})").request()
    del check["UpdateExpression"]
    return {"ConditionCheck": check}


def stop(provider: str, why: str, needs_usd: Decimal | None = None) -> None:
    """Open the breaker: no more submits to this provider until a query shows that its account works
    again, and `needs_usd` lie on it where it says so. Soon after a trial that the POST refuted, the
    next trial waits twice as long."""
    item = table.read(f"breaker#{provider}") or {}
    if "open" in item:
        return
    trips = int(item.get("trips", 0)) + 1 if _failed_again(item) else 1
    # The first trial is the next sweep's; then 5 minutes, 10, … hours.
    growing = _FIRST_STOP_SECONDS * 2 ** min(trips - 2, 10) if trips > 1 else 0
    waits = min(_LONGEST_STOP_SECONDS, growing)
    Update(f"breaker#{provider}").set(
        open=True, why=why, opened_at=stamp(now()), trips=trips, trial_at=later(seconds=waits),
        needs_usd=needs_usd or 0,
    ).run()  # fmt: skip


def _failed_again(item: Item) -> bool:
    """Was it reopened by a query only a while ago?"""
    since = item.get("reopened_at", "")
    return bool(since) and now() - instant(since) < timedelta(seconds=2 * _LONGEST_STOP_SECONDS)


def reopen(provider: str, who: str = "talkdrop") -> bool:
    """Close the breaker again, after a free query passed or by a person's word, which also forgets
    how often it was open. False if it was not open."""
    update = (
        Update(f"breaker#{provider}")
        .set(reopened_at=stamp(now()), reopened_by=who)
        .remove("open", "why", "trial_at")
    )
    if who != "talkdrop":
        update.set(trips=0)
    try:
        update.given("attribute_exists({open})").run()
    except ConditionFailed:
        return False
    turns.hand_on(provider)
    return True


def stopped_since(provider: str) -> str | None:
    """Why this provider is stopped, None if it is not."""
    item = table.read(f"breaker#{provider}") or {}
    return str(item.get("why", "")) if "open" in item else None


def trial_is_due(provider: str) -> bool:
    item = table.read(f"breaker#{provider}") or {}
    return "open" in item and str(item.get("trial_at", "")) <= stamp(now())


def needed_usd(provider: str) -> Decimal:
    """What the refused submit was quoted: less than that on the account is no sign that it
    works."""
    return Decimal((table.read(f"breaker#{provider}") or {}).get("needs_usd", 0))


def next_trial(provider: str) -> datetime:
    """When a task of a stopped provider comes back: after the next trial, and not all at once."""
    trial_at = (table.read(f"breaker#{provider}") or {}).get("trial_at", "")
    soonest = now() + timedelta(seconds=_FIRST_STOP_SECONDS)
    at = max(soonest, instant(trial_at)) if trial_at else soonest
    return at + timedelta(seconds=random.uniform(0, 60))  # noqa: S311 - spreads, hides nothing


def caps() -> dict[str, Decimal]:
    day = now().strftime("%Y-%m-%d")
    caps = {day: options().budget_usd_per_day, day[:7]: options().budget_usd_per_month}
    return {period: cap for period, cap in caps.items() if cap is not None}


def spent(period: str) -> Decimal:
    """What was booked and charged in a day or month that has a cap, in USD."""
    return Decimal((table.read(f"budget#{period}") or {}).get("spent_usd", 0))


def booking(period: str, cap: Decimal, quote_usd: Decimal) -> Update:
    update = Update(f"budget#{period}").add(spent_usd=quote_usd)
    if quote_usd > cap:
        return update.given(
            "attribute_exists({pk}) AND attribute_not_exists({pk})"
        )  # can never fit
    return update.given(
        "attribute_not_exists({spent_usd}) OR {spent_usd} <= :room", room=cap - quote_usd
    )


def next_period(period: str) -> datetime:
    first = datetime.strptime(period if len(period) == 10 else f"{period}-01", "%Y-%m-%d").replace(
        tzinfo=UTC
    )
    following = (
        first + timedelta(days=1)
        if len(period) == 10
        else (first + timedelta(days=32)).replace(day=1)
    )
    return min(
        following, now() + timedelta(hours=1)
    )  # a raised cap should not have to wait for the morning


def close(update: Update, task: Task, charge_usd: Decimal | None) -> Task:
    """The step, the lease given back and the quote settled to the charge, in one transaction. A
    charge that is not known is taken to be the quote: a cap must never be passed for want of an
    answer."""
    if not task.parent:
        return _close(update, task, charge_usd)
    try:
        return _close(copy.deepcopy(update), task, charge_usd)
    except ConditionFailed:
        if not reserve.read(task.parent).is_closed:
            raise
    return _close(update, task, charge_usd)  # the parent ended meanwhile: into the budgets then


def _close(update: Update, task: Task, charge_usd: Decimal | None) -> Task:
    current = queries.load(task.task_id) or task
    quote = Decimal(current.quote_usd or 0)
    charge = quote if charge_usd is None else charge_usd
    # What was booked is part of the condition: these books are closed once.
    update.set(booked=[], counted_usd=charge).given(
        "{booked} = :booked", booked=list(current.booked)
    )
    leases = slots.returning(current)
    writes: list[Update | Request] = [update, *_late_charge(current, charge), *leases]
    for pk in current.booked:
        if slots.is_lease(pk):
            continue
        if reserve.is_reserve(pk):
            writes += _drawn(update, current, charge)
        elif charge != quote:
            writes.append(Update(pk).add(spent_usd=charge - quote))
    if current.job_id and providers.get(current.provider).tells_balance:
        writes.append(balance.Charged(current.provider, charge_usd).step())
    table.transact(*writes)
    if leases:
        turns.hand_on(current.provider)
    return queries.reload(task)


def reopen_for(update: Update, task: Task) -> list[Update]:
    """The writes that book a task's quote again, for the transaction of `update`: an attempt whose
    books were closed, as nothing had been accepted, has a job after all. No cap refuses them: the
    money is spent, and the cap must know it. Nothing where the books are open."""
    update.given("{booked} = :as_read", as_read=list(task.booked))
    if task.booked:
        return []
    more = Decimal(task.quote_usd or 0) - Decimal(task.counted_usd or 0)
    bookings = [Update(f"budget#{period}").add(spent_usd=more) for period in caps()]
    update.set(booked=[booking.pk for booking in bookings]).remove("counted_usd")
    return bookings


def _late_charge(task: Task, charge_usd: Decimal) -> list[Update]:
    """Books closed before, when the task was thought to have failed: what it cost after all belongs
    to the day on which it came."""
    if task.counted_usd is None or charge_usd == task.counted_usd:
        return []
    more = charge_usd - task.counted_usd
    return [Update(f"budget#{period}").add(spent_usd=more) for period in caps()]


def _drawn(update: Update, piece: Task, charge: Decimal) -> list[Update]:
    """What a piece drew from its parent's reserve: all of it goes back if it cost nothing, so that
    it may be claimed again; what it was charged beside its quote is the budgets'."""
    quote, whole = Decimal(piece.quote_usd or 0), reserve.read(piece.parent)
    if charge == 0 and not whole.is_closed:
        update.set(in_reserve=True)
        return [reserve.giving_back(piece.parent, quote)]
    return reserve.correction(whole, charge - quote)
