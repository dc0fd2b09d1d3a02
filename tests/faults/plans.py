"""Which calls are struck and how, which deliveries are lost, doubled or late, and how each job
goes."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from tests.faults.clockwork import START, Fault, Invocation
from tests.faults.draws import Draws
from tests.faults.traits import ORDINARY, Traits

WRITES = ("UpdateItem", "PutItem", "TransactWriteItems")


@dataclass(frozen=True)
class Script:
    """How a job goes: when it ends and how, how long it cannot be found, how often its link is
    dead."""

    seconds: float = 60.0
    outcome: str = "success"
    hidden_seconds: float = 0.0
    dead_links: int = 0
    serves: str = "video"  # or "nothing", or "page": what its link gives for ever
    fails_after: float = 0.0  # a success that is said to have failed so long after; 0 for never
    has_twin: bool = False  # one POST makes two jobs
    forgotten_after: float = 0.0  # its record is gone so long after its end; 0 for never
    wavers_seconds: float = 0.0  # for so long it runs again, half a minute after it was done


class Plan:
    """No faults. Every choice comes from the seed, so that a run is its seed."""

    traits: Traits = ORDINARY

    def __init__(
        self, seed: int, script: Script | None = None, only: Collection[str] | None = None
    ) -> None:
        self.draws = Draws(seed, only)
        self.random = random.Random(seed * 2 + 1)
        self.script = script or Script()
        self.sites: list[str] = []
        self.kinds: list[str] = []

    def latency(self, site: str) -> float:
        return 0.005 + 0.01 * self.random.random()

    def strike(self, one: Invocation, site: str) -> Fault | None:
        self.sites.append(f"{one.name}: {site}")
        return None

    def deliveries(self, kind: str) -> list[float]:
        """After how many seconds a thing arrives; empty: never; two: twice."""
        self.kinds.append(kind)
        return [0.0]

    def refuses_events(self) -> bool:
        return False

    def moment(self, within: float) -> float:
        return self.random.random() * within

    def job(self) -> Script:
        return self.script

    def has_task(self, number: int, door: str) -> bool:
        return True

    def outage(self, now: float) -> str:
        return ""

    def forgeries(self) -> list[tuple[float, str]]:
        return []

    def skew(self) -> float:
        """How far the clock of a sandbox is off, in seconds."""
        return 0.0

    def sandbox(self, function: str) -> str:
        """Which of a function's sandboxes an invocation comes to."""
        return function

    def link_is_dead(self) -> bool:
        """A signed link that served us serves the provider no more."""
        return False

    def refusal_with_a_job(self) -> str:
        """ "doubtful" or "sure": a job is made, and the answer refuses it in such words."""
        return ""


class Struck(Plan):
    """Exactly these calls and these deliveries, counted from the first of the run."""

    def __init__(
        self,
        seed: int,
        calls: Mapping[int, Fault],
        deliveries: Mapping[int, list[float]],
        script: Script | None = None,
        paid: Fault | None = None,
    ) -> None:
        super().__init__(seed, script)
        self.paid = paid
        self.struck = calls
        self.delivered = deliveries
        self._calls = 0
        self._deliveries = 0
        self._refusals = 0

    def strike(self, one: Invocation, site: str) -> Fault | None:
        super().strike(one, site)
        self._calls += 1
        fault = self.struck.get(self._calls)
        if fault is not None and fault.what in ("twice", "conflict") and not site.endswith(WRITES):
            fault = None  # another fault has moved it to a call that is never repeated
        if self.paid is not None and site.endswith(" POST"):
            fault, self.paid = self.paid, None
        if fault is not None and fault.what == "refused":
            self._refusals += 1
            return None
        return fault

    def deliveries(self, kind: str) -> list[float]:
        super().deliveries(kind)
        self._deliveries += 1
        return self.delivered.get(self._deliveries, [0.0])

    def refuses_events(self) -> bool:
        if self._refusals:
            self._refusals -= 1
            return True
        return False


@dataclass(frozen=True)
class Rates:
    """How often, of all calls or deliveries. `calm_after` seconds nothing fails any more, so that
    everything must end."""

    crash: float = 0.01
    error: float = 0.01
    doubled: float = 0.005
    slow: float = 0.01
    late: float = 0.003
    stale: float = 0.2
    conflict: float = 0.01
    redelivered: float = 0.05
    postponed: float = 0.03
    callback_lost: float = 0.1
    callback_doubled: float = 0.15
    callback_late: float = 0.15
    paid_call: float = 0.05
    inbox_event_lost: float = 0.05
    execution_dies: float = 0.05
    forged: float = 0.3
    outage: float = 0.1
    fails: float = 0.1
    calm_after: float = 4 * 3600


PAID_FAULTS = (
    "crash-before",
    "crash-after",
    "error",
    "error-after",
    "error-after",
    "late",
    "late",
    "freeze-after",
)


