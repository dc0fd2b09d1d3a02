"""Changes of where the way goes on, and of what happens on it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.mutation.edits import deleted, instead, method, root, without
from tests.mutation.source import JUMPS, Edit, Site
from tests.mutation.writes import BUILDERS

PAID = frozenset({"paid_post"})  # what must not happen twice
# What a log says is for people; that no secret is in it has tests of its own.
# `assert_never` is for the type checker.
QUIET = frozenset({"logger", "assert_never"})
# What the type checker alone reads, or holds: no test runs it. (`frozen` is kept by mypy.)
TYPED = frozenset({"total", "frozen", "slots", "kw_only"})


def is_quiet(site: Site) -> bool:
    """What a line of the log says, how the logger is set up, and what is for the type checker."""
    if isinstance(site.statement, ast.Expr) and root(site.statement.value) in QUIET:
        return True
    around = (*site.parents, site.node)
    calls = (one for one in around if isinstance(one, ast.Call))
    if any(root(one) in QUIET | {"Logger"} for one in calls):
        return True
    return any(isinstance(one, ast.keyword) and one.arg in TYPED for one in around)


def handled(site: Site) -> Iterator[Edit]:
    """Each `except` widened, and each of several exceptions no longer caught."""
    node = site.node
    if isinstance(node, ast.ExceptHandler) and node.type is not None:
        if ast.unparse(node.type) not in {"Exception", "BaseException"}:
            yield Edit(node.type, node.type, "Exception")
        if isinstance(node.type, ast.Tuple):
            for index in range(len(node.type.elts)):
                yield instead(node.type, without(node.type, "elts", index))


def raised(site: Site) -> Iterator[Edit]:
    """Each `raise` swallowed."""
    if isinstance(site.node, ast.Raise):
        yield deleted(site.node)


def guards(site: Site) -> Iterator[Edit]:
    """Each early return, `continue` and refusal never taken."""
    node = site.node
    if isinstance(node, ast.If) and _is_guard(node):
        yield Edit(node.test, node.test, "False")


def branches(site: Site) -> Iterator[Edit]:
    """Each branch always taken, each that is no guard never, each `case` never met."""
    node = site.node
    if isinstance(node, ast.If):
        yield Edit(node.test, node.test, "True")
        if not _is_guard(node):
            yield Edit(node.test, node.test, "False")
    elif isinstance(node, ast.match_case) and not _is_rest(node.pattern) and node.guard is None:
        yield Edit(node.pattern, node.pattern, f"{site.module.segment(node.pattern)} if False")


def _is_guard(node: ast.If) -> bool:
    return isinstance(node.body[-1], JUMPS) and not node.orelse


def _is_rest(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def repeats(site: Site) -> Iterator[Edit]:
    """Each call that costs money made twice."""
    node, statement = site.node, site.statement
    if isinstance(node, ast.Call) and (method(node) or root(node)) in PAID:
        once, indent = site.module.segment(statement), " " * statement.col_offset
        yield Edit(statement, statement, f"{site.module.segment(node)}\n{indent}{once}")


def answers(site: Site) -> Iterator[Edit]:
    """Each statement of a handler whose failure is swallowed: it answers success without its
    effect."""
    node = site.node
    if site.function == "handler" and isinstance(node, ast.stmt) and _has_effect(node):
        text, inner = site.module.segment(node), " " * (node.col_offset + 4)
        outer = " " * node.col_offset
        yield Edit(node, node, f"try:\n{inner}{text}\n{outer}except Exception:\n{inner}pass")


def effects(site: Site) -> Iterator[Edit]:
    """Each statement that only has an effect dropped."""
    node = site.node
    is_one = isinstance(node, ast.stmt) and _has_effect(node)
    if is_one and method(getattr(node, "value", node)) not in BUILDERS:
        yield deleted(site.statement)


def _has_effect(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        return all(isinstance(one, (ast.Subscript, ast.Attribute)) for one in statement.targets)
    is_one = isinstance(statement, (ast.Expr, ast.AugAssign, ast.Delete))
    return is_one and root(getattr(statement, "value", statement)) not in QUIET


def swaps(site: Site) -> Iterator[Edit]:
    """Two neighbours that both have effects change places."""
    node = site.node
    if not isinstance(node, ast.stmt) or node not in site.siblings or node is site.siblings[-1]:
        return
    follower = site.siblings[site.siblings.index(node) + 1]
    if _acts(node) and _acts(follower) and not _are_one_write(node, follower):
        text = [site.module.segment(follower), " " * node.col_offset + site.module.segment(node)]
        yield Edit(node, follower, "\n".join(text))


def _acts(statement: ast.stmt) -> bool:
    """An effect, or effects under a condition that do not end the function."""
    if isinstance(statement, ast.If) and not statement.orelse:
        return all(_acts(inner) for inner in statement.body)
    is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    return is_call and _has_effect(statement)


def _are_one_write(one: ast.stmt, other: ast.stmt) -> bool:
    """The terms of one write may stand in any order."""
    inner = [*ast.walk(one), *ast.walk(other)]
    return all(method(call) in BUILDERS for call in inner if method(call))
