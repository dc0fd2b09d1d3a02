"""What the kinds of change have in common."""

from __future__ import annotations

import ast
import copy

from tests.mutation.source import Edit, Site


def instead(node: ast.AST, new: ast.AST) -> Edit:
    return Edit(node, node, f"({ast.unparse(new)})")


def without(node: ast.AST, name: str, index: int) -> ast.AST:
    """A copy of the node that lacks one element of one of its lists."""
    changed = copy.deepcopy(node)
    del getattr(changed, name)[index]
    return changed


def deleted(statement: ast.stmt) -> Edit:
    return Edit(statement, statement, "pass")


def undone(site: Site, call: ast.Call) -> Edit:
    """A link of a chain taken out: what it was called on stands alone."""
    assert isinstance(call.func, ast.Attribute)
    is_whole = isinstance(site.statement, ast.Expr) and site.statement.value is call
    if is_whole and isinstance(call.func.value, ast.Name):
        return deleted(site.statement)
    return Edit(call, call, site.module.segment(call.func.value))


def method(node: ast.AST) -> str:
    """The name of the method that is called; empty if this is no such call."""
    called = node.func if isinstance(node, ast.Call) else None
    return called.attr if isinstance(called, ast.Attribute) else ""


def root(node: ast.AST) -> str:
    """The name at the beginning of a chain of calls and attributes."""
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
