"""What lasts, as the sweep counts it: overdue tasks, budgets that are used."""

from __future__ import annotations

import importlib.util
import warnings
from decimal import Decimal

import pytest

import functions
from functions.tasks import table
from functions.tasks.task import Status
from tests.paid.desk import Desk

HOUR = 3600
LONGEST = [
    (Status.READY, 24 * HOUR),
    (Status.SUBMITTING, 7 * HOUR),
    (Status.SUBMITTED, 30 * HOUR),
    (Status.ARCHIVING, 6 * HOUR),
    (Status.IN_PIECES, 60 * HOUR),
]


@pytest.mark.parametrize(("status", "most"), LONGEST)
@pytest.mark.parametrize("more", [0, 1])
def test_a_task_is_overdue_where_it_stands_for_too_long(
    desk: Desk, status: Status, most: int, more: int
) -> None:
    for seconds in (most + more, 5):
        task = desk.row(status)
        desk.note(task.task_id, changed_at=table.later(seconds=-seconds))
    desk.sweep()
    assert desk.metrics["OverdueTasks"] == more
    assert desk.metrics[f"Oldest{status.title().replace('_', '')}Seconds"] == most + more


@pytest.mark.parametrize(
    ("status", "hours"), [(Status.SUBMITTING, 4), (Status.SUBMITTED, 54), (Status.IN_PIECES, 84)]
)
def test_a_task_in_doubt_is_not_overdue_before_it_is_held(
    desk: Desk, status: Status, hours: int
) -> None:
    desk.options(ambiguous_hold_hours=3, silent_hold_hours=48)
    task = desk.row(status)
    for seconds, overdue in ((hours * HOUR, 0), (hours * HOUR + 1, 1)):
        desk.note(task.task_id, changed_at=table.later(seconds=-seconds))
        desk.sweep()
        assert desk.metrics["OverdueTasks"] == overdue


@pytest.mark.parametrize("status", [Status.WAITING, Status.HELD, Status.COMPLETED])
def test_no_other_task_is_overdue(desk: Desk, status: Status) -> None:
    task = desk.row(status)
    desk.note(task.task_id, changed_at=table.later(seconds=-90 * 24 * HOUR))
    desk.sweep()
    assert desk.metrics["OverdueTasks"] == 0


@pytest.mark.parametrize(
    ("options", "spent", "percent"),
    [
        ({"budget_usd_per_day": "10"}, {"2026-03-01": "4"}, 40),
        ({"budget_usd_per_month": "10"}, {"2026-03": "2.5"}, 25),
        (
            {"budget_usd_per_day": "10", "budget_usd_per_month": "100"},
            {"2026-03-01": "4", "2026-03": "50"},
            50,
        ),
        ({"budget_usd_per_day": "0"}, {}, 100),
        ({}, {"2026-03-01": "4"}, None),
    ],
)
def test_how_much_of_a_budget_is_used(
    desk: Desk, options: dict[str, str], spent: dict[str, str], percent: float | None
) -> None:
    desk.options(**options)
    for period, usd in spent.items():
        desk.put(f"budget#{period}", spent_usd=Decimal(usd))
    desk.sweep()
    assert desk.metrics.get("BudgetUsedPercent") == percent


def test_an_invocation_that_counted_nothing_warns_of_nothing(desk: Desk) -> None:
    """As it is outside of pytest, which has filters of its own."""
    package = functions.__spec__
    assert package is not None
    assert package.loader is not None
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        package.loader.exec_module(importlib.util.module_from_spec(package))
        desk.knock("https://x/callbacks/kie/a/1/c")
        assert desk.message("submit", {"task_id": "b" * 32}) == []
    assert [str(one.message) for one in seen] == []
