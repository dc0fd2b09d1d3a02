"""Schedules of their own against providers that are less kind than their documentation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.faults.clockwork import START, Fault
from tests.faults.plans import Script, Struck
from tests.faults.runs import Result, Run, Scene
from tests.faults.traits import HOUR, ORDINARY, Traits

LOST = Fault("error-after")  # the answer to the first paid POST


class Scripted(Struck):
    """`scripts`: how the jobs go, the last one also for all later. `refusals`: in which words each
    create is refused although its job is made. `forged`: when each forged callback comes. `skews`:
    how far the clocks of the sandboxes are off, in turn."""

    def __init__(
        self,
        scripts: Sequence[Script] = (Script(),),
        *,
        seed: int = 1,
        paid: Fault | None = None,
        traits: Traits = ORDINARY,
        refusals: Sequence[str] = (),
        forged: Sequence[float] = (),
        skews: Sequence[float] = (0.0,),
        bus_refuses: tuple[float, float] = (0.0, 0.0),
        outages: tuple[float, float, str] = (0.0, 0.0, ""),
        calls: Mapping[int, Fault] | None = None,
    ) -> None:
        super().__init__(seed, calls or {}, {}, paid=paid)
        self.scripts = list(scripts)
        self.traits = traits
        self.refusals = list(refusals)
        self.forged = forged
        self.skews = itertools.cycle(skews)
        self.bus_refuses = bus_refuses
        self.outages = outages
        self.now: Callable[[], float] = lambda: START

    def job(self) -> Script:
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    def refusal_with_a_job(self) -> str:
        return self.refusals.pop(0) if self.refusals else ""

    def deliveries(self, kind: str) -> list[float]:
        waits = super().deliveries(kind)
        return [] if kind == "callback" and self.traits.callbacks_lost else waits

    def skew(self) -> float:
        return next(self.skews)

    def refuses_events(self) -> bool:
        begin, end = self.bus_refuses
        return begin <= self.now() - START < end

    def outage(self, now: float) -> str:
        begin, end, kind = self.outages
        return kind if begin <= now - START < end else ""

    def forgeries(self) -> list[tuple[float, str]]:
        return [(at, f"body {number}") for number, at in enumerate(self.forged, start=1)]


@dataclass(frozen=True)
class Came:
    """What a scene came to. `codes`: the error codes of its tasks."""

    result: Result
    posts: int
    jobs: int
    codes: list[str]
    speeches: int = 0

    @property
    def statuses(self) -> dict[str, int]:
        return dict(self.result.statuses)


def play(
    profile: str,
    plan: Struck,
    doors: tuple[str, ...] = ("files",),
    *,
    cap_usd: Decimal | None = None,
    extras: dict[str, Any] | None = None,
    then: Callable[[Run], None] = lambda _run: None,
) -> Came:
    """Until all is quiet, with the promise checked every hour."""
    run = Run(Scene(profile, doors, cap_usd=cap_usd, extras=extras or {}), plan, seed=1)
    if isinstance(plan, Scripted):
        plan.now = lambda: run.clock.now
    run.invariants.is_unkind = True
    _check_hourly(run)
    then(run)
    result = run.play()
    errors = [item.get("error", {}).get("M", {}) for item in run.invariants.tasks.values()]
    codes = [error["code"]["S"] for error in errors if "code" in error]
    return Came(result, run.vendor.posts, run.vendor.creates, codes, len(run.vendor.speeches))


def _check_hourly(run: Run) -> None:
    run.invariants.doubts_are_in_time()
    if run.clock.now < START + 72 * HOUR:
        run.clock.after(HOUR, lambda: _check_hourly(run))


def decisions() -> Any:
    from functions.tasks import decisions  # not at import: a mutant must come before it

    return decisions


def decide(run: Run, seconds: float, decision: Callable[[Any], object]) -> None:
    """A person decides about every task there is then; what is refused changes nothing."""

    def act(_event: object, _context: object) -> None:
        from functions.tasks import queries

        for task_id in list(run.invariants.tasks):
            try:
                decision(queries.load(task_id))
            except decisions().Refused as refused:
                run.clock.note(f"refused: {refused}")

    run.clock.after(seconds, lambda: run.clock.invoke("person", act, {}, 60, lambda *_: None))
