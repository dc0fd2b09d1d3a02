"""A task as the API shows it: every field, what is left out, and in whose words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from functions.tasks import table
from functions.tasks.task import Status, Task
from tests.paid.desk import Desk


def shown(desk: Desk, task: Task) -> dict[str, Any]:
    code, answer = desk.api("GET", f"/tasks/{task.task_id}")
    assert code == 200
    return dict(answer)


def test_a_task_is_shown_with_all_that_is_known_of_it(desk: Desk) -> None:
    at = table.stamp(table.now())
    task = desk.row(
        Status.FAILED, **desk.sent(), prompt="Smile", model_reason="the cheapest", attempt=2,
        settings={"resolution": "720p"}, charge_usd=Decimal("0.10"), waits_for="its turn",
        not_before=at, error={"code": "422", "message": "m", "evidence": "e"}, watermark="left",
    )  # fmt: skip
    view = shown(desk, task)
    expected = {
        "task_id": task.task_id, "status": "FAILED", "attempt": 2, "folder": "in/",
        "stem": "in/hello-1", "provider": "kie", "model": "infinitalk/from-audio",
        "model_reason": "the cheapest", "watermark": "left", "prompt": "Smile",
        "settings": {"resolution": "720p"}, "video": None,
        "error": {"code": "422", "message": "m"}, "quote_usd": 0.18, "charge_usd": 0.10,
        "created_at": at, "changed_at": at, "submitted_at": at, "not_before": at,
        "waits_for": "its turn", "usual_seconds": 600, "consent": None,
    }  # fmt: skip
    assert {name: view[name] for name in expected} == expected
    assert view["portrait"] == task.portrait
    assert view["audio"] == {**task.audio, "seconds": 12}
    assert set(view["actions"]) == {"adopt", "resubmit"}
    assert [line["what"] for line in view["history"]] == ["READY"]


def test_what_is_not_known_is_null(desk: Desk) -> None:
    task = desk.row(Status.READY, quote_usd=None)
    view = shown(desk, task)
    empty = {name for name, value in view.items() if value is None}
    assert empty >= {
        "model_reason", "watermark", "video", "error", "quote_usd", "charge_usd", "submitted_at",
        "not_before", "waits_for", "consent",
    }  # fmt: skip
    assert view["changed_at"] == task.changed_at


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ARCHIVING, Status.HELD])
def test_a_video_is_shown_when_it_is_there(desk: Desk, status: Status) -> None:
    video = {"key": "videos/x.mp4", "bytes": 7}
    view = shown(desk, desk.row(status, archived=video))
    assert view["video"] == (video if status is Status.COMPLETED else None)


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        ({"model": "kling/ai-avatar-pro"}, 360),
        ({"model": "a model that is no more"}, None),
        ({"provider": "nobody"}, None),
    ],
)
def test_how_long_a_task_usually_takes_is_its_model_s(
    desk: Desk, facts: dict[str, str], seconds: int | None
) -> None:
    task = desk.row(Status.READY)
    assert shown(desk, desk.note(task.task_id, **facts))["usual_seconds"] == seconds


@pytest.mark.parametrize(
    ("audio", "portrait", "folder"),
    [
        ("in/a.wav", "x/b.png", "in/"),
        ("a.wav", "", ""),
        ("", "in/b.png", "in/"),
        ("", "", ""),
        ("_talkdrop/uploads/ep1/a.wav", "", "ep1/"),
        ("_talkdrop/imports/a.wav", "", ""),
    ],
)
def test_a_folder_is_the_caller_s_own(desk: Desk, audio: str, portrait: str, folder: str) -> None:
    task = desk.row(Status.READY)
    files = {"audio": {"key": audio} if audio else {}, "portrait": {"key": portrait}}
    assert shown(desk, desk.note(task.task_id, **files))["folder"] == folder


def test_a_task_that_is_not_there_is_not_found(desk: Desk) -> None:
    code, problem = desk.api("GET", f"/tasks/{'b' * 32}")
    assert (code, problem["status"]) == (404, 404)
    assert "there is no task" in problem["detail"]


def test_no_address_but_ours_is_answered(desk: Desk) -> None:
    code, problem = desk.api("GET", "/nothing/here")
    assert (code, problem["title"]) == (404, "Not Found")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"body": "{"}, 422),
        ({"body": "%%%", "isBase64Encoded": True}, 400),
        ({"body": "/w==", "isBase64Encoded": True}, 400),
        ({"body": "e30=", "isBase64Encoded": True}, 422),
        ({"body": '{"why": "' + "x" * (256 << 10) + '"}'}, 413),
        ({"body": None}, 422),
    ],
)
def test_a_body_that_is_no_request_is_refused_as_such(
    desk: Desk, event: dict[str, Any], code: int
) -> None:
    task = desk.row(Status.HELD)
    assert desk.api("POST", f"/tasks/{task.task_id}/fail", **event)[0] == code
    assert desk.task(task.task_id).status is Status.HELD
