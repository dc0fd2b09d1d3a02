"""Media by https URL: fetched once, kept beside the inbox's files, and refused in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from functions.tasks.task import Status, Task
from tests.faults.account import INBOX
from tests.faults.runs import png, wav
from tests.faults.sockets import FILES_HOST
from tests.paid.desk import Desk

SITE = f"https://{FILES_HOST}"
URLS = {"portrait": f"{SITE}/a/face.png?sig=hush", "audio": f"{SITE}/voice.wav"}


def serve(desk: Desk, **files: bytes) -> None:
    paths = {"portrait": "/a/face.png?sig=hush", "audio": "/voice.wav"}
    desk.videos.update({paths[name]: content for name, content in files.items()})


def opened(desk: Desk, **body: Any) -> Task:
    code, shown = desk.api("POST", "/tasks", {**URLS, **body})
    assert code == 201, shown
    return desk.task(shown["task_id"])


def fetch(desk: Desk, task: Task) -> Task:
    assert desk.message("intake", {"import": task.task_id}) == []
    return desk.task(task.task_id)


def test_what_was_fetched_is_kept_and_the_task_is_ready(desk: Desk) -> None:
    serve(desk, portrait=png(), audio=wav(3))
    task = fetch(desk, opened(desk, max_usd=1, prompt="Smile."))
    assert (task.status, task.error, task.imports) == (Status.READY, {}, {})
    assert (task.model, task.quote_usd) == ("infinitalk/from-audio", Decimal("0.045"))
    for file, name, content in (
        (task.portrait, "portrait-face.png", png()),
        (task.audio, "audio-voice.wav", wav(3)),
    ):
        stored = desk.account.buckets.latest(INBOX, f"_talkdrop/{task.task_id}/{name}")
        assert stored is not None
        assert (file["key"], file["version_id"]) == (stored.key, stored.version_id)
        assert stored.body == content
    assert (task.audio["seconds"], task.portrait["width"]) == (3, 512)
    assert task.history[-1]["why"] == "media fetched"
    assert (task.prompt, task.max_usd) == ("Smile.", 1)
    assert desk.messages() == [{"task_id": task.task_id, "turn": ""}]


def test_a_repeat_fetches_nothing_and_sends_the_ready_task_again(desk: Desk) -> None:
    serve(desk, portrait=png(), audio=wav(3))
    task = fetch(desk, opened(desk))
    desk.videos.clear()
    assert fetch(desk, task) == task
    assert len(desk.messages()) == 2


@pytest.mark.parametrize(
    "facts",
    [
        {"intended_at": "2026-03-01T09:00:00.000Z"},
        {"status": "CANCELLED"},
        {"status": "EXPIRED"},
        {"status": "FAILED"},
    ],
)
def test_a_task_that_moved_on_is_not_fetched_for(desk: Desk, facts: dict[str, Any]) -> None:
    serve(desk, portrait=png(), audio=wav(3))
    task = opened(desk)
    task = desk.note(task.task_id, **facts)
    assert fetch(desk, task) == task
    assert desk.calls("PutObject") == desk.messages() == []


def test_a_task_that_is_gone_is_passed_over(desk: Desk) -> None:
    assert desk.message("intake", {"import": "b" * 32}) == []


def test_what_moved_while_it_was_fetched_is_not_overwritten(desk: Desk) -> None:
    serve(desk, portrait=png(), audio=wav(3))
    task = opened(desk)
    desk.before("UpdateItem", lambda: desk.note(task.task_id, status="CANCELLED"))
    assert desk.message("intake", {"import": task.task_id}) == ["0"]
    assert desk.task(task.task_id).status is Status.CANCELLED


@pytest.mark.parametrize("field", ["portrait", "audio"])
def test_one_of_the_two_may_lie_in_the_inbox(desk: Desk, field: str) -> None:
    serve(desk, portrait=png(), audio=wav(3))
    desk.account.buckets.put(INBOX, "in/face.png", png())
    desk.account.buckets.put(INBOX, "in/voice.wav", wav(4))
    key = {"portrait": "in/face.png", "audio": "in/voice.wav"}[field]
    task = opened(desk, **{field: key})
    after = fetch(desk, task)
    assert (after.status, getattr(after, field)["key"]) == (Status.READY, key)
    assert len(desk.calls("PutObject")) == 1
    assert after.audio["seconds"] == (4 if field == "audio" else 3)


@pytest.mark.parametrize("field", ["portrait", "audio"])
def test_a_file_of_the_inbox_that_went_meanwhile_is_named(desk: Desk, field: str) -> None:
    serve(desk, portrait=png(), audio=wav(3))
    desk.account.buckets.put(INBOX, "in/face.png", png())
    desk.account.buckets.put(INBOX, "in/voice.wav", wav(4))
    key = {"portrait": "in/face.png", "audio": "in/voice.wav"}[field]
    task = opened(desk, **{field: key})
    desk.account.buckets.remove(INBOX, key, whole=False)
    after = fetch(desk, task)
    assert (after.status, after.error) == (
        Status.FAILED,
        {
            "code": "INPUT_GONE",
            "message": f"The {field} is no longer in the inbox: upload it again.",
        },
    )
    assert (after.imports, desk.messages()) == ({}, [])


def test_a_text_that_is_spoken_has_only_a_portrait_to_fetch(desk: Desk) -> None:
    serve(desk, portrait=png())
    spoken = {"text": "Good day, Ada.", "voice_id": "v"}
    task = opened(desk, audio=None, provider="kling", settings=spoken)
    after = fetch(desk, task)
    assert (after.status, after.audio, dict(after.settings)) == (Status.READY, {}, spoken)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "portrait-portrait"), ("", f"portrait-{FILES_HOST}"), ("/a/", "portrait-portrait"),
        ("/a/b%20c.png", "portrait-b%20c.png"),
    ],
)  # fmt: skip
def test_a_file_is_kept_under_its_own_name_or_its_field_s(desk: Desk, path: str, name: str) -> None:
    serve(desk, audio=wav(3))
    desk.videos[path or "/"] = png()
    after = fetch(desk, opened(desk, portrait=f"{SITE}{path}"))
    assert after.portrait["key"] == f"_talkdrop/{after.task_id}/{name}"


def test_all_that_could_not_be_fetched_is_named_without_what_is_secret(desk: Desk) -> None:
    task = opened(desk, audio="https://nowhere.example/voice.wav?sig=hush")
    after = fetch(desk, task)
    assert (after.status, after.error["code"]) == (Status.FAILED, "REFUSED_URL")
    message = after.error["message"]
    assert message.startswith(f"{SITE}/a/face.png was not fetched: ")
    unreachable = "https://nowhere.example/voice.wav could not be fetched: nowhere.example has no "
    assert unreachable in message
    assert "hush" not in message
    assert (after.imports, desk.messages(), desk.calls("PutObject")) == ({}, [], [])


def test_a_site_that_cannot_be_reached_is_a_reason_of_its_own(desk: Desk) -> None:
    serve(desk, portrait=png())
    after = fetch(desk, opened(desk, audio="https://nowhere.example/voice.wav"))
    assert after.error["code"] == "UNREACHABLE"


@pytest.mark.parametrize(
    ("field", "most", "body"),
    [
        ("portrait", 10 << 20, {}),
        ("audio", 10 << 20, {"model": "infinitalk/from-audio"}),
        ("audio", 5 << 20, {"provider": "comet"}),
    ],
)
def test_no_more_is_fetched_than_the_model_takes(
    desk: Desk, field: str, most: int, body: dict[str, Any]
) -> None:
    desk.options(long_voice="refuse")  # a voice that may be cut is as large as can be inspected
    for size in (most, most + 1):
        serve(desk, **{"portrait": png(), "audio": wav(3), field: bytes(size)})
        after = fetch(desk, opened(desk, **body))
        codes = {"portrait": "NOT_AN_IMAGE", "audio": "NOT_AUDIO"}
        expected = codes[field] if size == most else "REFUSED_URL"
        assert after.error["code"] == expected, size


def test_what_was_fetched_is_held_against_the_request(desk: Desk) -> None:
    serve(desk, portrait=png(), audio=wav(16))
    dear = fetch(desk, opened(desk, max_usd=0.5))
    assert dear.error["code"] == "TOO_DEAR"
    assert "(its own max_usd)" in dear.error["message"]
    named = {"model": "infinitalk/from-audio"}
    refused = fetch(desk, opened(desk, **named, long_voice="refuse"))
    assert refused.error["code"] == "AUDIO_TOO_LONG"
    split = fetch(desk, opened(desk, **named, long_voice="split"))
    assert (split.status, split.candidates) == (Status.READY, ("infinitalk/from-audio",))


def test_what_is_deleted_right_after_it_was_fetched_is_named(desk: Desk) -> None:
    serve(desk, portrait=png(), audio=wav(3))
    task = opened(desk)
    key = f"_talkdrop/{task.task_id}/portrait-face.png"
    desk.before("HeadObject", lambda: desk.account.buckets.remove(INBOX, key, whole=False))
    after = fetch(desk, task)
    assert after.error == {
        "code": "INPUT_GONE",
        "message": "The portrait was deleted from the inbox while it was fetched: open a new task.",
    }
