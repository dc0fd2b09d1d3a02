"""Virtual time, and invocations that are interleaved at every call to the outside.

Each invocation of a handler is a greenlet. A call over the wire gives control back to the clock,
which comes back to it after the call's delay; meanwhile the others run. So one
seed is one schedule, and replays.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

START = 1_772_359_200.0  # 2026-03-01T10:00:00Z


class Broke(BaseException):
    """An invariant does not hold. `rule` is its short name. No Exception: no handler may swallow
    it."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule


@dataclass(frozen=True)
class Fault:
    """What happens to one call. `what`: crash-before, crash-after, error, error-after, twice, slow,
    late, freeze-before, freeze-after, stale, conflict, throttled; `seconds` where it takes time."""

    what: str
    seconds: float = 0.0


@dataclass
class Invocation:
    """One run of a handler in a sandbox of its own. `calls` counts its calls to the outside."""

    clock: Clock
    name: str
    handler: Callable[[dict[str, Any], Any], Any]
    event: dict[str, Any]
    timeout: float
    done: Callable[[Any, BaseException | str | None], None]
    number: int = 0
    calls: int = 0
    deadline: float = 0.0
    is_dead: bool = False
    kept: Any = None
    fault: Fault | None = None
    skew: float = 0.0
    sandbox: str = ""
    is_resumed: bool = False  # by the clock, to which nothing but its next event is left to do
    let: greenlet = field(init=False)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - self.clock.now) * 1000))

    # What Powertools and handlers may ask of a Lambda context.
    @property
    def function_name(self) -> str:
        return self.name

    @property
    def aws_request_id(self) -> str:
        return f"{self.name}-{self.number}"

    memory_limit_in_mb = 512
    function_version = "1"

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:eu-west-1:000000000000:function:{self.name}"

    def die(self) -> None:
        self.is_dead = True
        raise GreenletExit


Wire = Callable[[], Any]


