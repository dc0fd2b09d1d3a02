"""Which calls are struck and how, which deliveries are lost, doubled or late, and how each job
goes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.faults.clockwork import START, Fault, Invocation

WRITES = ("UpdateItem", "PutItem", "TransactWriteItems")


@dataclass(frozen=True)
class Script:
    """How a job goes: when it ends and how, how long it cannot be found, how often its link is
    dead."""

    seconds: float = 60.0
    outcome: str = "success"
    hidden_seconds: float = 0.0
    dead_links: int = 0


class Plan:
    """No faults. Every choice comes from the seed, so that a run is its seed."""

    def __init__(self, seed: int, script: Script | None = None) -> None:
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

    def outage(self, now: float) -> str:
        return ""

    def forgeries(self) -> list[tuple[float, str]]:
        return []


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

    def __init__(self, seed: int, rates: Rates | None = None, calm_seconds: float = 0.0) -> None:
        super().__init__(seed)
        self.calm_until = START + calm_seconds
        self.rates = rates or Rates()
        self.now: Callable[[], float] = lambda: START
        begin = START + self.random.random() * 1200
        kind = self.random.choice(["credits", "maintenance", "rate"])
        has_outage = self.random.random() < self.rates.outage
        self._outage = (
            (begin, begin + self.random.random() * 3600, kind) if has_outage else (0.0, 0.0, "")
        )

    def _is_calm(self) -> bool:
        return not self.calm_until <= self.now() <= START + self.rates.calm_after

    def latency(self, site: str) -> float:
        quick = self.random.expovariate(1 / 0.02)
        return quick + (self.random.expovariate(1 / 3.0) if self.random.random() < 0.02 else 0.0)

    def strike(self, one: Invocation, site: str) -> Fault | None:
        if self._is_calm():
            return None
        rates, chance = self.rates, self.random.random()
        if site.endswith(" POST"):
            return self._paid(chance)
        for share, faults in (
            (rates.crash, ("crash-before", "crash-after", "freeze-before", "freeze-after")),
            (rates.error, ("error", "error-after")),
            (rates.slow, ("slow",)),
        ):
            if chance < share:
                return Fault(self.random.choice(faults), self.random.random() * 60)
            chance -= share
        if site.endswith("Query") and chance < rates.stale:
            return Fault("stale", self.random.random() * 30)
        if site.startswith("dynamodb") and site.endswith(WRITES):
            if chance < rates.conflict:
                return Fault("conflict")
            if chance < rates.conflict + rates.late:
                return Fault("late", self.random.random() * 10)
            if chance < rates.conflict + rates.late + rates.doubled:
                return Fault("twice")
        return None

    def _paid(self, chance: float) -> Fault | None:
        """The call that costs money is where it hurts: it is struck more often than any other."""
        if chance >= self.rates.paid_call:
            return None
        return Fault(self.random.choice(PAID_FAULTS), self.random.choice([5.0, 200.0, 1200.0]))

    def deliveries(self, kind: str) -> list[float]:
        if self._is_calm():
            return [0.0]
        rates, chance = self.rates, self.random.random()
        lost = {"callback": rates.callback_lost, "event of the inbox": rates.inbox_event_lost}.get(
            kind, 0.0
        )
        if chance < lost:
            return []
        chance -= lost
        if kind == "execution dies":
            return [0.0, 1.0] if chance < rates.execution_dies else [0.0]
        doubled = rates.callback_doubled if kind == "callback" else rates.redelivered
        if kind == "workflow invoke":
            doubled /= 5
        if chance < doubled:
            return [0.0, self.random.random() * 300]
        late = rates.callback_late if kind == "callback" else rates.postponed
        if kind != "workflow invoke" and chance < doubled + late:
            return [self.random.random() * 900]
        return [0.0]

    def refuses_events(self) -> bool:
        return not self._is_calm() and self.random.random() < 0.05

    def job(self) -> Script:
        return Script(
            seconds=self.random.expovariate(1 / 120) + 5,
            outcome="fail" if self.random.random() < self.rates.fails else "success",
            hidden_seconds=self.random.random() * 90 if self.random.random() < 0.3 else 0.0,
            dead_links=self.random.randrange(3) if self.random.random() < 0.2 else 0,
        )

    def outage(self, now: float) -> str:
        begin, end, kind = self._outage
        return kind if begin <= now < end else ""

    def forgeries(self) -> list[tuple[float, str]]:
        if self.random.random() >= self.rates.forged:
            return []
        return [
            (self.random.random() * 120, self.random.choice(["mac", "body", "body"]))
            for _ in range(2)
        ]
