"""The loopback server: the page itself may use it, no other site and no other name."""

from __future__ import annotations

import json

import pytest

from functions.api.routes import ROUTES
from tests.page.conftest import FILM, TASK, Browser


def linked(browser: Browser, what: str, kind: str) -> None:
    browser.answers[f"/tasks/{TASK}/{what}"] = (
        302,
        {"Location": f"{browser.behind}/s3/{what}"},
        b"",
    )
    browser.answers[f"/s3/{what}"] = (200, {"Content-Type": kind}, FILM)


def test_the_page_is_served_with_a_policy_that_runs_nothing_of_others(browser: Browser) -> None:
    answer = browser.ask("GET", "/")
    assert answer.status == 200
    assert b"<title>Talkdrop</title>" in answer.body
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_address_without_its_last_slash_leads_to_the_page(browser: Browser) -> None:
    answer = browser.ask("GET", "")
    assert (answer.status, answer.headers["location"]) == (308, f"/{browser.server.token}/")


def test_a_request_is_signed_with_the_credentials_of_this_machine(browser: Browser) -> None:
    answer = browser.ask("GET", "/api/tasks?q=two%20words&status=HELD")
    assert answer.json() == {"tasks": [], "cursor": None}
    (got,) = browser.got
    assert got.path == "/tasks?q=two%20words&status=HELD"
    assert "Credential=AKID/" in got.headers["authorization"]


def test_a_post_brings_its_body_and_its_idempotency_key(browser: Browser) -> None:
    body = b'{"portrait": "a.png"}'
    key = {"Idempotency-Key": "order-7", "Content-Type": "application/json"}
    assert browser.ask("POST", "/api/tasks", body, **key).status == 200
    assert browser.got[0].body == body
    assert browser.got[0].headers["idempotency-key"] == "order-7"


def test_cookies_and_headers_of_the_browser_do_not_reach_the_api(browser: Browser) -> None:
    browser.ask("GET", "/api/health", Cookie="a=b", Authorization="Bearer x", X_Odd="1")
    assert not {"cookie", "x-odd"} & browser.got[0].headers.keys()
    assert "Bearer" not in browser.got[0].headers["authorization"]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", None]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(
    browser: Browser, host: str | None
) -> None:
    named = host.format(port=browser.server.port) if host else None
    assert browser.ask("GET", "/", Host=named).status == 421
    assert browser.ask("POST", "/api/tasks", b"{}", Host=named).status == 421
    assert not browser.got


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:{port}", "http://127.0.0.1:1", ""]
)
def test_another_site_a_file_and_a_sandboxed_frame_are_refused(
    browser: Browser, origin: str
) -> None:
    named = origin.format(port=browser.server.port)
    assert browser.ask("POST", "/api/tasks", b"{}", Origin=named).status == 403
    assert browser.ask("GET", "/api/tasks", Origin=named).status == 403
    assert not browser.got


def test_a_post_without_an_origin_is_refused(browser: Browser) -> None:
    assert browser.ask("POST", "/api/tasks", b"{}", Origin=None).status == 403
    assert not browser.got


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_starts_is_refused_even_without_an_origin(
    browser: Browser, site: str
) -> None:
    assert browser.ask("GET", "/api/tasks", Sec_Fetch_Site=site).status == 403
    assert browser.ask("GET", "/api/tasks", Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/api/tasks", "/x/api/tasks", "//api/tasks", "/{half}/api/tasks"]
)
def test_without_the_whole_token_there_is_nothing(browser: Browser, path: str) -> None:
    address = path.format(half=browser.server.token[:-1])
    assert browser.ask("GET", "", path=address).status == 404
    assert browser.ask("POST", "", b"{}", path=address).status == 404
    assert not browser.got


@pytest.mark.parametrize(
    "below",
    [
        "/../pyproject.toml", "/..%2f..%2fetc/passwd", "/%2e%2e/README.md", "//etc/passwd",
        "/style.css/..", "/api/../config.json", "/api/callbacks/kie/x/1/k.m",
        "/api/tasks/../health", "/api/tasks/..%2fhealth", f"/api/tasks/{TASK}/../../health",
        "/api", "/storage/0",
        "/rehearsal/../x", "/rehearsal/clock", "/samples/portrait.png", "/web/app.js",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_page_and_its_routes(browser: Browser, below: str) -> None:
    assert browser.ask("GET", below).status == 404
    assert not browser.got


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_other_methods_are_refused(browser: Browser, method: str) -> None:
    assert browser.ask(method, "/api/tasks").status == 405
    assert not browser.got


def test_no_answer_lets_another_origin_read_it(browser: Browser) -> None:
    for answer in (browser.ask("GET", "/"), browser.ask("GET", "/api/tasks")):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "-1"}, {"Content-Length": "1e3"}, {"Content-Length": "99999999999"},
        {"Transfer-Encoding": "chunked", "Content-Length": None},
    ],
)  # fmt: skip
def test_a_body_without_a_plain_length_is_refused(
    browser: Browser, headers: dict[str, str | None]
) -> None:
    assert browser.ask("POST", "/api/tasks", b"", path="", **headers).status == 400
    assert not browser.got


