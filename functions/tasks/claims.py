"""The gate before the paid POST, and the books behind it.

One transaction claims the task (READY → SUBMITTING) together with its turn in the provider's pace, a lease for a
running job, the budget of the day and the month, and a closed breaker: all of it or none. The transaction that ends an
attempt gives the lease back and settles the quote to the actual charge. A lease expires by itself, so that a crash
leaks nothing and nothing can go below zero.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from functions import providers
from functions.providers.base import Pace, Provider
from functions.settings import options
from functions.tasks import balance, steps, table
from functions.tasks.steps import S, Task
from functions.tasks.table import Lost, Update, instant, later, now, stamp

_LEASE_HOURS = 6


class NotMine(Exception):
    """The task is not READY for this attempt any more: somebody else has it, and that is fine."""


class NotNow(Exception):
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


def claim(task: Task, provider: type[Provider], quote_usd: Decimal, body_sha256: str) -> Claim:
    """Intend to pay. Raises NotMine, or NotNow with the time of the task's next turn."""
    if not options().submit_enabled:
        raise NotNow("submitting is switched off (option submit_enabled)", now() + timedelta(minutes=15))
    owner = table.nonce()
    pace = _pace(provider)
    books = {f"budget {period}": _booking(period, cap, quote_usd) for period, cap in _caps().items()}
    if pace.running is not None:
        books["slots"] = _lease(provider.name, task.external_id, pace.running)
    booked = tuple(booking.pk for booking in books.values())
    writes: dict[str, Update | dict[str, Any]] = {
        "task": _intent(task, owner, quote_usd, body_sha256).set(booked=list(booked)),
        "pace": _turn(provider.name, pace),
        "breaker": _closed(provider.name),
        **books,
    }
    try:
        table.transact(*writes.values(), tries=3)
    except Lost as lost:
        reasons = dict(zip(writes, lost.reasons, strict=False))
        failed = {name: why for name, why in reasons.items() if why != "None"}
        if set(failed) == {"slots"} and _open_leases(provider.name):
            return claim(task, provider, quote_usd, body_sha256)
        _explain(task, provider, pace, failed)
    return Claim(task, owner, booked)


def _intent(task: Task, owner: str, quote_usd: Decimal, body_sha256: str) -> Update:
    lease = later(seconds=options().lease_seconds)
    intent = steps.step(task, S.SUBMITTING, come_from=[S.READY], due_at=lease)
    intent.set(owner=owner, lease_until=lease, intended_at=stamp(now()), body_sha256=body_sha256, quote_usd=quote_usd)
    # What is sent is the row as it was read: a file replaced since has made another one of it. And a bell that nobody
    # has looked into may say that this attempt was accepted already.
    intent.given("{changed_at} = :seen AND {rings} = {answered}", seen=task.changed_at)
    return intent.remove("doubt", "sent_at", "not_before", "paced_for", "counted_usd", "error")


def _pace(provider: type[Provider]) -> Pace:
    said = options().paces.get(provider.name)
    if said is None:
        return provider.pace
    return Pace(int(said["creates"] or 1), int(said["seconds"] or 1), said.get("running"))


