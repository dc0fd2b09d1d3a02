"""The page in a real browser, over an API that answers by a table: what must hold whatever the
names and however many."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import expect

from tests.browser import Window, browser, needs_browser, window
from tests.page.conftest import Browser

pytestmark = needs_browser

HELD = "f" * 32
SAMPLES = Path("local/samples")
FACE = SAMPLES / "portrait.png"
NAUGHTY = [
    "<script>document.title='owned'</script>", "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>", "javascript:alert(1)", "${alert(1)}", "</textarea><b>x",
    "{{constructor.constructor('alert(1)')()}}", "&lt;b&gt;", "مرحبا بالعالم", "שלום עולם",
    "\u202egnp.exe", "😀🎬👩‍👩‍👧", "a" * 300, "日本語" * 80,
    "x\u0000y\u001b[31m", "%00%2e%2e", "' OR 1=1 --", "..", " ", "\u200b",
]  # fmt: skip
ACTIONS = {
    "adopt": "the job's video becomes this task's: look at the provider that it is the right job",
    "resubmit": "attempt 1 is held (AMBIGUOUS) and may have been charged: look at kie first",
    "fail": "a video that comes all the same is still archived; what it was quoted stays spent",
}
STATUSES = (
    "COMPLETED", "SUBMITTED", "READY", "WAITING", "FAILED", "CANCELLED", "ARCHIVING", "EXPIRED",
    "SUBMITTING", "IN_PIECES",
)  # fmt: skip


def task(number: int, **facts: Any) -> dict[str, Any]:
    """A task as the API shows it; the statuses take turns."""
    status = facts.get("status", STATUSES[number % len(STATUSES)])
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 60 * number))
    video = {"bucket": "b", "key": "v", "bytes": 1482037, "seconds": 12.2, "sha256": "0" * 64}
    return {
        "task_id": f"{number:032x}", "status": status, "attempt": 1, "folder": "episode-12/",
        "stem": f"voice {number}", "provider": "kie", "model": "infinitalk/from-audio",
        "model_reason": None, "prompt": "she smiles", "settings": {"resolution": "480p"},
        "portrait": {"bucket": "b", "key": "p"},
        "audio": {"bucket": "b", "key": "a", "seconds": 11.5},
        "video": video if status == "COMPLETED" else None,
        "error": {"code": "X", "message": "kie answered 422"} if status == "FAILED" else None,
        "quote_usd": 0.18, "charge_usd": None, "created_at": at, "changed_at": at,
        "submitted_at": at if status == "SUBMITTED" else None, "not_before": None,
        "waits_for": None, "turn": None, "pieces": None, "usual_seconds": 600, "actions": {},
        "history": [{"at": at, "what": "READY", "who": "talkdrop"}],
    } | facts  # fmt: skip


HEALTH = {
    "status": "attention", "submitting": True, "held": {"tasks": 1, "exact": True},
    "stopped": [{"provider": "kling", "why": "1102: the account is in arrears"}],
    "queues": {"uploads": {"ready": 3, "taken": 1, "delayed": 0}},
    "dead_letters": {"Uploads": 0, "Submissions": 2},
    "budgets": [{"period": "2026-11-21", "spent_usd": 12.4, "cap_usd": 20.0}],
}  # fmt: skip
MODELS = {
    "default_provider": "kie",
    "providers": [
        {
            "provider": "kie", "state": "open", "why": None, "default_model": "auto",
            "models": [
                {
                    "model": "infinitalk/from-audio", "usd_per_second": 0.015, "price_by": None,
                    "prices": {}, "first_seconds": 360, "usual_seconds": 480,
                    "limits": {"audio_max_seconds": 15}, "settings": {},
                }
            ],
        }
    ],
}  # fmt: skip


class Api:
    """What the table answers."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.says("/health", HEALTH)
        self.says("/tasks?status=HELD&limit=20", {"tasks": [], "cursor": None})
        self.says("/models", MODELS)
        self.says("/control/ledger", {"charges": [], "spent": {}})
        self.says("/control/faults", {"faults": [], "kinds": {}})

    def says(self, path: str, body: Any, status: int = 200) -> None:
        self.browser.answers[path] = (status, {}, json.dumps(body).encode())

    def has(self, *tasks: dict[str, Any]) -> None:
        """These tasks, one page; each has a face."""
        self.says("/tasks", {"tasks": tasks, "cursor": None})
        for one in tasks:
            self.says(f"/tasks/{one['task_id']}", one)
            place = f"/tasks/{one['task_id']}/portrait"
            self.browser.answers[place] = (302, {"Location": f"{self.browser.behind}/face"}, b"")
        self.browser.answers["/face"] = (200, {"Content-Type": "image/png"}, FACE.read_bytes())


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as made:
        yield made


@pytest.fixture
def api(browser: Browser) -> Api:
    return Api(browser)