def test_a_body_larger_than_the_api_takes_is_refused_here(browser: Browser) -> None:
    assert browser.ask("POST", "/api/tasks", b"x" * (300 << 10)).status == 413
    assert not browser.got


def test_every_route_of_the_api_is_forwarded(browser: Browser) -> None:
    for method, path in (route.split() for route in ROUTES):
        address = path.replace("{task_id}", TASK)
        assert (
            browser.ask(method, f"/api{address}", b"{}" if method == "POST" else b"").status == 200
        )
    assert len(browser.got) == len(ROUTES)


def test_a_link_is_followed_here_and_its_ranges_work(browser: Browser) -> None:
    linked(browser, "video", "video/mp4")
    whole = browser.ask("GET", f"/api/tasks/{TASK}/video")
    assert (whole.status, whole.body) == (200, FILM)
    assert whole.headers["content-type"] == "video/mp4"
    part = browser.ask("GET", f"/api/tasks/{TASK}/video", Range="bytes=10000-")
    assert (part.status, part.body) == (206, FILM[10000:])
    assert part.headers["content-range"] == f"bytes 10000-{len(FILM) - 1}/{len(FILM)}"
    to_storage = [one for one in browser.got if one.path.startswith("/s3/")]
    assert not [one for one in to_storage if "authorization" in one.headers]


def test_a_portrait_that_is_a_page_is_never_one_of_ours(browser: Browser) -> None:
    linked(browser, "portrait", "text/html")
    answer = browser.ask("GET", f"/api/tasks/{TASK}/portrait")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_an_upload_goes_through_us_to_where_its_form_says(browser: Browser) -> None:
    form = {"key": "k", "url": f"{browser.behind}/bucket", "fields": {"a": "b"}}
    browser.answers["/uploads"] = (201, {}, json.dumps(form).encode())
    browser.answers["/bucket"] = (204, {}, b"")
    made = browser.ask("POST", "/api/uploads", b"{}").json()
    assert made == {**form, "url": "storage/0"}
    kind = "multipart/form-data; boundary=x"
    assert browser.ask("POST", "/storage/0", FILM, Content_Type=kind).status == 204
    assert (browser.got[-1].path, browser.got[-1].body) == ("/bucket", FILM)
    assert browser.got[-1].headers["content-type"] == kind
    assert browser.ask("POST", "/storage/1", FILM).status == 404


def test_what_storage_refuses_is_shown_with_its_reason(browser: Browser) -> None:
    form = {"key": "k", "url": f"{browser.behind}/bucket", "fields": {}}
    browser.answers["/uploads"] = (201, {}, json.dumps(form).encode())
    browser.answers["/bucket"] = (403, {}, b"<Code>EntityTooLarge</Code>")
    browser.ask("POST", "/api/uploads", b"{}")
    answer = browser.ask("POST", "/storage/0", b"x")
    assert answer.status == 403
    assert "EntityTooLarge" in answer.json()["detail"]


def test_an_api_that_cannot_be_reached_is_a_problem_with_its_cure(browser: Browser) -> None:
    browser.api.shutdown()
    browser.api.server_close()
    answer = browser.ask("GET", "/api/tasks")
    assert answer.status == 502
    assert "cannot be reached" in answer.json()["detail"]


def test_the_rehearsal_speaks_only_to_what_the_panel_needs(browser: Browser) -> None:
    assert browser.ask("GET", "/rehearsal/ledger").status == 200
    assert browser.ask("POST", "/rehearsal/faults", b'{"fault": "stuck"}').status == 200
    assert browser.ask("POST", "/rehearsal/faults/f3").status == 200
    seen = [(one.method, one.path) for one in browser.got]
    assert seen == [
        ("GET", "/control/ledger"), ("POST", "/control/faults"), ("DELETE", "/control/faults/f3"),
    ]  # fmt: skip


def test_the_page_knows_where_it_is(browser: Browser) -> None:
    assert browser.ask("GET", "/config.json").json() == {
        "stack": "Talkdrop", "embedded": True, "rehearsal": True,
    }  # fmt: skip


def test_two_servers_have_different_tokens_of_256_bits(browser: Browser) -> None:
    assert len(browser.server.token) >= 43
    assert browser.server.token in browser.server.url
