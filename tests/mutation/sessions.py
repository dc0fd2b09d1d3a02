"""One process of pytest a session: which lines each test executes, and what chosen tests say of a
mutant."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation import infect
from tests.mutation.forks import Note, Outcome, pool
from tests.mutation.hunts import Hunt, Likely
from tests.mutation.journal import Journal, Verdict
from tests.mutation.project import Project, Session

_OPTIONS = [
    "-p",
    "no:cacheprovider",
    "--capture=no",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
]
_SLOWER = 6.0  # a mutant may make a test take this much longer, and still end
Lines = set[tuple[str, int]]
Items = dict[str, pytest.Item]


@dataclass
class Seen:
    """What one test took and executed; `broken` says why it failed, and must be empty."""

    seconds: float
    lines: Lines
    broken: str = ""


@dataclass(frozen=True)
class Phase:
    """Some of a session's tests against some mutants."""

    name: str
    project: Project
    session: Session
    hunts: list[Hunt]
    likely: Likely
    journal: Journal
    processes: int


Verdicts = list[tuple[Hunt, Verdict]]


# One run of pytest.


class _Loop:
    """Instead of pytest's own loop: the collected tests go to `work`."""

    def __init__(self, session: Session, work: Callable[[Items], Any]) -> None:
        self._session, self._work = session, work
        self.result: Any = None
        self.broken = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken = self.broken or str(report.longrepr).strip().splitlines()[-1][:300]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if not self.broken:
            self.result = self._work(
                {item.nodeid: item for item in session.items if self._session.has(item.nodeid)}
            )
        return True


def _run(session: Session, paths: Iterable[str], work: Callable[[Items], Any]) -> tuple[Any, str]:
    """What `work` makes of the tests in these files; or why they cannot be imported."""
    _calm_hypothesis()
    loop = _Loop(session, work)
    code = pytest.main([*_OPTIONS, *paths], plugins=[loop])
    if loop.result is None and not loop.broken:
        loop.broken = f"pytest ended with {code!r}"
    return loop.result, loop.broken


def _calm_hypothesis() -> None:
    """The same examples each time, and no deadline: beside other work a test takes longer than
    alone."""
    try:
        import hypothesis
    except ImportError:
        return
    hypothesis.settings.register_profile("mutation", deadline=None, derandomize=True, database=None)
    hypothesis.settings.load_profile("mutation")


def _play(item: pytest.Item, following: pytest.Item | None) -> str:
    """Why the test fails; empty: it passes. Its fixtures stay as far as the following test needs
    them."""
    for report in runtestprotocol(item, nextitem=following, log=False):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = str(crash.message if crash else report.longrepr).strip().replace("\n", " ")
            return message[:300] if report.when == "call" else f"{report.when}: {message[:300]}"
    return ""


def settle(project: Project) -> Callable[[str], None]:
    """Work in the project's root, with what tests print out of the way. What still speaks to the
    person who waits."""
    os.chdir(project.root)
    if str(project.root) not in sys.path:
        sys.path.insert(0, str(project.root))
    console, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)

    def say(text: str) -> None:
        os.write(console, text.encode() + b"\n")

    return say


# Which lines a test executes.


def look(project: Project, session: Session) -> tuple[dict[str, Seen], Lines]:
    """Every test of a session with the lines it executes, and the lines executed while all was
    imported."""
    say = settle(project)
    hit: Lines = set()
    imported: Lines = set()
    infect.note_hits(project.everything, lambda module, line: hit.add((module, line)))

    def each(items: Items) -> dict[str, Seen]:
        imported.update(hit)
        seen: dict[str, Seen] = {}
        tests = list(items.values())
        for item, following in zip(tests, [*tests[1:], None], strict=True):
            hit.clear()
            began = time.monotonic()
            broken = _play(item, following)
            seen[item.nodeid] = Seen(time.monotonic() - began, set(hit), broken)
        return seen

    seen, broken = _run(session, session.paths, each)
    if broken:
        say(f"{session.name}: {broken}")
        raise SystemExit(1)
    return seen, imported


# What the tests say of a mutant.


