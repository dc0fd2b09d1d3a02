"""Who agreed to be shown, and which mark the video bears: kept with the task, looked at before
anything is paid."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from functions.handlers import archive, intake, submit, watch
from functions.tasks import events, table
from functions.tasks.task import Status, Task, key_of
from functions.videos import manifest, paths
from tests.archive.films import film
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event
from tests.doors.test_api import call

ADA = {
    "who": "Ada Lovelace", "scope": "training videos", "until": "2099-12-31",
    "document_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}  # fmt: skip


def drop(shop: Workshop, settings: dict[str, Any] | None = None) -> Task:
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    if settings is not None:
        shop.drop("in/settings.json", json.dumps(settings).encode())
    return look(shop)


def look(shop: Workshop) -> Task:
    intake.handler(sqs_event(dropped(shop.inbox, "in/hello.mp3")), CONTEXT)
    return shop.the_task()


def test_a_consent_goes_from_the_settings_file_to_row_and_event(shop: Workshop) -> None:
    task = drop(shop, {"consent": ADA})
    assert (task.status, task.consent) == (Status.READY, ADA)
    assert "consent" not in task.settings
    assert json.loads(events.of(task).json())["consent"] == ADA


def test_a_consent_goes_from_the_api_to_the_row_and_back(shop: Workshop) -> None:
    shop.drop("in/face.png", PORTRAIT)
    shop.drop("in/voice.mp3", VOICE)
    media = {"portrait": "in/face.png", "audio": "in/voice.mp3"}
    status, task, _ = call("POST", "/tasks", {**media, "consent": ADA}, key="1")
    assert (status, task["consent"]) == (201, ADA)
    status, problem, _ = call("POST", "/tasks", {**media, "consent": {"who": "Ada"}}, key="2")
    assert (status, problem["errors"][0]["field"]) == (422, "consent.scope")


def test_a_request_without_consent_has_the_hash_that_rows_of_older_versions_hold(
    shop: Workshop,
) -> None:
    """Else the same Idempotency-Key would be refused after an upgrade."""
    shop.drop("in/face.png", PORTRAIT)
    shop.drop("in/voice.mp3", VOICE)
    call("POST", "/tasks", {"portrait": "in/face.png", "audio": "in/voice.mp3"}, key="1")
    hash_at_0_1 = "28160d7b2e9312b27f2278a1997f1e08d4d23de683ee82c7c5ed46c1a2927446"
    assert shop.the_task().request_hash == hash_at_0_1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("yes", "it is no object"),
        ({"who": "Ada"}, "scope must be text"),
        ({**ADA, "until": "31.12.2027"}, "until must be a day"),
        ({**ADA, "until": 20271231}, "until must be a day"),
        ({**ADA, "document_sha256": "abc"}, "64 hex digits"),
        ({**ADA, "whom": "Ada"}, "'whom' is no part of it"),
        ({**ADA, "until": "2020-01-01"}, "ended on 2020-01-01"),
    ],
)
def test_a_consent_that_does_not_hold_is_refused_with_its_cure(
    shop: Workshop, given: Any, why: str
) -> None:
    task = drop(shop, {"consent": given})
    assert task.status is Status.FAILED
    assert task.error["code"] in {"BAD_CONSENT", "CONSENT_ENDED"}
    assert why in task.error["message"]


def test_where_consent_is_required_nothing_is_made_without_it_by_either_door(
    shop: Workshop, with_options: Any
) -> None:
    with_options(require_consent=True)
    task = drop(shop)
    assert (task.status, task.error["code"]) == (Status.FAILED, "NO_CONSENT")
    assert "settings.json" in task.error["message"]
    assert shop.messages(shop.submissions) == []
    body = {"portrait": "in/hello.png", "audio": "in/hello.mp3"}
    status, problem, _ = call("POST", "/tasks", body)
    assert (status, problem["errors"][0]["code"]) == (422, "NO_CONSENT")
    # A quote spends nothing and needs none; and the cure cures.
    assert call("POST", "/quote", body)[0] == 200
    shop.drop("in/settings.json", json.dumps({"consent": ADA}).encode())
    assert look(shop).status is Status.READY


def test_a_consent_that_ends_while_the_task_waits_is_seen_before_the_paid_call(
    shop: Workshop,
) -> None:
    task = drop(shop, {"consent": ADA})
    yesterday = (table.now() - timedelta(days=1)).date().isoformat()
    table.Update(key_of(task.task_id)).set(consent={**ADA, "until": yesterday}).run()
    submit.handler(sqs_event({"task_id": task.task_id, "turn": ""}), CONTEXT)
    after = shop.the_task()
    assert (after.status, after.error["code"]) == (Status.FAILED, "CONSENT_ENDED")
    assert (shop.paper.posts, after.booked) == (0, ())


@pytest.fixture
def kling(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """The provider on paper speaks Kling's dialect, and gives the video with its mark as well."""
    monkeypatch.setenv("TALKDROP_PROVIDER_SECRETS", json.dumps({"kling": shop.provider_secret}))
    return shop


def made_at_kling(shop: Workshop, marked: str) -> Task:
    task = drop(shop, {"provider": "kling", "consent": ADA})
    shop.messages(shop.submissions)
    shop.paper.answers = [{"code": 0, "data": {"task_id": "k1", "task_status": "submitted"}}]
    submit.handler(sqs_event({"task_id": task.task_id, "turn": ""}), CONTEXT)
    video = {"url": f"{shop.paper.url}/clean.mp4", "watermark_url": marked}
    record = {"task_id": "k1", "task_status": "succeed", "task_result": {"videos": [video]}}
    shop.paper.answers = [{"code": 0, "data": record}]
    event: watch.WatchInput = {
        "task_id": task.task_id, "attempt": 1, "task_token": "stale", "polls_done": 1,
        "stumbles": 0, "archive_error": "",
    }  # fmt: skip
    watch.handler(event, CONTEXT)
    return shop.the_task()


@pytest.mark.parametrize(("keeps", "name"), [(True, "marked"), (False, "clean")])
def test_of_two_videos_the_one_that_was_chosen_is_archived_and_the_manifest_says_it(
    kling: Workshop, with_options: Any, keeps: bool, name: str
) -> None:
    with_options(keep_watermark=keeps)
    task = made_at_kling(kling, f"{kling.paper.url}/marked.mp4")
    wanted = kling.paper.requests[0][2].get("watermark_info")
    assert wanted == ({"enabled": True} if keeps else None)
    assert task.video_url == f"{kling.paper.url}/{name}.mp4"
    assert task.watermark == ("kept" if keeps else "left")
    kling.paper.answers = [(200, film(seconds=float(task.audio["seconds"])))]
    context: Any = CONTEXT
    archive.handler({"task_id": task.task_id, "attempt": 1}, context)
    path = paths.of(task)
    stored = kling.s3.get_object(Bucket=kling.archive, Key=path.manifest_key)["Body"].read()
    content = json.loads(stored)
    assert (content["watermark"], content["consent"]) == (task.watermark, ADA)
    assert manifest.read(path)


def test_a_provider_that_gives_one_video_has_nothing_to_choose(
    kling: Workshop, with_options: Any
) -> None:
    with_options(keep_watermark=True)
    task = made_at_kling(kling, "")
    assert (task.video_url, task.watermark) == (f"{kling.paper.url}/clean.mp4", "")
