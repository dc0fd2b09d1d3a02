"""Links that are handed out: how long they live, what they open, and when they are not signed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import httpx
import pytest

from functions import links, settings
from functions.tasks.task import Status
from tests.faults.account import INBOX
from tests.paid.desk import Desk

WEEK = 7 * 24 * 3600


@pytest.fixture
def ends_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[datetime]:
    """Signing credentials that end then, as a role's do."""
    at = datetime.now(UTC) + timedelta(hours=3)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", at.isoformat())
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    settings.forget()
    yield at
    settings.forget()


@pytest.mark.parametrize(
    ("left", "seconds", "is_signed"),
    [
        (3601, 7200, True),
        (3600, 7200, True),
        (3599, 7200, False),
        (5400, 7200, True),
        (1800, 1800, True),
        (1799, 1800, False),
        (1799, 1700, True),
    ],
)
def test_no_link_is_handed_out_that_dies_before_it_is_fetched(
    desk: Desk, ends_at: datetime, left: float, seconds: int, is_signed: bool
) -> None:
    desk.clock.now = ends_at.timestamp() - left
    if is_signed:
        assert "X-Amz-Signature" in links.presign(INBOX, "a.png", "v1", seconds=seconds)
    else:
        with pytest.raises(links.LinkTooShort, match=f"end in {left} s"):
            links.presign(INBOX, "a.png", "v1", seconds=seconds)


@pytest.mark.parametrize(("seconds", "is_signed"), [(0, False), (1, True), (WEEK, True)])
def test_a_link_lives_a_week_at_most(desk: Desk, seconds: int, is_signed: bool) -> None:
    if is_signed:
        url = httpx.URL(links.presign(INBOX, "a b.png", "v1", seconds=seconds))
        assert url.params["X-Amz-Expires"] == str(seconds)
        assert (url.path, url.params["versionId"]) == ("/a b.png", "v1")
        assert url.host == f"{INBOX}.s3.eu-west-1.amazonaws.com"
    for wrong in (0, -1, WEEK + 1):
        with pytest.raises(ValueError, match="between 0 and 168"):
            links.presign(INBOX, "a b.png", "v1", seconds=wrong)


def test_without_a_number_a_link_lives_as_the_option_says(desk: Desk) -> None:
    desk.options(link_hours=2)
    url = httpx.URL(links.presign(INBOX, "a.png", None))
    assert url.params["X-Amz-Expires"] == "7200"
    assert "versionId" not in url.params


def test_a_form_takes_one_object_of_one_type_and_at_most_this_long(desk: Desk) -> None:
    form = links.presign_post(INBOX, "in/a.mp3", "audio/mpeg", length=77, seconds=600)
    assert form["url"].startswith(f"https://{INBOX}.s3.")
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    assert ["content-length-range", 1, 77] in policy["conditions"]
    assert {"Content-Type": "audio/mpeg"} in policy["conditions"]
    assert {"key": "in/a.mp3"} in policy["conditions"]


def test_a_record_that_names_another_attempt_s_callback_is_not_ours(desk: Desk) -> None:
    task = desk.row(Status.SUBMITTED)
    url = f"https://x/callbacks/kie/{task.task_id}/1/k1.mac"
    ours = links.is_callback_url_of
    assert ours(url, "kie", task.task_id, 1)
    assert not ours(url, "kling", task.task_id, 1)
    assert not ours(url, "kie", "b" * 32, 1)
    assert not ours(url, "kie", task.task_id, 2)
    assert not ours(None, "kie", task.task_id, 1)
    assert not ours("", "kie", task.task_id, 1)


def test_a_callback_url_has_our_address_once(desk: Desk) -> None:
    keys = {"current": "k2", "k2": "secret"}
    url = links.callback_url("kie", "a" * 32, 3, keys)
    assert url.startswith(f"https://door.talkdrop.test/callbacks/kie/{'a' * 32}/3/k2.")
    parts = dict(
        zip(
            ("provider", "task_id", "attempt", "signature"),
            url.split("/callbacks/")[1].split("/"),
            strict=True,
        )
    )
    assert links.verify_callback(parts, keys) == links.CallbackRef("kie", "a" * 32, 3)
    for name, wrong in (
        ("provider", "kling"), ("task_id", "b" * 32), ("attempt", "4"),
        ("signature", parts["signature"][:-1]), ("signature", "k2."),
    ):  # fmt: skip
        assert links.verify_callback({**parts, name: wrong}, keys) is None
