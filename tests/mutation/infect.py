"""How a process comes to run a mutant: by an import hook before the package is there, or by new
code in its functions after.

A fork of a process that has imported and collected everything costs milliseconds, so a change
inside a function replaces that function's code where it lives: the function object stays, and
the process that holds it runs the mutant. What runs at import (constants, defaults, decorators,
class bodies) is imported anew, by a process of its own.
"""

from __future__ import annotations

import ast
import functools
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.mutation.source import Module, Mutant

Source = Callable[[], "ast.Module | str"]
HIT = "__mutation_hit__"


class _Loader(importlib.machinery.SourceFileLoader):
    """The module from another source; no cached byte code is read or written."""

    source: Source
    extras: dict[str, Any]

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source(), self.get_filename(fullname), "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self.extras)
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder):
    """Loads the named modules from other sources, with `extras` among their globals."""

    def __init__(
        self, sources: dict[str, tuple[Module, Source]], extras: dict[str, Any] | None = None
    ) -> None:
        self._sources, self._extras = sources, extras or {}

    def find_spec(self, fullname: str, _path: Any, _target: ModuleType | None = None) -> Any:
        if fullname not in self._sources:
            return None
        module, source = self._sources[fullname]
        loader = _Loader(fullname, str(module.path))
        loader.source, loader.extras = source, self._extras
        is_package = module.path.name == "__init__.py"
        places = [str(module.path.parent)] if is_package else None
        return importlib.util.spec_from_file_location(
            fullname, module.path, loader=loader, submodule_search_locations=places
        )


def install(
    sources: dict[str, tuple[Module, Source]], extras: dict[str, Any] | None = None
) -> None:
    """To be called before any of these is imported."""
    if early := sources.keys() & sys.modules.keys():
        raise AssertionError(f"imported already: {', '.join(sorted(early))}")
    sys.meta_path.insert(0, Finder(sources, extras))


def import_mutant(mutant: Mutant) -> None:
    install({mutant.module.name: (mutant.module, lambda: mutant.mutated)})


# Functions that live already.


@dataclass(frozen=True)
class Alive:
    """Every function object of some modules, by file, first line and qualified name; and whatever
    caches their results, and whether that lasts."""

    functions: dict[tuple[str, int, str], list[FunctionType]]
    caches: list[tuple[Any, bool]]


def living(modules: list[Module], lasting: Collection[str] = ()) -> Alive:
    """`lasting`: caches that no mutant of another module can change, as `module:name`."""
    paths, names = {str(one.path) for one in modules}, {one.name for one in modules}
    alive = Alive({}, [])
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename in paths:
            code = one.__code__
            place = (code.co_filename, code.co_firstlineno, code.co_qualname)
            alive.functions.setdefault(place, []).append(one)
        elif isinstance(one, functools._lru_cache_wrapper) and one.__module__ in names:
            is_lasting = f"{one.__module__}:{one.__wrapped__.__qualname__}" in lasting
            alive.caches.append((one, is_lasting))
    return alive


def replace(mutant: Mutant, alive: Alive) -> None:
    """Put the mutant's code into the living functions, or its value in place of a living one, and
    forget what any function of theirs has cached. Raises ValueError when that cannot be done: it
    must be imported anew."""
    if mutant.line:
        _recode(mutant, alive)
    else:
        _rebind(mutant)
    for cache, is_lasting in alive.caches:
        if not is_lasting or cache.__module__ == mutant.module.name:
            cache.cache_clear()


def _rebind(mutant: Mutant) -> None:
    """What a module defines once for all, defined again and put wherever it was imported by its
    name. Only for what nothing else is made of at import."""
    module = sys.modules[mutant.module.name]
    standing, changed = mutant.module.tree.body, ast.parse(mutant.mutated).body
    number = next(
        number
        for number, one in enumerate(standing)
        if mutant.module.start(one) <= mutant.first_byte < mutant.module.end(one)
    )
    made = dict(vars(module))
    code = compile(ast.Module([changed[number]], []), str(mutant.module.path), "exec")
    exec(code, made)
    for name in mutant.names:
        old = vars(module)[name]
        for other in list(sys.modules.values()):
            if vars(other).get(name, _NOTHING) is old:
                setattr(other, name, made[name])


_NOTHING = object()


def _recode(mutant: Mutant, alive: Alive) -> None:
    path, changed = str(mutant.module.path), set[str]()
    old = compile(mutant.module.text, path, "exec", dont_inherit=True)
    new = compile(mutant.mutated, path, "exec", dont_inherit=True)
    for before, after in _functions(old, new):
        if before == after:
            continue
        for function in alive.functions.get((path, before.co_firstlineno, before.co_qualname), []):
            function.__code__ = after
            changed.add(before.co_qualname)
    if mutant.function not in changed:
        raise ValueError(f"{mutant.function} does not live here, or means the same")


def _functions(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Each function's code in both, at any depth. One change inside a function leaves their
    number and order."""
    pairs = [[one for one in code.co_consts if isinstance(one, CodeType)] for code in (old, new)]
    if [one.co_name for one in pairs[0]] != [one.co_name for one in pairs[1]]:
        return  # a lambda or comprehension came or went: the function around is replaced whole
    for before, after in zip(*pairs, strict=True):
        yield before, after
        yield from _functions(before, after)


# Which lines a test executes.


class _Instrument(ast.NodeTransformer):
    """Before every statement inside a function a call that notes it."""

    def __init__(self, module: str) -> None:
        self._module, self._depth = module, 0

    def visit(self, node: ast.AST) -> ast.AST:
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        self._depth += is_function
        self.generic_visit(node)
        if self._depth:
            for name in ("body", "orelse", "finalbody"):
                block = getattr(node, name, None)
                if (
                    isinstance(block, list)
                    and block
                    and isinstance(block[0], ast.stmt)
                    and not isinstance(node, ast.ClassDef)
                ):
                    setattr(node, name, self._noted(block))
        self._depth -= is_function
        return node

    def _noted(self, block: list[ast.stmt]) -> list[ast.stmt]:
        noted: list[ast.stmt] = []
        for statement in block:
            call = ast.Call(
                ast.Name(HIT, ast.Load()),
                [ast.Constant(self._module), ast.Constant(statement.lineno)],
                [],
            )
            noted += [ast.copy_location(ast.Expr(call), statement), statement]
        return noted


def instrumented(module: Module) -> ast.Module:
    tree = ast.parse(module.text)
    _Instrument(module.name).visit(tree)
    return ast.fix_missing_locations(tree)


def note_hits(modules: list[Module], noted: Callable[[str, int], None]) -> None:
    install(
        {one.name: (one, functools.partial(instrumented, one)) for one in modules}, {HIT: noted}
    )
