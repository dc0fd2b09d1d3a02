"""Changes of what is compared, chosen and counted."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any

from tests.mutation.edits import instead, without
from tests.mutation.source import Edit, Site

OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


def comparisons(site: Site) -> Iterator[Edit]:
    """Each comparison moved by one, or turned round."""
    node = site.node
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[index] = OPPOSITE[type(operator)]()
            yield instead(node, changed)


def operands(site: Site) -> Iterator[Edit]:
    """Each operand of `and` and `or` dropped, each `not` removed, each choice made for good."""
    node = site.node
    if isinstance(node, ast.BoolOp):
        for index in range(len(node.values)):
            changed = without(node, "values", index)
            assert isinstance(changed, ast.BoolOp)
            yield instead(node, changed if len(changed.values) > 1 else changed.values[0])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield instead(node, node.operand)
    elif isinstance(node, ast.IfExp):
        yield instead(node, node.body)
        yield instead(node, node.orelse)


def keys(site: Site) -> Iterator[Edit]:
    """Each value dropped that is a part of a key, an id or an address: of an f-string without
    spaces. The others are sentences."""
    node = site.node
    if not isinstance(node, ast.JoinedStr) or not _is_key(node):
        return
    for index, value in enumerate(node.values):
        if isinstance(value, ast.FormattedValue) and len(node.values) > 1:
            yield instead(node, without(node, "values", index))


def _is_key(node: ast.JoinedStr) -> bool:
    texts = [one.value for one in node.values if isinstance(one, ast.Constant)]
    return not any(set(str(text)) & set(" \n:,") for text in texts)


def constants(site: Site) -> Iterator[Edit]:
    """Each number moved: doubled and zero, in a comparison by one; each boolean the other one."""
    node = site.node
    if not isinstance(node, ast.Constant) or isinstance(site.parent, (ast.Subscript, ast.Slice)):
        return
    for value in _moved(node.value, isinstance(site.parent, ast.Compare)):
        yield Edit(node, node, repr(value))


def _moved(value: Any, is_compared: bool) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if not isinstance(value, (int, float)):
        return []
    if is_compared or value == 0:
        return [value + 1]
    return [0, value * 2]


def outcomes(site: Site) -> Iterator[Edit]:
    """Each exception of a family that is chosen here becomes the sibling before it."""
    node, parent = site.node, site.parents[-1]
    name = ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""
    sibling = site.module.siblings.get(name.rpartition(".")[2])
    if sibling is None or _asks_for_type(parent) or isinstance(site.statement, ast.ClassDef):
        return
    yield Edit(node, node, f"{name.rpartition('.')[0]}.{sibling}".removeprefix("."))


def _asks_for_type(parent: ast.AST) -> bool:
    """The name stands in an `except`, a `case` or a question, not in a choice."""
    is_question = isinstance(parent, ast.Call) and ast.unparse(parent.func) in _QUESTIONS
    return is_question or isinstance(
        parent, (ast.ExceptHandler, ast.MatchClass, ast.Compare, ast.Attribute)
    )


_QUESTIONS = frozenset({"isinstance", "issubclass"})
