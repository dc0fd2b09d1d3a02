"""Many runs: shared out over processes, counted, one line a provider."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache, partial
from typing import NamedTuple

from tests.faults.replays import Replay, shrunk
from tests.faults.runs import Result

PROFILES = ("kie", "kling", "relay")


class Outcome(NamedTuple):
    """What one run came to. `again`: the command that plays it again; `run` and `made` are what
    shrinks it."""

    broke: str
    again: str
    statuses: Counter[str]
    charges: int
    held_charged: int
    held_why: Counter[str]
    run: Replay
    made: list[str]


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
    held_why: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.charges += outcome.charges
        self.held_charged += outcome.held_charged
        self.held_why += outcome.held_why
        self.statuses += outcome.statuses
        if outcome.broke:
            self.broken[outcome.broke.split(":")[0]] += 1
            self.shown.append(f"  {outcome.broke[:300]}\n    again: {outcome.again}")

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

    def causes(self) -> str:
        """The share of the tasks that are HELD, by their error code."""
        tasks = max(1, sum(self.statuses.values()))
        shares = (
            f"{code} {count} ({100 * count / tasks:.2f} %)"
            for code, count in self.held_why.most_common()
        )
        return "  held because: " + (", ".join(shares) or "none is held")


HEAD = (
    "profile   runs   tasks  charges  double  lost  stuck  other   held    held share  charged    "
    "time"
)


def one_random(profile: str, seed: int) -> Outcome:
    return _outcome(Replay(profile, seed))


def one_unkind(profile: str, seed: int) -> Outcome:
    return _outcome(Replay(profile, seed, "unkind"))


def one_cancelled(profile: str, seed: int) -> Outcome:
    return _outcome(Replay(profile, seed, "cancels"))


def _outcome(run: Replay) -> Outcome:
    result: Result = run.play()
    return Outcome(
        str(result.broke or ""),
        run.command(),
        result.statuses,
        result.charges,
        result.held_charged,
        result.held_why,
        run,
        result.made,
    )


def one_long(profile: str, seed: int) -> Outcome:
    return _outcome(Replay(profile, seed, "long"))


def long_singles(part: tuple[int, int] = (0, 1)) -> Iterator[Outcome]:
    """Single faults at every call and delivery of a long voice's way; of every `part[1]` the one
    numbered `part[0]`."""
    from tests.faults import exhaustive

    number = 0
    for name, base in exhaustive.long_bases().items():
        for case in exhaustive.singles(name, base):
            number += 1
            if number % part[1] == part[0]:
                yield _outcome(Replay("kie", case.seed, name, (case.part(),)))


def all_singles(profile: str, part: tuple[int, int] = (0, 1)) -> Iterator[Outcome]:
    """Of every `part[1]` cases the one numbered `part[0]`."""
    from tests.faults import exhaustive

    number = 0
    for name, base in exhaustive.bases(profile).items():
        for case in exhaustive.singles(name, base):
            number += 1
            if number % part[1] == part[0]:
                yield _outcome(Replay(profile, case.seed, name, (case.part(),)))


def some_pairs(profile: str, runs: int, seed: int) -> Iterator[Outcome]:
    from tests.faults import exhaustive

    bases = exhaustive.bases(profile)
    for name, base in bases.items():
        for first, second in exhaustive.pairs(name, base, runs // len(bases), seed):
            yield _outcome(Replay(profile, first.seed, name, (first.part(), second.part())))


def _shrink_one(outcomes: list[Outcome]) -> list[Outcome]:
    """The first that broke a rule is shrunk; the others of that rule are likely the same."""
    seen: set[str] = set()
    shown: list[Outcome] = []
    for one in outcomes:
        rule = one.broke.split(":")[0]
        if rule and rule not in seen:
            seen.add(rule)
            fewest = shrunk(one.run, rule, one.made)
            one = one._replace(again=f"{one.again}\n    fewest: {fewest.command()}")
        shown.append(one)
    return shown


Job = Callable[[], list[Outcome]]
_PARTS = 16


def play(profile: str, jobs: list[Job], processes: int) -> Tally:
    """`processes`: 1 plays them here."""
    tally, began = Tally(profile), time.monotonic()
    for outcomes in _played(jobs, processes):
        for outcome in outcomes:
            tally.add(outcome)
    tally.seconds = time.monotonic() - began
    return tally


def _played(jobs: list[Job], processes: int) -> Iterator[list[Outcome]]:
    if processes == 1:
        return (job() for job in jobs)
    dealt = [_pool(processes).submit(job) for job in jobs]
    return (done.result() for done in as_completed(dealt))


@cache
def _pool(processes: int) -> ProcessPoolExecutor:
    """One pool for all series: a process takes as long to import everything as to play ten runs."""
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))


def randoms(profile: str, runs: int, first: int) -> list[Job]:
    firsts = range(first, first + runs, 50)
    return [partial(_randoms, profile, one, min(50, first + runs - one)) for one in firsts]


def unkinds(profile: str, runs: int, first: int) -> list[Job]:
    firsts = range(first, first + runs, 10)
    return [partial(_unkinds, profile, one, min(10, first + runs - one)) for one in firsts]


def cancels(profile: str, runs: int, first: int) -> list[Job]:
    firsts = range(first, first + runs, 10)
    return [partial(_cancels, profile, one, min(10, first + runs - one)) for one in firsts]


def longs(profile: str, runs: int, first: int) -> list[Job]:
    firsts = range(first, first + runs, 10)
    return [partial(_longs, profile, one, min(10, first + runs - one)) for one in firsts]


def singles_of_long(_profile: str, runs: int, first: int) -> list[Job]:
    """A part of all single faults of a long voice: one of every `runs`, from the `first` on."""
    return [partial(_long_singles, (first % runs, runs))]


def singles(profile: str, _runs: int, _first: int) -> list[Job]:
    return [partial(_singles, profile, part) for part in range(_PARTS)]


def pairs(profile: str, runs: int, first: int) -> list[Job]:
    return [partial(_pairs, profile, runs // _PARTS, first + part) for part in range(_PARTS)]


def _randoms(profile: str, first: int, count: int) -> list[Outcome]:
    return _shrink_one([one_random(profile, seed) for seed in range(first, first + count)])


def _unkinds(profile: str, first: int, count: int) -> list[Outcome]:
    return _shrink_one([one_unkind(profile, seed) for seed in range(first, first + count)])


def _cancels(profile: str, first: int, count: int) -> list[Outcome]:
    return _shrink_one([one_cancelled(profile, seed) for seed in range(first, first + count)])


def _longs(profile: str, first: int, count: int) -> list[Outcome]:
    return _shrink_one([one_long(profile, seed) for seed in range(first, first + count)])


def _long_singles(part: tuple[int, int]) -> list[Outcome]:
    return _shrink_one(list(long_singles(part)))


def _singles(profile: str, part: int) -> list[Outcome]:
    return _shrink_one(list(all_singles(profile, (part, _PARTS))))


def _pairs(profile: str, runs: int, seed: int) -> list[Outcome]:
    return _shrink_one(list(some_pairs(profile, runs, seed)))


def replay(run: Replay) -> int:
    result = run.play(trace=True)
    print("\n".join(line[:300] for line in result.trace))
    print("not ordinary in it:", *result.made, sep="\n  ")
    print(result.broke or "nothing broke", dict(result.statuses), f"{result.charges} charges")
    return 1 if result.broke else 0
