"""One module's source, the places in it that may be changed, and a change of it: the mutant."""

from __future__ import annotations

import ast
import difflib
import hashlib
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
JUMPS = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True)
class Module:
    """A module by its dotted name, and where its source stands. `siblings`: of each exception of
    the package that has any, the one before it."""

    name: str
    path: Path
    siblings: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        for line in self.text.encode().splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts

    def offset(self, line: int, column: int) -> int:
        """A position of the syntax tree (line from 1, column in UTF-8 bytes) as an offset in
        bytes."""
        return self._line_starts[line - 1] + column

    def start(self, node: ast.AST) -> int:
        return self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def segment(self, node: ast.AST) -> str:
        return self.text.encode()[self.start(node) : self.end(node)].decode()


@dataclass(frozen=True)
class Site:
    """A node that may be changed, and where it stands. `function` is the qualified name of the
    outermost function around it (empty at import time), `statement` the innermost statement,
    `siblings` the block in which that statement stands, `parents` the nodes around it, nearest
    last."""

    module: Module
    node: ast.AST
    statement: ast.stmt
    siblings: tuple[ast.stmt, ...]
    function: str
    scope: str
    parents: tuple[ast.AST, ...]

    @property
    def parent(self) -> ast.AST:
        return self.parents[-1]


@dataclass(frozen=True)
class Edit:
    """The text from the start of `first` to the end of `last` becomes `text`."""

    first: ast.AST
    last: ast.AST
    text: str


@dataclass(frozen=True)
class Mutant:
    """A module with one change. `line` is the line whose execution can show it, 0 when that is
    the import; `names` are the names that it defines there."""

    id: str
    module: Module = field(repr=False)
    kind: str
    function: str
    line: int
    names: frozenset[str]
    first_byte: int
    last_byte: int
    text: str
    context: str

    @property
    def mutated(self) -> str:
        raw = self.module.text.encode()
        return (raw[: self.first_byte] + self.text.encode() + raw[self.last_byte :]).decode()

    def diff(self) -> str:
        before, after = self.module.text.splitlines(), self.mutated.splitlines()
        name = self.module.path.name
        return "\n".join(difflib.unified_diff(before, after, name, name, lineterm="", n=2))


def sites(module: Module) -> Iterator[Site]:
    """Every node of a module but for docstrings, annotations and the insides of f-strings, whose
    positions Python 3.11 does not know."""
    yield from _block(module, module.tree.body, "", "", (module.tree,))


def _block(
    module: Module, body: list[ast.stmt], function: str, scope: str, parents: tuple[ast.AST, ...]
) -> Iterator[Site]:
    for statement in body:
        if not _is_docstring(statement):
            yield from _statement(module, statement, tuple(body), function, scope, parents)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _statement(
    module: Module,
    statement: ast.stmt,
    siblings: tuple[ast.stmt, ...],
    function: str,
    scope: str,
    parents: tuple[ast.AST, ...],
) -> Iterator[Site]:
    def visit(node: ast.AST, parents: tuple[ast.AST, ...]) -> Iterator[Site]:
        yield Site(module, node, statement, siblings, function, scope, parents)
        inner = (*parents, node)
        for name, value in ast.iter_fields(node):
            if name in _NOT_LOOKED_AT or isinstance(node, ast.JoinedStr):
                continue
            if name in _BLOCKS and isinstance(value, list):
                yield from _inner_block(node, value, inner)
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child, inner)

    def _inner_block(
        node: ast.AST, body: list[ast.stmt], inner: tuple[ast.AST, ...]
    ) -> Iterator[Site]:
        if isinstance(node, DEFINITIONS):
            named = f"{scope}.{node.name}" if scope else node.name
            outermost = function or ("" if isinstance(node, ast.ClassDef) else named)
            yield from _block(module, body, outermost, named, inner)
        else:
            yield from _block(module, body, function, scope, inner)

    yield from visit(statement, parents)


_NOT_LOOKED_AT = frozenset({"annotation", "returns", "ctx", "type_comment", "op", "ops"})
_BLOCKS = frozenset({"body", "orelse", "finalbody"})


def header(node: ast.AST) -> str:
    """A statement in normal form, of a compound one only its head: what an id is made of, so that
    it does not move."""
    if isinstance(node, (ast.If, ast.While)):
        return f"if {ast.unparse(node.test)}"
    if isinstance(node, ast.For):
        return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}"
    if isinstance(node, ast.With):
        return "with " + ", ".join(ast.unparse(item) for item in node.items)
    if isinstance(node, ast.Match):
        return f"match {ast.unparse(node.subject)}"
    if isinstance(node, ast.Try):
        return "try"
    if isinstance(node, DEFINITIONS):
        return f"def {node.name}"
    return ast.unparse(node)


def normal(text: str) -> str:
    """Source without what a formatter may change."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(text)))
    except SyntaxError:  # two statements, of which only the second is indented
        return " ".join(text.split())


def make(kind: str, site: Site, edit: Edit, ordinals: dict[str, int]) -> Mutant:
    """The mutant with its stable id: module, function, kind and a hash of what stands there and
    what comes instead."""
    module = site.module
    context = header(site.statement)
    replaced = ast.unparse(site.node) if site.node is not site.statement else context
    seed = hashlib.sha256("\x00".join((context, replaced, normal(edit.text))).encode())
    stem = f"{module.name}:{site.scope or '-'}:{kind}:{seed.hexdigest()[:8]}"
    ordinals[stem] = ordinals.get(stem, 0) + 1
    return Mutant(
        id=stem if ordinals[stem] == 1 else f"{stem}-{ordinals[stem]}",
        module=module, kind=kind, function=site.function,
        line=site.statement.lineno if site.function else 0,
        names=frozenset() if site.function else frozenset(defined(site.statement)),
        first_byte=module.start(edit.first), last_byte=module.end(edit.last),
        text=edit.text, context=context,
    )  # fmt: skip


def defined(statement: ast.stmt) -> set[str]:
    """The names that a statement defines."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else _target(statement)
    return {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}


def _target(statement: ast.stmt) -> list[ast.expr]:
    return [statement.target] if isinstance(statement, (ast.AnnAssign, ast.AugAssign)) else []
