"""Changes of what is written, and on which condition."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator

from tests.mutation.edits import deleted, instead, method, undone, without
from tests.mutation.source import Edit, Site

# How our conditional writes are put together (`Update` of the table's module), and AWS's own words
# for a condition.
CONDITIONS = frozenset({"given", "given_in"})


FIELDS = frozenset({"set", "add", "remove"})


TERMS = frozenset({"append", "count_in", "put_in", "drop_from"})


TRANSACTIONS = frozenset({"transact"})


BUILDERS = CONDITIONS | FIELDS | TERMS


AWS_CONDITION = re.compile(r"ConditionExpression|FilterExpression|If[A-Z]\w+")


def conditions(site: Site) -> Iterator[Edit]:
    """Each condition of a conditional write dropped, whole and in its parts."""
    node = site.node
    if isinstance(node, ast.Call):
        if method(node) in CONDITIONS:
            yield undone(site, node)
            yield from _parts(node)
        for index, keyword in enumerate(node.keywords):
            if AWS_CONDITION.fullmatch(keyword.arg or ""):
                yield Edit(node, node, ast.unparse(without(node, "keywords", index)))
    elif (
        isinstance(node, ast.Assign)
        and _subscript(node.targets[0])
        and AWS_CONDITION.fullmatch(_subscript(node.targets[0]))
    ):
        yield deleted(node)


def _subscript(node: ast.AST) -> str:
    is_text = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
    return str(node.slice.value) if is_text else ""  # type: ignore[attr-defined]


def _parts(call: ast.Call) -> Iterator[Edit]:
    condition = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    if not isinstance(condition, str):
        return
    word = next((one for one in (" OR ", " AND ") if len(split(condition, one)) > 1), None)
    parts = split(condition, word) if word else []
    for index in range(len(parts)):
        rest = (word or "").join(parts[:index] + parts[index + 1 :])
        yield Edit(call, call, ast.unparse(_reworded(call, rest)))


def split(condition: str, word: str) -> list[str]:
    """The parts of a condition that `word` joins, outside of parentheses."""
    parts, depth, begin = [], 0, 0
    for at, letter in enumerate(condition):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and at >= begin and condition.startswith(word, at):
            parts.append(condition[begin:at])
            begin = at + len(word)
    return [*parts, condition[begin:]]


def _reworded(call: ast.Call, condition: str) -> ast.Call:
    """DynamoDB refuses values that nothing names, so those of the dropped part go with it."""
    changed = copy.deepcopy(call)
    changed.args[0] = ast.Constant(condition)
    used = set(re.findall(r":(\w+)", condition))
    changed.keywords = [
        keyword for keyword in changed.keywords if keyword.arg is None or keyword.arg in used
    ]
    return changed


def fields(site: Site) -> Iterator[Edit]:
    """Each field of a write dropped."""
    node, called = site.node, method(site.node)
    if isinstance(node, ast.Call) and called in TERMS and len(node.args) > 1:
        yield undone(site, node)
    elif isinstance(node, ast.Call) and called in FIELDS and _is_write(node):
        name = "args" if called == "remove" else "keywords"
        count = len(getattr(node, name))
        for index in range(count):
            is_only = count == 1
            fewer = Edit(node, node, ast.unparse(without(node, name, index)))
            yield undone(site, node) if is_only else fewer
    elif isinstance(node, ast.Tuple) and _is_removed(site):
        for index in range(len(node.elts)):
            yield instead(node, without(node, "elts", index))


def _is_write(call: ast.Call) -> bool:
    """Not a set's, nor a list's: a write takes its fields by name, or the names of fields."""
    if method(call) == "remove":
        return all(
            isinstance(one, ast.Starred) or isinstance(getattr(one, "value", None), str)
            for one in call.args
        )
    return not call.args and bool(call.keywords)


def _is_removed(site: Site) -> bool:
    """A tuple of fields with a name, that some write of this module removes."""
    if not isinstance(site.statement, ast.Assign) or site.statement.value is not site.node:
        return False
    names = {target.id for target in site.statement.targets if isinstance(target, ast.Name)}
    return any(
        isinstance(one, ast.Starred) and isinstance(one.value, ast.Name) and one.value.id in names
        for call in ast.walk(site.module.tree)
        if isinstance(call, ast.Call) and method(call) == "remove"
        for one in call.args
    )


def entries(site: Site) -> Iterator[Edit]:
    """Each entry of a dictionary that a function makes, and each step of a transaction, dropped."""
    node = site.node
    if isinstance(node, ast.Dict) and site.function and len(node.keys) > 1:
        for index in range(len(node.keys)):
            changed = copy.deepcopy(node)
            del changed.keys[index], changed.values[index]
            yield Edit(node, node, ast.unparse(changed))
    elif isinstance(node, ast.Call) and method(node) in TRANSACTIONS and len(node.args) > 1:
        for index in range(len(node.args)):
            yield Edit(node, node, ast.unparse(without(node, "args", index)))


def members(site: Site) -> Iterator[Edit]:
    """Each member of a choice dropped: of an enumeration, where all of them are allowed instead as
    well, or of a set of words."""
    node = site.node
    if not isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return
    if owner := _enumeration(node.elts):
        yield Edit(node, node, f"list({owner})")
    if owner or (isinstance(node, ast.Set) and all(_is_text(one) for one in node.elts)):
        for index in range(len(node.elts) if len(node.elts) > 1 else 0):
            yield Edit(node, node, ast.unparse(without(node, "elts", index)))


def _enumeration(elements: list[ast.expr]) -> str:
    """The enumeration of which all of these are members; empty if they are anything else."""
    owners = {
        one.value.id if isinstance(one.value, ast.Name) and one.attr.isupper() else ""
        for one in elements
        if isinstance(one, ast.Attribute)
    }
    is_one = len(owners) == 1 and all(isinstance(one, ast.Attribute) for one in elements)
    return owners.pop() if is_one else ""


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
