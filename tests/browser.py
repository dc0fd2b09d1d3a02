"""A real browser for the page's tests: the machine's own Chromium, driven by Playwright.

Where there is none, these tests are left out and the run says so at its end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "NO BROWSER: the page was not tried in one; install chromium (apt-get install chromium)"
PATIENCE_MS = 90_000


def chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


needs_browser = pytest.mark.skipif(chromium() is None, reason=MISSING)


@dataclass
class Window:
    """A tab, and all that went wrong in it."""

    page: Any
    url: str
    troubles: list[str] = field(default_factory=list)

    def go(self, view: str = "") -> None:
        """Open a view anew, as a link from elsewhere does."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}#/{view}")
        self.page.wait_for_selector("main h1")
        self.page.wait_for_selector(".loading", state="detached")

    def violations(self) -> list[str]:
        """What axe-core has against the view as it is now, by WCAG 2.2 AA."""
        from axe_playwright_python.sync_playwright import Axe

        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": tags}})
        return [
            f"{one['id']}: {node['html'][:200]}"
            for one in found.response["violations"]
            for node in one["nodes"]
        ]


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a screen. As root it runs only without its sandbox; it opens nothing but
    our own server here."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield made
        made.close()


@contextmanager
def window(made: Any, url: str, **more: Any) -> Iterator[Window]:
    """A tab of its own, with no memory. An error of a script and a breach of the page's policy are
    troubles; so is any request to another host."""
    context = made.new_context(**{"viewport": {"width": 1200, "height": 800}, **more})
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    opened = Window(tab, url)
    tab.on("pageerror", lambda error: opened.troubles.append(f"script: {error}"))
    tab.on("console", lambda line: opened.troubles.append(line.text) if _bad(line) else None)
    tab.on("dialog", lambda dialog: (opened.troubles.append("dialog"), dialog.dismiss()))
    origin = "/".join(url.split("/")[:3])
    tab.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((origin, "about:"))
            else opened.troubles.append(f"request to {request.url}")
        ),
    )
    yield opened
    context.close()


def _bad(line: Any) -> bool:
    return line.type == "error" and "Failed to load resource" not in line.text
