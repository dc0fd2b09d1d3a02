"""Which tests can show a mutant, the cheapest first."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tests.mutation.hunts import Hunt
from tests.mutation.lines import Map
from tests.mutation.project import Project, Session
from tests.mutation.sessions import Lines
from tests.mutation.source import Mutant, defined


@dataclass
class Choice:
    """By the lines that each test executes. What runs at import is shown by what uses the names
    that it defines, and if nothing does, by every test of its module."""

    project: Project
    map: Map

    def hunt(self, session: Session, mutant: Mutant, budget_seconds: float) -> Hunt:
        """The tests that execute the mutant's line, as many as the budget allows; never none, if
        there is one."""
        tests = self.map.tests(session, self._lines_of(mutant))
        chosen: list[tuple[str, float]] = []
        for seconds, test in sorted((self.map.seconds(session, test), test) for test in tests):
            if not chosen or seconds <= budget_seconds:
                chosen.append((test, seconds))
                budget_seconds -= seconds
        return Hunt(mutant, tuple(chosen))

    def is_imported(self, mutant: Mutant) -> bool:
        """It runs while the tests are imported: a process that has them already is too late, but
        for a value of a module that nothing else is made of."""
        if mutant.line:
            return (mutant.module.name, mutant.line) in self.map.imported
        is_value = any(
            isinstance(one, (ast.Assign, ast.AnnAssign)) and defined(one) == mutant.names
            for one in mutant.module.tree.body
        )
        return not is_value or any(self._heirs.get(name) for name in mutant.names)

    def _lines_of(self, mutant: Mutant) -> Lines:
        if mutant.line:
            return {(mutant.module.name, mutant.line)}
        users = [self._users.get(name, set()) for name in self._with_heirs(mutant.names)]
        executed = set().union(*users) & self.map.executed
        return executed or {line for line in self.map.executed if line[0] == mutant.module.name}

    def _with_heirs(self, names: frozenset[str]) -> set[str]:
        """These names, and all that is defined at import time with their help."""
        left, known = list(names), set(names)
        while left:
            heirs = self._heirs.get(left.pop(), set()) - known
            known |= heirs
            left += heirs
        return known

    @cached_property
    def _users(self) -> dict[str, Lines]:
        """The lines inside functions that use a name, whatever it means there."""
        found: dict[str, Lines] = defaultdict(set)
        for module in self.project.everything:
            for name, statement in _uses(module.tree, inside=True):
                found[name].add((module.name, statement.lineno))
        return found

    @cached_property
    def _heirs(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for module in self.project.everything:
            for name, statement in _uses(module.tree, inside=False):
                found[name] |= defined(statement)
        return found


Found = Iterator[tuple[str, ast.stmt]]


def _uses(tree: ast.Module, *, inside: bool) -> Found:
    """Each name and the statement that uses it, inside of functions or outside of them."""

    def visit(
        node: ast.AST, around: ast.stmt | None, is_in: bool
    ) -> Iterator[tuple[str, ast.stmt]]:
        statement = node if isinstance(node, ast.stmt) else around
        name = getattr(node, "id", "") or getattr(node, "attr", "")
        if name and statement is not None and is_in == inside:
            yield name, statement
        body = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else []
        for child in ast.iter_child_nodes(node):
            yield from visit(child, statement, is_in or child in body)

    yield from visit(tree, None, False)