@pytest.fixture
def tab(browser: Browser, chrome: Any) -> Iterator[Window]:
    with window(chrome, browser.server.url) as opened:
        yield opened
        assert opened.troubles == []


def test_no_name_prompt_or_error_runs_as_a_script_or_moves_what_stands_beside_it(
    api: Api, tab: Window
) -> None:
    tasks = [
        task(
            at, stem=name, folder=f"{name}/", prompt=name, provider=name, model=name,
            status="FAILED", error={"code": name, "message": name}, settings={name: name},
            history=[{"at": "2026-11-21T10:00:00Z", "what": name, "who": name, "why": name}],
        )
        for at, name in enumerate(NAUGHTY)
    ]  # fmt: skip
    api.has(*tasks)
    tab.go()
    assert tab.page.locator("a.row").count() == len(NAUGHTY)
    assert tab.page.title() == "Videos · Talkdrop"
    for at in range(len(NAUGHTY)):
        tab.page.evaluate("hash => { location.hash = hash }", f"#/tasks/{at:032x}")
        tab.page.locator("article.task code", has_text=f"{at:032x}").wait_for()
    assert tab.page.locator("main script, main iframe, main svg, main b").count() == 0


def test_the_browser_itself_refuses_to_parse_a_text_as_markup(tab: Window) -> None:
    tab.go("health")
    outcome = tab.page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>' } catch (error) { return error.name } }"
    )
    assert outcome == "TypeError"
    tab.troubles.clear()  # the browser says so in its console, too


VIEWS = ["", "?status=READY", f"tasks/{HELD}", f"tasks/{0:032x}", "new", "health", "rehearsal"]


# 320 is what WCAG 1.4.10 asks for.
@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 1200)])
def test_every_view_meets_wcag_2_2_aa_and_fits_its_width(
    api: Api, browser: Browser, chrome: Any, scheme: str, width: int
) -> None:
    held = task(9, task_id=HELD, status="HELD", actions=ACTIONS, stem=NAUGHTY[-4])
    api.has(*(task(at, stem=NAUGHTY[at]) for at in range(9)), held)
    charge = {"provider": "kie", "job_id": "j", "amount": 21, "unit": "credits", "kind": "charge",
              "callback_url": f"http://x/callbacks/kie/{HELD}/1/k1"}  # fmt: skip
    api.says("/control/ledger", {"charges": [charge], "spent": {}})
    size = {"width": width, "height": 800}
    with window(chrome, browser.server.url, color_scheme=scheme, viewport=size) as tab:
        for view in VIEWS:
            tab.go(view)
            assert tab.violations() == [], view
            tab.page.locator("#spend").get_by_text("today").wait_for()
            assert tab.page.evaluate("document.documentElement.scrollWidth") <= width, view
        assert tab.troubles == []


def test_a_decision_shows_its_risk_and_needs_it_accepted(
    api: Api, browser: Browser, tab: Window
) -> None:
    api.has(task(0, task_id=HELD, status="HELD", actions=ACTIONS))
    api.says(f"/tasks/{HELD}/resubmit", {"result": "READY for attempt 2", "task": {}})
    tab.go(f"tasks/{HELD}")
    tab.page.get_by_role("button", name="Send again").click()
    dialog = tab.page.get_by_role("dialog")
    assert "may have been charged" in dialog.inner_text()
    assert tab.violations() == []
    dialog.get_by_label("Why").fill("looked at the provider")
    dialog.get_by_role("button", name="Send again").click()
    assert not [one for one in browser.got if one.method == "POST"]  # not accepted yet
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Send again").click()
    dialog.wait_for(state="detached")
    (sent,) = [one for one in browser.got if one.method == "POST"]
    assert json.loads(sent.body) == {
        "why": "looked at the provider", "i_accept_a_second_charge": True,
    }  # fmt: skip


def test_a_refused_decision_says_why_and_keeps_what_was_typed(api: Api, tab: Window) -> None:
    cancel = {"cancel": "nothing was sent and nothing is charged; it cannot be undone"}
    api.has(task(0, status="READY", actions=cancel))
    api.says(
        f"/tasks/{0:032x}/cancel", {"status": 409, "detail": "the task was sent meanwhile"}, 409
    )
    tab.go(f"tasks/{0:032x}")
    tab.page.get_by_role("button", name="Cancel").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("a wrong face")
    dialog.get_by_role("button", name="Cancel").click()
    dialog.get_by_role("alert").wait_for()
    assert "was sent meanwhile" in dialog.inner_text()
    assert dialog.get_by_label("Why").input_value() == "a wrong face"


