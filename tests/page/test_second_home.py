"""The page's second home in a real browser: Cognito, the API and S3 are answered at the wire, and
each signature is compared with the one botocore would make."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest

pytest.importorskip("playwright")

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from playwright.sync_api import expect

from infra.page import SIGNED_HEADERS, policy
from talkdrop import loopback
from talkdrop.commands.page import WEB
from tests.browser import PATIENCE_MS, Window, browser, needs_browser
from tests.page.test_browser import FACE, HEALTH, HELD, MODELS, task

pytestmark = needs_browser

REGION = "eu-central-1"
PAGE = "https://d111111abcdef8.cloudfront.net"
API = f"https://a1b2c3d4e5.execute-api.{REGION}.amazonaws.com"
LOGIN = f"https://talkdrop-page.auth.{REGION}.amazoncognito.com"
IDENTITY = f"https://cognito-identity.{REGION}.amazonaws.com"
INBOX = f"https://inbox.s3.{REGION}.amazonaws.com"
ARCHIVE = f"https://archive.s3.{REGION}.amazonaws.com"
POOL = f"cognito-idp.{REGION}.amazonaws.com/{REGION}_pool"
KEY = Credentials("ASIAPAGE", "the/secret+key", "the//session+token==")
CONFIG = {
    "stack": "Talkdrop", "region": REGION, "embedded": False, "samples": False, "rehearsal": False,
    "cognito": {
        "api": API, "login": LOGIN, "client": "browser", "identity": IDENTITY,
        "identity_pool": f"{REGION}:identities", "user_pool": POOL,
    },
}  # fmt: skip
POLICY = policy(api=API, files=f"{INBOX} {ARCHIVE}", login=LOGIN, identity=IDENTITY)
ACTIONS = {"fail": "a video that comes all the same is still archived"}
QUOTE = {"quote_usd": 0.18, "model": "infinitalk/from-audio", "audio_seconds": 11.5,
         "usual_seconds": 480}  # fmt: skip

FORM = {"key": "_talkdrop/uploads/x", "url": f"{INBOX}/", "fields": {"policy": "p"}}


@dataclass
class Cloud:
    """CloudFront, Cognito, the API and S3, as far as the page speaks to them."""

    group: str = "approver"
    session_lives: bool = True
    hours: int = 0  # how far the page's clock was put on
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    calls: list[Any] = field(default_factory=list)
    challenges: dict[str, str] = field(default_factory=dict)
    grants: list[str] = field(default_factory=list)
    uploads: list[Any] = field(default_factory=list)
    dead_links: int = 0

    def answer(self, route: Any) -> None:
        request = route.request
        url = urlsplit(request.url)
        origin = f"{url.scheme}://{url.netloc}"
        answered = {
            PAGE: self.file, LOGIN: self.login, IDENTITY: self.identity, API: self.api,
            INBOX: self.storage, ARCHIVE: self.storage,
        }[origin](request, url)  # fmt: skip
        headers = {"Access-Control-Allow-Origin": PAGE, **answered.pop("headers", {})}
        route.fulfill(headers=headers, **answered)

    def file(self, request: Any, url: Any) -> dict[str, Any]:
        if url.path == "/config.json":
            return {"json": CONFIG}
        name = url.path if url.path != "/" else "/index.html"
        known = loopback.static_files(WEB)[name]
        headers = {**known.headers, "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'"}
        return {"body": known.body, "headers": headers}

    def login(self, request: Any, url: Any) -> dict[str, Any]:
        """A sign-in page with one link, and the token endpoint, which holds PKCE."""
        if url.path == "/oauth2/token":
            return self.token(dict(parse_qsl(request.post_data)))
        given = dict(parse_qsl(url.query))
        if url.path == "/logout":
            return {"body": "Signed out", "content_type": "text/html"}
        assert (given["response_type"], given["code_challenge_method"]) == ("code", "S256")
        code = f"code-{len(self.challenges)}"
        self.challenges[code] = given["code_challenge"]
        back = f"{given['redirect_uri']}?code={code}&state={quote(given['state'])}"
        return {"body": f'<a href="{back}">Sign in</a>', "content_type": "text/html"}

    def token(self, given: dict[str, str]) -> dict[str, Any]:
        self.grants.append(given["grant_type"])
        assert given["client_id"] == "browser"
        if given["grant_type"] == "refresh_token":
            assert given["refresh_token"] == "refresh"
            refused = {"status": 400, "json": {"error": "invalid_grant"}}
            return {"json": {"id_token": self.id_token()}} if self.session_lives else refused
        challenge = hashlib.sha256(given["code_verifier"].encode()).digest()
        assert self.challenges.pop(given["code"]) == unpadded(challenge)
        assert given["redirect_uri"] == f"{PAGE}/"
        return {"json": {"id_token": self.id_token(), "refresh_token": "refresh"}}

    def id_token(self) -> str:
        claims = {
            "email": "ada@example.com",
            "exp": time.time() + 3600 * (1 + self.hours),
            "cognito:groups": [self.group] if self.group else [],
        }
        return f"head.{unpadded(json.dumps(claims).encode())}.signature"

    def identity(self, request: Any, url: Any) -> dict[str, Any]:
        body = request.post_data_json
        assert body["Logins"][POOL].startswith("head.")
        if request.headers["x-amz-target"].endswith("GetId"):
            return {"json": {"IdentityId": f"{REGION}:ada"}}
        if not self.group:
            return {"status": 400, "json": {"__type": "NotAuthorizedException"}}
        found = {
            "AccessKeyId": KEY.access_key, "SecretKey": KEY.secret_key, "SessionToken": KEY.token,
            "Expiration": time.time() + 3600 * (1 + self.hours),
        }  # fmt: skip
        return {"json": {"IdentityId": f"{REGION}:ada", "Credentials": found}}

    def api(self, request: Any, url: Any) -> dict[str, Any]:
        if request.method == "OPTIONS":
            allowed = ", ".join(SIGNED_HEADERS)
            return {"status": 204, "headers": {"Access-Control-Allow-Headers": allowed}}
        self.calls.append(request)
        if request.headers["authorization"] != authorization_of(request):
            return {"status": 403, "json": {"message": "Forbidden"}}
        path = f"{url.path}?{url.query}" if url.query else url.path
        status, body = self.answers.get(path) or self.answers.get(url.path) or (404, {})
        return {"status": status, "json": body}

    def storage(self, request: Any, url: Any) -> dict[str, Any]:
        if request.method == "POST":
            self.uploads.append(request)
            return {"status": 204, "body": ""}
        if self.dead_links:
            self.dead_links -= 1
            return {"status": 403, "body": "<Error/>", "content_type": "application/xml"}
        return {"body": FACE.read_bytes(), "content_type": "image/png"}

    def has(self, *tasks: dict[str, Any]) -> None:
        self.answers |= {
            "/tasks": (200, {"tasks": list(tasks), "cursor": None}),
            "/tasks?status=HELD&limit=20": (200, {"tasks": [], "cursor": None}),
            "/health": (200, HEALTH), "/models": (200, MODELS), "/quote": (200, QUOTE),
        }  # fmt: skip
        for one in tasks:
            self.answers[f"/tasks/{one['task_id']}"] = (200, one)
            for what, bucket in (("portrait", INBOX), ("voice", INBOX), ("video", ARCHIVE)):
                link = {"url": f"{bucket}/{what}?X-Amz-Signature=s", "seconds": 900}
                self.answers[f"/tasks/{one['task_id']}/{what}"] = (200, link)

    @property
    def paths(self) -> list[str]:
        return [f"{one.method} {urlsplit(one.url).path}" for one in self.calls]


def unpadded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def authorization_of(request: Any) -> str:
    """What botocore would send in its place, at the same second."""
    of_the_browser = ("origin", "referer", "user-agent", "accept", "authorization", "sec-")
    headers = {
        name: value
        for name, value in request.headers.items()
        if not name.startswith(of_the_browser)
    }
    assert set(headers) <= set(SIGNED_HEADERS)
    made = AWSRequest(request.method, request.url, headers=headers, data=request.post_data or "")
    made.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(KEY, "execute-api", REGION)
    text = signer.string_to_sign(made, signer.canonical_request(made))
    names = signer.signed_headers(signer.headers_to_sign(made))
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(made)}, SignedHeaders={names}, "
        f"Signature={signer.signature(text, made)}"
    )


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as made:
        yield made


@pytest.fixture
def cloud() -> Cloud:
    made = Cloud()
    made.has()
    return made


@contextmanager
def opened(
    chrome: Any, cloud: Cloud, view: str = "", *, signed_in: bool = True
) -> Iterator[Window]:
    """The page at this view. Errors of scripts and breaches of its policy are troubles."""
    context = chrome.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    context.route("**/*", cloud.answer)
    tab = context.new_page()
    found = Window(tab, f"{PAGE}/")
    tab.on("pageerror", lambda error: found.troubles.append(f"script: {error}"))
    tab.on("console", lambda line: found.troubles.append(line.text) if bad(line) else None)
    tab.clock.install()
    tab.goto(f"{PAGE}/#/{view}")
    if signed_in:
        tab.get_by_role("link", name="Sign in").click()
        tab.wait_for_selector("main h1")
        tab.wait_for_selector(".loading", state="detached")
    yield found
    assert found.troubles == []
    context.close()


def bad(line: Any) -> bool:
    return line.type == "error" and "Failed to load resource" not in line.text


def test_a_person_signs_in_by_code_with_pkce_and_comes_back_to_the_view_they_wanted(
    chrome: Any, cloud: Cloud
) -> None:
    with opened(chrome, cloud, "health") as tab:
        expect(tab.page.get_by_role("heading", name="Health")).to_be_visible()
        expect(tab.page.get_by_text("ada@example.com, approver")).to_be_visible()
        assert tab.page.url == f"{PAGE}/#/health"  # neither code nor state
        assert cloud.grants == ["authorization_code"]
        assert tab.violations() == []


def test_what_is_kept_ends_with_the_tab_and_holds_no_key_of_aws(chrome: Any, cloud: Cloud) -> None:
    with opened(chrome, cloud) as tab:
        kept = tab.page.evaluate("[{...sessionStorage}, {...localStorage}, document.cookie]")
        assert list(kept[0]) == ["talkdrop-tokens"]
        assert set(json.loads(kept[0]["talkdrop-tokens"])) == {"id_token", "refresh_token"}
        assert kept[1:] == [{}, ""]
        tab.page.reload()
        tab.page.get_by_text("No videos yet").wait_for()
        assert cloud.grants == ["authorization_code"]  # a reload does not sign in again


ODD = "ada+bob's *(1)! ~ü/%2F=&?#"


def test_every_request_is_signed_as_botocore_would_sign_it(chrome: Any, cloud: Cloud) -> None:
    cloud.has(task(0, task_id=HELD, status="HELD", actions=ACTIONS))
    cloud.answers[f"/tasks/{HELD}/fail"] = (200, {"result": "FAILED", "task": {}})
    with opened(chrome, cloud, f"?q={quote(ODD, safe='')}") as tab:
        tab.page.evaluate("hash => { location.hash = hash }", f"#/tasks/{HELD}")
        tab.page.get_by_role("button", name="Give up").click()
        dialog = tab.page.get_by_role("dialog")
        dialog.get_by_label("Why").fill("too late – zu spät")
        dialog.get_by_role("button", name="Give up").click()
        dialog.wait_for(state="detached")
    assert f"POST /tasks/{HELD}/fail" in cloud.paths
    searched = [parse_qs(urlsplit(one.url).query).get("q") for one in cloud.calls]
    assert [ODD] in searched
    for one in cloud.calls:
        assert one.headers["authorization"] == authorization_of(one)


def test_a_request_that_aws_refuses_says_what_may_be_wrong(chrome: Any, cloud: Cloud) -> None:
    cloud.answers["/tasks"] = (403, {"message": "Forbidden"})
    with opened(chrome, cloud) as tab:
        expect(tab.page.get_by_role("alert")).to_contain_text("your group may not do this")


@pytest.mark.parametrize(
    ("group", "makes", "decides"),
    [("viewer", 0, 0), ("maker", 1, 0), ("approver", 1, 1)],
)
def test_a_group_sees_the_actions_it_may_use_and_no_other(
    chrome: Any, cloud: Cloud, group: str, makes: int, decides: int
) -> None:
    cloud.group = group
    waiting = task(1, status="READY", actions={"cancel": "nothing was sent"})
    cloud.has(task(0, task_id=HELD, status="HELD", actions=ACTIONS), waiting)
    with opened(chrome, cloud, "?prefix=episode-12/") as tab:
        tab.page.wait_for_selector("a.row")
        assert tab.page.get_by_role("link", name=re.compile("^New")).count() == 2 * makes
        cancels = tab.page.get_by_role("button", name="Cancel what was not sent")
        assert cancels.count() == decides
        tab.page.evaluate("hash => { location.hash = hash }", f"#/tasks/{HELD}")
        tab.page.wait_for_selector("article.task")
        assert tab.page.get_by_role("button", name="Give up").count() == decides
        tab.page.evaluate("() => { location.hash = '#/new' }")
        tab.page.get_by_role("heading", name="New video").wait_for()
        assert tab.page.locator("#files").count() == makes
        assert tab.violations() == []
    assert not [path for path in cloud.paths if path.startswith("POST")]


def test_who_is_in_no_group_reads_whom_to_ask_and_can_sign_out(chrome: Any, cloud: Cloud) -> None:
    cloud.group = ""
    with opened(chrome, cloud) as tab:
        expect(tab.page.get_by_role("alert")).to_contain_text("in none of the groups")
        tab.page.get_by_role("button", name="Sign out").click()
        tab.page.wait_for_url(f"{LOGIN}/logout**")
    assert not cloud.calls


def fill(tab: Window) -> None:
    """A form that is half filled: two files and a prompt, quoted."""
    tab.page.get_by_label("Prompt").fill("she smiles")
    voice = {"name": "ada.mp3", "mimeType": "audio/mpeg", "buffer": b"voice"}
    face = {"name": "ada.png", "mimeType": "image/png", "buffer": FACE.read_bytes()}
    tab.page.locator("#files").set_input_files([face, voice])


def test_files_go_to_the_inbox_by_its_form_and_without_a_signature(
    chrome: Any, cloud: Cloud
) -> None:
    cloud.answers["/uploads"] = (201, FORM)
    with opened(chrome, cloud, "new") as tab:
        fill(tab)
        tab.page.get_by_role("button", name="Make the video for $0.18").wait_for()
    assert [one.url for one in cloud.uploads] == [f"{INBOX}/"] * 2
    assert not [one for one in cloud.uploads if "authorization" in one.headers]


def test_an_ended_session_asks_to_sign_in_again_and_keeps_a_half_filled_form(
    chrome: Any, cloud: Cloud
) -> None:
    cloud.has(task(3))
    cloud.answers["/uploads"] = (201, FORM)
    with opened(chrome, cloud, "new") as tab:
        fill(tab)
        make = tab.page.get_by_role("button", name="Make the video for $0.18")
        make.wait_for()
        cloud.session_lives, cloud.hours = False, 13
        tab.page.clock.fast_forward("13:00:00")
        dialog = tab.page.get_by_role("dialog", name="Your session has ended")
        dialog.wait_for()
        assert tab.violations() == []
        before = len(cloud.calls)
        with tab.page.expect_popup() as window:
            dialog.get_by_role("button", name="Sign in").click()
        window.value.get_by_role("link", name="Sign in").click()
        dialog.wait_for(state="detached")
        assert tab.page.get_by_label("Prompt").input_value() == "she smiles"
        cloud.answers["/tasks"] = (201, task(3))
        make.click()
        tab.page.wait_for_url(f"{PAGE}/#/tasks/{3:032x}")
    assert cloud.grants == ["authorization_code", "refresh_token", "authorization_code"]
    (made,) = [one for one in cloud.calls[before:] if one.method == "POST"]
    assert made.post_data_json["prompt"] == "she smiles"


def test_a_session_that_goes_on_is_renewed_without_a_word(chrome: Any, cloud: Cloud) -> None:
    with opened(chrome, cloud) as tab:
        cloud.hours = 2
        with tab.page.expect_request(lambda one: one.url.startswith(f"{API}/tasks")):
            tab.page.clock.fast_forward("02:00:00")
        assert tab.page.get_by_role("dialog").count() == 0
    assert cloud.grants == ["authorization_code", "refresh_token"]


def test_a_code_that_this_tab_did_not_ask_for_is_not_used(chrome: Any, cloud: Cloud) -> None:
    with opened(chrome, cloud, signed_in=False) as tab:
        tab.page.goto(f"{PAGE}/?code=of-another&state=of-another")
        expect(tab.page.get_by_role("alert")).to_contain_text("not begun in this tab")
    assert cloud.grants == []


def test_a_link_that_died_is_replaced_once(chrome: Any, cloud: Cloud) -> None:
    cloud.has(task(2, status="READY"))
    cloud.dead_links = 1
    with opened(chrome, cloud, f"tasks/{2:032x}") as tab:
        portrait = tab.page.get_by_alt_text("The portrait")
        expect(portrait).not_to_have_js_property("naturalWidth", 0)
    links = [path for path in cloud.paths if path.endswith("/portrait")]
    assert len(links) == 2
