"""Many tasks at once: what the queue before a provider costs, and whether it is fair.

    .venv/bin/python -m bench.herd 100
    .venv/bin/python -m bench.herd 50 --provider kling --seed 7
    .venv/bin/python -m bench.herd 10000 --paused
    .venv/bin/python -m bench.herd 9010 --small 10

N pairs are dropped at the same moment; the real handlers run in the fault model of tests/faults, in
its virtual time and without faults. A job takes 240 s, and the provider has its own rate limit and
its own limit of running jobs. `--small 10` drops the last ten of them into a folder of their own,
ten minutes later; `--conflict-ms 10` refuses a write as DynamoDB does when a transaction was at the
same row so shortly before. What the model leaves out: those conflicts unless they are asked for,
throttles, SQS's own order and Lambda's concurrency, so the figures are a lower bound.

`--paused` plays the doors alone: `submit_enabled` is false, the voices lie in a hundred folders.

The last line is the figure of kie where kie is among the providers, else of the last one.
"""

from __future__ import annotations

import argparse
import gc
import time
from bisect import bisect_right, insort
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.cost import dollars
from bench.requests import BY_CLOCK, OWN_POLLS, count_calls, count_states, count_units
from functions import providers
from functions.providers.base import RateLimit
from infra.context import Context
from tests.faults.clockwork import START, Invocation
from tests.faults.dynamo import Refused
from tests.faults.expressions import Item
from tests.faults.plans import Plan, Script
from tests.faults.runs import Run, Scene
from tests.faults.vendors import VENDORS

JOB_SECONDS = 240.0
SMALL_AFTER_SECONDS = 600.0  # the small folder comes when the large one waits
_DAY = 86400.0


@dataclass
class Counted:
    """What one run did. Times are virtual seconds since the drop; a hot row's writes include what
    was refused or only checked, which DynamoDB bills as well."""

    tasks: int
    aws: Counter[str] = field(default_factory=Counter)  # named as bench.requests does
    writes: int = 0
    refused_by_provider: int = 0
    claims: int = 0
    refused: int = 0
    refused_by: Counter[str] = field(default_factory=Counter)
    hottest: tuple[int, str] = (0, "")
    ready: list[str] = field(default_factory=list)  # task ids, as they became READY
    accepted: list[tuple[float, str]] = field(default_factory=list)
    small: set[str] = field(default_factory=set)  # task ids of the small folder
    completed: int = 0
    share: float = 0.0
    wall_seconds: float = 0.0

    @property
    def refused_a_task(self) -> float:
        return self.refused / self.tasks

    def invocations(self, name: str) -> int:
        return self.aws[f"invocations: {name}"]

    @property
    def all_invocations(self) -> int:
        """Of announce there are fewer on AWS, which gives it many changes at once."""
        return self.aws["invocations, all"] - self.invocations("announce")

    @property
    def usd(self) -> float:
        """What AWS takes for all of them, by the prices and assumptions of bench.cost."""
        return sum(dollars(self.aws).values())

    @property
    def write_units(self) -> int:
        return sum(number for name, number in self.aws.items() if "write units" in name)


def main() -> None:
    arguments = _arguments()
    if arguments.paused:
        _pause(arguments.tasks, arguments.seed)
        return
    figures: dict[str, Counted] = {}
    for provider in arguments.provider or ["kie"]:
        seconds = arguments.conflict_ms / 1000
        figures[provider] = measure(
            provider, arguments.tasks, arguments.seed, arguments.small, seconds
        )
        _show(provider, figures[provider], arguments.seed)
    counted = figures.get("kie") or figures[provider]
    print(f"refused claims a task {counted.refused_a_task:.2f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.herd", description="Many tasks at once, in virtual time."
    )
    parser.add_argument("tasks", type=_at_least_one, help="how many pairs are dropped at once")
    parser.add_argument(
        "--provider",
        action="append",
        choices=sorted(VENDORS),
        help="may be given more than once (default: kie)",
    )
    parser.add_argument("--paused", action="store_true", help="nothing is sent to the provider")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule")
    parser.add_argument(
        "--small", type=int, default=0, help="so many come later, in a folder of their own"
    )
    parser.add_argument(
        "--conflict-ms", type=float, default=0, help="for which a transaction keeps its rows"
    )
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} tasks are none: give 1 or more")
    return number