def _slice(pace: Pace) -> tuple[float, int]:
    """Fixed windows that keep a sliding promise: any span of `seconds` touches at most five quarters, so each may
    hold a fifth. A window counter needs no reading before the write, a token bucket would."""
    if pace.creates >= 10:
        return pace.seconds / 4, pace.creates // 5
    return float(pace.seconds), max(1, pace.creates // 2)


def _turn(provider: str, pace: Pace) -> Update:
    seconds, most = _slice(pace)
    window = int(now().timestamp() / seconds)
    update = Update(f"pace#{provider}#{pace.seconds}#{window}").add(creates=1)
    update.set(expires_at=int(now().timestamp()) + 3600)
    return update.given("attribute_not_exists({creates}) OR {creates} < :most", most=most)


def _closed(provider: str) -> dict[str, Any]:
    check = Update(f"breaker#{provider}").given("attribute_not_exists({open})").request()
    del check["UpdateExpression"]
    return {"ConditionCheck": check}


def _lease(provider: str, external_id: str, running: int) -> Update:
    update = Update(f"slots#{provider}").put_in("leases", external_id, later(seconds=_LEASE_HOURS * 3600))
    return update.given("size({leases}) < :running", running=running)


def _caps() -> dict[str, Decimal]:
    day = now().strftime("%Y-%m-%d")
    caps = {day: options().budget_usd_per_day, day[:7]: options().budget_usd_per_month}
    return {period: cap for period, cap in caps.items() if cap is not None}


def _booking(period: str, cap: Decimal, quote_usd: Decimal) -> Update:
    update = Update(f"budget#{period}").add(spent_usd=quote_usd)
    if quote_usd > cap:
        return update.given("attribute_exists({pk}) AND attribute_not_exists({pk})")  # can never fit
    return update.given("attribute_not_exists({spent_usd}) OR {spent_usd} <= :room", room=cap - quote_usd)


def _explain(task: Task, provider: type[Provider], pace: Pace, failed: Mapping[str, str]) -> None:
    """Say which condition shut the gate, and when to come back; raises NotMine or NotNow."""
    if failed.get("task") == "ConditionalCheckFailed":
        raise NotMine(task.task_id)
    if "breaker" in failed and failed["breaker"] == "ConditionalCheckFailed":
        raise NotNow(f"{provider.name} is stopped until its account works again", now() + timedelta(minutes=5))
    for name, why in failed.items():
        if name.startswith("budget") and why == "ConditionalCheckFailed":
            raise NotNow(f"the budget of {name.split()[1]} is used up", _next_period(name.split()[1]))
    if failed.get("slots") == "ConditionalCheckFailed":
        _drop_expired_leases(provider.name)
        raise NotNow(f"{provider.name} runs all the jobs it may", now() + timedelta(seconds=random.uniform(10, 40)))  # noqa: S311
    if failed.get("pace") == "ConditionalCheckFailed":
        raise NotNow(f"{provider.name} takes no more creates this moment", _reserve_turn(provider.name, pace))
    raise NotNow("the books were busy", now() + timedelta(seconds=random.uniform(1, 4)))  # noqa: S311


def _next_period(period: str) -> datetime:
    first = datetime.strptime(period if len(period) == 10 else f"{period}-01", "%Y-%m-%d").replace(tzinfo=UTC)
    following = first + timedelta(days=1) if len(period) == 10 else (first + timedelta(days=32)).replace(day=1)
    return min(following, now() + timedelta(hours=1))  # a raised cap should not have to wait for the morning


def _reserve_turn(provider: str, pace: Pace) -> datetime:
    """A time of one's own, spaced as the pace demands, so that a thousand waiting tasks each come back once."""
    seconds, most = _slice(pace)
    spacing = int(seconds / most * 1000)
    earliest = int((now().timestamp() + seconds) * 1000)
    queue = f"turns#{provider}"
    try:
        taken = Update(queue).add(next_ms=spacing).given("{next_ms} >= :earliest", earliest=earliest).run()
    except Lost:
        try:
            fresh = Update(queue).set(next_ms=earliest + spacing)
            taken = fresh.given("attribute_not_exists({next_ms}) OR {next_ms} < :now", now=earliest).run()
        except Lost:  # somebody opened the queue between our two writes: stand behind him
            taken = Update(queue).add(next_ms=spacing).run()
    return datetime.fromtimestamp((taken["next_ms"] - spacing) / 1000, UTC)


def _open_leases(provider: str) -> bool:
    """The provider's first lease ever needs something to lie in; False if there is that already."""
    try:
        table.put_new({"pk": f"slots#{provider}", "leases": {}})
    except Lost:
        return False
    return True


def _drop_expired_leases(provider: str) -> None:
    leases: dict[str, str] = (table.read(f"slots#{provider}") or {}).get("leases", {})
    for external_id, until in leases.items():
        if instant(until) < now():
            drop = Update(f"slots#{provider}").drop_from("leases", external_id)
            try:
                drop.given("{leases}.{" + external_id + "} = :until", until=until).run()
            except Lost:
                continue  # renewed or given back meanwhile


def accept(claimed: Claim, job_id: str) -> Task:
    """The provider took it: SUBMITTED, with a job id that is written once and is nobody else's.

    Raises Lost; reasons[1] tells that another task has this very job.
    """
    task = claimed.task
    return _adopt(task, job_id, [S.SUBMITTING], claimed.owner, "talkdrop")


def adopt(
    task: Task, job_id: str, *, come_from: Iterable[steps.TaskStatus], who: str = "talkdrop", why: str = ""
) -> Task:
    """A job that is proved to be this attempt's, found by its bell, by our id at the provider, or by a person.

    Raises Lost; reasons[0] tells that the task is elsewhere or has another job, reasons[1] that the job is another's.
    """
    return _adopt(task, job_id, come_from, None, who, why)


def _adopt(
    task: Task, job_id: str, come_from: Iterable[steps.TaskStatus], owner: str | None, who: str, why: str = ""
) -> Task:
    soon = later(seconds=600)  # an execution should be watching by then
    told = f"{job_id}: {why}" if why else job_id
    update = steps.step(task, S.SUBMITTED, come_from=come_from, why=told, who=who, due_at=soon)
    update.set(job_id=job_id, submitted_at=stamp(now()))
    if owner is None and task.never_intended:
        # A person knows of a job that the table never heard of: now nobody may take the task for one unpaid.
        update.set(intended_at=stamp(now()))
    update.given("attribute_not_exists({job_id}) OR {job_id} = :job", job=job_id)
    if owner:
        update.given("{owner} = :owner", owner=owner)
    update.remove("doubt", "error", "expires_at")
    unique = Update(steps.job_key(task.provider, job_id)).set(task_id=task.task_id, attempt=task.attempt)
    unique.given("attribute_not_exists({pk}) OR {task_id} = :task", task=task.task_id)
    table.transact(update, unique, tries=20)  # what it loses, nobody else knows
    adopted = steps.load(task.task_id)
    if adopted is None:
        raise Lost
    return adopted


def hand_back(
    task: Task, owner: str, until: datetime, why: str, *, unsent: bool = False, counted: bool = True
) -> Task:
    """It is known that nothing was accepted: READY again, the same attempt, and the books as before. `unsent`: known
    because its row says that the POST never came, which then must still be so. `counted`: the task itself was refused,
    and is given up when that happens too often."""
    update = steps.step(task, S.READY, come_from=[S.SUBMITTING], why=why, due_at=stamp(until + timedelta(minutes=5)))
    update.set(not_before=stamp(until)).remove("owner", "lease_until", "doubt", "sent_at")
    if counted:
        update.add(returns=1)
    if unsent:
        update.given("attribute_not_exists({sent_at})")
    return _close_books(update.given("{owner} = :owner", owner=owner), task, Decimal(0))


def fail(
    task: Task,
    code: str,
    message: str,
    *,
    come_from: Iterable[steps.TaskStatus],
    charge_usd: Decimal | None = None,
    who: str = "talkdrop",
    owner: str = "",
) -> Task:
    """The final word is no. `charge_usd` is what it cost all the same, None when the provider does not say."""
    update = steps.step(task, S.FAILED, come_from=come_from, why=f"{code}: {message}", who=who)
    update.set(error={"code": code, "message": message})
    if charge_usd is not None:
        update.set(charge_usd=charge_usd)
    if owner:
        update.given("{owner} = :owner", owner=owner)
    return _close_books(update, task, charge_usd)


def resubmit(task: Task, *, who: str, why: str) -> Task:
    """A person wants one more attempt: READY again, under the next number, with nothing of the last one but its trace
    in `past`. Holds only for the row as that person saw it, with no bell since. Raises Lost.

    What the last attempt booked stays spent, for nobody can tell that it was not."""
    update = steps.step(task, S.READY, come_from=[S.FAILED, S.HELD], why=why, who=who)
    update.given("{changed_at} = :seen AND {rings} = :rings", seen=task.changed_at, rings=task.rings)
    update.given("{booked} = :booked", booked=list(task.booked))
    trace = {"attempt": task.attempt, "job_id": task.job_id, "charge_usd": task.charge_usd, "error": dict(task.error)}
    update.append("past", trace)
    update.set(attempt=task.attempt + 1, booked=[], rings=0, answered=0, asks=0, returns=0, job_hints={})
    update.remove(*_OF_ONE_ATTEMPT)
    slots = [Update(pk).drop_from("leases", task.external_id) for pk in task.booked if pk.startswith("slots#")]
    table.transact(update, *slots)
    ready = steps.load(task.task_id)
    if ready is None:
        raise Lost
    return ready


_OF_ONE_ATTEMPT = (
    "job_id", "submitted_at", "job_hint", "rang_at", "task_token", "video_url", "trusted_host", "doubt", "owner",
    "lease_until", "sent_at", "body_sha256", "charge_usd", "counted_usd", "error", "not_before", "paced_for", "revived",
    "expires_at",
)  # fmt: skip


def complete(task: Task, archived: Mapping[str, Any]) -> Task:
    """The video lies in the archive, proved: the last step."""
    update = steps.step(task, S.COMPLETED, come_from=[S.ARCHIVING])
    update.set(archived=dict(archived)).remove("error", "task_token", "video_url")
    charge = task.charge_usd
    return _close_books(update, task, None if charge is None else Decimal(charge))


def _close_books(update: Update, task: Task, charge_usd: Decimal | None) -> Task:
    """The step, the lease given back and the quote settled to the charge, in one transaction. A charge nobody told us
    is taken to be the quote: a cap must never be passed for want of an answer."""
    current = steps.load(task.task_id) or task
    quote = Decimal(current.quote_usd or 0)
    charge = quote if charge_usd is None else charge_usd
    # What was booked is part of the condition: these books are closed once, by one hand.
    update.set(booked=[], counted_usd=charge).given("{booked} = :booked", booked=list(current.booked))
    writes: list[Update | dict[str, Any]] = [update]
    if current.counted_usd is not None and charge != current.counted_usd:
        # Closed before, when it was thought to have failed: what it cost after all belongs to the day on which it came.
        writes += [Update(f"budget#{period}").add(spent_usd=charge - current.counted_usd) for period in _caps()]
    for pk in current.booked:
        if pk.startswith("slots#"):
            writes.append(Update(pk).drop_from("leases", current.external_id))
        elif charge != quote:
            writes.append(Update(pk).add(spent_usd=charge - quote))
    if current.job_id and providers.get(current.provider).tells_credit:
        writes.append(balance.Charged(current.provider, charge_usd).step())
    table.transact(*writes)
    settled = steps.load(task.task_id)
    if settled is None:
        raise Lost
    return settled


def stop(provider: str, why: str) -> None:
    """Open the breaker: no more submits to this provider until a query shows that its account works again."""
    Update(f"breaker#{provider}").set(open=True, why=why, opened_at=stamp(now())).run()


def reopen(provider: str, who: str = "talkdrop") -> bool:
    """Close the breaker again, after a free query passed or by a person's word. False if it was not open."""
    update = Update(f"breaker#{provider}").set(reopened_at=stamp(now()), reopened_by=who).remove("open", "why")
    try:
        update.given("attribute_exists({open})").run()
    except Lost:
        return False
    return True


def stopped_since(provider: str) -> str | None:
    """Why this provider is stopped, None if it is not."""
    item = table.read(f"breaker#{provider}") or {}
    return str(item.get("why", "")) if "open" in item else None
