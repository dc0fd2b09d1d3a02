"""What a handler imports before its first event is half of a cold start: counted, not timed."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = Path(pytest.__file__).parents[1]
# Modules after the import, the interpreter's own among them. Who needs more says so here; what is
# needed in one case only is imported where it is needed.
BUDGETS = {
    "announce": 200, "api": 480, "archive": 345, "callback": 215, "intake": 270, "settle": 215,
    "submit": 230, "sweep": 220, "watch": 225, "cut": 300, "gather": 215, "join": 410,
    "summary": 220,
}  # fmt: skip
# What a library brings along that this handler has no use for.
SHUNNED = {"boto3", "httpx", "pydantic", "rich", "asyncio"}
WELCOME = {"api": {"pydantic", "asyncio"}}
IMPORT = """
import importlib, json, sys
sys.path[:0] = sys.argv[1:3]
importlib.import_module("functions.handlers." + sys.argv[3])
print(json.dumps(sorted(sys.modules)))
"""


@cache
def imported(handler: str) -> frozenset[str]:
    command = [sys.executable, "-I", "-S", "-c", IMPORT, str(ROOT), str(INSTALLED), handler]
    environment = {"POWERTOOLS_METRICS_NAMESPACE": "Talkdrop", "POWERTOOLS_SERVICE_NAME": "tests"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout))


def test_every_handler_has_a_budget() -> None:
    handlers = {path.stem for path in (ROOT / "functions" / "handlers").glob("[!_]*.py")}
    assert set(BUDGETS) == handlers


@pytest.mark.parametrize("handler", BUDGETS)
def test_a_handler_imports_no_more_modules_than_its_budget(handler: str) -> None:
    assert len(imported(handler)) <= BUDGETS[handler], sorted(imported(handler))


@pytest.mark.parametrize("handler", BUDGETS)
def test_a_handler_imports_no_library_that_it_does_not_call_at_once(handler: str) -> None:
    assert imported(handler) & SHUNNED <= WELCOME.get(handler, set())
