"""The house rules that a reader could break without noticing: which way imports point, and what is
never written.

handlers → jobs, inputs, tasks, videos, download, providers, links → secrets → settings
infra, local, talkdrop → functions, never the other way round
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from functions.settings import Options
from infra.fleet import fleet

ROOT = Path(__file__).parents[2]
FLEET = fleet(Options())
OUTSIDE = {"infra", "local", "talkdrop", "tests", "bench"}
# A dialect is what several providers share; which of them each one speaks.
DIALECTS = {"_kling_dialect", "_gateway"}
# What a provider takes and what it costs, where that is long.
MODELS = {"_kie_models"}
SPEAKS = {
    "_gateway": {"_kling_dialect"},
    "kie": {"_kie_models"},
    "kling": {"_kling_dialect"},
    "comet": {"_kling_dialect", "_gateway"},
    "relay": {"_kling_dialect", "_gateway"},
}
EVERY = [
    path
    for top in ("functions", "infra", "local", "talkdrop")
    for path in sorted((ROOT / top).rglob("*.py"))
]
FUNCTIONS = [path for path in EVERY if path.is_relative_to(ROOT / "functions")]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Every module this file imports, by its full name; `from a import b` counts as a.b, which may
    be a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, (
                f"{named(path)}:{node.lineno}: relative imports hide where a module lives"
            )
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def ours(path: Path) -> frozenset[str]:
    """The modules of `functions` that this file imports, by their full names."""
    return frozenset(
        name for full in imports(path) if (name := module_of(full)) and name != "functions"
    )


def module_of(name: str) -> str:
    """The module of ours that `name` is or lies in; empty if it is none of ours."""
    parts = name.split(".")
    while parts and parts[0] == "functions":
        place = ROOT.joinpath(*parts)
        if place.is_dir() or place.with_suffix(".py").exists():
            return ".".join(parts)
        parts.pop()
    return ""


def room(path: Path) -> str:
    """The folder below functions/ that a file lies in, or its own name where it lies in none."""
    parts = path.relative_to(ROOT / "functions").with_suffix("").parts
    return parts[0]


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in ours(path)} - {room(path)}


def providers() -> list[Path]:
    """The providers and the dialects they share; what `base` is made of has the other files whose
    names begin with `_`."""
    return [
        path
        for path in (ROOT / "functions/providers").glob("*.py")
        if not path.stem.startswith("_") or path.stem in DIALECTS | MODELS
    ]


def words(path: Path) -> set[str]:
    """Every name and attribute in the code; not what stands in texts."""
    found = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
    return found | {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}


def settled(path: Path) -> set[tuple[str, object]]:
    """Every keyword argument that is given a constant."""
    keywords = [node for node in ast.walk(tree(path)) if isinstance(node, ast.keyword)]
    return {
        (one.arg or "", one.value.value) for one in keywords if isinstance(one.value, ast.Constant)
    }


# Which rooms a room may import, a line each. What stands nowhere here imports nothing of ours.
MAY_IMPORT = {
    "handlers": {
        "api",
        "jobs",
        "inputs",
        "tasks",
        "videos",
        "download",
        "providers",
        "links",
        "secrets",
        "segments",
        "settings",
    },
    "api": {"inputs", "tasks", "providers", "links", "settings"},
    "inputs": {"tasks", "download", "providers", "links", "settings", "movie"},
    "jobs": {"tasks", "providers", "links", "secrets", "settings"},
    "tasks": {"providers", "settings"},
    "videos": {"tasks", "settings", "movie"},
    "download": set(),
    "providers": set(),
    "movie": {"boxes"},
    "links": {"settings"},
    "secrets": {"providers", "settings"},
}


def test_imports_between_rooms_point_one_way() -> None:
    for path in FUNCTIONS:
        assert rooms_imported(path) <= MAY_IMPORT.get(room(path), set()), named(path)


def test_no_module_imports_a_handler() -> None:
    assert [named(path) for path in EVERY if any(".handlers." in name for name in ours(path))] == []


def test_only_the_functions_that_ship_pyav_import_what_needs_it() -> None:
    """Directly or by another module: the others' bundle does not hold it."""
    ship = {f"functions/handlers/{name}.py" for name, row in FLEET.items() if row.has_pyav}
    needing = {named(path) for path in FUNCTIONS if "functions.segments" in " ".join(ours(path))}
    outside = {name for name in needing if not name.startswith("functions/segments/")}
    assert outside == ship
    assert {named(path) for path in FUNCTIONS if "av" in tops(path)} <= needing | {
        "functions/segments/voice.py"
    }


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def test_the_bundle_imports_nothing_that_is_not_in_it() -> None:
    assert [
        named(path)
        for path in FUNCTIONS
        if {name.split(".")[0] for name in imports(path)} & OUTSIDE
    ] == []


