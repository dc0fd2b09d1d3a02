"""project.toml: what is mutated, and by which tests it is caught."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.mutation import generate
from tests.mutation.source import Module, Mutant


@dataclass(frozen=True)
class Session:
    """Tests that one process of pytest may run one after the other. `shared`: directories whose
    session fixtures all mutants may use at once, since each test makes what it touches anew."""

    name: str
    paths: tuple[str, ...]
    deselected: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def has(self, test: str) -> bool:
        return not any(fnmatch(test, pattern) for pattern in self.deselected)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Project:
    file: Path
    root: Path
    package: str
    excluded: tuple[str, ...]
    sessions: tuple[Session, ...]
    preloaded: tuple[str, ...]
    lasting: tuple[str, ...]
    spare_seconds: float

    @classmethod
    def read(cls, file: Path) -> Project:
        content = tomllib.loads(file.read_text())
        sessions = tuple(
            Session(**{name: _frozen(value) for name, value in one.items()})
            for one in content["session"]
        )
        root = (file.parent / content["root"]).resolve()
        excluded, preloaded, lasting = (
            tuple(content.get(name, ())) for name in ("excluded", "preloaded", "lasting")
        )
        spare = float(content.get("spare_seconds", 15))
        package = content["package"]
        return cls(file, root, package, excluded, sessions, preloaded, lasting, spare)

    def with_sessions(self, names: list[str] | None) -> Project:
        """Only the sessions of these names, where any are named."""
        known = {one.name: one for one in self.sessions}
        if unknown := set(names or ()) - known.keys():
            raise SystemExit(f"no session {', '.join(unknown)}: there are {', '.join(known)}")
        return replace(self, sessions=tuple(known[name] for name in names or known))

    @property
    def build(self) -> Path:
        return self.root / "build" / "mutation"

    @cached_property
    def everything(self) -> list[Module]:
        """Every module of the package, mutated or not."""
        return generate.modules(self.root, self.package, [])

    @cached_property
    def modules(self) -> list[Module]:
        return generate.modules(self.root, self.package, list(self.excluded))

    @cached_property
    def mutants(self) -> dict[str, Mutant]:
        found = [mutant for module in self.modules for mutant in generate.mutants(module)]
        if missing := generate.KINDS.keys() - {mutant.kind for mutant in found}:
            raise SystemExit(f"no mutant of kind {', '.join(sorted(missing))}: mend the tool")
        found += generate.chosen(self.modules, self.file.parent / "chosen.toml")
        return {mutant.id: mutant for mutant in found}
