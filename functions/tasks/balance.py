"""Did the provider take money that no job of ours explains? The last proof where a lost job cannot
be asked for.

    checkpoint   when a submit finds nothing else running, it notes the balance, and what was
    charged up to then
    reconcile    when nothing but doubtful submits is left, long after: balance then − balance now −
    what was charged since
                 nothing missing → none of them was accepted; something missing → a person must look

It holds only where the key is used by nobody else, and where every charge between the two was told;
any doubt about either means no proof (docs/operations.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from functions.providers import base
from functions.tasks import queries, table
from functions.tasks.table import Update, instant, now, stamp
from functions.tasks.task import Status, Task

_SETTLED = timedelta(
    hours=2
)  # a job unknown to us has ended by then, and its charge stands in the balance
_TOLERANCE_USD = Decimal("0.001")
_MOST_DOUBTS = 20


@dataclass(frozen=True)
class Charged:
    """What is added to the provider's account when books are closed: a charge, or that nobody told
    it."""

    provider: str
    usd: Decimal | None

    def step(self) -> Update:
        update = Update(f"balance#{self.provider}")
        return update.add(untold=1) if self.usd is None else update.add(charged_usd=self.usd)


def checkpoint(task: Task, client: base.Provider) -> None:
    """Before a submit, when it is alone: note the balance that later ones are measured against."""
    if not client.tells_balance or _running(task.provider) != {task.external_id}:
        return
    told = _told(task.provider)
    balance = client.balance_usd()
    if balance is None:
        return
    Update(f"balance#{task.provider}").set(
        balance_usd=balance, charged_then_usd=told["charged_usd"], untold_then=told["untold"],
        noted_at=stamp(now()), noted_for=task.external_id,
    ).run()  # fmt: skip


def shows_nothing_was_taken(task: Task, client: base.Provider) -> bool:
    """True only if it is proved that none of the doubtful submits, this one among them, was
    charged."""
    if not client.tells_balance or now() - instant(task.intended_at) < _SETTLED:
        return False
    told = _told(task.provider)
    running = _running(task.provider)
    if (
        "balance_usd" not in told
        or task.external_id not in running
        or not _all_in_doubt(running, told)
    ):
        return False
    balance = client.balance_usd()
    after = _told(task.provider)
    if (
        balance is None
        or after != told
        or _running(task.provider) != running
        or told["untold"] != told["untold_then"]
    ):
        return False
    charged = Decimal(told["charged_usd"]) - Decimal(told["charged_then_usd"])
    return abs(Decimal(told["balance_usd"]) - balance - charged) < _TOLERANCE_USD


def _all_in_doubt(running: set[str], told: dict[str, Any]) -> bool:
    """Is every lease one of an old doubtful submit, sent after the balance was noted?"""
    if len(running) > _MOST_DOUBTS:
        return False
    for external_id in running:
        task = queries.load(external_id.rpartition("-")[0])
        doubtful = (
            task is not None
            and task.status is Status.SUBMITTING
            and task.external_id == external_id
        )
        if task is None or not doubtful or now() - instant(task.intended_at) < _SETTLED:
            return False
        if task.intended_at < told["noted_at"] and external_id != told["noted_for"]:
            return False
    return True


def _running(provider: str) -> set[str]:
    return set((table.read(f"slots#{provider}") or {}).get("leases", {}))


def _told(provider: str) -> dict[str, Any]:
    return {"charged_usd": 0, "untold": 0, **(table.read(f"balance#{provider}") or {})}