def test_modules_import_each_other_without_circles() -> None:
    """Nor does a circle hide behind TYPE_CHECKING, but for the stack's own parts, which are given
    the stack."""
    modules = [path for path in EVERY if not path.is_relative_to(ROOT / "infra")]
    needs = {dotted(path): within(path) for path in modules if path.stem != "__init__"}
    while free := [name for name, wanted in needs.items() if not (wanted - {name}) & needs.keys()]:
        for name in free:
            del needs[name]
    assert not needs


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def within(path: Path) -> set[str]:
    """The modules of ours that this file imports, wherever they lie."""
    known = {dotted(one) for one in EVERY}
    found = set()
    for name in imports(path):
        parts = name.split(".")
        while parts and ".".join(parts) not in known:
            parts.pop()
        found.add(".".join(parts))
    return found - {""}


def test_a_provider_knows_only_its_contract_and_the_dialect_it_speaks() -> None:
    for path in providers():
        helpers = {one.stem for one in path.parent.glob("_*.py")} - DIALECTS - MODELS
        beneath = helpers if path.stem == "base" else {"base", *SPEAKS.get(path.stem, ())}
        allowed = {f"functions.providers.{name}" for name in beneath}
        others = {name.split(".")[0] for name in imports(path)} - {"functions", "httpx"}
        assert ours(path) <= allowed | {"functions.providers"}, named(path)
        assert others <= sys.stdlib_module_names, named(path)


def test_no_event_is_logged_whole_no_certificate_ignored_and_no_redirect_followed_blindly() -> None:
    forbidden = {
        ("log_event", True),
        ("verify", False),
        ("follow_redirects", True),
        ("allow_redirects", True),
    }
    assert [named(path) for path in EVERY if settled(path) & forbidden] == []


def test_requests_is_not_among_us() -> None:
    assert [
        named(path)
        for path in EVERY
        if "requests" in {name.split(".")[0] for name in imports(path)}
    ] == []


def test_no_exception_is_caught_without_a_name_or_swallowed() -> None:
    for path in EVERY:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{named(path)}:{node.lineno}"
                assert not all(isinstance(line, ast.Pass) for line in node.body), (
                    f"{named(path)}:{node.lineno}"
                )


def test_links_that_grant_access_are_made_in_one_place() -> None:
    made = {"generate_presigned_url", "generate_presigned_post"}
    assert [path.stem for path in FUNCTIONS if words(path) & made] == ["links"]


# A second or two, where coming again by a queue would lose what is known: a row that was busy, a
# download that broke. And the last second before a turn, which SQS cannot divide.
MAY_PAUSE = {
    "functions/tasks/table.py",
    "functions/tasks/turns.py",
    "functions/download/connection.py",
}


def test_functions_speak_through_the_logger_and_sleep_nowhere_else() -> None:
    assert [named(path) for path in FUNCTIONS if "print" in words(path)] == []
    assert {named(path) for path in FUNCTIONS if "sleep" in words(path)} <= MAY_PAUSE


def test_nothing_happens_at_import() -> None:
    """Definitions, constants and what must be warm: no client made, no environment read, no file
    opened."""
    for path in FUNCTIONS:
        lines = [
            node
            for node in tree(path).body
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.Expr))
        ]
        assert not {name for line in lines for name in done(line)} & {
            "environ",
            "getenv",
            "client",
            "aws",
            "open",
        }, named(path)


def done(line: ast.stmt) -> Iterator[str]:
    """What this line calls, and whether it looks at the environment."""
    if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
        return
    for inner in ast.walk(line):
        if isinstance(inner, ast.Call):
            yield (
                inner.func.attr
                if isinstance(inner.func, ast.Attribute)
                else getattr(inner.func, "id", "")
            )
        elif isinstance(inner, ast.Attribute) and inner.attr == "environ":
            yield "environ"
