"""One mail a day: what it says, what it leaves out, and how long it is where there is much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from functions import settings
from functions.handlers import summary
from functions.tasks import books, queries, steps, table
from functions.tasks.table import Update
from functions.tasks.task import Status, Task, key_of
from tests.doors.conftest import CONTEXT, Workshop

LOST = {"code": "AMBIGUOUS", "message": "the answer of kie to the submit was lost"}
NO_FACE = {"code": "501", "message": "no face found"}


@dataclass(frozen=True)
class Reader:
    """Reads the mails: a queue is subscribed to the topic."""

    shop: Workshop
    queue: str

    def mails(self) -> list[dict[str, Any]]:
        return self.shop.messages(self.queue)

    def the_mail(self) -> tuple[str, str]:
        (mail,) = self.mails()
        return mail["Subject"], mail["Message"]


@pytest.fixture
def reader(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    mark = shop.table.removeprefix("tasks-")
    sns, sqs = shop.cloud.client("sns"), shop.sqs
    topic = sns.create_topic(Name=f"notices-{mark}")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"mails-{mark}")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    arn = attributes["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage", "Resource": arn,
    }  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    monkeypatch.setenv("TALKDROP_NOTICE_TOPIC", topic)
    monkeypatch.setenv("TALKDROP_STACK", "Talkdrop")
    settings.get.cache_clear()
    yield Reader(shop, queue)
    settings.get.cache_clear()


def task(number: int, status: Status, key: str = "ada/hello.mp3", **facts: Any) -> str:
    """A task as if it had come to this status just now."""
    task_id = f"{number:032x}"
    known: dict[str, Any] = {
        "created_at": table.stamp(table.now()), "provider": "kie", "quote_usd": Decimal("0.12"),
        "stem": key.rpartition("/")[2].removesuffix(".mp3"), "audio": {"key": key},
        "intended_at": table.stamp(table.now()),
    }  # fmt: skip
    steps.open_task(Task(task_id=task_id, status=status, **{**known, **facts}))
    return task_id


def today() -> date:
    """What the emulator's tasks are stamped with."""
    return table.now().date()


def sent() -> bool:
    """As EventBridge asks for it the morning after."""
    clock: summary.ClockEvent = {"time": f"{today() + timedelta(days=1)}T06:00:00Z"}
    return summary.handler(clock, CONTEXT)["sent"]  # type: ignore[arg-type]


def test_what_waits_for_a_person_comes_first_then_what_has_no_video_then_what_is_done(
    reader: Reader,
) -> None:
    done = task(1, Status.COMPLETED, charge_usd=Decimal("0.1"))
    failed = task(2, Status.FAILED, "ada/two.mp3", error=NO_FACE)
    held = task(3, Status.HELD, "bob/three.mp3", error=LOST)
    task(4, Status.EXPIRED, "ada/four.mp3")
    assert sent()
    subject, text = reader.the_mail()
    assert subject == f"Talkdrop {today()}: 1 held, 2 without a video, 1 done"
    lines = text.splitlines()
    assert lines[0] == f"Talkdrop, {today()} in UTC: 1 done, 0.10 USD"
    order = ["WAITING FOR YOUR DECISION: 1", "bob/three, kie. AMBIGUOUS",
             f"talkdrop explain {held}", "WITHOUT A VIDEO: 2", "ada/two, kie. 501: no face found",
             f"talkdrop explain {failed}",
             "DONE: 1", "ada/hello, kie. 0.10 USD", f"talkdrop open {done}"]  # fmt: skip
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_where_nothing_ended_and_nothing_waits_no_mail_is_sent(reader: Reader) -> None:
    task(1, Status.SUBMITTED)
    task(2, Status.CANCELLED)
    assert not sent()
    assert reader.mails() == []


def test_what_ended_on_another_day_is_another_days(reader: Reader) -> None:
    yesterday = task(1, Status.COMPLETED)
    two_days = table.stamp(table.now() - timedelta(days=2))
    Update(key_of(yesterday)).set(changed_at=two_days).run()
    assert not sent()
    opened_before = table.stamp(table.now() - timedelta(days=5))
    task(2, Status.COMPLETED, created_at=opened_before)
    assert sent()
    assert "1 done" in reader.the_mail()[0]