class Harsh(Plan):
    """Everything at once, by rates."""

    def __init__(
        self,
        seed: int,
        rates: Rates | None = None,
        calm_seconds: float = 0.0,
        only: Collection[str] | None = None,
    ) -> None:
        super().__init__(seed, only=only)
        self.calm_until = START + calm_seconds
        self.rates = rates or Rates()
        self.now: Callable[[], float] = lambda: START
        self._is_uneven = self.draws.allows("uneven latency")
        self._outage = self._draw_outage()

    def _draw_outage(self) -> tuple[float, float, str]:
        chance = self.draws.chance("outage")
        begin, lasts = chance.random() * 1200, chance.random() * 3600
        kind = chance.choice(["credits", "maintenance", "rate"])
        if chance.random() >= self.rates.outage or not self.draws.allows(f"outage: {kind}"):
            return 0.0, 0.0, ""
        return START + begin, START + begin + lasts, kind

    def _is_calm(self) -> bool:
        return not self.calm_until <= self.now() <= START + self.rates.calm_after

    def has_task(self, number: int, door: str) -> bool:
        return self.draws.allows(f"task {number} by {door}")

    def latency(self, site: str) -> float:
        name = self.draws.number(f"latency {site}")
        if not self._is_uneven:
            return 0.02
        chance = self.draws.once(name)
        quick = chance.expovariate(1 / 0.02)
        return quick + (chance.expovariate(1 / 3.0) if chance.random() < 0.02 else 0.0)

    def moment(self, within: float) -> float:
        return self.draws.once(self.draws.number("moment")).random() * within

    def strike(self, one: Invocation, site: str) -> Fault | None:
        name = self.draws.number(f"{one.name}: {site}")
        if self._is_calm():
            return None
        fault = self._fault(self.draws.once(name), site)
        if fault is None or not self.draws.allows(f"{name} {fault.what}"):
            return None
        return fault

    def _fault(self, chance: random.Random, site: str) -> Fault | None:
        rates, drawn = self.rates, chance.random()
        if site.endswith(" POST"):
            return self._paid(chance, drawn)
        for share, faults in (
            (rates.crash, ("crash-before", "crash-after", "freeze-before", "freeze-after")),
            (rates.error, ("error", "error-after")),
            (rates.slow, ("slow",)),
        ):
            if drawn < share:
                return Fault(chance.choice(faults), chance.random() * 60)
            drawn -= share
        if site.endswith("Query") and drawn < rates.stale:
            return Fault("stale", chance.random() * 30)
        if site.startswith("dynamodb") and site.endswith(WRITES):
            if drawn < rates.conflict:
                return Fault("conflict")
            if drawn < rates.conflict + rates.late:
                return Fault("late", chance.random() * 10)
            if drawn < rates.conflict + rates.late + rates.doubled:
                return Fault("twice")
        return None

    def _paid(self, chance: random.Random, drawn: float) -> Fault | None:
        """The call that costs money is where it hurts: it is struck more often than any other."""
        if drawn >= self.rates.paid_call:
            return None
        return Fault(chance.choice(PAID_FAULTS), chance.choice([5.0, 200.0, 1200.0]))

    def deliveries(self, kind: str) -> list[float]:
        name = self.draws.number(kind)
        if self._is_calm():
            return [0.0]
        waits = self._waits(self.draws.once(name), kind)
        how = "lost" if not waits else "late" if len(waits) == 1 else "doubled"
        return waits if waits == [0.0] or self.draws.allows(f"{name} {how}") else [0.0]

    def _waits(self, chance: random.Random, kind: str) -> list[float]:
        rates, drawn = self.rates, chance.random()
        lost = {"callback": rates.callback_lost, "event of the inbox": rates.inbox_event_lost}.get(
            kind, 0.0
        )
        if drawn < lost:
            return []
        drawn -= lost
        if kind == "execution dies":
            return [0.0, 1.0] if drawn < rates.execution_dies else [0.0]
        doubled = rates.callback_doubled if kind == "callback" else rates.redelivered
        if kind == "workflow invoke":
            doubled /= 5
        if drawn < doubled:
            return [0.0, chance.random() * 300]
        late = rates.callback_late if kind == "callback" else rates.postponed
        if kind != "workflow invoke" and drawn < doubled + late:
            return [chance.random() * 900]
        return [0.0]

    def refuses_events(self) -> bool:
        name = self.draws.number("events")
        refused = not self._is_calm() and self.draws.once(name).random() < 0.05
        return refused and self.draws.allows(f"{name} refused")

    def job(self) -> Script:
        name = self.draws.number("job")
        chance = self.draws.chance(name)
        seconds, fails = chance.expovariate(1 / 120) + 5, chance.random() < self.rates.fails
        hidden = chance.random() * 90 if chance.random() < 0.3 else 0.0
        dead_links = chance.randrange(3) if chance.random() < 0.2 else 0
        allows = self.draws.allows
        return Script(
            seconds=seconds if allows(f"{name} takes {seconds:.0f} s") else 60.0,
            outcome="fail" if fails and allows(f"{name} fails") else "success",
            hidden_seconds=hidden if hidden and allows(f"{name} is hidden") else 0.0,
            dead_links=dead_links if dead_links and allows(f"{name} has dead links") else 0,
        )

    def outage(self, now: float) -> str:
        begin, end, kind = self._outage
        return kind if begin <= now < end else ""

    def forgeries(self) -> list[tuple[float, str]]:
        name = self.draws.number("forged callbacks")
        chance = self.draws.chance(name)
        if chance.random() >= self.rates.forged or not self.draws.allows(name):
            return []
        return [(chance.random() * 120, chance.choice(["mac", "body", "body"])) for _ in range(2)]
