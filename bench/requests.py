"""What one task asks of AWS: every call, invocation, state entered and table unit, counted in the
fault model of tests/faults.

    .venv/bin/python -m bench.requests [seconds a job takes]

Two runs are compared, of one task and of two that are far apart, so that what only the first task
of a stack needs and what the sweep does by the clock fall out. The docs (docs/cost.md) show this
table for kie and the model's own polls.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

from functions import providers
from functions.tasks import attributes
from functions.tasks.queries import LISTED
from tests.faults import workflow
from tests.faults.plans import Plan, Script
from tests.faults.runs import Run, Scene

OWN_POLLS: dict[str, Any] = {"polls": {}}
APART_SECONDS = 7200.0
PROVIDERS = ("api ", "results ", "link ")
BY_CLOCK = "sweep"
_ENTRY_BYTES = 100  # what the model leaves out of an entry of the index `due`


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.requests", description="What one task asks of AWS."
    )
    parser.add_argument(
        "seconds",
        nargs="?",
        type=float,
        default=240.0,
        help="how long a job takes (default: %(default)s)",
    )
    job_seconds: float = parser.parse_args().seconds
    for callbacks in (True, False):
        print(f"\na job of {job_seconds:.0f} s, callbacks {'on' if callbacks else 'off'}")
        one, two = (count(number, job_seconds, callbacks) for number in (1, 2))
        for name in sorted(two):
            if two[name] - one[name] and not name.startswith(BY_CLOCK):
                print(f"  {two[name] - one[name]:>5}  {name}")


def durations(median_seconds: float) -> list[float]:
    """Sixty-four jobs as they might be: the middle one so long, one in twenty over 1.6 times that,
    one in twenty under 0.6."""
    usual = NormalDist(math.log(median_seconds), 0.3)
    return [round(math.exp(usual.inv_cdf((place + 0.5) / 64)), 1) for place in range(64)]


def _teach(run: Run, median_seconds: float) -> None:
    """What the stack knows of its own jobs by now."""
    jobs = {f"job_{at}": [took, 1] for at, took in enumerate(durations(median_seconds))}
    pk = f"durations#kie#{providers.get('kie').default_model}"
    run.account.table.put_item(
        {name: attributes.typed(value) for name, value in {"pk": pk, **jobs}.items()}
    )


def count(tasks: int, job_seconds: float, callbacks: bool, *, learnt: bool = False) -> Counter[str]:
    scene = Scene(
        "kie",
        ("files",) * tasks,
        callbacks=callbacks,
        spread_seconds=APART_SECONDS,
        extras=OWN_POLLS,
    )
    run = Run(scene, Plan(1, Script(seconds=job_seconds)), 1)
    if learnt:
        _teach(run, job_seconds)
    counted: Counter[str] = Counter()
    _count_invocations(run, counted)
    count_units(run, counted)
    count_states(counted)
    result = run.play()
    assert result.broke is None
    assert result.statuses == {"COMPLETED": tasks}
    count_calls(result.sites, counted)
    return counted


def count_calls(sites: Iterable[str], counted: Counter[str]) -> None:
    for site in sites:
        function, call = site.split(": ")
        counted[
            "calls: " + ("to the provider and its links" if call.startswith(PROVIDERS) else call)
        ] += function != BY_CLOCK


def _count_invocations(run: Run, counted: Counter[str]) -> None:
    invoke = run.clock.invoke

    def counting(name: str, *more: Any, **named: Any) -> Any:
        if name != BY_CLOCK:
            counted[f"invocations: {name}"] += 1
            counted["invocations, all"] += 1
        return invoke(name, *more, **named)

    run.clock.invoke = counting  # type: ignore[method-assign]


def count_units(run: Run, counted: Counter[str]) -> None:
    """Write units of the table and its four indexes: a kilobyte begun each, twice in a
    transaction. Read units: four kilobytes begun each, half as many where it may lag. What the
    sweep does by the clock is left out."""
    table = run.account.table
    write, transact = table._write, table.transact_write_items
    weight, sizes = [1], _Sizes()

    def counting(pk: str, item: Any) -> None:
        old = table.items.get(pk)
        before, after = sizes.of(pk, old), sizes.of(pk, item)
        if not _by_clock(run):
            counted["table: write units"] += weight[0] * math.ceil(max(before, after) / 1024)
            counted["table: write units of the indexes"] += _index_units(old or {}, item)
            most = max(counted["table: bytes of the largest task"], after)
            counted["table: bytes of the largest task"] = most
        write(pk, item)

    def in_transaction(*more: Any, **named: Any) -> Any:
        weight[0] = 2
        try:
            return transact(*more, **named)
        finally:
            weight[0] = 1

    table._write, table.transact_write_items = counting, in_transaction  # type: ignore[method-assign]
    _count_reads(run, counted, sizes)


def _count_reads(run: Run, counted: Counter[str], sizes: _Sizes) -> None:
    table = run.account.table
    get, get_many, query = table.get_item, table.batch_get_item, table.query

    def read(pk: str, *, is_consistent: bool) -> None:
        units = max(1, math.ceil(sizes.of(pk, table.items.get(pk)) / 4096))
        if not _by_clock(run):
            counted["table: read units"] += units if is_consistent else units / 2  # type: ignore[assignment]

    def getting(Key: Any, ConsistentRead: bool = False, **more: Any) -> Any:
        read(Key["pk"]["S"], is_consistent=ConsistentRead)
        return get(Key=Key, ConsistentRead=ConsistentRead, **more)

    def getting_many(RequestItems: Any) -> Any:
        ((_, wanted),) = RequestItems.items()
        for key in wanted["Keys"]:
            read(key["pk"]["S"], is_consistent=wanted.get("ConsistentRead", False))
        return get_many(RequestItems)

    def querying(**parameters: Any) -> Any:
        answer = query(**parameters)
        bytes_read = sum(_ENTRY_BYTES + size(item) for item in answer["Items"])
        if not _by_clock(run):
            counted["table: read units"] += max(1, math.ceil(bytes_read / 4096)) / 2  # type: ignore[assignment]
        return answer

    table.get_item, table.batch_get_item = getting, getting_many  # type: ignore[method-assign]
    table.query = querying  # type: ignore[method-assign, assignment]


def _by_clock(run: Run) -> bool:
    current = run.clock.current
    return current is not None and current.name == BY_CLOCK


class _Sizes:
    """Bytes of each item, reckoned anew only for what a write changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, int]] = {}

    def of(self, pk: str, item: Any) -> int:
        if item is None:
            return 0
        old, total = self._known.get(pk, ({}, 0))
        if old is not item:
            for name, value in item.items():
                if (was := old.get(name)) is not value:
                    total += size({name: value}) - (size({name: was}) if was else 0)
            total -= sum(size({name: old[name]}) for name in old.keys() - item.keys())
            self._known[pk] = item, total
        return total