class _TwoFolders(Run):
    """The last `small` tasks lie in a folder of their own, and come later."""

    def __init__(self, scene: Scene, seed: int, small: int) -> None:
        super().__init__(scene, Plan(seed, Script(seconds=JOB_SECONDS)), seed)
        self._first_small = len(scene.doors) - small

    def _enter(self, number: int, door: str) -> None:
        if number < self._first_small:
            super()._enter(number, door)
        else:
            self.clock.after(
                SMALL_AFTER_SECONDS, lambda: super(_TwoFolders, self)._enter(number, door)
            )


def measure(
    provider: str, tasks: int, seed: int, small: int = 0, conflict_seconds: float = 0.0
) -> Counted:
    began = time.monotonic()
    gc.freeze()  # what was imported is never garbage, and there is a lot of it to look through
    folders = ("large/",) * (tasks - small) + ("small/",) * small
    scene = Scene(provider, ("files",) * tasks, folders if small else (), extras=OWN_POLLS)
    run = _TwoFolders(scene, seed, small)
    run.account.uploads.most_at_once = Context().concurrency_of("intake")
    run.account.submissions.most_at_once = Context().concurrency_of("submit")
    # Nothing lags and nothing is delivered anew: nothing need be kept for it.
    run.account.table._history = run.account.stream.past = _Nothing()
    counted = Counted(tasks)
    if conflict_seconds:
        _keep_rows_busy(run, conflict_seconds)
    _count_invocations(run, counted)
    _count_table(run, counted)
    count_units(run, counted.aws)
    count_states(counted.aws)
    _count_refusals(run, counted)
    limit = providers.get(provider).rate_limit
    result = run.play(horizon_days=_most_days(tasks, limit))
    assert result.broke is None, result.broke
    count_calls(result.sites, counted.aws)
    counted.aws["without a POST: submit"] = counted.invocations("submit") - counted.claims
    jobs = sorted(run.vendor.jobs.values(), key=lambda job: job.accepted_at)
    counted.accepted = [(job.accepted_at - START, job.task_id) for job in jobs]
    counted.completed = result.statuses["COMPLETED"]
    counted.small = {
        task_id
        for task_id, item in run.invariants.tasks.items()
        if item["audio"]["M"]["key"]["S"].startswith("small/")
    }
    counted.share = share_used([at for at, _ in counted.accepted], limit)
    counted.wall_seconds = time.monotonic() - began
    return counted


class _Nothing(list[Any]):
    def append(self, _: Any) -> None: ...


def _pause(tasks: int, seed: int) -> None:
    """Drops while nothing may be paid: how long until each is READY, and what it takes."""
    began, folders = time.monotonic(), tuple(f"folder-{one % 100}/" for one in range(tasks))
    scene = Scene("kie", ("files",) * tasks, folders, extras={"submit_enabled": False})
    run = Run(scene, Plan(seed), seed)
    run.account.uploads.most_at_once = Context().concurrency_of("intake")
    run.account.submissions.most_at_once = Context().concurrency_of("submit")
    counted, ready = Counter[str](), dict[str, float]()
    invoke, on_write = run.clock.invoke, run.account.table.on_write

    def counting(name: str, *more: Any, **named: Any) -> Invocation:
        counted[name] += 1
        return invoke(name, *more, **named)

    def written(pk: str, old: Item | None, new: Item | None) -> None:
        if pk.startswith("task#") and new and new["status"] == {"S": "READY"}:
            ready.setdefault(pk, run.clock.now - START)
        on_write(pk, old, new)

    run.clock.invoke, run.account.table.on_write = counting, written  # type: ignore[method-assign]
    result = run.play_for(max(300.0, tasks / 10))
    assert result.broke is None, result.broke
    print(f"{tasks} voices at once, nothing is sent: {dict(result.statuses)}")
    print(f"  last READY after {max(ready.values()):.0f} s; sent {run.vendor.posts}")
    print(f"  invocations a voice { ({name: n / tasks for name, n in sorted(counted.items())}) }")
    print(f"  this run took {time.monotonic() - began:.0f} s")


def _most_days(tasks: int, limit: RateLimit) -> float:
    """Three times as long as the limit of running jobs allows, and a day."""
    return 1 + 3 * tasks * JOB_SECONDS / (limit.running or tasks) / _DAY


