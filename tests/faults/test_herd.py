"""The command that measures many tasks at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def herd(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.herd", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_many_at_once_are_measured_and_the_last_line_is_the_refused_claims_a_task() -> None:
    shown = herd("12")
    assert shown.returncode == 0, shown.stderr
    assert "kie: 12 tasks at once" in shown.stdout
    assert re.search(r"^  completed +12$", shown.stdout, re.MULTILINE)
    last = shown.stdout.splitlines()[-1]
    assert re.fullmatch(r"refused claims a task \d+(\.\d+)?", last)


def test_the_same_seed_gives_the_same_figures() -> None:
    first, second = (herd("6", "--provider", "kling", "--seed", "3").stdout for _ in range(2))
    assert _without_wall_time(first) == _without_wall_time(second)
    assert "kling: 6 tasks at once" in first


def _without_wall_time(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if "this run took" not in line]


def figure(shown: str, name: str) -> float:
    found = re.search(rf"^  {re.escape(name)} +(\d+(\.\d+)?)", shown, re.MULTILINE)
    assert found, shown
    return float(found[1])


def test_what_a_task_costs_is_the_same_for_few_and_for_more_than_may_run() -> None:
    few, many = (herd(number).stdout for number in ("12", "130"))
    for name in ("write units a task", "USD for AWS, 1,000 tasks"):
        assert figure(many, name) <= 1.1 * figure(few, name)
    assert figure(many, "invocations a task, without announce") < 9.1
    assert figure(many, "refused claims a task") == 0
    assert figure(many, "refused by the provider") == 0
    assert figure(many, "allowance used while a task waits") >= 95


def test_a_small_folder_that_comes_later_takes_turns_with_the_large_one() -> None:
    shown = herd("50", "--small", "4", "--provider", "kling").stdout
    found = re.search(r"small folder +4 tasks, the last after \d+ s, (\d+) accepted by then", shown)
    assert found, shown
    assert int(found[1]) <= 2 * 4 + 1


def test_less_than_one_task_is_refused_with_the_reason() -> None:
    refused = herd("0")
    assert refused.returncode == 2
    assert "0 tasks are none: give 1 or more" in refused.stderr


def test_what_is_dropped_while_nothing_may_be_paid_becomes_ready_and_stays_so() -> None:
    shown = herd("12", "--paused")
    assert shown.returncode == 0, shown.stderr
    assert "12 voices at once, nothing is sent: {'READY': 12}" in shown.stdout
    assert "; sent 0" in shown.stdout
