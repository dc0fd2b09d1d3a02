"""Files arrive: which tasks do they make?"""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from functions import providers, settings
from functions.handlers import intake
from functions.tasks.task import Status, Task
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event

ODD_KEY = "a b+c/héllo 你好 100%"


def arrive(shop: Workshop, *keys: str) -> None:
    answer = intake.handler(sqs_event(*[dropped(shop.inbox, key) for key in keys]), CONTEXT)
    assert answer == {"batchItemFailures": []}


def test_a_voice_and_its_portrait_make_one_ready_task_with_a_quote(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.mp3")
    task = shop.the_task()
    assert task.status is Status.READY
    assert (task.provider, task.model, task.stem) == ("kie", "infinitalk/from-audio", "hello")
    assert float(task.audio["seconds"]) == pytest.approx(7.3, abs=0.1)
    assert float(task.quote_usd or 0) == pytest.approx(0.12, abs=0.02)
    assert shop.messages(shop.submissions) == [{"task_id": task.task_id, "turn": ""}]


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["hello.mp3", "hello.png", "hello.txt"]))
)
def test_any_order_of_uploads_and_doubled_events_make_the_same_task(
    shop: Workshop, order: Any
) -> None:
    contents = {"hello.mp3": VOICE, "hello.png": PORTRAIT, "hello.txt": b"Smile."}
    for name in order:
        shop.drop(f"in/{name}", contents[name])
        arrive(shop, f"in/{name}", f"in/{name}")
    task = shop.the_task()
    assert (task.status, task.prompt) == (Status.READY, "Smile.")


def test_keys_survive_both_transports_each_decoded_once(shop: Workshop) -> None:
    shop.drop(f"{ODD_KEY}.mp3", VOICE)
    shop.drop(f"{ODD_KEY}.png", PORTRAIT)
    notification = {
        "Records": [
            {
                "s3": {
                    "bucket": {"name": shop.inbox},
                    "object": {"key": quote_plus(f"{ODD_KEY}.mp3")},
                }
            }
        ]
    }
    intake.handler(sqs_event(dropped(shop.inbox, f"{ODD_KEY}.png"), notification), CONTEXT)
    task = shop.the_task()
    assert (task.status, task.audio["key"], task.portrait["key"]) == (
        "READY",
        f"{ODD_KEY}.mp3",
        f"{ODD_KEY}.png",
    )


def test_a_portrait_composed_otherwise_than_its_voice_is_still_found(shop: Workshop) -> None:
    shop.drop("in/he\u0301llo.mp3", VOICE)
    shop.drop("in/h\u00e9llo.png", PORTRAIT)
    arrive(shop, "in/he\u0301llo.mp3")
    assert shop.the_task().status is Status.READY


def test_a_folders_portrait_serves_each_of_its_voices(shop: Workshop) -> None:
    for name in ("01.mp3", "02.mp3", "03.mp3"):
        shop.drop(f"in/{name}", VOICE + name.encode())
    shop.drop("in/portrait.png", PORTRAIT)
    arrive(shop, "in/portrait.png")
    messages = shop.messages(shop.uploads)
    assert sorted(message["audio"]["key"] for message in messages) == [
        "in/01.mp3",
        "in/02.mp3",
        "in/03.mp3",
    ]
    intake.handler(sqs_event(*messages), CONTEXT)
    assert [task.status for task in shop.all_tasks()] == ["READY"] * 3


