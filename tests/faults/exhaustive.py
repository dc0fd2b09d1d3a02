"""Every single fault at every call of a base schedule, and pairs of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tests.faults import replays
from tests.faults.clockwork import Fault
from tests.faults.plans import WRITES, Script, Struck
from tests.faults.runs import Result, Run, Scene

ANYWHERE = (
    Fault("crash-before"),
    Fault("crash-after"),
    Fault("freeze-after"),
    Fault("error"),
    Fault("error-after"),
    Fault("slow", 8.0),
)
CALM = Script()
# A schedule that ends in HELD should not be six hours long.
_SOON = {
    "ambiguous_hold_hours": 0.5,
    "polls": {"first": 20, "steady": 300, "slow": 900, "slow_after": 1200},
}
_DELIVERED: dict[str, tuple[list[float], ...]] = {
    "callback": ([], [0.0, 0.0, 40.0], [400.0]),
    "event of the inbox": ([], [0.0, 3.0], [700.0]),
    "message of uploads": ([0.0, 0.0], [0.0, 30.0], [200.0]),
    "message of submissions": ([0.0, 0.0], [0.0, 0.02, 60.0], [200.0]),
    "stream record": ([0.0, 0.1], [0.0, 600.0]),
    "workflow invoke": ([0.0, 0.005], [0.0, 50.0]),
    "execution dies": ([0.0, 0.0],),
}


@dataclass(frozen=True)
class Base:
    """A schedule without faults: a scene, and how its jobs go."""

    scene: Scene
    script: Script = CALM
    seed: int = 1
    paid: Fault | None = None  # strikes the first POST, before any other fault

    def run(
        self,
        calls: dict[int, Fault],
        deliveries: dict[int, list[float]],
        seed: int = 0,
        trace: bool = False,
    ) -> Result:
        seed = seed or self.seed
        return Run(
            self.scene, Struck(seed, calls, deliveries, self.script, self.paid), seed, trace
        ).play()


def bases(profile: str) -> dict[str, Base]:
    """The ordinary ways of a task; faults in the random runs mix them."""
    capped = Decimal(5)
    unheard = Scene(profile, ("api",), callbacks=False, extras=_SOON)
    one_running = {"rate_limits": {profile: {"submits": 20, "seconds": 10, "running": 1}}}
    return {
        "files": Base(Scene(profile, ("files",), cap_usd=capped)),
        "voice first": Base(Scene(profile, ("voice-first",)), Script(hidden_seconds=45)),
        "api, no callbacks": Base(Scene(profile, ("api",), callbacks=False, cap_usd=capped)),
        "job fails": Base(Scene(profile, ("api",), cap_usd=capped), Script(outcome="fail")),
        "dead link": Base(Scene(profile, ("api",)), Script(dead_links=1)),
        "lost answer": Base(Scene(profile, ("api",), cap_usd=capped), paid=Fault("error-after")),
        "lost answer, no callbacks": Base(unheard, paid=Fault("error-after")),
        "two at once": Base(Scene(profile, ("api", "api"), cap_usd=capped, extras=one_running)),
    }  # fmt: skip


def long_bases() -> dict[str, Base]:
    """The ways of a long voice, in two pieces: at kie, whose model takes 15 seconds."""
    capped = Decimal(5)
    whole = Base(Scene("kie", ("long",), cap_usd=capped))
    return {
        "long voice": whole,
        "long voice, a piece fails": replace(whole, script=Script(outcome="fail")),
        "long voice, dropped again": Base(
            Scene("kie", ("long", "again"), cap_usd=capped, spread_seconds=600.0)
        ),
        "long voice, over the budget": Base(Scene("kie", ("long",), cap_usd=Decimal("0.3"))),
    }


@dataclass(frozen=True)
class Case:
    """One strike: at the `index`-th call or delivery of the base schedule."""

    base: str
    kind: str  # "call" or "delivery"
    index: int
    site: str
    what: Any
    seed: int = 1

    def __str__(self) -> str:
        what = (
            f"{self.what.what} {self.what.seconds or ''}".strip()
            if self.kind == "call"
            else f"after {self.what}"
        )
        return f"{self.base!r} {self.kind} {self.index} ({self.site}) {what}, seed {self.seed}"

    def part(self) -> str:
        return replays.strike(self.kind, self.index, self.what)

    def calls(self) -> dict[int, Fault]:
        return {self.index: self.what} if self.kind == "call" else {}

    def deliveries(self) -> dict[int, list[float]]:
        return {self.index: self.what} if self.kind == "delivery" else {}


def singles(name: str, base: Base) -> Iterator[Case]:
    calm = base.run({}, {})
    if calm.broke is not None:
        raise AssertionError(f"{name}: broken without any fault: {calm.broke}")
    for index, site in enumerate(calm.sites, start=1):
        for fault in _faults(site):
            yield Case(name, "call", index, site, fault)
        if site.endswith(" POST"):  # how the answer breaks off is chosen by the seed
            for seed in range(2, 8):
                for fault in (Fault("error"), Fault("error-after"), Fault("late", 200.0)):
                    yield Case(name, "call", index, site, fault, seed)
    for index, kind in enumerate(calm.kinds, start=1):
        for waits in _DELIVERED[kind]:
            yield Case(name, "delivery", index, kind, waits)


def _faults(site: str) -> Iterator[Fault]:
    yield from ANYWHERE
    if site.endswith(" POST"):
        yield from (Fault("late", seconds) for seconds in (5.0, 200.0, 1200.0))
    if "dynamodb" in site and site.endswith(WRITES):
        yield from (Fault("twice"), Fault("late", 4.0), Fault("conflict"))
    if site.endswith("Query"):
        yield Fault("stale", 20.0)
    if site.endswith("PutEvents"):
        yield Fault("refused")


def pairs(name: str, base: Base, count: int, seed: int) -> Iterator[tuple[Case, Case]]:
    """A sample of all pairs: two strikes of the same schedule, the second counted with the first
    already struck."""
    chance = random.Random(seed)
    cases = list(singles(name, base))
    for _ in range(count):
        first, second = chance.sample(cases, 2)
        if (first.kind, first.index) != (second.kind, second.index):
            yield first, second


def play(base: Base, *cases: Case, trace: bool = False) -> Result:
    calls = {index: fault for case in cases for index, fault in case.calls().items()}
    deliveries = {index: waits for case in cases for index, waits in case.deliveries().items()}
    return base.run(calls, deliveries, seed=cases[0].seed if cases else 0, trace=trace)
