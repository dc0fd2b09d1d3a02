"""What a task may cost, what it did cost, and who is shown the difference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.handlers import announce, intake
from functions.tasks.task import Status
from tests.doors.conftest import CONTEXT, PORTRAIT, VOICE, Workshop, dropped, sqs_event

LONG_VOICE = VOICE * 3  # 22 seconds
VIDEO = {
    "bucket": {"S": "archive"}, "key": {"S": "v.mp4"}, "manifest_key": {"S": "manifest.json"},
    "sha256": {"S": "00"}, "bytes": {"N": "9"}, "seconds": {"N": "7"},
}  # fmt: skip
INFINITALK = b'{"model": "infinitalk/from-audio"}'


def drop(shop: Workshop, voice: bytes, settings: bytes = b"{}") -> None:
    shop.drop("in/hello.json", settings)
    shop.drop("in/hello.mp3", voice)
    shop.drop("in/hello.png", PORTRAIT)
    answer = intake.handler(sqs_event(dropped(shop.inbox, "in/hello.mp3")), CONTEXT)
    assert answer == {"batchItemFailures": []}


def test_without_any_option_a_task_of_more_than_twenty_dollars_is_refused(shop: Workshop) -> None:
    drop(shop, VOICE * 40, b'{"model": "kling/ai-avatar-pro"}')
    error = shop.the_task().error
    assert error["code"] == "TOO_DEAR"
    assert "would cost 23.5" in error["message"]
    assert "at most 20.00 USD (option max_usd_per_task)" in error["message"]
    assert shop.messages(shop.submissions) == []


@pytest.mark.parametrize("limit", [25, None])
def test_the_option_raises_what_a_task_may_cost_or_lifts_it(
    shop: Workshop, with_options: Any, limit: int | None
) -> None:
    with_options(max_usd_per_task=limit)
    drop(shop, VOICE * 40, b'{"model": "kling/ai-avatar-pro"}')
    assert shop.the_task().status is Status.READY


def test_a_voice_past_a_reported_limit_is_refused_with_its_source_and_every_cure(
    shop: Workshop, with_options: Any
) -> None:
    with_options(long_voice="refuse")
    drop(shop, LONG_VOICE, INFINITALK)
    error = shop.the_task().error
    assert error["code"] == "AUDIO_TOO_LONG"
    for words in (
        "kie's infinitalk/from-audio is reported, not documented, to take at most 15",
        "choose a model that takes longer voices, such as kling/ai-avatar-standard (300 s)",
        "cut the voice into pieces of 15 s at most",
        "six public clients of kie",
        "the option lift_limits lifts a limit that is only reported",
        'Or set "model" to "auto", or to kling/',
    ):
        assert words in error["message"]


def test_a_reported_limit_that_is_lifted_refuses_nothing_and_others_still_hold(
    shop: Workshop, with_options: Any
) -> None:
    with_options(lift_limits={"infinitalk/from-audio": True})
    drop(shop, LONG_VOICE, INFINITALK)
    task = shop.the_task()
    assert (task.status, task.model) == (Status.READY, "infinitalk/from-audio")
    shop.drop("in/other.json", INFINITALK[:-1] + b', "resolution": "8k"}')
    shop.drop("in/other.mp3", LONG_VOICE)
    shop.drop("in/other.png", PORTRAIT)
    intake.handler(sqs_event(dropped(shop.inbox, "in/other.mp3")), CONTEXT)
    (refused,) = [one for one in shop.all_tasks() if one.stem == "other"]
    assert "resolution" in refused.error["message"]


def test_a_documented_limit_cannot_be_lifted(shop: Workshop, with_options: Any) -> None:
    with_options(lift_limits={"kling/ai-avatar-standard": True}, long_voice="refuse")
    drop(shop, VOICE * 42, b'{"model": "kling/ai-avatar-standard"}')
    assert shop.the_task().error["code"] == "AUDIO_TOO_LONG"


@pytest.mark.parametrize(
    ("status", "charge", "counted"),
    [
        ("COMPLETED", "1.10", False),
        ("COMPLETED", "1.11", True),
        ("COMPLETED", "0.90", False),
        ("COMPLETED", "0.89", True),
        ("COMPLETED", None, False),
        ("FAILED", "0", False),
        ("FAILED", "1.5", True),
        ("HELD", "2", True),
        ("SUBMITTED", "2", False),
    ],
)
def test_a_charge_more_than_a_tenth_away_from_its_quote_is_counted_when_the_task_rests(
    shop: Workshop,
    capsys: pytest.CaptureFixture[str],
    status: str,
    charge: str | None,
    counted: bool,
) -> None:
    row: dict[str, Any] = {
        "pk": {"S": "task#5f3a"}, "task_id": {"S": "5f3a"}, "status": {"S": status},
        "created_at": {"S": "2026-11-21T09:00:00.000Z"}, "quote_usd": {"N": "1.00"},
        "archived": {"M": VIDEO},
    }  # fmt: skip
    if charge is not None:
        row["charge_usd"] = {"N": charge}
    capsys.readouterr()
    assert announce.handler(changed(row), CONTEXT) == {"batchItemFailures": []}
    assert ("ChargeDiffers" in metrics(capsys.readouterr().out)) is counted


def changed(row: dict[str, Any]) -> dict[str, Any]:
    """What the table's stream gives of a new row."""
    change = {"NewImage": row, "SequenceNumber": "1", "StreamViewType": "NEW_AND_OLD_IMAGES"}
    record = {
        "eventID": "1",
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": change,
    }
    return {"Records": [record]}


def metrics(output: str) -> set[str]:
    """The names of all metrics that were written, as CloudWatch finds them in the log."""
    lines = [json.loads(line) for line in output.splitlines() if '"CloudWatchMetrics"' in line]
    return {
        metric["Name"]
        for line in lines
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }
