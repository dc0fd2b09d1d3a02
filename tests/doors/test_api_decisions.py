"""Uploads, models, quotes, health, and what a person decides, by the API."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from functions.api import app as api_app
from functions.api import routes
from functions.handlers import api  # noqa: F401 - registers every route
from functions.tasks import books, steps, table
from functions.tasks.task import Status, Task, key_of
from talkdrop import openapi
from tests.doors.conftest import PORTRAIT, VOICE, Workshop
from tests.doors.test_api import ADA, call


def task_in(status: Status, task_id: str = "a" * 32, **facts: Any) -> str:
    known: dict[str, Any] = {
        "created_at": "2026-11-21T09:00:00.000Z", "provider": "kie",
        "model": "infinitalk/from-audio", "stem": "01",
        "audio": {"bucket": "b", "key": "_talkdrop/uploads/ep1/01.mp3"},
    }  # fmt: skip
    steps.open_task(Task(task_id=task_id, status=status, **{**known, **facts}))
    return task_id


def test_a_file_is_uploaded_by_a_form_for_exactly_this_key_type_and_length(shop: Workshop) -> None:
    body = {"name": "01.mp3", "folder": "ep1", "content_type": "audio/mpeg", "bytes": len(VOICE)}
    status, form, _ = call("POST", "/uploads", body)
    assert (status, form["key"]) == (201, "_talkdrop/uploads/ep1/01.mp3")
    answer = httpx.post(form["url"], data=form["fields"], files={"file": ("01.mp3", VOICE)})
    assert answer.status_code == 204
    stored = shop.s3.get_object(Bucket=shop.inbox, Key=form["key"])
    assert (stored["Body"].read(), stored["ContentType"]) == (VOICE, "audio/mpeg")
    too_much = httpx.post(form["url"], data=form["fields"], files={"file": ("x", VOICE + b"!")})
    assert too_much.status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x.mp3"},
        {"name": "a/b.mp3"},
        {"name": ".."},
        {"folder": "a/../b"},
        {"name": "a\n.mp3"},
        {"name": "a\x85.mp3"},
        {"name": "a\u2028.mp3"},
        {"name": "a\uffff.mp3"},
        {"bytes": 0},
        {"bytes": 1 << 40},
        {"content_type": "text/html"},
        {"name": "é" * 255, "folder": "ü" * 300},
    ],
)
def test_names_and_sizes_that_no_upload_may_have_are_refused(
    shop: Workshop, change: dict[str, Any]
) -> None:
    body = {"name": "01.mp3", "folder": "ep1", "content_type": "audio/mpeg", "bytes": 5}
    assert call("POST", "/uploads", {**body, **change})[0] == 422


@pytest.mark.parametrize(
    "name",
    [
        "Screenshot 2026-11-21 at 9.41.00\u202fAM.png",  # as macOS writes it
        "👩\u200d👩\u200d👧.png",
        "\u200fשלום.png",
        "a\u00a0b.png",
        "%2F + &.png",
    ],
)
def test_names_that_phones_and_computers_make_are_taken_as_they_are(
    shop: Workshop, name: str
) -> None:
    body = {"name": name, "content_type": "image/png", "bytes": len(PORTRAIT)}
    status, form, _ = call("POST", "/uploads", body)
    assert (status, form["key"]) == (201, f"_talkdrop/uploads/{name}")
    answer = httpx.post(form["url"], data=form["fields"], files={"file": ("x", PORTRAIT)})
    assert answer.status_code == 204
    assert shop.s3.get_object(Bucket=shop.inbox, Key=form["key"])["Body"].read() == PORTRAIT


@pytest.mark.parametrize("key", ["a\x00.png", "a\n.png", "\u2028", "\uffff.png", "é" * 600])
def test_a_key_that_s3_cannot_hold_is_refused_as_one_that_is_not_there(
    shop: Workshop, key: str
) -> None:
    for path in ("/tasks", "/quote"):
        status, problem, _ = call("POST", path, {"portrait": key, "audio": key})
        assert (status, problem["errors"][0]["code"]) == (422, "NOT_FOUND")
    assert call("GET", "/tasks", query=f"key={quote(key + '.mp3')}")[1]["tasks"] == []


def test_models_show_prices_limits_and_which_provider_is_stopped(shop: Workshop) -> None:
    books.stop("kling", "kling answered 1102: top up")
    found = call("GET", "/models")[1]
    states = {one["provider"]: one["state"] for one in found["providers"]}
    assert found["default_provider"] == "kie"
    assert (states["kie"], states["kling"]) == ("open", "stopped")
    kie = next(one for one in found["providers"] if one["provider"] == "kie")
    assert all(model["usd_per_second"] > 0 for model in kie["models"])


def test_a_paused_stack_shows_it(shop: Workshop, with_options: Any) -> None:
    with_options(submit_enabled=False)
    assert {one["state"] for one in call("GET", "/models")[1]["providers"]} == {"paused"}
    assert call("GET", "/health")[1]["submitting"] is False


def test_a_quote_opens_nothing(shop: Workshop) -> None:
    shop.drop("in/face.png", PORTRAIT)
    shop.drop("in/voice.mp3", VOICE)
    by_file = call("POST", "/quote", {"portrait": "in/face.png", "audio": "in/voice.mp3"})
    by_length = call("POST", "/quote", {"audio_seconds": 7.3})
    assert (by_file[0], by_length[0]) == (200, 200)
    assert by_file[1]["quote_usd"] > 0
    assert by_length[1]["quote_usd"] > 0
    assert call("POST", "/quote", {"audio_seconds": 10_000})[0] == 422
    assert call("POST", "/quote", {"audio": "https://cdn.example/a.mp3"})[0] == 422
    assert call("POST", "/quote", {"provider": "klink", "audio_seconds": 1})[0] == 422
    assert shop.all_tasks() == []


def test_health_counts_what_a_person_must_look_at(shop: Workshop, monkeypatch: Any) -> None:
    assert call("GET", "/health")[1]["status"] == "ok"
    dead = shop.sqs.create_queue(QueueName=f"dead-{shop.table}")["QueueUrl"]
    monkeypatch.setenv("TALKDROP_DEAD_LETTER_URLS", json.dumps({"Uploads": dead}))
    monkeypatch.setenv("TALKDROP_OPTIONS", json.dumps({"budget_usd_per_day": 5}))
    from functions import settings

    settings.get.cache_clear()
    settings.options.cache_clear()
    shop.sqs.send_message(QueueUrl=dead, MessageBody="{}")
    task_in(Status.HELD, error={"code": "AMBIGUOUS", "message": "lost"})
    books.stop("kie", "kie answered 402: top up")
    health = call("GET", "/health")[1]
    assert (health["status"], health["held"]) == ("attention", {"tasks": 1, "exact": True})
    assert health["dead_letters"] == {"Uploads": 1}
    assert health["stopped"][0]["provider"] == "kie"
    assert health["budgets"][0]["cap_usd"] == 5


def test_what_was_not_sent_is_cancelled_with_who_and_why(shop: Workshop) -> None:
    task_id = task_in(Status.READY)
    status, answer, _ = call("POST", f"/tasks/{task_id}/cancel", {"why": "typo in the script"})
    assert (status, answer["task"]["status"]) == (200, "CANCELLED")
    last = call("GET", f"/tasks/{task_id}")[1]["history"][-1]
    assert (last["who"], "typo in the script" in last["why"]) == (ADA, True)
    assert call("POST", f"/tasks/{task_id}/cancel")[0] == 200  # again: it is so already


def test_a_decision_on_the_page_names_its_person_and_not_the_group_alone(shop: Workshop) -> None:
    role = "arn:aws:sts::000000000000:assumed-role/Approver/CognitoIdentityCredentials"
    pool = "cognito-idp.eu-central-1.amazonaws.com/eu-central-1_pool"
    references = ["authenticated", pool, f"{pool}:CognitoSignIn:9f1c-ada"]
    identity = {"userArn": role, "cognitoIdentity": {"amr": references, "identityId": "x:y"}}
    task_id = task_in(Status.READY)
    call("POST", f"/tasks/{task_id}/cancel", {"why": "typo"}, identity=identity)
    last = call("GET", f"/tasks/{task_id}")[1]["history"][-1]
    assert last["who"] == f"9f1c-ada {role}"


@pytest.mark.parametrize("status", [Status.SUBMITTED, Status.COMPLETED, Status.HELD])
def test_what_may_be_paid_is_not_cancelled(shop: Workshop, status: Status) -> None:
    task_id = task_in(status, intended_at="2026-11-21T09:00:00.000Z")
    assert call("POST", f"/tasks/{task_id}/cancel")[0] == 409
    assert shop.the_task().status is status


def test_a_folder_is_cancelled_but_for_what_was_sent(shop: Workshop) -> None:
    ready, sent = task_in(Status.READY), task_in(Status.SUBMITTED, "b" * 32)
    other = task_in(Status.READY, "c" * 32, audio={"bucket": "b", "key": "ep2/01.mp3"})
    answer = call("POST", "/cancel", {"prefix": "ep1/"})[1]
    assert answer == {"cancelled": [ready], "refused": [], "cursor": None}
    assert call("GET", f"/tasks/{sent}")[1]["status"] == "SUBMITTED"
    assert call("GET", f"/tasks/{other}")[1]["status"] == "READY"


def test_a_held_task_is_adopted_resubmitted_or_failed_each_with_its_risk(shop: Workshop) -> None:
    held = {
        "error": {"code": "AMBIGUOUS", "message": "lost"},
        "intended_at": "2026-11-21T09:00:00.000Z",
    }
    one, two, three = (task_in(Status.HELD, name * 32, **held) for name in "abc")
    actions = call("GET", f"/tasks/{one}")[1]["actions"]
    assert set(actions) == {"adopt", "resubmit", "fail"}
    assert "may have been charged" in actions["resubmit"]
    refused = call("POST", f"/tasks/{one}/resubmit", {"why": "urgent"})
    assert (refused[0], "may have been charged" in refused[1]["detail"]) == (409, True)
    accepted = {"why": "urgent", "i_accept_a_second_charge": True}
    assert call("POST", f"/tasks/{one}/resubmit", accepted)[1]["task"]["attempt"] == 2
    adopted = call("POST", f"/tasks/{two}/adopt", {"job_id": "job_7", "why": "seen"})
    assert (adopted[0], adopted[1]["task"]["status"]) == (200, "HELD")
    named = adopted[1]["task"]["lookup"]
    assert (named["job_id"], named["refusal"]) == ("job_7", None)
    assert (
        call("POST", f"/tasks/{three}/fail", {"why": "too late"})[1]["task"]["status"] == "FAILED"
    )
    assert call("POST", f"/tasks/{three}/fail", {"why": " "})[0] == 422


def test_a_submit_under_way_offers_nothing(shop: Workshop) -> None:
    task_id = task_in(Status.SUBMITTED)
    table.Update(key_of(task_id)).set(
        status="SUBMITTING", lease_until=table.later(seconds=60)
    ).run()
    assert call("GET", f"/tasks/{task_id}")[1]["actions"] == {}


@pytest.mark.parametrize(
    ("raw", "encoded"),
    [
        (base64.b64encode(b"\xff\xfe{}").decode(), True),
        ("not base64!", True),
        ('{"portrait":"\udcff"}', False),
    ],
)
def test_a_body_that_is_not_utf_8_is_refused_as_such(
    shop: Workshop, raw: str, encoded: bool
) -> None:
    status, problem, _ = call("POST", "/tasks", raw=raw, encoded=encoded)
    assert (status, "UTF-8" in problem["detail"]) == (400, True)


def test_all_reasons_are_a_list_with_the_true_field_of_each(shop: Workshop) -> None:
    shop.drop("in/face.png", PORTRAIT)
    shop.drop("in/voice.mp3", VOICE)
    settings = {"resolution": "8k", "colour": "red"}
    body = {"portrait": "in/face.png", "audio": "in/voice.mp3", "settings": settings}
    status, problem, _ = call("POST", "/tasks", {**body, "model": "infinitalk/from-audio"})
    fields = {line["field"] for line in problem["errors"]}
    assert (status, fields) == (422, {"settings.resolution", "settings.colour"})


def test_the_committed_reference_is_what_the_shapes_make() -> None:
    for path, text in openapi.files().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m talkdrop.openapi"


def test_every_route_is_served_and_described() -> None:
    served = {
        f"{route.method} {_template(route.path)}"
        for route in (*api_app.app._dynamic_routes, *api_app.app._static_routes)
    }
    assert served == set(routes.ROUTES) == set(openapi.OPERATIONS)


def _template(path: str) -> str:
    return path.replace("<", "{").replace(">", "}")


def test_the_reference_loads_nothing_from_anywhere(shop: Workshop) -> None:
    status, page, kind = call("GET", "/docs")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    for word in ("<script", "src=", "http://", "@import", "url("):
        assert word not in page
    assert call("GET", "/openapi.json")[1]["openapi"] == "3.1.0"


@pytest.mark.parametrize("route", [one for one in routes.ROUTES if openapi.OPERATIONS[one].example])
def test_every_example_of_the_reference_is_taken(shop: Workshop, route: str) -> None:
    """Where it names something that is not there, the answer says so and nothing else."""
    method, path = route.split()
    body = openapi.OPERATIONS[route].example
    task_id = task_in(Status.READY)
    status, answer, _ = call(method, path.replace("{task_id}", task_id), body)
    if route == "POST /tasks":
        assert (status, answer["errors"][0]["code"]) == (422, "NOT_FOUND")
    else:
        assert status in {200, 201, 409}, answer
