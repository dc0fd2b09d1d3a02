"""The gate before the paid POST, and the books behind it.

One transaction claims the task (READY → SUBMITTING) together with its turn in the provider's pace,
a lease for a running job, the budget of the day and the month, and a closed breaker: all of it or
none. The transaction that ends an attempt gives the lease back and settles the quote to the actual
charge. A lease expires by itself, so that a crash leaks nothing and nothing can go below zero.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from functions.providers.base import Provider, RateLimit
from functions.settings import options
from functions.tasks import books, queries, steps, table
from functions.tasks.table import ConditionFailed, Update, later, now, stamp
from functions.tasks.task import Status, Task, job_key


class AlreadyClaimed(Exception):
    """The task is not READY for this attempt any more: somebody else has it, and that is fine."""


class ClaimDeferred(Exception):
    """The gate is shut for now: come back at `until`. Costs no attempt."""

    def __init__(self, why: str, until: datetime) -> None:
        super().__init__(why)
        self.until = until


@dataclass(frozen=True)
class Claim:
    """The right to send one paid POST: `owner` proves it, until `lease_until`."""

    task: Task
    owner: str
    booked: tuple[str, ...]


def claim(task: Task, provider: type[Provider], quote_usd: Decimal) -> Claim:
    """Intend to pay. Raises AlreadyClaimed, or ClaimDeferred with the time of the task's next
    turn."""
    if not options().submit_enabled:
        raise ClaimDeferred(
            "submitting is switched off (option submit_enabled)", now() + timedelta(minutes=15)
        )
    owner = table.nonce()
    rate_limit = books.rate_limit_of(provider)
    bookings = {
        f"budget {period}": books.booking(period, cap, quote_usd)
        for period, cap in books.caps().items()
    }
    if rate_limit.running is not None:
        bookings["slots"] = books.lease(provider.name, task.external_id, rate_limit.running)
    booked = tuple(booking.pk for booking in bookings.values())
    writes: dict[str, Update | dict[str, Any]] = {
        "task": _intent(task, owner, quote_usd).set(booked=list(booked)),
        "rate_limit": books.turn(provider.name, rate_limit),
        "breaker": books.breaker_closed(provider.name),
        **bookings,
    }
    try:
        table.transact(*writes.values(), tries=3)
    except ConditionFailed as lost:
        reasons = dict(zip(writes, lost.reasons, strict=False))
        failed = {name: why for name, why in reasons.items() if why != "None"}
        if set(failed) == {"slots"} and books.open_leases(provider.name):
            return claim(task, provider, quote_usd)
        _explain(task, provider, rate_limit, failed)
    return Claim(task, owner, booked)


def _intent(task: Task, owner: str, quote_usd: Decimal) -> Update:
    lease = later(seconds=options().lease_seconds)
    intent = steps.step(task, Status.SUBMITTING, come_from=[Status.READY], due_at=lease)
    intent.set(owner=owner, lease_until=lease, intended_at=stamp(now()), quote_usd=quote_usd)
    # What is sent is the row as it was read: a file replaced since has made another one of it. And
    # a bell that nobody has looked into may say that this attempt was accepted already.
    intent.given(
        "{changed_at} = :seen AND {callbacks_received} = {callbacks_handled}", seen=task.changed_at
    )
    return intent.remove("doubt", "sent_at", "not_before", "waits_for", "counted_usd", "error")


def _explain(
    task: Task, provider: type[Provider], rate_limit: RateLimit, failed: Mapping[str, str]
) -> None:
    """Say which condition shut the gate, and when to come back; raises AlreadyClaimed or
    ClaimDeferred."""
    if failed.get("task") == "ConditionalCheckFailed":
        raise AlreadyClaimed(task.task_id)
    if "breaker" in failed and failed["breaker"] == "ConditionalCheckFailed":
        raise ClaimDeferred(
            f"{provider.name} is stopped until its account works again",
            now() + timedelta(minutes=5),
        )
    for name, why in failed.items():
        if name.startswith("budget") and why == "ConditionalCheckFailed":
            raise ClaimDeferred(
                f"the budget of {name.split()[1]} is used up", books.next_period(name.split()[1])
            )
    if failed.get("slots") == "ConditionalCheckFailed":
        books.drop_expired_leases(provider.name)
        raise ClaimDeferred(
            f"{provider.name} runs all the jobs it may",
            now() + timedelta(seconds=random.uniform(10, 40)),  # noqa: S311
        )
    if failed.get("rate_limit") == "ConditionalCheckFailed":
        raise ClaimDeferred(
            f"{provider.name} takes no more creates this moment",
            books.reserve_turn(provider.name, rate_limit),
        )
    raise ClaimDeferred("the books were busy", now() + timedelta(seconds=random.uniform(1, 4)))  # noqa: S311


def accept(claimed: Claim, job_id: str) -> Task:
    """The provider took it: SUBMITTED, with a job id that is written once and is nobody else's.

    Raises ConditionFailed; reasons[1] tells that another task has this very job.
    """
    task = claimed.task
    return _adopt(task, job_id, [Status.SUBMITTING], claimed.owner, "talkdrop")


def adopt(
    task: Task, job_id: str, *, come_from: Iterable[Status], who: str = "talkdrop", why: str = ""
) -> Task:
    """A job that is proved to be this attempt's, found by its bell, by our id at the provider, or
    by a person.

    Raises ConditionFailed; reasons[0] tells that the task is elsewhere or has another job,
    reasons[1] that the job is another's.
    """
    return _adopt(task, job_id, come_from, None, who, why)


def _adopt(
    task: Task, job_id: str, come_from: Iterable[Status], owner: str | None, who: str, why: str = ""
) -> Task:
    soon = later(seconds=600)  # an execution should be watching by then
    told = f"{job_id}: {why}" if why else job_id
    update = steps.step(task, Status.SUBMITTED, come_from=come_from, why=told, who=who, due_at=soon)
    update.set(job_id=job_id, submitted_at=stamp(now()))
    if owner is None and task.never_intended:
        # A person knows of a job that the table never heard of: now nobody may take the task for
        # one unpaid.
        update.set(intended_at=stamp(now()))
    update.given("attribute_not_exists({job_id}) OR {job_id} = :job", job=job_id)
    if owner:
        update.given("{owner} = :owner", owner=owner)
    update.remove("doubt", "error", "expires_at")
    unique = Update(job_key(task.provider, job_id)).set(task_id=task.task_id, attempt=task.attempt)
    unique.given("attribute_not_exists({pk}) OR {task_id} = :task", task=task.task_id)
    table.transact(update, unique, tries=20)  # what it loses, nobody else knows
    adopted = queries.load(task.task_id)
    if adopted is None:
        raise ConditionFailed
    return adopted


def hand_back(
    task: Task, owner: str, until: datetime, why: str, *, unsent: bool = False, counted: bool = True
) -> Task:
    """It is known that nothing was accepted: READY again, the same attempt, and the books as
    before. `unsent`: known because its row says that the POST never came, which then must still be
    so. `counted`: the task itself was refused, and is given up when that happens too often."""
    update = steps.step(
        task,
        Status.READY,
        come_from=[Status.SUBMITTING],
        why=why,
        due_at=stamp(until + timedelta(minutes=5)),
    )
    update.set(not_before=stamp(until)).remove("owner", "lease_until", "doubt", "sent_at")
    if counted:
        update.add(returns=1)
    if unsent:
        update.given("attribute_not_exists({sent_at})")
    return books.close(update.given("{owner} = :owner", owner=owner), task, Decimal(0))


def fail(
    task: Task,
    code: str,
    message: str,
    *,
    come_from: Iterable[Status],
    charge_usd: Decimal | None = None,
    who: str = "talkdrop",
    owner: str = "",
) -> Task:
    """The final word is no. `charge_usd` is what it cost all the same, None when the provider does
    not say."""
    update = steps.step(task, Status.FAILED, come_from=come_from, why=f"{code}: {message}", who=who)
    update.set(error={"code": code, "message": message})
    if charge_usd is not None:
        update.set(charge_usd=charge_usd)
    if owner:
        update.given("{owner} = :owner", owner=owner)
    return books.close(update, task, charge_usd)


def resubmit(task: Task, *, who: str, why: str) -> Task:
    """A person wants one more attempt: READY again, under the next number, with nothing of the last
    one but its trace in `past`. Holds only for the row as that person saw it, with no bell since.
    Raises ConditionFailed.

    What the last attempt booked stays spent, for nobody can tell that it was not."""
    update = steps.step(
        task, Status.READY, come_from=[Status.FAILED, Status.HELD], why=why, who=who
    )
    update.given(
        "{changed_at} = :seen AND {callbacks_received} = :callbacks_received",
        seen=task.changed_at,
        callbacks_received=task.callbacks_received,
    )
    update.given("{booked} = :booked", booked=list(task.booked))
    trace = {
        "attempt": task.attempt,
        "job_id": task.job_id,
        "charge_usd": task.charge_usd,
        "error": dict(task.error),
    }
    update.append("past", trace)
    update.set(
        attempt=task.attempt + 1,
        booked=[],
        callbacks_received=0,
        callbacks_handled=0,
        polls_done=0,
        returns=0,
        job_hints={},
    )
    update.remove(*_OF_ONE_ATTEMPT)
    slots = [
        Update(pk).drop_from("leases", task.external_id)
        for pk in task.booked
        if pk.startswith("slots#")
    ]
    table.transact(update, *slots)
    ready = queries.load(task.task_id)
    if ready is None:
        raise ConditionFailed
    return ready


_OF_ONE_ATTEMPT = (
    "job_id", "submitted_at", "job_hint", "last_callback_at", "task_token", "video_url", "trusted_host", "doubt", "owner",
    "lease_until", "sent_at", "charge_usd", "counted_usd", "error", "not_before", "waits_for", "revived",
    "expires_at",
)  # fmt: skip


def complete(task: Task, archived: Mapping[str, Any]) -> Task:
    """The video lies in the archive, proved: the last step."""
    update = steps.step(task, Status.COMPLETED, come_from=[Status.ARCHIVING])
    update.set(archived=dict(archived)).remove("error", "task_token", "video_url")
    charge = task.charge_usd
    return books.close(update, task, None if charge is None else Decimal(charge))
