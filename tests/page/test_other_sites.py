"""Other sites in the same browser, which know the whole address (the worst case), can neither make
the page's server act nor show it in a frame."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.browser import browser as chromium
from tests.browser import needs_browser
from tests.page.conftest import TASK, Browser, Quiet

pytestmark = needs_browser

# Everything a page may send without being let: forms, pictures, frames, beacons, simple requests.
SITE = """<!doctype html><title>Another site</title>
<form method="post" enctype="text/plain" action="{url}api/tasks/{task}/cancel">
<input name='{{"why":"' value='x"}}'></form>
<img src="{url}api/health"><iframe src="{url}"></iframe><video src="{url}api/tasks/{task}/video">
</video><link rel="stylesheet" href="{url}api/tasks"><script src="{url}api/models"></script>
<script>
window.done = Promise.allSettled([
  fetch("{url}api/tasks", {{method: "POST", mode: "no-cors", body: "{{}}"}}),
  fetch("{url}api/tasks", {{method: "POST", headers: {{"Idempotency-Key": "1"}}, body: "{{}}"}}),
  fetch("{url}api/health", {{mode: "no-cors"}}),
  fetch("{url}rehearsal/faults", {{method: "POST", mode: "no-cors", body: '{{"fault":"stuck"}}'}}),
]).then(() => navigator.sendBeacon("{url}api/cancel", "{{}}"));
</script>"""


@pytest.fixture
def site(browser: Browser) -> Iterator[str]:
    """Another origin on this machine: same host, another port."""
    content = SITE.format(url=browser.server.url, task=TASK).encode()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    server = Quiet(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def attack(address: str) -> tuple[int, int]:
    """Open this page and let it do all it can; answers the status of its form's answer, and how
    many of its frames show something of ours."""
    with chromium() as made:
        tab = made.new_page()
        tab.goto(address)
        tab.evaluate("window.done.then(() => true)")
        framed = sum(frame.locator("#main, #nav").count() for frame in tab.frames[1:])
        with tab.expect_navigation() as sent:
            tab.evaluate("document.forms[0].submit()")
        return sent.value.status, framed


def test_a_site_at_another_port_of_this_machine_is_refused(browser: Browser, site: str) -> None:
    assert attack(site) == (403, 0)
    assert not browser.got


def test_a_site_of_another_name_is_refused(browser: Browser, site: str) -> None:
    assert attack(site.replace("127.0.0.1", "localhost")) == (403, 0)
    assert not browser.got


def test_a_file_of_this_machine_is_refused(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(SITE.format(url=browser.server.url, task=TASK))
    assert attack(page.as_uri()) == (403, 0)
    assert not browser.got


def test_a_name_that_leads_here_does_not_show_the_page(browser: Browser) -> None:
    with chromium() as made:
        tab = made.new_page()
        answer = tab.goto(browser.server.url.replace("127.0.0.1", "localhost"))
        assert answer.status == 421
    assert not browser.got
