"""The map from lines to tests: made once for a state of the source and the tests, and kept in
build/."""

from __future__ import annotations

import hashlib
import pickle
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from tests.mutation import sessions
from tests.mutation.forks import in_forks
from tests.mutation.project import Project, Session
from tests.mutation.sessions import Lines, Seen


@dataclass
class Map:
    """What every test of every session executes."""

    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)
    imported: Lines = field(default_factory=set)

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


def made(project: Project) -> Map:
    """The map of this state of the files; a test that fails without any mutant ends the run."""
    path = project.build / f"lines-{state(project)}.pickle"
    if path.exists():
        known: Map = pickle.loads(path.read_bytes())
        return known
    known = Map()
    print("looking which lines each test executes, once for this state of the files", flush=True)
    looks = [partial(sessions.look, project, session) for session in project.sessions]
    for session, (seen, imported) in zip(project.sessions, in_forks(looks), strict=True):
        known.seen[session.name] = seen
        known.imported |= imported
    if broken := [
        f"{test}: {one.broken}"
        for tests in known.seen.values()
        for test, one in tests.items()
        if one.broken
    ]:
        raise SystemExit("these fail without any mutant:\n  " + "\n  ".join(broken))
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.iterdir():  # what is known of other states of the files
        old.unlink()
    path.write_bytes(pickle.dumps(known))
    return known


def state(project: Project) -> str:
    """A hash of what may change what a test executes: the sessions, and all Python of the project
    but this tool's own."""
    digest = hashlib.sha256(repr(project.sessions).encode())
    for path in sorted(project.root.glob("[!.]*/**/*.py")):
        name = path.relative_to(project.root).as_posix()
        if name.split("/")[0] not in _MADE and (path.parent != _HERE or name in _listed(project)):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


_HERE = Path(__file__).parent
_MADE = frozenset({"build", "out", "cdk.out"})


def _listed(project: Project) -> set[str]:
    return {path for session in project.sessions for path in session.paths}