def hunt(phase: Phase) -> Verdicts:
    """Each mutant in a fork of a process that has collected all tests: for changes inside
    functions."""
    say, session = settle(phase.project), phase.session

    def work(items: Items) -> Verdicts:
        known = {test for one in phase.hunts for test, _ in one.tests} & items.keys()
        _warm(items, [test for test in sorted(known) if test.startswith(session.shared)])
        alive = infect.living(phase.project.modules, phase.project.lasting)
        gc.freeze()
        turn = functools.partial(_in_place, items, alive, phase.project.spare_seconds)
        return _hunt(phase, turn, say)

    verdicts, broken = _run(session, session.paths, work)
    if broken:
        say(f"{session.name}: {broken}")
        raise SystemExit(1)
    return list(verdicts)


def hunt_anew(phase: Phase) -> Verdicts:
    """Each mutant in a process that imports everything with it: for changes of what runs at
    import."""
    say = settle(phase.project)
    for name in phase.project.preloaded:
        importlib.import_module(name)
    turn = functools.partial(_from_the_start, phase.session, phase.project.spare_seconds)
    return _hunt(phase, turn, say)


def _hunt(
    phase: Phase, turn: Callable[[Hunt, Note], dict[str, Any]], say: Callable[[str], None]
) -> Verdicts:
    verdicts = []
    for one, outcome in pool(turn, map(phase.likely.first, phase.hunts), phase.processes):
        verdict = _verdict_of(outcome)
        verdicts.append((one, verdict))
        if verdict.by or one.mutant:
            name = one.mutant.id if one.mutant else ""
            phase.journal.note(phase.session.name, phase.name, name, verdict)
        if verdict.by and one.mutant:
            phase.likely.note(one.mutant, verdict.by)
            say(f"killed    {one.mutant.id}\n          {verdict.by}: {verdict.why[:120]}")
    return verdicts


def _verdict_of(outcome: Outcome) -> Verdict:
    during = outcome.during or "import"
    if outcome.ended == "late":
        return Verdict(during, "it did not end")
    if outcome.ended == "died":
        return Verdict(during, f"the process died {outcome.answer}")
    return Verdict(**outcome.answer)


def _warm(items: Items, known: list[str]) -> None:
    """Play a test of each directory whose fixtures may be shared, so that those of the session and
    of the directory stand before the forks; then let go of the rest."""
    first = {test.rpartition("/")[0]: items[test] for test in known}
    for item in first.values():
        if broken := _play(item, item):
            raise RuntimeError(f"{item.nodeid} fails without any change: {broken}")
        package = item.getparent(pytest.Package) or item.session
        item.session._setupstate.teardown_exact(package)  # type: ignore[arg-type]
    _drop_connections()


def _drop_connections() -> None:
    """A connection must not be shared by two processes: each opens its own."""
    from urllib3 import PoolManager

    for one in gc.get_objects():
        if isinstance(one, PoolManager):
            one.clear()


def _in_place(
    items: Items, alive: infect.Alive, spare: float, one: Hunt, note: Note
) -> dict[str, Any]:
    if one.mutant:
        try:
            infect.replace(one.mutant, alive)
        except ValueError:
            return {"anew": True}
    return _first_caught(items, one, spare, note)


def _first_caught(items: Items, one: Hunt, spare: float, note: Note) -> dict[str, Any]:
    tests = [(items[test], seconds) for test, seconds in one.tests if test in items]
    followers: list[Any] = [item for item, _ in tests[1:]] + [
        item.session for item, _ in tests[-1:]
    ]
    for (item, seconds), following in zip(tests, followers, strict=True):
        note(item.nodeid, spare + _SLOWER * seconds)
        if why := _play(item, following):
            return {"by": item.nodeid, "why": why}
    return {}


def _from_the_start(session: Session, spare: float, one: Hunt, note: Note) -> dict[str, Any]:
    note("", 4 * spare)
    if one.mutant:
        infect.import_mutant(one.mutant)
    files = sorted({test.split("::")[0] for test, _ in one.tests})
    caught, broken = _run(session, files, lambda items: _first_caught(items, one, spare, note))
    return {"by": "import", "why": broken} if broken else dict(caught)