class Clock:
    """The heap of what happens next. `plan` says which calls are struck, `sink` swaps what is a
    sandbox's own."""

    def __init__(self, seed: int, plan: Any) -> None:
        self.now = START
        self.random = random.Random(seed)
        self.plan = plan
        self.current: Invocation | None = None
        self.before_switch: Callable[[Invocation | None, Invocation | None], None] = (
            lambda _old, _new: None
        )
        self.trace: list[str] | None = None
        self.calls = 0
        self.invocations = 0
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._alive: dict[int, Invocation] = {}
        self._hub = getcurrent()
        self._until = START
        self._is_over: Callable[[], bool] | None = None

    @property
    def wall(self) -> float:
        """What the clock of the sandbox shows."""
        return self.now + (self.current.skew if self.current is not None else 0.0)

    def note(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now - START:10.3f}  {text}")

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now + seconds, self._count, act))

    def run(self, until: float, is_over: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True if it was over before `until`."""
        self._until, self._is_over = until, is_over
        while self._heap and self._heap[0][0] <= until:
            at, _, act = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            act()
            if is_over is not None and is_over():
                return True
        self.now = max(self.now, until)
        return False

    def invoke(
        self,
        name: str,
        handler: Callable[[dict[str, Any], Any], Any],
        event: dict[str, Any],
        timeout: float,
        done: Callable[[Any, BaseException | str | None], None],
    ) -> Invocation:
        """Start a handler; `done` hears its result, or its error: an exception, "crashed" or "timed
        out"."""
        self.invocations += 1
        one = Invocation(self, name, handler, event, timeout, done, number=self.invocations)
        one.let = greenlet(lambda: self._live(one), parent=self._hub)
        one.deadline = self.now + timeout
        one.skew = self.plan.skew()
        one.sandbox = self.plan.sandbox(name)
        self._alive[one.number] = one
        if self.trace is not None:
            self.note(f"▶ {name}#{one.number} {_shown(event)}")
        self._switch(one)
        return one

    def _live(self, one: Invocation) -> None:
        result: Any = None
        error: str | Exception | None = None
        try:
            result = one.handler(one.event, one)
        except GreenletExit:
            error = "crashed"
        except Exception as raised:  # noqa: BLE001 - what Lambda reports to its caller
            error = raised
        self._alive.pop(one.number, None)
        if self.trace is not None:
            outcome = f"✗ {error!r:.200}" if error is not None else f"✓ {_shown(result)}"
            self.note(f"■ {one.name}#{one.number} {outcome}")
        self.after(0.0, lambda: one.done(result, error))

    def _switch(self, one: Invocation) -> None:
        old, self.current = self.current, one
        self.before_switch(old, one)
        one.let.switch()
        self.before_switch(one, old)
        self.current = old

    def wire(
        self,
        site: str,
        effect: Wire,
        failing: Callable[[bool], Exception],
        latency: float | None = None,
    ) -> Any:
        """A call to the outside: wait, strike, do it. `failing(after)` words how it fails, with or
        without effect."""
        one = self.current
        if one is None:
            return effect()
        if one.is_dead:
            raise GreenletExit
        one.calls += 1
        self.calls += 1
        fault = self.plan.strike(one, site)
        delay = self.plan.latency(site) if latency is None else latency
        if fault is not None:
            self.note(f"  ⚡ {one.name}#{one.number} {site}: {fault.what} {fault.seconds or ''}")
            return self._struck(one, fault, effect, failing, delay)
        self._sleep(one, delay)
        if self.trace is not None:
            self.note(f"  · {one.name}#{one.number} {site}")
        return effect()

    def pause(self, seconds: float) -> None:
        """A handler waits, for its own reasons."""
        if self.current is not None:
            self._sleep(self.current, seconds)

    def _struck(
        self,
        one: Invocation,
        fault: Fault,
        effect: Wire,
        failing: Callable[[bool], Exception],
        delay: float,
    ) -> Any:
        what = fault.what
        if what == "slow":
            self._sleep(one, delay + fault.seconds)
            return effect()
        self._sleep(one, delay)
        if what in ("crash-before", "freeze-before"):
            if what == "freeze-before":
                self._sleep(one, one.deadline - self.now + 1)
            one.die()
        if what == "error":
            raise failing(False)
        if what == "late":
            self.after(fault.seconds, lambda: _quietly(effect))
            self._sleep(one, min(fault.seconds, 20.0))
            raise failing(True)
        if what in ("stale", "conflict", "throttled"):  # for the service behind the wire to see
            one.fault = fault
            try:
                return effect()
            finally:
                one.fault = None
        if what == "twice":
            _quietly(effect)
            self._sleep(one, delay)
            return effect()
        answer = _attempt(effect)
        if what == "crash-after":
            one.die()
        if what == "freeze-after":
            self._sleep(one, one.deadline - self.now + 1)
        if what == "error-after":
            raise failing(True)
        return answer()

    def _sleep(self, one: Invocation, seconds: float) -> None:
        wait = min(seconds, max(0.0, one.deadline - self.now) + 0.001)
        if one.is_resumed and self._is_next(self.now + wait):
            self.now += wait
        else:
            self.after(wait, lambda: self._resume(one))
            self._hub.switch()
        if one.is_dead:
            raise GreenletExit
        if self.now > one.deadline:
            self.note(f"  ⌛ {one.name}#{one.number} timed out")
            one.die()

    def _is_next(self, at: float) -> bool:
        """Whether `run` would come to this moment next, so that to give control back to it, and to
        get it again, changes nothing."""
        if at > self._until or (self._heap and self._heap[0][0] <= at):
            return False
        return self._is_over is None or not self._is_over()

    def _resume(self, one: Invocation) -> None:
        one.is_resumed = True
        self._switch(one)

    def end(self) -> None:
        """Kill what still runs, so that nothing of it outlives the run."""
        for one in list(self._alive.values()):
            one.is_dead = True
            one.done = lambda _result, _error: None
            self.before_switch(None, one)
            one.let.throw(GreenletExit)
            self.before_switch(one, None)
        self._heap.clear()


def _quietly(effect: Wire) -> None:
    """Do it for a caller that is gone."""
    try:
        effect()
    except Exception as lost:  # noqa: BLE001 - the answer is lost on the way, whatever it is
        del lost


def _attempt(effect: Wire) -> Callable[[], Any]:
    try:
        answer = effect()
    except Exception as refused:  # noqa: BLE001 - given on to the caller its answer reaches
        failure = refused

        def again() -> Any:
            raise failure

        return again
    return lambda: answer


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "…"
