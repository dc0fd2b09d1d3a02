"""One run by what it departs from the ordinary in: a command that plays exactly it, and the fewest
departures that still break the same rule."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.faults.clockwork import Fault
from tests.faults.runs import Result

SHRINK_SECONDS = 60.0


@dataclass(frozen=True)
class Replay:
    """`model`: "random", "unkind", "cancels", "long", or the name of a schedule without faults
    (`exhaustive.bases`). `parts`: what is not ordinary in it; None for all that the seed draws."""

    profile: str
    seed: int
    model: str = "random"
    parts: tuple[str, ...] | None = None

    def command(self) -> str:
        words = [os.path.basename(sys.executable), "-m", "tests.faults", "replay", self.profile]
        words += [str(self.seed), "--model", self.model]
        if self.parts is not None:
            words += ["--parts", *self.parts]
        return shlex.join(words)

    def play(self, *, trace: bool = False) -> Result:
        from tests.faults import exhaustive, runs, unkind

        if self.model == "random":
            return runs.harsh(self.profile, self.seed, trace, self.parts)
        if self.model in ("unkind", "cancels"):
            cancels = self.model == "cancels"
            return unkind.play(self.profile, self.seed, trace, self.parts, cancels=cancels)
        if self.model == "long":
            return runs.harsh_long(self.seed, trace, self.parts)
        bases = {**exhaustive.bases(self.profile), **exhaustive.long_bases()}
        base = bases[self.model]
        calls, deliveries = _strikes(self.parts or ())
        return base.run(calls, deliveries, self.seed, trace)


def strike(kind: str, index: int, what: Fault | list[float]) -> str:
    """A strike in words: "call 12 late 200.0", "delivery 3 after 0.0 40.0"."""
    if isinstance(what, Fault):
        return f"{kind} {index} {what.what} {what.seconds}"
    return " ".join([f"{kind} {index} after", *map(str, what)])


def _strikes(parts: tuple[str, ...]) -> tuple[dict[int, Fault], dict[int, list[float]]]:
    calls: dict[int, Fault] = {}
    deliveries: dict[int, list[float]] = {}
    for part in parts:
        kind, index, what, *seconds = part.split()
        if kind == "call":
            calls[int(index)] = Fault(what, float(seconds[0]))
        else:
            deliveries[int(index)] = [float(wait) for wait in seconds]
    return calls, deliveries


def shrunk(run: Replay, rule: str, made: list[str], seconds: float = SHRINK_SECONDS) -> Replay:
    """The same broken rule with fewer departures, as few as are found in this time. `made`: those
    of the whole run."""
    until = time.monotonic() + seconds

    def breaks(parts: list[str]) -> bool:
        broke = replace(run, parts=tuple(parts)).play().broke
        return broke is not None and broke.rule == rule

    parts = list(dict.fromkeys(made if run.parts is None else run.parts))
    if not breaks(parts):
        return run
    return replace(run, parts=tuple(minimal(parts, breaks, lambda: time.monotonic() > until)))


def minimal(
    parts: list[str], breaks: Callable[[list[str]], bool], is_late: Callable[[], bool]
) -> list[str]:
    """Delta debugging: leave out ever smaller pieces until each one left is needed
    (https://www.debuggingbook.org/html/DeltaDebugger.html)."""
    size = max(1, len(parts) // 2)
    while parts and not is_late():
        kept = _without_a_piece(parts, size, breaks, is_late)
        if kept is not None:
            parts = kept
            size = min(size, max(1, len(parts) // 2))
        elif size == 1:
            break
        else:
            size = max(1, size // 2)
    return parts


def _without_a_piece(
    parts: list[str], size: int, breaks: Callable[[list[str]], bool], is_late: Callable[[], bool]
) -> list[str] | None:
    for begin in range(0, len(parts), size):
        fewer = parts[:begin] + parts[begin + size :]
        if not is_late() and breaks(fewer):
            return fewer
    return None
