"""The map from lines to tests: made once for a state of the source and the tests, and kept in
build/."""

from __future__ import annotations

import hashlib
import pickle
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path

from tests.mutation import sessions
from tests.mutation.forks import in_forks
from tests.mutation.project import Project, Session
from tests.mutation.sessions import Lines, Seen


@dataclass
class Map:
    """What every test of some sessions executes; `states` says for which state of the files."""

    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)
    imported: Lines = field(default_factory=set)
    states: dict[str, str] = field(default_factory=dict)

    @cached_property
    def executed(self) -> Lines:
        return set().union(*(one.lines for tests in self.seen.values() for one in tests.values()))

    @cached_property
    def _tests_of_line(self) -> dict[str, dict[tuple[str, int], set[str]]]:
        found: dict[str, dict[tuple[str, int], set[str]]] = {}
        for session, tests in self.seen.items():
            found[session] = defaultdict(set)
            for test, seen in tests.items():
                for line in seen.lines:
                    found[session][line].add(test)
        return found

    def tests(self, session: Session, lines: Lines) -> set[str]:
        by_line = self._tests_of_line[session.name]
        return set().union(*(by_line.get(line, set()) for line in lines))

    def seconds(self, session: Session, test: str) -> float:
        return self.seen[session.name][test].seconds


Looked = tuple[dict[str, Seen], Lines]


def made(project: Project, processes: int) -> Map:
    """The map of this state of the files, session by session; a test that fails without any mutant
    ends the run."""
    known = Map(states={one.name: state(project, one) for one in project.sessions})
    missing = [one for one in project.sessions if not _path(project, one).exists()]
    for some in [missing[at : at + processes] for at in range(0, len(missing), processes)]:
        names = ", ".join(one.name for one in some)
        print(f"looking which lines each test executes, once for these files: {names}", flush=True)
        looks = [partial(sessions.look, project, one) for one in some]
        for session, looked in zip(some, in_forks(looks), strict=True):
            _keep(project, session, looked)
    for session in project.sessions:
        looked = pickle.loads(_path(project, session).read_bytes())
        known.seen[session.name] = looked[0]
        known.imported |= looked[1]
    return known


def _path(project: Project, session: Session) -> Path:
    return project.build / f"lines-{session.name}-{state(project, session)}.pickle"


def _keep(project: Project, session: Session, looked: Looked) -> None:
    broken = [f"{test}: {one.broken}" for test, one in looked[0].items() if one.broken]
    if broken:
        raise SystemExit("these fail without any mutant:\n  " + "\n  ".join(broken))
    path = _path(project, session)
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"lines-{session.name}-*"):  # of other states of the files
        old.unlink()
    path.write_bytes(pickle.dumps(looked))


@cache
def state(project: Project, session: Session) -> str:
    """A hash of what may change what this session's tests execute: the session, and all Python of
    the project but this tool's own and the tests of other sessions."""
    digest = hashlib.sha256(repr(session).encode())
    for path in sorted(project.root.glob("[!.]*/**/*.py")):
        name = path.relative_to(project.root).as_posix()
        if _concerns(name, path, session):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _concerns(name: str, path: Path, session: Session) -> bool:
    if name.startswith(session.paths):
        return True
    is_test = path.name.startswith("test_")
    return name.split("/")[0] not in _MADE and path.parent != _HERE and not is_test


_HERE = Path(__file__).parent
_MADE = frozenset({"build", "out", "cdk.out"})