def test_a_list_of_a_thousand_comes_in_pages_and_keeps_the_focus(
    api: Api, browser: Browser, tab: Window
) -> None:
    page = [task(at) for at in range(50)]
    api.has(*page)
    api.says("/tasks", {"tasks": page, "cursor": "bmV4dA=="})
    tab.go()
    tab.page.wait_for_selector("a.row")
    tab.page.locator("a.row").first.focus()
    tab.page.keyboard.press("ArrowDown")
    expect(tab.page.locator("a.row").nth(1)).to_be_focused()
    api.says("/tasks", {"tasks": [task(at) for at in range(50, 100)], "cursor": None})
    tab.page.get_by_role("button", name="Show older").click()
    expect(tab.page.locator("a.row")).to_have_count(100)
    assert tab.page.evaluate("document.activeElement.getAttribute('href')").endswith(f"{50:032x}")
    assert any("cursor=bmV4dA" in one.path for one in browser.got)


def test_trouble_comes_first(api: Api, tab: Window) -> None:
    held, failed, newest = task(8, status="HELD"), task(5, status="FAILED"), task(0)
    api.has(newest, failed)
    api.says("/tasks?status=HELD&limit=20", {"tasks": [held], "cursor": None})
    tab.go()
    expect(tab.page.get_by_role("heading", name="2 need a look")).to_be_visible()
    rows = tab.page.locator("a.row")
    assert [rows.nth(at).get_attribute("href")[-1] for at in range(3)] == ["8", "5", "0"]


def test_a_task_that_waits_for_its_turn_says_which_one_it_is(api: Api, tab: Window) -> None:
    busy = "kie runs all the jobs it may, or takes no more submits for now"
    numbers = {0: 1, 1: 2, 2: 3, 3: 11, 4: 21, 5: None}
    api.has(
        *(task(at, status="READY", waits_for=busy, turn=turn) for at, turn in numbers.items()),
        task(6, status="IN_PIECES", pieces={"all": 9, "done": 4, "stopped": 1}),
    )
    tab.go()
    rows = tab.page.locator("a.row .words")
    places = ["about 1st ", "about 2nd ", "about 3rd ", "about 11th ", "about 21st ", ""]
    assert rows.all_inner_texts() == [
        *(f"{place}in the queue: {busy}" for place in places), "4 of 9 pieces made, 1 stopped",
    ]  # fmt: skip


def test_a_filter_stands_in_the_address_and_goes_to_the_api(
    api: Api, browser: Browser, tab: Window
) -> None:
    api.has()
    tab.go("?q=ada+%26+bob&status=HELD")
    assert tab.page.get_by_label("Search").input_value() == "ada & bob"
    tab.page.get_by_text("Nothing matches").wait_for()
    with tab.page.expect_response(lambda answer: "status=FAILED" in answer.url):
        tab.page.get_by_label("Status").select_option("FAILED")
    assert "status=FAILED" in tab.page.url
    lists = [one.path for one in browser.got if one.path.startswith("/tasks?")]
    assert any("q=ada%20%26%20bob" in path and "status=HELD" in path for path in lists)
    assert any("status=FAILED" in path for path in lists)


def test_a_folder_is_cancelled_page_by_page(api: Api, browser: Browser, tab: Window) -> None:
    api.has(task(0, status="READY"), task(1))
    api.says("/cancel", {"cancelled": ["a", "b"], "refused": [], "cursor": None})
    tab.go()
    assert tab.page.get_by_role("button", name="Cancel what was not sent").count() == 0
    tab.go("?prefix=episode-12/")
    tab.page.get_by_role("button", name="Cancel what was not sent").click()
    dialog = tab.page.get_by_role("dialog")
    assert "what is sent is paid and goes on" in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel them").click()
    dialog.wait_for(state="detached")
    expect(tab.page.locator("#live")).to_have_text("2 cancelled; nothing of them was paid")
    (sent,) = [one for one in browser.got if one.method == "POST"]
    assert json.loads(sent.body)["prefix"] == "episode-12/"


def test_what_cannot_be_had_says_so_and_can_be_tried_again(api: Api, tab: Window) -> None:
    api.says("/tasks", {"detail": "the API is asleep"}, 503)
    tab.go()
    alert = tab.page.get_by_role("alert")
    alert.wait_for()
    assert "the API is asleep" in alert.inner_text()
    assert tab.violations() == []
    api.has()
    alert.get_by_role("button").click()
    tab.page.get_by_text("No videos yet").wait_for()


def test_a_task_that_is_not_there_says_so(api: Api, tab: Window) -> None:
    api.says("/tasks/abcd", {"detail": "there is no task 'abcd'"}, 404)
    tab.page.goto(f"{tab.url}#/tasks/abcd")
    tab.page.get_by_text("there is no task 'abcd'").wait_for()


def test_the_page_says_when_its_server_does_not_answer_and_when_it_does_again(
    api: Api, tab: Window
) -> None:
    api.has(task(0))
    tab.go()
    tab.page.wait_for_selector("a.row")
    tab.page.context.set_offline(True)
    tab.page.get_by_text("does not answer").wait_for()
    assert tab.page.locator("a.row").count() == 1  # what was known stays
    tab.page.context.set_offline(False)
    tab.page.locator("#notice").wait_for(state="hidden")
