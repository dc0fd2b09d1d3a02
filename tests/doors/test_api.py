"""The tasks API, by its HTTP event."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from functions.handlers import api, intake
from functions.inputs import url_inputs
from functions.tasks.task import Status
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event

ADA = "arn:aws:iam::000000000000:user/ada"


def call(
    method: str,
    path: str,
    body: Any = None,
    *,
    raw: str | None = None,
    encoded: bool = False,
    key: str = "",
    query: str = "",
    identity: dict[str, Any] | None = None,
) -> Any:
    headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
    event = {
        "version": "2.0", "rawPath": path, "rawQueryString": query, "headers": headers,
        "queryStringParameters": dict(parse_qsl(query, keep_blank_values=True)) or None,
        "requestContext": {
            "http": {"method": method, "path": path}, "stage": "$default",
            "authorizer": {"iam": {"userArn": ADA} | (identity or {})},
        },
        "body": raw if raw is not None else (None if body is None else json.dumps(body)),
        "isBase64Encoded": encoded,
    }  # fmt: skip
    answer = api.handler(event, CONTEXT)
    kind = answer["headers"].get("Content-Type", "")
    if "Location" in answer["headers"] and answer["statusCode"] == 302:
        return 302, answer["headers"]["Location"], kind
    is_json = "json" in kind
    return answer["statusCode"], json.loads(answer["body"]) if is_json else answer["body"], kind


@pytest.fixture
def body(shop: Workshop) -> dict[str, Any]:
    shop.drop("in/face.png", PORTRAIT)
    shop.drop("in/voice.mp3", VOICE)
    return {"portrait": "in/face.png", "audio": "in/voice.mp3", "prompt": "Smile."}


def test_a_task_is_opened_checked_and_sent_on_its_way(shop: Workshop, body: dict[str, Any]) -> None:
    status, task, _ = call("POST", "/tasks", {**body, "settings": {"resolution": "720p"}})
    assert (status, task["status"], task["stem"]) == (201, "READY", "voice")
    assert task["quote_usd"] == pytest.approx(8 * 0.06)
    assert shop.messages(shop.submissions) == [{"task_id": task["task_id"], "turn": ""}]


def test_the_same_key_and_body_are_the_same_task_and_another_body_is_refused(
    shop: Workshop, body: dict[str, Any]
) -> None:
    first = call("POST", "/tasks", body, key="order-7")
    again = call("POST", "/tasks", body, key="order-7")
    assert (first[0], again[0], first[1]["task_id"]) == (201, 200, again[1]["task_id"])
    status, problem, kind = call("POST", "/tasks", {**body, "prompt": "Frown."}, key="order-7")
    assert (status, kind, problem["errors"][0]["field"]) == (
        422,
        "application/problem+json",
        "Idempotency-Key",
    )
    assert len(shop.all_tasks()) == 1


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"portrait": "in/nobody.png"}, "portrait", "upload it first"),
        ({"portrait": "http://face.example/a.png"}, "portrait", "https"),
        ({"audio": "http://face.example/a.mp3"}, "audio", "https"),
        ({"portrait": 7}, "portrait", "string"),
        ({"provider": "klink"}, "provider", "use one of"),
        ({"model": "v9"}, "model", "use one of"),
        ({"settings": {"model": "x"}}, "settings.model", "beside settings"),
        (
            {"model": "infinitalk/from-audio", "settings": {"resolution": "8k"}},
            "settings.resolution",
            "480p",
        ),
        ({"audio": None}, "audio", "audio file"),
        ({"audio": None, "settings": {"text": "Hello"}}, "audio", "only kling can speak a text"),
        (
            {"audio": None, "provider": "kling"},
            "audio",
            "an audio file or settings.text or settings.audio_id",
        ),
        (
            {"audio": None, "provider": "kling", "settings": {"text": "Hello"}},
            "settings.voice_id",
            "needs settings.voice_id",
        ),
        (
            {"provider": "kling", "settings": {"text": "Hello", "voice_id": "v"}},
            "audio",
            "leave one",
        ),
        (
            {"provider": "comet", "settings": {"audio_id": "8"}},
            "audio",
            "settings.audio_id and an audio file",
        ),
        ({"colour": "red"}, "colour", "not permitted"),
        ({"max_usd": 0.01}, "max_usd", "0.01"),
        ({"max_usd": -1}, "max_usd", "greater than 0"),
        ({"portrait": "in/voice.mp3"}, "portrait", "not a picture"),
    ],
)
def test_what_cannot_be_names_the_field_and_the_cure_and_makes_no_task(
    shop: Workshop, body: dict[str, Any], change: dict[str, Any], field: str, says: str
) -> None:
    status, problem, kind = call("POST", "/tasks", {**body, **change})
    assert (status, kind) == (422, "application/problem+json")
    assert problem["errors"][0]["field"] == field
    assert says in problem["detail"]
    assert shop.all_tasks() == []


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        '{"portrait":"a","settings":{"seed":NaN}}',
        "[" * 50_000,
        "\u0000",
        '{"portrait":"a","audio":"b","prompt":"\\ud800"}',
    ],
)
def test_bodies_that_are_no_request_are_refused_and_crash_nothing(shop: Workshop, raw: str) -> None:
    status, problem, _ = call("POST", "/tasks", raw=raw)
    assert status == 422
    assert problem["detail"]


def test_a_body_too_large_is_refused_as_such(shop: Workshop) -> None:
    assert call("POST", "/tasks", raw='{"portrait":"' + "a" * 300_000 + '"}')[0] == 413


def test_tasks_are_shown_and_listed_newest_first_page_by_page(
    shop: Workshop, body: dict[str, Any]
) -> None:
    made = [call("POST", "/tasks", body)[1]["task_id"] for _ in range(5)]
    status, task, _ = call("GET", f"/tasks/{made[0]}")
    assert (status, task["history"][0]["what"]) == (200, "READY")
    seen, cursor = [], ""
    while True:
        _, page, _ = call(
            "GET", "/tasks", query=f"status=ready&limit=2{cursor and '&cursor=' + cursor}"
        )
        seen += [one["task_id"] for one in page["tasks"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert seen == made[::-1]
    assert call("GET", "/tasks", query="status=FAILED")[1]["tasks"] == []


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/tasks/" + "0" * 32, "", 404),
        ("/tasks/x", "", 404),
        ("/nowhere", "", 404),
        ("/tasks", "status=DONE", 400),
        ("/tasks", "limit=0", 400),
        ("/tasks", "cursor=%%%", 400),
        ("/tasks", "cursor=x", 400),
        ("/tasks", "cursor=é", 400),
        ("/tasks", "cursor=MjAyNi0xMS0yMQ==", 400),
        ("/tasks", "limit=²", 400),
        ("/tasks", "limit=999999999999999999999", 400),
        ("/tasks", "since=yesterday", 400),
        ("/tasks", "since=20261121", 400),
        ("/tasks", "key=in/hello.mp3&limit=5", 400),
        ("/tasks", "until=2026-W47-6", 400),
        ("/tasks", "since=9999-12-31T23:59:59-23:59", 400),
        ("/tasks", "provider=klink", 400),
        ("/tasks", "colour=red", 400),
        ("/tasks/in/nobody.mp3", "", 404),
        ("/tasks/in%2Fnobody.mp3", "", 404),
        ("/tasks/deadbeef/video", "", 404),
    ],
)
def test_a_request_that_has_no_answer_is_a_problem_detail(
    shop: Workshop, path: str, query: str, status: int
) -> None:
    answered, problem, kind = call("GET", path, query=query)
    assert (answered, problem["status"], kind) == (status, status, "application/problem+json")


def test_media_by_url_wait_until_they_are_fetched_or_refused(
    shop: Workshop, body: dict[str, Any]
) -> None:
    status, task, _ = call(
        "POST", "/tasks", {**body, "portrait": "https://127.0.0.1/face.png?sig=secret"}
    )
    assert (status, task["status"]) == (201, "WAITING")
    messages = shop.messages(shop.uploads)
    assert messages == [{"import": task["task_id"]}]
    intake.handler(sqs_event(*messages), CONTEXT)
    after = shop.the_task()
    assert (after.status, after.error["code"]) == (Status.FAILED, "REFUSED_URL")
    assert "secret" not in after.error["message"]
    assert not after.imports  # a signed URL is kept no longer than it is needed
    assert url_inputs.bring_in(after.task_id) is None  # a repeat of the message changes nothing
    assert shop.the_task().changed_at == after.changed_at


def test_a_callers_url_leaves_the_row_of_a_task_that_is_cancelled(
    shop: Workshop, body: dict[str, Any]
) -> None:
    _, task, _ = call("POST", "/tasks", {**body, "portrait": "https://cdn.example/a.png?sig=x"})
    assert shop.the_task().imports
    assert call("POST", f"/tasks/{task['task_id']}/cancel", {})[0] == 200
    assert (shop.the_task().status, shop.the_task().imports) == (Status.CANCELLED, {})


@pytest.mark.parametrize(
    ("provider", "settings", "usd"),
    [
        ("kling", {"text": "Good morning, and welcome.", "voice_id": "genshin_vindi2"}, 2 * 0.056),
        ("kling", {"audio_id": "825455158141661278"}, 300 * 0.056),
        ("comet", {"audio_id": "825455158141661278"}, 60 * 0.056),
    ],
)
def test_a_voice_that_is_no_file_is_quoted_as_long_as_it_may_be(
    shop: Workshop, body: dict[str, Any], provider: str, settings: dict[str, Any], usd: float
) -> None:
    status, task, _ = call(
        "POST", "/tasks", {**body, "audio": None, "provider": provider, "settings": settings}
    )
    assert (status, task["status"], task["quote_usd"]) == (201, "READY", pytest.approx(usd))


def test_settings_are_checked_at_once_even_when_the_media_must_be_fetched(shop: Workshop) -> None:
    urls = {"portrait": "https://cdn.example/face.png", "audio": "https://cdn.example/voice.mp3"}
    for settings in ({"seed": 10**40}, {"resolution": "8k"}, {"colour": "red"}):
        assert call("POST", "/tasks", {**urls, "settings": settings})[0] == 422
    spoken = {"provider": "kling", "settings": {"text": "Hello", "voice_id": "v"}}
    assert call("POST", "/tasks", {**urls, **spoken})[1]["errors"][0]["code"] == "ONE_VOICE"
    assert shop.all_tasks() == []


def test_no_view_of_a_task_shows_a_link_or_a_token(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    intake.handler(sqs_event(dropped(shop.inbox, "in/hello.mp3")), CONTEXT)
    _, task, _ = call("GET", f"/tasks/{shop.the_task().task_id}")
    assert not {"task_token", "video_url", "owner", "imports", "trusted_host"} & task.keys()


def test_a_provider_that_is_not_in_use_is_refused_with_those_that_are(
    shop: Workshop, body: dict[str, Any], with_options: Any
) -> None:
    with_options(providers=["kie"])
    status, problem, _ = call("POST", "/tasks", {**body, "provider": "kling"})
    assert (status, problem["errors"][0]["code"]) == (422, "PROVIDER_NOT_IN_USE")
    assert problem["detail"].startswith("Kling is not in use here: name kie, or add it to")
    assert call("POST", "/tasks", {**body, "provider": "kie"})[0] == 201