def _keep_rows_busy(run: Run, seconds: float) -> None:
    """A transaction that finds another at one of its rows is cancelled, and so is one write."""
    table, busy_until = run.account.table, dict[str, float]()
    update, transact = table.update_item, table.transact_write_items

    def updating(Key: Item, **more: Any) -> dict[str, Any]:
        if busy_until.get(Key["pk"]["S"], 0.0) > run.clock.now:
            raise Refused("TransactionConflictException")
        return update(Key=Key, **more)

    def transacting(
        TransactItems: list[dict[str, Any]], ClientRequestToken: str = ""
    ) -> dict[str, Any]:
        rows = [_row(one) for one in TransactItems]
        busy = [busy_until.get(row, 0.0) > run.clock.now for row in rows]
        if any(busy):
            reasons = [{"Code": "TransactionConflict" if one else "None"} for one in busy]
            raise Refused("TransactionCanceledException", CancellationReasons=reasons)
        busy_until.update(dict.fromkeys(rows, run.clock.now + seconds))
        return transact(TransactItems, ClientRequestToken)

    table.update_item, table.transact_write_items = updating, transacting  # type: ignore[method-assign]


# Counting.


def _count_invocations(run: Run, counted: Counted) -> None:
    invoke = run.clock.invoke

    def counting(name: str, *more: Any, **named: Any) -> Invocation:
        if name != BY_CLOCK:
            counted.aws.update([f"invocations: {name}", "invocations, all"])
        return invoke(name, *more, **named)

    run.clock.invoke = counting  # type: ignore[method-assign]


def _count_table(run: Run, counted: Counted) -> None:
    table, hottest = run.account.table, _Hottest(counted)
    update, put = table.update_item, table.put_item
    transact, on_write = table.transact_write_items, table.on_write

    def updating(Key: Item, **more: Any) -> dict[str, Any]:
        hottest.write(run.clock.now, [Key["pk"]["S"]])
        counted.writes += 1
        return update(Key=Key, **more)

    def putting(Item: Item, **more: Any) -> dict[str, Any]:
        hottest.write(run.clock.now, [Item["pk"]["S"]])
        counted.writes += 1
        return put(Item=Item, **more)

    def transacting(
        TransactItems: list[dict[str, Any]], ClientRequestToken: str = ""
    ) -> dict[str, Any]:
        rows = [_row(one) for one in TransactItems]
        hottest.write(run.clock.now, rows)
        counted.writes += 1
        if not any(row.startswith("breaker#") for row in rows):  # only a claim looks there
            return transact(TransactItems, ClientRequestToken)
        counted.claims += 1
        try:
            return transact(TransactItems, ClientRequestToken)
        except Refused as refused:
            _count_refusal(counted, rows, refused)
            raise

    def written(pk: str, old: Item | None, new: Item | None) -> None:
        is_new = old is None or old.get("status") != {"S": "READY"}
        if pk.startswith("task#") and new and new["status"] == {"S": "READY"} and is_new:
            counted.ready.append(pk.removeprefix("task#"))
        on_write(pk, old, new)

    table.update_item, table.put_item = updating, putting  # type: ignore[method-assign]
    table.transact_write_items, table.on_write = transacting, written  # type: ignore[method-assign]


def _count_refusals(run: Run, counted: Counted) -> None:
    shut = run.vendor.shut

    def counting() -> str:
        why = shut()
        counted.refused_by_provider += bool(why)
        return why

    run.vendor.shut = counting  # type: ignore[method-assign]


def _row(one: dict[str, Any]) -> str:
    (parameters,) = one.values()
    return str((parameters.get("Key") or parameters["Item"])["pk"]["S"])


def _count_refusal(counted: Counted, rows: list[str], refused: Refused) -> None:
    counted.refused += 1
    reasons = refused.more["CancellationReasons"]
    failed = [row for row, why in zip(rows, reasons, strict=True) if why["Code"] != "None"]
    counted.refused_by.update({row.split("#")[0] for row in failed})


class _Hottest:
    """The most writes that one row gets within a second of virtual time."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._second = 0
        self._writes: Counter[str] = Counter()

    def write(self, now: float, rows: Sequence[str]) -> None:
        if int(now) != self._second:
            self._second = int(now)
            self._writes.clear()
        self._writes.update(rows)
        peak = max((self._writes[row], row) for row in rows)
        self._counted.hottest = max(self._counted.hottest, peak)


# What came of it.


def overtakes(ready: Sequence[str], accepted: Sequence[str]) -> int:
    """Pairs of tasks of which the later in READY was accepted first."""
    places = {task_id: place for place, task_id in reversed(list(enumerate(ready)))}
    before: list[int] = []
    total = 0
    for task_id in accepted:
        place = places[task_id]
        total += len(before) - bisect_right(before, place)
        insort(before, place)
    return total


def share_used(accepted: Sequence[float], limit: RateLimit) -> float:
    """Running jobs times seconds until the last was accepted, beside those of a queue that loses no
    moment: it sends as soon as both limits allow."""
    end = accepted[-1]
    best = _busy(list(_as_soon_as_allowed(limit, accepted[0], end)), end)
    return _busy(accepted, end) / best if best else 1.0


def _busy(accepted: Sequence[float], end: float) -> float:
    return sum(min(JOB_SECONDS, end - at) for at in accepted if at < end)


def _as_soon_as_allowed(limit: RateLimit, begin: float, end: float) -> Iterator[float]:
    """When an endless queue would have its jobs accepted."""
    recent: deque[float] = deque(maxlen=limit.submits)
    running: deque[float] = deque(maxlen=limit.running)
    at = begin
    while at < end:
        yield at
        recent.append(at)
        running.append(at)
        if len(recent) == limit.submits:
            at = max(at, recent[0] + limit.seconds)
        if len(running) == limit.running:
            at = max(at, running[0] + JOB_SECONDS)


def _show(provider: str, counted: Counted, seed: int) -> None:
    limit = providers.get(provider).rate_limit
    writes, row = counted.hottest
    passed = overtakes(counted.ready, [task_id for _, task_id in counted.accepted])
    running = "any number" if limit.running is None else limit.running
    print(
        f"{provider}: {counted.tasks} tasks at once, {JOB_SECONDS:.0f} s a job, "
        f"{limit.submits} submits in {limit.seconds} s, {running} running, seed {seed}"
    )
    tasks = counted.tasks
    lines = {
        "completed": f"{counted.completed}",
        "submit invocations a task": f"{counted.invocations('submit') / tasks:.2f}",
        "invocations a task, without announce": f"{counted.all_invocations / tasks:.2f}",
        "write calls a task": f"{counted.writes / tasks:.1f}",
        "write units a task": f"{counted.write_units / tasks:.1f}",
        "read units a task": f"{counted.aws['table: read units'] / tasks:.1f}",
        "USD for AWS, 1,000 tasks": f"{1000 * counted.usd / tasks:.3f}",
        "claim transactions a task": f"{counted.claims / tasks:.2f}",
        "refused claims a task": f"{counted.refused_a_task:.2f}",
        "refused by": _in_words(counted.refused_by),
        "writes on the hottest row in a second": f"{writes} ({row})",
        "refused by the provider": f"{counted.refused_by_provider}",
        "allowance used while a task waits": f"{100 * counted.share:.1f} %",
        "overtakes": f"{passed}, {passed / tasks:.1f} a task",
        **_small_folder(counted),
        "last accepted after": f"{counted.accepted[-1][0]:.0f} s",
        "this run took": f"{counted.wall_seconds:.1f} s",
    }
    for name, value in lines.items():
        print(f"  {name:<40}{value}")


def _small_folder(counted: Counted) -> dict[str, str]:
    """How soon the small folder's tasks were accepted, and among how many."""
    since = [one for one in counted.accepted if one[0] >= SMALL_AFTER_SECONDS]
    places = [place for place, (_, task_id) in enumerate(since, 1) if task_id in counted.small]
    if not places:
        return {}
    last = since[places[-1] - 1][0] - SMALL_AFTER_SECONDS
    words = f"{len(places)} tasks, the last after {last:.0f} s, {places[-1]} accepted by then"
    return {"small folder": words}


def _in_words(counted: Counter[str]) -> str:
    names = {"slots": "the limit of running jobs", "rate": "the rate limit"}
    found = [f"{names.get(row, row)} {times}" for row, times in counted.most_common()]
    return ", ".join(found) or "nothing"


if __name__ == "__main__":
    main()
