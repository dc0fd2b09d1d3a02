"""The run: which mutants, by which tests, in which order, and what came of it."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from tests.mutation import sessions
from tests.mutation.choice import Choice
from tests.mutation.forks import in_a_fork
from tests.mutation.hunts import Hunt, Likely
from tests.mutation.journal import Journal, Verdict
from tests.mutation.lines import made
from tests.mutation.project import Project
from tests.mutation.sessions import Phase, Verdicts
from tests.mutation.source import Mutant

CHEAP_SECONDS = 0.1
BUDGET_SECONDS = 30.0  # of tests a session for one mutant
GOAL = 0.95


@dataclass(frozen=True)
class Effort:
    """How many mutants at a time, and how many seconds of a session's tests for one of them."""

    processes: int
    budget_seconds: float = BUDGET_SECONDS


@dataclass
class Report:
    """What is known of each mutant so far; `survived` says by its id which phases it has."""

    killed: dict[str, Verdict] = field(default_factory=dict)
    survived: set[tuple[str, str]] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    likely: Likely = field(default_factory=Likely)

    def is_open(self, mutant: Mutant) -> bool:
        return mutant.id not in self.killed

    def take(self, verdicts: Verdicts) -> list[Hunt]:
        """Note what was caught; what must be imported anew comes back. A test that fails with
        nothing changed has caught nothing."""
        liars = {verdict.by for one, verdict in verdicts if one.mutant is None and verdict.by}
        for test in liars:
            print(f"{test} FAILS with nothing changed: what it caught does not count", flush=True)
        for one, verdict in verdicts:
            if one.mutant and verdict.by and verdict.by not in liars:
                self.killed[one.mutant.id] = verdict
                self.likely.note(one.mutant, verdict.by)
        return [one for one, verdict in verdicts if verdict.anew]


def sample(ids: Iterable[str], count: int | None, seed: int) -> list[str]:
    ordered = sorted(ids)
    is_all = count is None or count >= len(ordered)
    return ordered if is_all else random.Random(seed).sample(ordered, count or 0)


def run(
    project: Project,
    mutants: list[Mutant],
    equivalent: dict[str, str],
    effort: Effort,
    *,
    is_kept: bool = True,
) -> int:
    """Each mutant against the tests that execute it, until one catches it. 0 when enough were.
    `is_kept`: go on where an interrupted run was, and note what is found out."""
    counted = [one for one in mutants if one.id not in equivalent]
    skipped = {one.id: equivalent[one.id] for one in mutants if one.id in equivalent}
    print(f"{len(counted)} mutants, {effort.processes} at a time", flush=True)
    choice = Choice(project, made(project, effort.processes))
    journal = Journal(project.build / "journal.jsonl" if is_kept else None, choice.map.states)
    report = Report(*journal.read())
    if known := len([one for one in counted if not report.is_open(one)]):
        print(f"{known} of them were killed by a run before this one, for these very files")
    _hunt_all(choice, counted, report, journal, effort)
    return _conclude(project, counted, skipped, report)


def _hunt_all(
    choice: Choice, mutants: list[Mutant], report: Report, journal: Journal, effort: Effort
) -> None:
    project = choice.project
    for is_cheap in (True, False):
        for session in project.sessions:
            name = f"{session.name}, {'cheap' if is_cheap else 'costly'}"
            left = [one for one in mutants if report.is_open(one)]
            hunts = [choice.hunt(session, mutant, effort.budget_seconds) for mutant in left]
            hunts = [one for one in (_of_cost(one, is_cheap) for one in hunts) if one.tests]
            phase = Phase(name, project, session, hunts, report.likely, journal, effort.processes)
            _play(phase, choice, report)


def _of_cost(one: Hunt, is_cheap: bool) -> Hunt:
    tests = [(test, cost) for test, cost in one.tests if (cost <= CHEAP_SECONDS) == is_cheap]
    return Hunt(one.mutant, tuple(tests))


def _play(phase: Phase, choice: Choice, report: Report) -> None:
    """Tests of one session against what nothing has caught so far."""
    in_place, anew = list[Hunt](), list[Hunt]()
    for one in phase.hunts:
        assert one.mutant
        report.reached.add(one.mutant.id)
        if (one.mutant.id, phase.name) not in report.survived:
            (anew if choice.is_imported(one.mutant) else in_place).append(one)
    print(f"{phase.name}: {len(in_place)} mutants in place, {len(anew)} anew", flush=True)
    began = time.monotonic()
    if in_place:
        play = partial(sessions.hunt, replace(phase, hunts=controlled(in_place)))
        anew += report.take(in_a_fork(play))
    if anew:
        play = partial(sessions.hunt_anew, replace(phase, hunts=controlled(anew)))
        report.take(in_a_fork(play))
    print(f"    {time.monotonic() - began:.0f} s", flush=True)


def controlled(hunts: list[Hunt]) -> list[Hunt]:
    """At the end the tests of one of them once more, with nothing changed."""
    return [*hunts, Hunt(None, max((one.tests for one in hunts), key=len))]


def _conclude(
    project: Project, mutants: list[Mutant], equivalent: dict[str, str], report: Report
) -> int:
    """Print who survived and the sum, and write build/mutants.json. 0 when enough were killed."""
    survivors = [one for one in mutants if report.is_open(one)]
    for one in survivors:
        reached = "" if one.id in report.reached else "   (no test executes it)"
        print(f"SURVIVED  {one.id}{reached}\n          {one.module.path.name}: {one.context[:120]}")
    _table(mutants, survivors)
    path = project.root / "build" / "mutants.json"
    path.parent.mkdir(exist_ok=True)
    killed = {
        one.id: {"by": found.by, "why": found.why}
        for one in mutants
        if (found := report.killed.get(one.id))
    }
    results = {
        "survived": [
            {"id": one.id, "reached": one.id in report.reached, "diff": one.diff()}
            for one in survivors
        ],
        "killed": killed,
        "equivalent": equivalent,
    }
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    print(f"killed {len(killed)} of {len(mutants)}, equivalent {len(equivalent)}")
    return 0 if len(killed) >= GOAL * len(mutants) else 1


def _table(mutants: list[Mutant], survivors: list[Mutant]) -> None:
    every, lived = Counter(one.kind for one in mutants), Counter(one.kind for one in survivors)
    print(f"{'kind':<12}{'mutants':>8}{'survived':>10}")
    for kind, count in every.most_common():
        print(f"{kind:<12}{count:>8}{lived[kind]:>10}")
