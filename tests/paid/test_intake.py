"""Files arrive: what of all that lies there makes a task, what it is told, and what is written
once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus

import pytest

from functions.inputs import drops
from functions.tasks import table
from functions.tasks.task import Status, Task
from tests.faults.account import INBOX
from tests.faults.runs import png, wav
from tests.paid.desk import Desk

FACE, VOICE = png(), wav(3)


def drop(desk: Desk, files: Mapping[str, bytes | Mapping[str, Any]]) -> None:
    """Files into the folder `in/`; an object is written as JSON."""
    for name, content in files.items():
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        desk.account.buckets.put(INBOX, f"in/{name}", body)


def event(key: str) -> dict[str, Any]:
    return {"detail": {"bucket": {"name": INBOX}, "object": {"key": key}}}


def arrive(desk: Desk, *names: str) -> None:
    assert desk.message("intake", *[event(f"in/{name}") for name in names]) == []


def task_of(desk: Desk, name: str) -> Task:
    """The task of the voice that lies there now."""
    stored = desk.account.buckets.latest(INBOX, f"in/{name}")
    assert stored is not None
    return desk.task(drops.task_id_of(INBOX, stored.key, stored.version_id))


def made(desk: Desk, name: str, **files: Any) -> Task:
    """A voice with its portrait and these files beside it (`hello_json` is hello.json)."""
    beside = {key.replace("_", "."): content for key, content in files.items()}
    stem = name.rpartition(".")[0]
    drop(desk, {f"{stem}.png": FACE, name: VOICE, **beside})
    arrive(desk, name)
    return task_of(desk, name)


def tasks(desk: Desk) -> list[str]:
    return [pk for pk in desk.account.table.items if pk.startswith("task#")]


def note(desk: Desk, name: str) -> dict[str, Any] | None:
    """The note that lies in the folder."""
    stored = desk.account.buckets.latest(INBOX, f"in/{name}.error.json")
    return None if stored is None else dict(json.loads(stored.body))


def looked_at(desk: Desk) -> list[str]:
    """The voices that intake was sent to look at."""
    return [one["audio"]["key"] for one in desk.messages("uploads") if "audio" in one]


# By its name.


@pytest.mark.parametrize(
    "extension",
    [
        "mp3",
        "wav",
        "m4a",
        "aac",
        "ogg",
        "oga",
        "opus",
        "flac",
        "mp2",
        "wma",
        "aif",
        "aiff",
        "amr",
        "caf",
        "m4b",
        "mp4",
        "m4v",
        "mov",
        "3gp",
        "webm",
        "mkv",
        "avi",
        "wave",
        "mpga",
        "weba",
        "MP3",
        "Wav",
    ],
)
def test_every_name_of_a_sound_or_film_is_a_voice_that_deserves_an_answer(
    desk: Desk, extension: str
) -> None:
    drop(desk, {f"hello.{extension}": VOICE, "hello.png": FACE})
    arrive(desk, f"hello.{extension}")
    assert task_of(desk, f"hello.{extension}").status is Status.READY


@pytest.mark.parametrize(
    "extension",
    ["jpg", "jpeg", "png", "webp", "gif", "bmp", "heic", "avif", "tif", "tiff", "PNG", "Jpg"],
)
def test_every_name_of_a_picture_is_a_portrait(desk: Desk, extension: str) -> None:
    drop(desk, {"hello.mp3": VOICE, f"hello.{extension}": FACE})
    arrive(desk, f"hello.{extension}")
    assert task_of(desk, "hello.mp3").portrait["key"] == f"in/hello.{extension}"


@pytest.mark.parametrize(
    "key",
    ["in/hello.pdf", "in/.mp3", "in/", "in/mp3", "_talkdrop/uploads/a.mp3", "in/a.mp3.error.json"],
)
def test_no_other_name_makes_a_task_or_leaves_a_note(desk: Desk, key: str) -> None:
    desk.account.buckets.put(INBOX, key, VOICE)
    assert desk.message("intake", event(key)) == []
    assert tasks(desk) == []
    assert desk.calls("PutObject") == []


def test_each_voice_of_a_stem_is_a_task_of_its_own(desk: Desk) -> None:
    drop(desk, {"hello.mp3": VOICE, "hello.wav": VOICE, "hello.png": FACE})
    arrive(desk, "hello.png")
    assert looked_at(desk) == ["in/hello.mp3", "in/hello.wav"]
    assert tasks(desk) == []
    assert desk.message("intake", *desk.messages("uploads")) == []
    assert len(tasks(desk)) == 2


def test_a_voice_that_arrives_has_no_other_voice_of_its_stem_looked_at(desk: Desk) -> None:
    drop(desk, {"hello.mp3": VOICE, "hello.wav": VOICE, "hello.png": FACE})
    arrive(desk, "hello.wav")
    assert looked_at(desk) == []
    assert tasks(desk) == [f"task#{task_of(desk, 'hello.wav').task_id}"]


def test_the_only_voice_of_a_stem_is_looked_at_at_once(desk: Desk) -> None:
    drop(desk, {"hello.mp3": VOICE, "hello.png": FACE})
    arrive(desk, "hello.png")
    assert looked_at(desk) == []
    assert task_of(desk, "hello.mp3").status is Status.READY


def test_a_longer_name_that_begins_alike_is_another_stem(desk: Desk) -> None:
    drop(desk, {"hello.mp3": VOICE, "hello.two.png": FACE, "hello.two.txt": b"Frown."})
    drop(desk, {"hello.json.json": {"seed": 1}, "hello2.png": FACE})
    arrive(desk, "hello.mp3")
    task = task_of(desk, "hello.mp3")
    assert (task.status, task.prompt, task.portrait) == (Status.WAITING, "", {})


def test_a_file_of_another_folder_is_not_beside_it(desk: Desk) -> None:
    drop(desk, {"hello.mp3": VOICE})
    for key in ("hello.png", "in/more/hello.png", "more/in/hello.png", "in/hello./a.png"):
        desk.account.buckets.put(INBOX, key, FACE)
    arrive(desk, "hello.mp3")
    assert task_of(desk, "hello.mp3").status is Status.WAITING


# What lies beside it.


def test_its_own_portrait_counts_before_the_folder_s(desk: Desk) -> None:
    drop(desk, {"hello.png": FACE})
    desk.wait(60)
    drop(desk, {"portrait.jpg": FACE, "hello.mp3": VOICE})
    arrive(desk, "hello.mp3")
    assert task_of(desk, "hello.mp3").portrait["key"] == "in/hello.png"


@pytest.mark.parametrize("order", [["png", "jpg"], ["jpg", "png"]])
def test_of_two_portraits_the_newest_counts(desk: Desk, order: list[str]) -> None:
    drop(desk, {"hello.mp3": VOICE})
    for extension in order:
        drop(desk, {f"hello.{extension}": FACE, f"portrait.{extension}": FACE})
        desk.wait(1)
    arrive(desk, "hello.mp3")
    assert task_of(desk, "hello.mp3").portrait["key"] == f"in/hello.{order[1]}"
    drop(desk, {"other.mp3": VOICE})
    arrive(desk, "other.mp3")
    assert task_of(desk, "other.mp3").portrait["key"] == f"in/portrait.{order[1]}"


def test_of_two_portraits_of_one_moment_it_is_always_the_same(desk: Desk) -> None:
    drop(desk, {"hello.png": FACE, "hello.jpg": FACE, "hello.mp3": VOICE})
    arrive(desk, "hello.mp3")
    assert task_of(desk, "hello.mp3").portrait["key"] == "in/hello.png"


def test_the_files_are_named_by_bucket_key_version_and_etag(desk: Desk) -> None:
    task = made(desk, "hello.wav")
    for file, name, content in (
        (task.portrait, "in/hello.png", {"content_type": "image/png", "width": 512, "height": 512}),
        (task.audio, "in/hello.wav", {"content_type": "audio/wav", "seconds": 3}),
    ):
        stored = desk.account.buckets.latest(INBOX, name)
        assert stored is not None
        assert dict(file) == {
            "bucket": INBOX, "key": name, "version_id": stored.version_id,
            "etag": stored.etag.strip('"'), "checksum": f"sha256:{stored.checksum}",
            "bytes": len(stored.body), **content,
        }  # fmt: skip


def test_a_new_task_has_its_request_and_its_quote(desk: Desk) -> None:
    task = made(
        desk, "hello.wav", hello_txt=b"\xef\xbb\xbfSmile.",
        settings_json={"resolution": "720p", "seed": 11111, "prompt": "calm"},
        hello_json={"seed": 22222, "max_usd": 7.5, "model": "infinitalk/from-audio",
                    "long_voice": "split",
                    "consent": {"who": "Ada", "scope": "all"}},
    )  # fmt: skip
    assert (task.status, task.stem, task.origin) == (Status.READY, "hello", "files")
    assert (task.provider, task.model, task.model_reason) == ("kie", "infinitalk/from-audio", "")
    assert (task.prompt, task.max_usd) == ("Smile.", Decimal("7.5"))
    assert dict(task.settings) == {"resolution": "720p", "seed": 22222}
    assert dict(task.consent) == {"who": "Ada", "scope": "all"}
    assert (task.long_voice, task.quote_usd) == ("split", Decimal("0.18"))
    assert (task.created_at, task.error) == (table.stamp(table.now()), {})
    assert desk.messages() == [{"task_id": task.task_id, "turn": ""}]
    assert desk.metrics["TaskReady"] == 1


def test_auto_says_why_it_chose_its_model(desk: Desk) -> None:
    task = made(desk, "hello.wav")
    assert task.model_reason == "3.0 s of voice: infinitalk/from-audio, 0.04 USD"
    long = made(desk, "long.wav", long_wav=wav(16))
    assert long.model_reason == "16 s of voice: kling/ai-avatar-standard, 0.64 USD"


def test_a_voice_that_is_spoken_has_no_audio_file(desk: Desk) -> None:
    spoken = {"provider": "kling", "text": "Good day, Ada.", "voice_id": "v"}
    drop(desk, {"hello.json": spoken, "hello.png": FACE, "settings.json": {"mode": "pro"}})
    arrive(desk, "hello.json")
    task = task_of(desk, "hello.json")
    assert (task.status, task.audio, task.stem) == (Status.READY, {}, "hello")
    assert dict(task.settings) == {"mode": "pro", "text": spoken["text"], "voice_id": "v"}
    assert task.quote_usd == Decimal("0.112")  # fourteen letters a second
    read = [call["Key"] for call in desk.calls("GetObject") if "Range" not in call]
    assert sorted(read) == ["in/hello.json", "in/settings.json"]


@pytest.mark.parametrize("name", ["portrait.json", "settings.json"])
def test_a_text_of_a_whole_folder_is_spoken_by_nobody(desk: Desk, name: str) -> None:
    spoken = {"provider": "kling", "text": "Good morning, Ada", "voice_id": "v"}
    drop(desk, {name: spoken, "portrait.png": FACE})
    arrive(desk, name, "portrait.png")
    assert tasks(desk) == []


def test_a_prompt_without_a_voice_is_nothing_yet(desk: Desk) -> None:
    spoken = {"provider": "kling", "text": "Good morning, Ada", "voice_id": "v"}
    drop(desk, {"hello.txt": b"Smile.", "hello.json": spoken, "hello.png": FACE})
    arrive(desk, "hello.txt")
    assert tasks(desk) == []


# For a whole folder.


@pytest.mark.parametrize("name", ["portrait.png", "settings.json"])
def test_a_folder_s_file_sends_intake_to_its_voices_and_texts(desk: Desk, name: str) -> None:
    drop(desk, {"01.mp3": VOICE, "02.json": {}, "03.txt": b"", "04.png": FACE, name: FACE})
    drop(desk, {"portrait.json": {}, "settings.txt": b"", "more/05.mp3": VOICE})
    arrive(desk, name)
    own = ["in/portrait.json"] if name == "settings.json" else []
    assert looked_at(desk) == ["in/01.mp3", "in/02.json", *own]


@pytest.mark.parametrize("name", ["portrait.txt", "settings.png", "settings.txt"])
def test_another_file_of_that_name_is_not_the_folder_s(desk: Desk, name: str) -> None:
    drop(desk, {"01.mp3": VOICE, name: FACE})
    arrive(desk, name)
    assert looked_at(desk) == []


def test_a_portrait_beside_its_own_voice_is_the_folder_s_all_the_same(desk: Desk) -> None:
    drop(desk, {"portrait.mp3": VOICE, "01.mp3": VOICE, "portrait.png": FACE})
    arrive(desk, "portrait.png")
    assert task_of(desk, "portrait.mp3").status is Status.READY
    assert looked_at(desk) == ["in/01.mp3"]


def pages(desk: Desk, count: int) -> None:
    """A folder of so many pages of two voices each."""
    first = 0

    def listing(call: dict[str, Any]) -> dict[str, Any]:
        nonlocal first
        if "Delimiter" not in call:
            return {"IsTruncated": False}
        first += 1
        keys = [f"in/{first:02}-{one}.mp3" for one in "ab"]
        more = {"NextContinuationToken": f"t{first}"} if first < count else {}
        return {"Contents": [{"Key": key} for key in keys], "IsTruncated": bool(more), **more}

    desk.instead("ListObjectsV2", listing)


@pytest.mark.parametrize(
    ("count", "goes_on"),
    [
        (9, []),
        (10, [{"folder": {"key": "in/portrait.png", "after": "in/10-b.mp3"}}]),
        (11, [{"folder": {"key": "in/portrait.png", "after": "in/10-b.mp3"}}]),
    ],
)
def test_a_large_folder_is_gone_through_ten_pages_at_a_time(
    desk: Desk, count: int, goes_on: list[Any]
) -> None:
    pages(desk, count)
    arrive(desk, "portrait.png")
    assert len(looked_at(desk)) == 2 * min(count, 10)
    assert [one for one in desk.messages("uploads") if "folder" in one] == goes_on


def test_a_folder_is_gone_on_with_behind_the_last_key(desk: Desk) -> None:
    drop(desk, {f"{number:02}.mp3": VOICE for number in range(4)})
    message = {"folder": {"key": "in/portrait.png", "after": "in/01.mp3"}}
    assert desk.message("intake", message) == []
    assert looked_at(desk) == ["in/02.mp3", "in/03.mp3"]


# Once, whatever repeats.


def test_what_changed_beside_a_voice_changes_its_task_and_says_so(desk: Desk) -> None:
    before = made(desk, "hello.wav")
    for beside in (
        {"hello.txt": b"Smile."},
        {"hello.json": {"seed": 22222}},
        {"hello.json": {"max_usd": 3}},
        {"hello.json": {"model": "kling/ai-avatar-pro"}},
        {"hello.json": {"provider": "kling"}},
        {"hello.json": {"provider": "kling", "consent": {"who": "Ada", "scope": "all"}}},
        {"hello.png": png(600)},
        {"hello.json": {"provider": "klink"}},
        {"hello.json": {"provider": "klong"}},
    ):
        desk.wait(1)
        drop(desk, beside)
        arrive(desk, "hello.wav", "hello.wav")
        after = task_of(desk, "hello.wav")
        assert len(after.history) == len(before.history) + 1, beside
        assert after.history[-1]["why"] == "the files changed"
        assert after.created_at == before.created_at
        before = after


def test_the_same_bytes_uploaded_again_change_nothing(desk: Desk) -> None:
    before = made(desk, "hello.wav", hello_json={"max_usd": 7.5, "seed": 11111})
    desk.wait(1)
    drop(desk, {"hello.png": FACE, "hello.json": {"seed": 11111, "max_usd": 7.50}})
    arrive(desk, "hello.png", "hello.json")
    assert task_of(desk, "hello.wav") == before
    assert desk.metrics["TaskReady"] == 1


@pytest.mark.parametrize(("seconds", "again"), [(9.9, False), (10, True), (600, True)])
def test_a_message_that_a_crash_lost_is_sent_by_a_later_look(
    desk: Desk, seconds: float, again: bool
) -> None:
    made(desk, "hello.wav")
    sent = len(desk.messages())
    desk.wait(seconds)
    arrive(desk, "hello.wav")
    assert len(desk.messages()) == sent + again


def test_a_task_that_waits_for_its_turn_is_not_sent_again(desk: Desk) -> None:
    task = made(desk, "hello.wav")
    desk.note(task.task_id, due_shard="waits#kie", waits_place=1)
    sent = len(desk.messages())
    desk.wait(600)
    arrive(desk, "hello.wav")
    assert len(desk.messages()) == sent


@pytest.mark.parametrize(
    ("facts", "follows"),
    [
        ({"intended_at": "2026-03-01T09:00:00.000Z"}, False),
        ({"status": "CANCELLED"}, False),
        ({"status": "COMPLETED"}, False),
        ({"status": "EXPIRED"}, True),
        ({"status": "FAILED"}, True),
    ],
)
def test_a_row_follows_its_files_until_it_was_meant_to_be_paid_or_ended(
    desk: Desk, facts: dict[str, Any], follows: bool
) -> None:
    task = made(desk, "hello.wav")
    before = desk.note(task.task_id, **facts)
    drop(desk, {"hello.txt": b"Smile."})
    arrive(desk, "hello.wav")
    after = desk.task(task.task_id)
    assert (after == before) is not follows
    assert after.status is (Status.READY if follows else before.status)


def test_an_expired_voice_that_still_lacks_its_portrait_stays_expired(desk: Desk) -> None:
    drop(desk, {"hello.wav": VOICE})
    arrive(desk, "hello.wav")
    task = task_of(desk, "hello.wav")
    assert (task.status, desk.metrics["TaskWaiting"]) == (Status.WAITING, 1)
    before = desk.note(task.task_id, status="EXPIRED")
    arrive(desk, "hello.wav")
    assert desk.task(task.task_id) == before
    drop(desk, {"hello.png": FACE})
    arrive(desk, "hello.wav")
    assert desk.task(task.task_id).status is Status.READY


def test_a_row_that_moved_meanwhile_is_read_anew_once(desk: Desk) -> None:
    task = made(desk, "hello.wav")
    drop(desk, {"hello.txt": b"Smile."})
    desk.before("UpdateItem", lambda: desk.note(task.task_id, status="READY", attempt=2))
    arrive(desk, "hello.wav")
    assert desk.task(task.task_id).prompt == "Smile."


def test_a_row_that_never_stands_still_comes_again(desk: Desk) -> None:
    made(desk, "hello.wav")
    drop(desk, {"hello.txt": b"Smile."})
    desk.refuse("UpdateItem", "ConditionalCheckFailedException", 2)
    assert desk.message("intake", event("in/hello.wav")) == ["0"]


def test_a_voice_that_was_replaced_meanwhile_is_left_to_its_own_event(desk: Desk) -> None:
    drop(desk, {"hello.wav": VOICE, "hello.png": FACE})
    desk.before("ListObjectsV2", lambda: drop(desk, {"hello.wav": wav(4)}))
    desk.before("GetItem", lambda: drop(desk, {"hello.wav": wav(4)}))
    arrive(desk, "hello.wav")
    assert tasks(desk) == []


def test_a_voice_that_was_deleted_meanwhile_makes_no_task(desk: Desk) -> None:
    drop(desk, {"hello.wav": VOICE, "hello.png": FACE})
    gone = lambda: desk.account.buckets.remove(INBOX, "in/hello.wav", whole=False)  # noqa: E731
    desk.before("GetItem", gone)
    arrive(desk, "hello.wav")
    assert tasks(desk) == []


@pytest.mark.parametrize("operation", ["HeadObject", "ListObjectsV2", "GetItem", "PutItem"])
def test_an_account_that_is_unwell_makes_the_message_come_again(desk: Desk, operation: str) -> None:
    drop(desk, {"hello.wav": VOICE, "hello.png": FACE})
    desk.refuse(operation, status=500)
    assert desk.message("intake", event("in/hello.wav")) == ["0"]
    desk.refuse(operation, times=0)
    arrive(desk, "hello.wav")
    assert task_of(desk, "hello.wav").status is Status.READY


# Its events.


def test_a_notification_of_s3_is_decoded_and_an_event_is_not(desk: Desk) -> None:
    drop(desk, {"a+b %41.wav": VOICE, "portrait.png": FACE, "c d.wav": VOICE})
    record = {"bucket": {"name": INBOX}, "object": {"key": quote_plus("in/a+b %41.wav")}}
    strange = {"bucket": {"name": "another"}, "object": {"key": "in/c+d.wav"}}
    notification = {"Records": [{"s3": strange}, {"s3": record}, {"eventSource": "x"}]}
    assert desk.message("intake", notification) == []
    assert task_of(desk, "a+b %41.wav").status is Status.READY
    assert len(tasks(desk)) == 1
    arrive(desk, "c d.wav")
    assert len(tasks(desk)) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"Event": "s3:TestEvent"},
        {"detail": {"bucket": {"name": "another"}, "object": {"key": "in/hello.wav"}}},
        {"detail": {"object": {"key": "in/hello.wav"}}},
        {"detail": None},
    ],
)
def test_what_is_not_of_the_inbox_is_passed_over(desk: Desk, body: Any) -> None:
    drop(desk, {"hello.wav": VOICE, "hello.png": FACE})
    assert desk.message("intake", body) == []
    assert tasks(desk) == []


# Notes.


def test_a_refused_voice_has_its_reason_beside_it_and_loses_it_when_mended(desk: Desk) -> None:
    task = made(desk, "hello.wav", hello_json={"seed": 1, "model": "infinitalk/from-audio"})
    reason = "settings.seed is 1; kie's infinitalk/from-audio takes a whole number from 10,000 up "
    message = f"{reason}to 1,000,000."
    assert (task.status, task.error) == (
        Status.FAILED,
        {"code": "BAD_SETTING", "message": message},
    )
    assert note(desk, "hello") == {
        "task_id": task.task_id, "code": "BAD_SETTING", "message": message,
        "cure": "replace the file; this note goes when it is mended",
    }  # fmt: skip
    (put,) = desk.calls("PutObject")
    assert put["ContentType"] == "application/json"
    assert desk.messages() == []
    drop(desk, {"hello.json": {"seed": 11111}})
    arrive(desk, "hello.json")
    assert note(desk, "hello") is None
    assert (desk.task(task.task_id).status, desk.task(task.task_id).error) == (Status.READY, {})


def test_a_note_is_written_in_its_own_letters(desk: Desk) -> None:
    drop(desk, {"héllo.png": FACE})
    arrive(desk, "héllo.png")
    (put,) = desk.calls("PutObject")
    assert "héllo.png waits" in put["Body"].decode()


def test_where_there_is_no_note_none_is_deleted(desk: Desk) -> None:
    drop(desk, {"hello.two.error.json": {}, "portrait.error.json": {}})
    made(desk, "hello.wav")
    assert desk.calls("DeleteObject") == []


def test_a_lone_portrait_is_answered_and_a_folder_s_or_a_deleted_one_is_not(desk: Desk) -> None:
    arrive(desk, "gone.png")
    drop(desk, {"portrait.png": FACE, "hello.png": FACE})
    arrive(desk, "portrait.png", "hello.png")
    assert [call["Key"] for call in desk.calls("PutObject")] == ["in/hello.error.json"]
    assert note(desk, "hello") == {
        "code": "WAITS_FOR_VOICE",
        "message": "hello.png waits for its voice: drop in/hello.mp3 (or .wav, .m4a), or name the "
        "picture in/portrait.png to use it for every voice of the folder.",
        "cure": "replace the file; this note goes when it is mended",
    }


def test_a_voice_without_a_portrait_says_what_it_waits_for_and_how_long(desk: Desk) -> None:
    desk.options(waiting_hours=36.5)
    drop(desk, {"hello.wav": VOICE})
    arrive(desk, "hello.wav")
    task = task_of(desk, "hello.wav")
    assert task.error == {
        "code": "WAITS_FOR_PORTRAIT",
        "message": "hello.wav waits for its portrait: drop in/hello.png or in/portrait.png (or "
        ".jpg) within 36.5 hours.",
    }
    assert (task.audio["key"], task.portrait, note(desk, "hello")) == ("in/hello.wav", {}, None)
    assert desk.messages() == []


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"hello.wav": b"%PDF-1.7"}, "NOT_AUDIO"),
        ({"hello.wav": VOICE, "hello.json": {"text": "Hello"}}, "UNKNOWN_SETTING"),
        ({"hello.wav": VOICE, "settings.json": {"seeed": 1}}, "UNKNOWN_SETTING"),
        ({"hello.wav": VOICE, "hello.txt": b"a" * 5001}, "PROMPT_TOO_LONG"),
        ({"hello.wav": VOICE, "hello.txt": b"\xff"}, "BAD_TEXT"),
        ({"hello.wav": VOICE, "hello.json": b"[1]"}, "BAD_SETTINGS"),
        ({"hello.wav": VOICE, "hello.json": b"{"}, "BAD_SETTINGS"),
        ({"hello.wav": VOICE, "hello.json": {"prompt": 7}}, "BAD_PROMPT"),
        ({"hello.wav": VOICE, "hello.json": {"long_voice": "cut"}}, "BAD_LONG_VOICE"),
    ],
)
def test_what_is_wrong_already_is_refused_without_waiting_for_the_portrait(
    desk: Desk, files: dict[str, Any], code: str
) -> None:
    drop(desk, files)
    arrive(desk, "hello.wav")
    task = task_of(desk, "hello.wav")
    assert (task.status, task.error.get("code")) == (Status.FAILED, code)
    assert (note(desk, "hello") or {})["code"] == code


def test_a_text_beside_a_voice_is_read_up_to_64_kib(desk: Desk) -> None:
    drop(desk, {"hello.png": FACE, "hello.wav": VOICE, "hello.txt": b" " * (64 << 10)})
    arrive(desk, "hello.wav")
    assert task_of(desk, "hello.wav").status is Status.READY
    drop(desk, {"hello.txt": b" " * ((64 << 10) + 1)})
    arrive(desk, "hello.wav")
    assert task_of(desk, "hello.wav").error == {
        "code": "BAD_TEXT",
        "message": "hello.txt is 65,537 bytes; at most 65,536 are read.",
    }


def test_without_a_needed_consent_nothing_is_looked_into(desk: Desk) -> None:
    desk.options(require_consent=True)
    task = made(desk, "hello.wav")
    assert (task.status, task.error.get("code")) == (Status.FAILED, "NO_CONSENT")
    assert desk.calls("GetObject") == []
    made(desk, "other.wav", other_json={"consent": {"who": "Ada", "scope": "all"}})
    assert task_of(desk, "other.wav").status is Status.READY
