"""Many runs: shared out over processes, counted, one line a provider."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from typing import Any

PROFILES = ("kie", "kling", "relay")
Outcome = tuple[
    str, str, Counter[str], int, int
]  # what broke, how to see it again, statuses, charges, held and charged


@dataclass
class Tally:
    """One line of the table."""

    profile: str
    runs: int = 0
    charges: int = 0
    held_charged: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        rule, how, statuses, charges, held_charged = outcome
        self.runs += 1
        self.charges += charges
        self.held_charged += held_charged
        self.statuses += statuses
        if rule:
            self.broken[rule.split(":")[0]] += 1
            self.shown.append(f"  {rule[:300]}\n    again: {how}")

    def line(self) -> str:
        tasks = sum(self.statuses.values())
        double = self.broken["charges(task, attempt) ≤ 1"]
        lost = self.broken["paid and lost"] + self.broken["nothing is lost"]
        stuck = self.broken["nothing is stuck"]
        rest = sum(self.broken.values()) - double - lost - stuck
        held = self.statuses["HELD"]
        return (
            f"{self.profile:<7}{self.runs:>7}{tasks:>8}{self.charges:>9}{double:>8}{lost:>6}{stuck:>7}{rest:>7}"
            f"{held:>7}{100 * held / max(tasks, 1):>8.2f} "
            f"%{self.held_charged:>9}{self.seconds:>8.0f} s"
        )


HEAD = (
    "profile   runs   tasks  charges  double  lost  stuck  other   held    held share  charged    "
    "time"
)


def one_random(profile: str, seed: int) -> Outcome:
    from tests.faults.runs import harsh

    result = harsh(profile, seed)
    again = f"{os.path.basename(sys.executable)} -m tests.faults replay {profile} {seed}"
    return _outcome(result, again)


def _outcome(result: Any, again: str) -> Outcome:
    return str(result.broke or ""), again, result.statuses, result.charges, result.held_charged


def all_singles(profile: str, part: tuple[int, int] = (0, 1)) -> Iterator[Outcome]:
    """Of every `part[1]` cases the one numbered `part[0]`."""
    from tests.faults import exhaustive

    number = 0
    for name, base in exhaustive.bases(profile).items():
        for case in exhaustive.singles(name, base):
            number += 1
            if number % part[1] == part[0]:
                result = exhaustive.play(base, case)
                yield _outcome(result, f"{profile} {case}")


def some_pairs(profile: str, runs: int, seed: int) -> Iterator[Outcome]:
    from tests.faults import exhaustive

    bases = exhaustive.bases(profile)
    for name, base in bases.items():
        for first, second in exhaustive.pairs(name, base, runs // len(bases), seed):
            result = exhaustive.play(base, first, second)
            yield _outcome(result, f"{profile} {first} and {second}")


Job = Callable[[], list[Outcome]]
_PARTS = 16


def play(profile: str, jobs: list[Job], processes: int) -> Tally:
    tally, began = Tally(profile), time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(job) for job in jobs]):
            for outcome in done.result():
                tally.add(outcome)
    tally.seconds = time.monotonic() - began
    return tally


def randoms(profile: str, runs: int, first: int) -> list[Job]:
    firsts = range(first, first + runs, 50)
    return [partial(_randoms, profile, one, min(50, first + runs - one)) for one in firsts]


def singles(profile: str, _runs: int, _first: int) -> list[Job]:
    return [partial(_singles, profile, part) for part in range(_PARTS)]


def pairs(profile: str, runs: int, first: int) -> list[Job]:
    return [partial(_pairs, profile, runs // _PARTS, first + part) for part in range(_PARTS)]


def _randoms(profile: str, first: int, count: int) -> list[Outcome]:
    return [one_random(profile, seed) for seed in range(first, first + count)]


def _singles(profile: str, part: int) -> list[Outcome]:
    return list(all_singles(profile, (part, _PARTS)))


def _pairs(profile: str, runs: int, seed: int) -> list[Outcome]:
    return list(some_pairs(profile, runs, seed))


def replay(profile: str, seed: int) -> int:
    from tests.faults.runs import harsh, harsh_scene

    print(harsh_scene(profile, seed))
    result = harsh(profile, seed, trace=True)
    print("\n".join(line[:300] for line in result.trace))
    print(result.broke or "nothing broke", dict(result.statuses), f"{result.charges} charges")
    return 1 if result.broke else 0
