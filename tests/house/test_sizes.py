"""How much stands in one place, and in how many places one thing does: figures that only a machine
keeps in mind."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 350, 30
# Longer, and of what; the next change of one of them begins with a cut.
LONG = {
    "functions/segments/join.py": "one pass over the pieces",
    "infra/operations.py": "alarms and the dashboard",
    "functions/tasks/steps.py": "every conditional write of a row",
    "talkdrop/erase.py": "what there is of a person, and its end",
}
# Lines with Any, a folder. What DynamoDB and the vendors send has no type: tasks/table and the
# providers are left out. Any other line is a shape that was not written down yet.
MOST_ANY = {"functions": 25, "infra": 20, "local": 160, "talkdrop": 70}
WIRE = ("functions/tasks/table.py", "functions/tasks/attributes.py", "functions/providers/")
# One name, two shapes: the row's, and the same as an event has it.
TWICE = {"Consent", "Limits", "Refused"}


@cache
def sources(top: str) -> tuple[Path, ...]:
    return tuple(sorted((ROOT / top).rglob("*.py")))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def everything() -> list[Path]:
    return [path for top in MOST_ANY for path in sources(top)]


def test_a_module_has_one_subject_and_so_no_more_than_350_lines() -> None:
    long = {named(path) for path in everything() if path.read_text().count("\n") > MOST_LINES}
    assert long - LONG.keys() == set()


def test_a_function_of_the_bundle_is_read_at_one_look() -> None:
    long = [
        f"{named(path)}:{node.name}"
        for path in sources("functions")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("top", MOST_ANY)
def test_any_stops_at_the_wire(top: str) -> None:
    """Fewer is better: who mends some lowers the figure."""
    found = [
        f"{named(path)}:{number}: {line.strip()}"
        for path in sources(top)
        if not named(path).startswith(WIRE)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\bAny\b", line) and "import" not in line
    ]
    assert len(found) <= MOST_ANY[top], "\n".join(found)


def test_a_class_of_the_bundle_has_a_name_of_its_own() -> None:
    modules = defaultdict(set)
    for path in sources("functions"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].add(named(path))
    assert {name for name, found in modules.items() if len(found) > 1} <= TWICE


def test_each_module_of_the_bundle_is_named_in_a_document() -> None:
    """docs/architecture.md lists them, a few words each."""
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    words = set(re.findall(r"[\w]+", text))
    assert {named(path) for path in sources("functions") if path.stem not in words} - {
        named(path) for path in sources("functions") if path.stem == "__init__"
    } == set()
