"""PyAV is 95 MB unpacked: only what ships it may import it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

FUNCTIONS = Path(__file__).parents[2] / "functions"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_the_two_functions_that_have_pyav_import_it_or_the_folder() -> None:
    others = [path for path in FUNCTIONS.rglob("*.py") if path.parent.name != "segments"]
    found = {
        path.relative_to(FUNCTIONS).as_posix()
        for path in others
        for name in imported(path)
        if name.split(".")[0] == "av" or name.startswith("functions.segments")
    }
    assert found == {"handlers/cut.py", "handlers/join.py"}


def test_the_folder_imports_nothing_else_of_the_bundle() -> None:
    names = {name for path in (FUNCTIONS / "segments").glob("*.py") for name in imported(path)}
    assert {
        name
        for name in names
        if name.startswith("functions.") and not name.startswith("functions.segments")
    } == set()