def test_a_voice_waits_for_its_portrait_and_is_ready_when_it_comes(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    arrive(shop, "in/hello.mp3")
    assert shop.the_task().status is Status.WAITING
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.png")
    assert shop.the_task().status is Status.READY


@pytest.mark.parametrize(
    ("voice", "portrait", "says"),
    [
        (b"<!DOCTYPE html><html>not found", PORTRAIT, "web page"),
        (VOICE, b"\x89PNG\r\n\x1a\n", "damaged"),
        (VOICE, b"GIF89a" + bytes(200), "GIF"),
    ],
)
def test_a_refused_file_says_why_in_the_table_and_beside_it(
    shop: Workshop, voice: bytes, portrait: bytes, says: str
) -> None:
    shop.drop("in/hello.mp3", voice)
    shop.drop("in/hello.png", portrait)
    arrive(shop, "in/hello.mp3")
    task = shop.the_task()
    assert task.status is Status.FAILED
    assert says in task.error["message"]
    assert shop.note("in/hello.error.json")["message"] == task.error["message"]
    assert shop.messages(shop.submissions) == []


def test_a_mended_file_revives_its_task_and_takes_the_note_away(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", b"GIF89a" + bytes(200))
    arrive(shop, "in/hello.mp3")
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.png")
    assert shop.the_task().status is Status.READY
    with pytest.raises(shop.s3.exceptions.NoSuchKey):
        shop.note("in/hello.error.json")


def test_two_refusals_of_one_task_are_two_facts_with_two_event_ids(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    seen = set()
    for portrait in (b"GIF89a" + bytes(200), b"BM" + bytes(200)):
        shop.drop("in/hello.png", portrait)
        arrive(shop, "in/hello.png")
        seen.add(shop.the_task().event_id)
    assert len(seen) == 2


def test_settings_of_the_folder_and_of_the_voice_come_together(shop: Workshop) -> None:
    shop.drop(
        "in/settings.json",
        b'{"model": "infinitalk/from-audio", "resolution": "720p", "prompt": "calm"}',
    )
    shop.drop("in/hello.json", b'{"seed": 12345}')
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.mp3")
    task = shop.the_task()
    assert (task.status, task.prompt, dict(task.settings)) == (
        "READY",
        "calm",
        {"resolution": "720p", "seed": 12345},
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (b"{not json", "is not JSON"),
        (b'{"provider": "klink"}', "use one of"),
        (b'{"model": "v9"}', "use one of"),
        (b'{"resolution": "8k"}', "resolution"),
        (b'{"seeed": 12345}', "seeed"),
        (b'{"seed": 9999}', "seed"),
        (b'{"seed": NaN}', "cannot be kept"),
        (b'{"seed": 1e400}', "cannot be kept"),
        (b'{"seed": 100000000000000000000000000000000000000000}', "cannot be kept"),
        (b'{"seed": "\\ud800"}', "cannot be kept"),
        (b'{"seed": ' + b"[" * 40 + b"]" * 40 + b"}", "cannot be kept"),
        (
            json.dumps({f"unknown {number}": "" for number in range(3000)}).encode(),
            "3000 reasons in all",
        ),
    ],
)
def test_bad_settings_are_refused_with_the_cure(shop: Workshop, settings: bytes, says: str) -> None:
    shop.drop("in/hello.json", settings)
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.mp3")
    assert shop.the_task().status is Status.FAILED
    assert says in shop.the_task().error["message"]


@pytest.mark.parametrize(
    ("settings", "status", "says"),
    [
        (b'{"provider": "kling", "text": "Hello", "voice_id": "genshin_vindi2"}', "READY", ""),
        (
            b'{"provider": "kling", "text": "Hello"}',
            "FAILED",
            "settings.text needs settings.voice_id",
        ),
        (b'{"text": "Hello"}', "FAILED", "only kling can speak a text"),
    ],
)
def test_a_text_to_be_spoken_has_who_speaks_it_or_is_refused_beside_its_file(
    shop: Workshop, settings: bytes, status: str, says: str
) -> None:
    shop.drop("in/hello.json", settings)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.png")
    assert shop.the_task().status == status
    assert says in shop.the_task().error.get("message", "")
    if says:
        assert says in shop.note("in/hello.error.json")["message"]


def test_a_text_that_is_null_is_none_and_makes_no_task(shop: Workshop) -> None:
    shop.drop("in/hello.json", b'{"provider": "kling", "text": null}')
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.png")
    assert shop.all_tasks() == []


@pytest.mark.parametrize(
    "event",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent"},
        {"Records": []},
        dropped("another-bucket", "in/hello.mp3"),
        {"detail": {}},
    ],
)
def test_what_is_not_about_the_inbox_is_ignored(shop: Workshop, event: Any) -> None:
    assert intake.handler(sqs_event(event), CONTEXT) == {"batchItemFailures": []}
    assert shop.all_tasks() == []


@pytest.mark.parametrize(
    "key", ["in/", "in/hello.error.json", "in/readme.pdf", "_talkdrop/x/audio.mp3", ".mp3"]
)
def test_files_that_are_no_voice_make_no_task(shop: Workshop, key: str) -> None:
    shop.drop(key, b"{}")
    arrive(shop, key)
    assert shop.all_tasks() == []


def test_the_same_voice_dropped_anew_is_a_new_task(shop: Workshop) -> None:
    shop.drop("in/hello.png", PORTRAIT)
    for _ in range(2):
        shop.drop("in/hello.mp3", VOICE)
        arrive(shop, "in/hello.mp3")
    assert len(shop.all_tasks()) == 2


def test_a_voice_that_is_gone_when_its_event_comes_makes_no_task(shop: Workshop) -> None:
    arrive(shop, "in/never-there.mp3")
    assert shop.all_tasks() == []


def test_one_poisonous_message_does_not_hold_up_the_others(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    poison = {"detail": {"bucket": {"name": shop.inbox}, "object": {}}}
    answer = intake.handler(sqs_event(poison, dropped(shop.inbox, "in/hello.mp3")), CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert len(shop.all_tasks()) == 1


def test_a_message_that_failed_comes_again_soon_and_not_after_the_whole_visibility_timeout(
    shop: Workshop,
) -> None:
    poison = {"detail": {"bucket": {"name": shop.inbox}, "object": {}}}
    shop.sqs.set_queue_attributes(QueueUrl=shop.uploads, Attributes={"VisibilityTimeout": "900"})
    shop.sqs.send_message(QueueUrl=shop.uploads, MessageBody=json.dumps(poison))
    (message,) = shop.sqs.receive_message(QueueUrl=shop.uploads, AttributeNames=["All"])["Messages"]
    event = sqs_event(poison)
    arn = f"arn:aws:sqs:eu-central-1:000000000000:{shop.uploads.rpartition('/')[2]}"
    event["Records"][0] |= {"receiptHandle": message["ReceiptHandle"], "eventSourceARN": arn}
    timeouts: list[int] = []

    def listen(params: dict[str, Any], **_: Any) -> None:
        timeouts.append(params["VisibilityTimeout"])

    events = settings.aws("sqs").meta.events
    events.register("before-parameter-build.sqs.ChangeMessageVisibility", listen)
    intake.handler(event, CONTEXT)
    events.unregister("before-parameter-build.sqs.ChangeMessageVisibility", listen)
    assert timeouts == [15]


def events_of(task: Task) -> list[str]:
    return [line["what"] for line in task.history]


@pytest.mark.parametrize("again", ["the same event", "the same bytes uploaded again"])
def test_repeated_notices_of_one_drop_change_nothing_and_announce_nothing(
    shop: Workshop, again: str
) -> None:
    shop.drop("in/hello.json", b'{"seed": 12345, "max_usd": 7.5}')
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.mp3")
    before = shop.the_task()
    if again != "the same event":
        shop.drop("in/hello.json", b'{"seed": 12345, "max_usd": 7.5}')
        shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.png", "in/hello.json", "in/hello.mp3")
    after = shop.the_task()
    assert events_of(after) == ["READY"]
    assert (after.changed_at, after.event_id) == (before.changed_at, before.event_id)


def test_a_refusal_that_is_seen_again_is_written_once(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", b"GIF89a" + bytes(200))
    for _ in range(3):
        arrive(shop, "in/hello.mp3", "in/hello.png")
    assert events_of(shop.the_task()) == ["FAILED"]


def test_a_face_and_a_voice_that_are_swapped_are_refused_with_one_reason(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", PORTRAIT)
    shop.drop("in/hello.png", VOICE)
    arrive(shop, "in/hello.mp3")
    assert shop.the_task().status is Status.FAILED
    assert shop.note("in/hello.error.json")["message"] == (
        "hello.png is a sound and hello.mp3 is a picture: they are swapped. Exchange them and drop "
        "both again."
    )


def test_a_lone_portrait_is_answered_at_once_and_the_note_goes_when_its_voice_comes(
    shop: Workshop,
) -> None:
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.png")
    assert shop.all_tasks() == []
    assert "waits for its voice: drop in/hello.mp3" in shop.note("in/hello.error.json")["message"]
    shop.drop("in/hello.mp3", VOICE)
    arrive(shop, "in/hello.mp3")
    with pytest.raises(shop.s3.exceptions.NoSuchKey):
        shop.note("in/hello.error.json")


def test_the_portrait_of_a_folder_may_lie_there_alone(shop: Workshop) -> None:
    shop.drop("in/portrait.png", PORTRAIT)
    arrive(shop, "in/portrait.png")
    with pytest.raises(shop.s3.exceptions.NoSuchKey):
        shop.note("in/portrait.error.json")


def test_a_voice_that_waits_says_for_what(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE)
    arrive(shop, "in/hello.mp3")
    assert shop.the_task().error == {
        "code": "WAITS_FOR_PORTRAIT",
        "message": "hello.mp3 waits for its portrait: drop in/hello.png or in/portrait.png (or "
        ".jpg) within 24 hours.",
    }


@pytest.mark.parametrize("name", ["hello.mp4", "hello.mov", "hello.webm", "hello.wma"])
def test_a_film_in_place_of_a_voice_is_refused_at_once_without_a_portrait(
    shop: Workshop, name: str
) -> None:
    shop.drop(f"in/{name}", b"\x1aE\xdf\xa3" + bytes(200))
    arrive(shop, f"in/{name}")
    assert shop.the_task().status is Status.FAILED
    assert "save it as MP3 or WAV" in shop.note("in/hello.error.json")["message"]


def test_auto_takes_the_cheapest_model_that_takes_all_and_says_why(shop: Workshop) -> None:
    shop.drop("in/hello.mp3", VOICE * 3)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.mp3")
    task = shop.the_task()
    price = f"{task.quote_usd:.2f}"
    assert task.model in providers.get("kie").models
    assert task.model_reason == f"22 s of voice: {task.model}, {price} USD"


def test_a_model_that_is_named_is_taken_as_named(shop: Workshop) -> None:
    shop.drop("in/hello.json", b'{"model": "kling/ai-avatar-pro"}')
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.mp3")
    assert (shop.the_task().model, shop.the_task().model_reason) == ("kling/ai-avatar-pro", "")


@pytest.mark.parametrize(
    ("settings", "status", "says"),
    [
        (b'{"max_usd": 0.05}', "FAILED", "at most 0.05 USD (its own max_usd)"),
        (b'{"max_usd": 5}', "READY", ""),
        (b'{"max_usd": "a lot"}', "FAILED", "give an amount such as 25"),
        (b'{"max_usd": true}', "FAILED", "give an amount such as 25"),
    ],
)
def test_a_task_costs_no_more_than_it_may(
    shop: Workshop, settings: bytes, status: str, says: str
) -> None:
    shop.drop("in/hello.json", settings)
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.mp3")
    assert shop.the_task().status == status
    assert says in shop.the_task().error.get("message", "")


def test_the_reasons_together_are_sentences(shop: Workshop) -> None:
    shop.drop("in/hello.json", b'{"seed": 9999, "text": "Hello", "voice": 1}')
    shop.drop("in/hello.mp3", VOICE)
    shop.drop("in/hello.png", PORTRAIT)
    arrive(shop, "in/hello.mp3")
    message = shop.the_task().error["message"]
    assert message.endswith(".")
    assert ".." not in message.replace("…", "")
