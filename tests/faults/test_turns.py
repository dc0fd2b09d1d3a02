"""Turns at a provider: first in, first out, fair between folders, within its limits, and none lost
for good."""

from __future__ import annotations

import itertools

import pytest

from tests.faults import plans
from tests.faults.clockwork import START, Fault, Invocation
from tests.faults.plans import Harsh, Plan, Rates, Script
from tests.faults.runs import Result, Run, Scene

JOB = Script(seconds=100.0)


def scene(tasks: int, running: int | None = 2, profile: str = "kling", **more: object) -> Scene:
    limit = {"submits": 10, "seconds": 10, "running": running}
    extras = {"rate_limits": {profile: limit}}
    return Scene(profile, ("files",) * tasks, extras=extras, **more)  # type: ignore[arg-type]


def play(one: Scene, plan: Plan, seed: int = 1) -> tuple[Run, Result]:
    run = Run(one, plan, seed)
    result = run.play()
    assert result.broke is None, result.broke
    return run, result


def accepted(run: Run) -> list[tuple[float, str]]:
    """When each job was accepted, in seconds since the start, and of which file."""
    names = {
        task_id: item["audio"]["M"]["key"]["S"] for task_id, item in run.invariants.tasks.items()
    }
    jobs = sorted(run.vendor.jobs.values(), key=lambda job: job.accepted_at)
    return [(job.accepted_at - START, names[job.task_id]) for job in jobs]


class Struck(Plan):
    """Strikes the calls of one kind, by the invocations of one function, until `until`."""

    def __init__(self, function: str, call: str, fault: str, until: float, **more: object) -> None:
        super().__init__(1, JOB)
        self.function, self.call, self.fault, self.until = function, call, fault, until
        self.struck = 0
        self.out_until = 0.0

    def strike(self, one: Invocation, site: str) -> Fault | None:
        super().strike(one, site)
        is_meant = one.name == self.function and site.endswith(self.call)
        if not is_meant or one.clock.now > START + self.until or not self.is_due(one):
            return None
        self.struck += 1
        return Fault(self.fault)

    def is_due(self, one: Invocation) -> bool:
        return True

    def outage(self, now: float) -> str:
        return "rate" if now < START + self.out_until else ""


def test_tasks_are_sent_in_the_order_in_which_they_came() -> None:
    run, _ = play(scene(12, spread_seconds=5.0), Plan(1, JOB))
    names = [name for _, name in accepted(run)]
    assert names == [f"take-{number}.wav" for number in range(12)]


def test_a_free_slot_is_used_at_once_while_a_task_waits() -> None:
    run, _ = play(scene(12), Plan(1, JOB))
    times = [at for at, _ in accepted(run)]
    # Two at a time, 100 s each: what is lost between two jobs is the way to the archive and back.
    assert times[-1] - times[0] < 5 * (JOB.seconds + 10)


def test_a_small_folder_takes_turns_with_a_large_one() -> None:
    folders = ("large/",) * 30 + ("small/",) * 3
    run, _ = play(scene(33, folders=folders, spread_seconds=1.0), Plan(1, JOB))
    names = [name for _, name in accepted(run)]
    last = max(number for number, name in enumerate(names) if name.startswith("small/"))
    assert last < 10, names


def test_nobody_tries_for_a_slot_while_none_is_free() -> None:
    _, result = play(scene(20), Plan(1, JOB))
    claims = [site for site in result.sites if site == "submit: dynamodb TransactWriteItems"]
    # A claim and an acceptance each, and no more.
    assert len(claims) == 2 * 20


def test_no_more_are_sent_in_any_span_than_the_rate_limit_allows() -> None:
    run, _ = play(scene(60, running=None, profile="kie"), Plan(1, JOB))
    times = [at for at, _ in accepted(run)]
    busiest = max(sum(at <= other < at + 9.5 for other in times) for at in times)
    assert busiest <= 10
    assert times[-1] - times[0] < 60


@pytest.mark.parametrize(
    ("function", "call"),
    [("settle", "SendMessageBatch"), ("settle", "BatchGetItem"), ("settle", "dynamodb Query")],
)
@pytest.mark.parametrize("fault", ["error", "crash-before", "crash-after"])
def test_a_call_that_is_lost_is_made_up_for_within_minutes(
    function: str, call: str, fault: str
) -> None:
    plan = Struck(function, call, fault, until=1800)
    run, result = play(scene(6, running=1), plan)
    assert plan.struck
    assert result.statuses["COMPLETED"] == 6
    times = [at for at, _ in accepted(run)]
    longest = max(later - earlier for earlier, later in itertools.pairwise(times))
    assert longest < JOB.seconds + 120 + 300 + 30  # the turn lapses; the sweep calls


def test_a_turn_that_nobody_came_to_is_another_ones() -> None:
    """Whoever was called dies before the claim, again and again: the others are not kept waiting
    by the turns that are left."""
    plan = Struck("submit", "s3 HeadObject", "crash-before", until=600)
    run, result = play(scene(8), plan)
    assert plan.struck
    assert result.statuses["COMPLETED"] == 8
    slots = run.account.table.items["slots#kling"]
    assert slots["leases"]["M"] == {}
    assert {count["N"] for name, count in slots.items() if name.startswith("lapsing_")} == {"0"}


def test_a_lease_of_a_task_that_is_held_lapses_within_seven_hours() -> None:
    """The first answer is lost, and every callback: a person's matter, for as long as that takes.
    Its lease is given to the next after six hours and at the end of that hour."""

    class Silent(plans.Struck):
        def deliveries(self, kind: str) -> list[float]:
            return [] if kind == "callback" else super().deliveries(kind)

    plan = Silent(1, {}, {}, JOB, paid=Fault("error-after"))
    run = Run(scene(3, running=1, profile="kie", spread_seconds=60.0), plan, 1)
    result = run.play()
    assert result.broke is None, result.broke
    assert result.statuses == {"HELD": 1, "COMPLETED": 2}
    first, second, _ = (at for at, _ in accepted(run))
    assert 6 * 3600 <= second - first <= 7 * 3600 + 600  # and two sweeps
    counts = {
        int(count["N"])
        for name, count in run.account.table.items["slots#kie"].items()
        if name.startswith("lapsing_")
    }
    assert counts == {0}


@pytest.mark.parametrize("fault", ["conflict", "throttled", "error"])
def test_a_clear_refusal_that_cannot_be_written_is_no_doubt(fault: str) -> None:
    class Refusing(Struck):
        def is_due(self, one: Invocation) -> bool:
            row = next(iter(run.invariants.tasks.values()), {})
            return "sent_at" in row

    plan = Refusing("submit", "TransactWriteItems", fault, until=100)
    plan.out_until = 30
    run = Run(scene(1), plan, 1)
    result = run.play()
    assert result.broke is None, result.broke
    assert plan.struck
    assert result.statuses["COMPLETED"] == 1
    assert run.invariants.held == set()


@pytest.mark.parametrize("seed", range(12))
def test_once_the_trouble_ends_each_task_gets_its_turn(seed: int) -> None:
    rates = Rates(outage=0.5, crash=0.03, error=0.03, calm_after=3600.0, paid_call=0.02)
    plan = Harsh(seed, rates)
    run = Run(scene(10, running=1 + seed % 2, spread_seconds=20.0), plan, seed)
    result = run.play()
    assert result.broke is None, result.broke
    late = [at for at, _ in accepted(run) if at > rates.calm_after]
    waits = 6 * 3600  # a lease that a crash left, and the longest pause of a stopped provider
    assert not late or late[-1] < rates.calm_after + waits + 10 * 900, late