def _index_units(old: Any, new: Any) -> int:
    """An index is written when what it shows changed; twice, when the entry moves."""
    total = 0
    indexes = (
        (("status_shard", "created"), LISTED),
        (("due_shard", "due_at"), ()),
        (("list_shard", "created"), ()),
        (("id_shard", "pk"), ()),
    )
    for keys, shown in indexes:
        before, after = (
            {name: item[name] for name in ("pk", *keys, *shown) if name in item}
            for item in (old, new)
        )
        was_there, is_there = (all(key in item for key in keys) for item in (before, after))
        if before != after:
            moved = was_there and is_there and any(before[key] != after[key] for key in keys)
            total += units(after) * is_there + units(before) * (
                was_there and (moved or not is_there)
            )
    return total


_enter = workflow.Execution.enter


def count_states(counted: Counter[str]) -> None:
    def counting(self: Any, state: str) -> None:
        counted["states entered"] += 1
        _enter(self, state)

    workflow.Execution.enter = counting  # type: ignore[method-assign]


def units(item: Any) -> int:
    return math.ceil(size(item) / 1024) if item else 0


def size(value: Any) -> int:
    """Bytes by DynamoDB's rule, nearly: names and values, three for each list or map and one for
    each thing in it."""
    if not isinstance(value, dict):
        return len(str(value).encode())
    total = 0
    for name, typed in value.items():
        total += len(name.encode()) + _size(typed)
    return total


def _size(typed: Any) -> int:
    kind, value = next(iter(typed.items()))
    if kind == "M":
        return 3 + len(value) + size(value)
    if kind == "L":
        return 3 + sum(1 + _size(one) for one in value)
    return (len(str(value)) + 1) // 2 + 1 if kind == "N" else len(str(value).encode())


if __name__ == "__main__":
    main()
