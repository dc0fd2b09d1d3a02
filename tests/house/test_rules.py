"""The house rules that a reader could break without noticing: which way imports point, and what is never written.

entry points → nouns → settings            providers → base, httpx, the standard library
infra, local, talkdrop → nouns             functions → none of these
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = {"intake", "api", "submit", "callback", "watch", "archive", "settle", "announce", "sweep"}
OUTSIDE = {"infra", "local", "talkdrop", "tests", "bench"}
DIALECTS = {"comet": {"kling"}, "relay": {"kling", "comet"}}  # who speaks whose
EVERY = [path for top in ("functions", "infra", "local", "talkdrop") for path in sorted((ROOT / top).rglob("*.py"))]
FUNCTIONS = [path for path in EVERY if path.is_relative_to(ROOT / "functions")]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Every module this file imports, by its full name; `from a import b` counts as a.b, which may be a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{named(path)}:{node.lineno}: relative imports hide where a module lives"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """The modules of `functions` that this file imports, by their short names; `providers.kie` for a provider."""
    found = set()
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "functions" and len(parts) > 1:
            is_provider = (
                parts[1] == "providers" and len(parts) > 2 and (ROOT / f"functions/providers/{parts[2]}.py").exists()
            )
            found.add(".".join(parts[1:3]) if is_provider else parts[1])
    return found


def providers() -> list[Path]:
    return [path for path in (ROOT / "functions/providers").glob("*.py") if not path.stem.startswith("_")]


def words(path: Path) -> set[str]:
    """Every name and attribute in the code; not what stands in texts."""
    found = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
    return found | {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}


def settled(path: Path) -> set[tuple[str, object]]:
    """Every keyword argument that is given a constant."""
    keywords = [node for node in ast.walk(tree(path)) if isinstance(node, ast.keyword)]
    return {(one.arg or "", one.value.value) for one in keywords if isinstance(one.value, ast.Constant)}


def test_nobody_imports_an_entry_point() -> None:
    assert [named(path) for path in EVERY if ours(path) & ENTRY_POINTS] == []


def test_the_bundle_imports_nothing_that_is_not_in_it() -> None:
    assert [named(path) for path in FUNCTIONS if {name.split(".")[0] for name in imports(path)} & OUTSIDE] == []


def test_settings_import_nothing_of_ours() -> None:
    assert not ours(ROOT / "functions/settings.py")


def test_the_nouns_stand_in_an_order_without_circles() -> None:
    needs = {path.stem: ours(path) for path in (ROOT / "functions").glob("*.py") if path.stem != "__init__"}
    while free := [name for name, wanted in needs.items() if not wanted & needs.keys()]:
        for name in free:
            del needs[name]
    assert not needs


def test_a_provider_knows_only_its_contract_and_the_dialect_it_speaks() -> None:
    for path in providers():
        helpers = (
            {f"providers.{one.stem}" for one in path.parent.glob("_*.py")} if path.stem == "base" else {"providers.base"}
        )
        allowed = helpers | {f"providers.{name}" for name in DIALECTS.get(path.stem, ())} | {"providers"}
        others = {name.split(".")[0] for name in imports(path)} - {"functions", "httpx"}
        assert ours(path) <= allowed, named(path)
        assert others <= sys.stdlib_module_names, named(path)


def test_no_event_is_logged_whole_no_certificate_ignored_and_no_redirect_followed_blindly() -> None:
    forbidden = {("log_event", True), ("verify", False), ("follow_redirects", True), ("allow_redirects", True)}
    assert [named(path) for path in EVERY if settled(path) & forbidden] == []


def test_requests_is_not_among_us() -> None:
    assert [named(path) for path in EVERY if "requests" in {name.split(".")[0] for name in imports(path)}] == []


def test_no_exception_is_caught_without_a_name_or_swallowed() -> None:
    for path in EVERY:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{named(path)}:{node.lineno}"
                assert not all(isinstance(line, ast.Pass) for line in node.body), f"{named(path)}:{node.lineno}"


def test_links_that_grant_access_are_made_in_one_place() -> None:
    made = {"generate_presigned_url", "generate_presigned_post"}
    assert [path.stem for path in FUNCTIONS if words(path) & made] == ["links"]


# A second or two, where coming again by a queue would lose what is known: a row that was busy, a download that broke.
MAY_PAUSE = {"functions/table.py", "functions/wire.py"}


def test_functions_speak_through_the_logger_and_sleep_nowhere_else() -> None:
    assert [named(path) for path in FUNCTIONS if "print" in words(path)] == []
    assert {named(path) for path in FUNCTIONS if "sleep" in words(path)} <= MAY_PAUSE


def test_nothing_happens_at_import() -> None:
    """Definitions, constants and what must be warm: no client made, no environment read, no file opened."""
    for path in FUNCTIONS:
        lines = [node for node in tree(path).body if isinstance(node, (ast.Assign, ast.AnnAssign, ast.Expr))]
        assert not {name for line in lines for name in done(line)} & {"environ", "getenv", "client", "aws", "open"}, named(
            path
        )


def done(line: ast.stmt) -> Iterator[str]:
    """What this line calls, and whether it looks at the environment."""
    if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
        return
    for inner in ast.walk(line):
        if isinstance(inner, ast.Call):
            yield inner.func.attr if isinstance(inner.func, ast.Attribute) else getattr(inner.func, "id", "")
        elif isinstance(inner, ast.Attribute) and inner.attr == "environ":
            yield "environ"
