"""Retired words: each has a name in the trade, and is written nowhere any more.

A name is what code calls a thing: a variable, an attribute, a function, a parameter, a class or a
module. Prose is everything else a person reads: comments, texts, documents, the template's own.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("app.py", "functions", "infra", "local", "talkdrop", "tests", "bench")
DOCUMENTS = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "local/samples/README.md"),
    *("Makefile", "cdk.json", "functions/api/openapi.json", "functions/api/reference.html"),
)
ITSELF = Path(__file__)
# Where the words are still being replaced.
NOT_YET: tuple[str, ...] = ()

# Parts of a name, as snake_case and CamelCase divide it, and what is written instead.
NAMES = {
    "told": "payload, message, outputs, ledger: what it is",
    "said": "message, status: what it is",
    "asked": "request, arguments: what it is",
    "bell": "callback", "bells": "callbacks", "doorbell": "callback",
    "rang": "callback_received", "rung": "callback_received",
    "pretender": "simulator", "pretenders": "simulated_providers", "pretend": "simulate",
    "ear": "listener", "howto": "instructions",
    "pace": "rate_limit", "paces": "rate_limits", "paced": "rate_limited",
    "travel": "media_delivery", "tombstone": "row_retention",
    "speaker": "client",
    "brief": "request", "judge": "validate, check", "judged": "checked", "judges": "checks",
    "gate": "steps, claims", "gates": "steps, claims",
    "ring": "call back", "rings": "callbacks_received", "ringing": "callback", "hung": "made",
    "world": "environment, simulator", "story": "explain, history", "stories": "histories",
    "verbs": "actions, methods", "turnstile": "rate_limit",
}  # fmt: skip
# Whole names: their parts have another sense elsewhere (an answer is lost, a call is placed).
WHOLE = {
    "S": "Status", "Lost": "ConditionFailed",
    "NotMine": "AlreadyClaimed", "NotNow": "ClaimDeferred",
    "Standing": "StoredObject", "Place": "ArchivePaths, MediaRef", "hang_bell": "callback_url",
}  # fmt: skip
# A module of these names says less than its new one.
MODULES = {"magic": "filetypes", "keys": "secrets", "index": "queries", "proof": "verify"}
PROSE = re.compile(
    r"\b(doorbells?|bells?|rings?|rang|ringing|hung|pretend(ed|er|ers|s)?|tombstones?|howto|paces?"
    r"|judg(e|ed|es|ing|ement)|gates?|turnstiles?|stor(y|ies)|world of)\b",
    re.IGNORECASE,
)


# A person is named where a person is meant; a process, a function or a vendor is none.
PERSON = re.compile(r"\b(some|no)body\b", re.IGNORECASE)
PERSONS = (
    "somebody else chose", "somebody else named", "somebody's face", "allows somebody",
    "Somebody who drops", "Somebody takes a task", "is somebody's", "nobody hears",
    "imitate nobody", "nobody else uses", "somebody else of", '"nobody"', '"somebody else"',
    "nobody.png", "nobody.mp3", "nobody/knows", "nobody may pay", "Nobody reads",
)  # fmt: skip


def sources() -> list[Path]:
    tops = [ROOT / name for name in CODE]
    found = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*.py"))]
    return sorted(path for path in found if path != ITSELF and not named(path).startswith(NOT_YET))


def documents() -> list[Path]:
    tops = [ROOT / name for name in DOCUMENTS]
    found = [path for top in tops for path in ([top] if top.is_file() else top.glob("*.md"))]
    return sorted(path for path in found if not named(path).startswith(NOT_YET))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that the code gives or uses, with its line."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield line, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield line, name
            case ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
                yield line, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield line, name


def parts(name: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@cache
def retired_names(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    found = [(0, part) for part in path.relative_to(ROOT).with_suffix("").parts] + [*names(tree)]
    retired = [
        f"{named(path)}:{line}: {name}: {instead}"
        for line, name in sorted(set(found))
        for instead in instead_of(name)
    ]
    return retired + [f"{named(path)}: {MODULES[stem]}" for stem in {path.stem} & MODULES.keys()]


def instead_of(name: str) -> list[str]:
    """What the trade calls what this name or a part of it calls; empty for a good name."""
    whole = [WHOLE[name]] if name in WHOLE else []
    return whole + [NAMES[word] for word in sorted(parts(name) & NAMES.keys())]


@cache
def retired_prose(path: Path) -> list[str]:
    if path.suffix == ".py":
        lines = list(texts(path.read_text()))
    else:
        lines = list(enumerate(path.read_text().splitlines(), 1))
    return [
        f"{named(path)}:{line}: {found[0]}" for line, text in lines if (found := PROSE.search(text))
    ]


@cache
def persons(path: Path) -> list[str]:
    """A person who stands for a process."""
    text = path.read_text()
    for allowed in PERSONS:
        text = text.replace(allowed, "")
    lines = enumerate(text.splitlines(), 1)
    return [
        f"{named(path)}:{line}: {found[0]}" for line, one in lines if (found := PERSON.search(one))
    ]


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Comments, documentation and texts of a module."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield token.start[0], token.string


def test_no_name_is_a_retired_word() -> None:
    assert [line for path in sources() for line in retired_names(path)] == []


def test_what_is_in_the_table_is_not_called_standing() -> None:
    """It is a row, a task, what is known."""
    shown = [path for path in sources() if "tests" not in path.parts]
    found = [(path, name) for path in shown for _, name in names(ast.parse(path.read_text()))]
    assert [named(path) for path, name in found if "standing" in parts(name)] == []


def test_nothing_that_is_read_has_a_retired_word() -> None:
    assert [line for path in [*sources(), *documents()] for line in retired_prose(path)] == []


def test_no_process_is_spoken_of_as_a_person() -> None:
    shown = [path for path in sources() if "tests" not in path.parts]
    assert [line for path in [*shown, *documents()] for line in persons(path)] == []


@pytest.mark.parametrize(
    "source",
    ["told = 1", "def bell(): ...", "def f(asked): ...", "import json as said", "f(paces=1)",
     "class OpenWorld: ...", "from x import y as S", "match x:\n    case y as gate: ..."],
)  # fmt: skip
def test_a_retired_word_is_found_wherever_a_name_is_given(source: str) -> None:
    assert any(instead_of(name) for _, name in names(ast.parse(source)))


def test_each_path_that_the_architecture_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    paths = set(
        re.findall(r"`((?:functions|infra|local|talkdrop|tests|bench|docs)/[\w/.]*)`", page)
    )
    assert len(paths) > 20
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
