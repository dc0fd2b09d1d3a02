"""What the provider's balance suggests about a submit whose answer was lost: evidence for a person,
never a licence to pay.

    checkpoint   when a submit finds nothing else running, it notes the balance, and what was
                 charged up to then
    evidence     balance then − balance now − what was charged since, in words

Its sum is no proof: a job may be charged at its end hours later, a refund may come late, and others
may spend from the same account or top it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from functions.providers import base
from functions.tasks import slots, table
from functions.tasks.table import Item, Update, now, stamp
from functions.tasks.task import Task

_TOLERANCE_USD = Decimal("0.001")


@dataclass(frozen=True)
class Charged:
    """What is added to the provider's account when books are closed: a charge, or that it is not
    known."""

    provider: str
    usd: Decimal | None

    def step(self) -> Update:
        update = Update(f"balance#{self.provider}")
        return update.add(untold=1) if self.usd is None else update.add(charged_usd=self.usd)


def checkpoint(task: Task, client: base.Provider) -> None:
    """Before a submit, when it is alone: note the balance that later ones are measured against."""
    is_counted = any(map(slots.is_lease, task.booked))
    if not client.tells_balance or not is_counted or slots.others(task):
        return
    ledger = _ledger(task.provider)
    balance = client.balance_usd()
    if balance is None:
        return
    Update(f"balance#{task.provider}").set(
        balance_usd=balance, charged_then_usd=ledger["charged_usd"], untold_then=ledger["untold"],
        noted_at=stamp(now()), noted_for=task.external_id,
    ).run()  # fmt: skip


def evidence(task: Task, client: base.Provider) -> str:
    """What the balance suggests about this task's lost answer; empty where it says nothing."""
    ledger = _ledger(task.provider)
    if "balance_usd" not in ledger:  # of one that does not tell it, none was noted
        return ""
    if task.intended_at < ledger["noted_at"] and task.external_id != ledger["noted_for"]:
        return ""
    balance = client.balance_usd()
    if balance is None:
        return ""
    charged = Decimal(ledger["charged_usd"]) - Decimal(ledger["charged_then_usd"])
    missing = Decimal(ledger["balance_usd"]) - balance - charged
    suggests = (
        "nothing was taken"
        if abs(missing) < _TOLERANCE_USD
        else f"{missing} USD were taken that no known job explains"
    )
    return (
        f"the balance of {task.provider} suggests that {suggests} since {ledger['noted_at']}; it "
        f"cannot prove it, because {_why_no_proof(task, ledger)}"
    )


def _why_no_proof(task: Task, ledger: Item) -> str:
    reasons = ["a charge or a refund may come late", "others may use or top up the same account"]
    if others := slots.others(task):
        reasons.insert(0, f"{others} other jobs may be running")
    if ledger["untold"] != ledger["untold_then"]:
        reasons.insert(0, "not every charge since is known")
    return ", ".join(reasons)


def _ledger(provider: str) -> Item:
    return {"charged_usd": 0, "untold": 0, **(table.read(f"balance#{provider}") or {})}