def test_a_held_task_is_named_each_day_until_it_is_decided(reader: Reader) -> None:
    old = task(1, Status.HELD, error=LOST, created_at="2026-03-01T10:00:00.000Z")
    Update(key_of(old)).set(changed_at="2026-03-02T10:00:00.000Z").run()
    assert sent()
    assert sent()
    assert ["1 held" in mail["Subject"] for mail in reader.mails()] == [True, True]


def test_a_stopped_provider_is_news_by_itself_and_what_is_left_of_the_budget_is_shown(
    reader: Reader, with_options: Any
) -> None:
    with_options(budget_usd_per_day=20, budget_usd_per_month=100)
    books.stop("kie", "kie answered 402: top up the account")
    Update(f"budget#{today()}").set(spent_usd=Decimal("4.5")).run()
    assert sent()
    text = reader.the_mail()[1]
    assert "kie IS STOPPED, and its tasks wait: kie answered 402: top up the account" in text
    assert f"Budget of {today()}: 4.50 of 20.00 USD" in text
    assert f"Budget of {str(today())[:7]}: 0.00 of 100.00 USD" in text


def test_a_mail_of_many_tasks_has_a_bounded_number_of_lines(reader: Reader) -> None:
    for number in range(150):
        task(number, Status.COMPLETED, f"folder {number % 45:02}/{number}.mp3")
    for number in range(150, 180):
        task(number, Status.HELD, error=LOST)
    for number in range(180, 210):
        task(number, Status.FAILED, error=NO_FACE)
    assert sent()
    subject, text = reader.the_mail()
    assert subject.endswith("30 held, 30 without a video, 150 done")
    assert "and 10 more: talkdrop list --status held" in text
    assert "and 10 more: talkdrop list --status failed" in text
    assert "folder 00/: 4, 0.48 USD\n    talkdrop download 'folder 00/'" in text
    assert "and 25 folders more: 75, 9.00 USD" in text
    assert len(text.splitlines()) <= 140


def test_pieces_of_a_long_voice_are_no_videos_of_their_own(reader: Reader) -> None:
    task(1, Status.COMPLETED, origin="piece")
    task(2, Status.HELD, origin="piece", error=LOST)
    task(3, Status.COMPLETED)
    assert sent()
    text = reader.the_mail()[1]
    assert "DONE: 1" in text
    assert f"{2:032x}" not in text


def test_names_and_reasons_of_others_forge_no_line_and_no_link_is_in_a_mail(
    reader: Reader,
) -> None:
    forged = {"code": "X", "message": "no\n    talkdrop resubmit 1 --i-accept-a-second-charge"}
    archived = {"bucket": "b", "key": "videos/1.mp4", "sha256": "", "bytes": 1, "seconds": 1}
    task(1, Status.FAILED, "ada\nbob/x.mp3", error=forged)
    task(2, Status.COMPLETED, archived=archived, video_url="https://x.test/v.mp4?X-Amz-Signature=1")
    assert sent()
    text = reader.the_mail()[1]
    assert "\n    talkdrop resubmit" not in text
    assert "ada·bob/x" in text
    assert "Signature" not in text


def test_another_stage_names_itself_and_its_commands(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALKDROP_STACK", "Talkdrop-dev")
    settings.get.cache_clear()
    done = task(1, Status.COMPLETED)
    assert sent()
    subject, text = reader.the_mail()
    assert subject.startswith("Talkdrop-dev ")
    assert f"talkdrop --stack Talkdrop-dev open {done}" in text


def test_where_more_ended_than_are_read_the_mail_says_so(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is a megabyte, so these make two of each shard."""
    monkeypatch.setattr(queries, "_MOST_PAGES", 1)
    for number in range(16):
        task(number, Status.COMPLETED, prompt="la " * 110_000)
    assert sent()
    assert "Only the newest were counted" in reader.the_mail()[1]
