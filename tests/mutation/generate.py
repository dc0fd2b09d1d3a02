"""The mutants of a package: a kind of change is a function from a place in the syntax tree to
edits of its text."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from tests.mutation import flow, values, writes
from tests.mutation.edits import method
from tests.mutation.source import Edit, Module, Mutant, Site, make, sites


def modules(root: Path, package: str, excluded: list[str]) -> list[Module]:
    """Every module of the package that no pattern excludes. A pattern that excludes nothing is an
    error."""
    found = {
        path.relative_to(root).as_posix(): path for path in sorted((root / package).rglob("*.py"))
    }
    for pattern in excluded:
        if not any(fnmatch(name, pattern) for name in found):
            raise SystemExit(f"{pattern!r} excludes no module of {package}: take it out")
    kept = {
        name: path
        for name, path in found.items()
        if not any(fnmatch(name, pattern) for pattern in excluded)
    }
    trees = [ast.parse(path.read_text()) for path in found.values()]
    _check_words(trees)
    siblings = _siblings(trees)
    return [Module(_dotted(name), path, siblings) for name, path in kept.items()]


def _check_words(trees: list[ast.Module]) -> None:
    """A method that nothing calls any more was renamed, and its mutants would be missing."""
    called = {method(node) for tree in trees for node in ast.walk(tree)}
    if uncalled := (writes.BUILDERS | writes.TRANSACTIONS | flow.PAID) - called:
        raise SystemExit(f"nothing calls {', '.join(sorted(uncalled))}: mend writes.py or flow.py")


def _siblings(trees: list[ast.Module]) -> dict[str, str]:
    """The sibling before each exception that has any: those of one module right below one
    exception of the package, in a cycle."""
    found: dict[str, str] = {}
    for tree in trees:
        bases = {one.name: _bases(one) for one in tree.body if isinstance(one, ast.ClassDef)}
        for parent in {above for one in bases.values() for above in one} & bases.keys():
            family = [name for name, above in bases.items() if parent in above]
            if len(family) > 1 and _is_error(parent, bases):
                found |= zip(family, family[-1:] + family[:-1], strict=True)
    return found


def _bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def _is_error(name: str, bases: dict[str, list[str]]) -> bool:
    above = bases.get(name, [])
    return any(one.endswith(("Exception", "Error")) or _is_error(one, bases) for one in above)


def _dotted(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def chosen(modules: list[Module], file: Path) -> Iterator[Mutant]:
    """Mistakes that no rule of the syntax makes, written down by hand: `old` becomes `new` in a
    function, and `why` says what a reader would have believed. One that fits no more is an
    error."""
    entries = tomllib.loads(file.read_text())["chosen"] if file.exists() else []
    known = {one.name: one for one in modules}
    for number, entry in enumerate(entries, start=1):
        module = known[entry["module"]]
        found = [one for one in sites(module) if _is_chosen(one, entry)]
        if not found:
            raise SystemExit(f"{file.name}: {entry['function']} has no {entry['old']!r} any more")
        mutant = make("chosen", found[0], Edit(found[0].node, found[0].node, entry["new"]), {})
        yield replace(mutant, id=f"{module.name}:{entry['function']}:chosen:{number:02}")


def _is_chosen(site: Site, entry: dict[str, str]) -> bool:
    is_there = site.scope == entry["function"] and hasattr(site.node, "end_col_offset")
    return is_there and site.module.segment(site.node) == entry["old"]


def mutants(module: Module) -> Iterator[Mutant]:
    ordinals: dict[str, int] = {}
    seen: set[tuple[int, int, str]] = set()
    for site in sites(module):
        if flow.is_quiet(site):
            continue
        for kind, change in KINDS.items():
            for edit in change(site):
                mutant = make(kind, site, edit, ordinals)
                place = (mutant.first_byte, mutant.last_byte, mutant.text)
                if place not in seen:  # two kinds may make the same change
                    seen.add(place)
                    yield mutant


Change = Callable[[Site], Iterator[Edit]]


KINDS: dict[str, Change] = {
    "condition": writes.conditions,
    "field": writes.fields,
    "entry": writes.entries,
    "member": writes.members,
    "compare": values.comparisons,
    "operand": values.operands,
    "constant": values.constants,
    "key": values.keys,
    "except": flow.handled,
    "raise": flow.raised,
    "outcome": values.outcomes,
    "guard": flow.guards,
    "branch": flow.branches,
    "again": flow.repeats,
    "effect": flow.effects,
    "answer": flow.answers,
    "swap": flow.swaps,
}
