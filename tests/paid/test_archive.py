"""The archive's door: which task is archived, what proves its video, and what is written of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from functions.tasks import table
from functions.tasks.task import Status, Task
from functions.videos import manifest
from tests.faults import wires
from tests.faults.account import ARCHIVE
from tests.faults.jobs import mp4
from tests.faults.sockets import RESULTS_HOST
from tests.paid.desk import Desk

PATH = "/k/video.mp4"
NOTHING = {"next": "settle", "archived": {}}


def archiving(desk: Desk, seconds: int = 12, voice: Any = 12, **facts: Any) -> Task:
    """A task whose video of so many seconds lies at the provider, for a voice of so many."""
    desk.videos[PATH] = mp4(b"a film", seconds)
    given = {
        "video_url": f"http://{RESULTS_HOST}{PATH}", "trusted_host": RESULTS_HOST,
        "archiving_since": table.stamp(table.now()), **facts,
    }  # fmt: skip
    status = given.pop("status", Status.ARCHIVING)
    task = desk.row(status, **desk.sent(**given))
    return desk.note(task.task_id, audio={**task.audio, "seconds": voice})


def archive(desk: Desk, task: Task, **changes: Any) -> dict[str, Any]:
    event = {"task_id": task.task_id, "attempt": task.attempt, **changes}
    answer: dict[str, Any] = desk.invoke("archive", event)
    return answer


@pytest.mark.parametrize("status", [Status.ARCHIVING, Status.HELD])
def test_a_video_is_archived_with_what_is_known_of_it(desk: Desk, status: Status) -> None:
    task = archiving(desk, status=status)
    answer = archive(desk, task)
    assert answer["next"] == "settle"
    key = f"videos/2026/03/01/{task.task_id}/hello-1.mp4"
    stored = desk.account.buckets.latest(ARCHIVE, key)
    assert stored is not None
    assert stored.body == desk.videos[PATH]
    video = answer["archived"]
    manifest = f"videos/2026/03/01/{task.task_id}/manifest.json"
    assert {name: video[name] for name in ("bucket", "key", "bytes", "manifest_key")} == {
        "bucket": ARCHIVE, "key": key, "bytes": len(stored.body), "manifest_key": manifest,
    }  # fmt: skip
    assert (video["version_id"], video["etag"]) == (stored.version_id, stored.etag)
    assert (video["seconds"], video["ai_generated"]) == (12, True)
    assert "warning" not in video
    assert desk.account.buckets.latest(ARCHIVE, manifest) is not None


@pytest.mark.parametrize(
    "facts",
    [
        {"status": Status.COMPLETED},
        {"status": Status.FAILED},
        {"status": Status.HELD, "video_url": ""},
        {"status": Status.HELD, "archiving_since": ""},
    ],
)
def test_a_task_that_wants_no_archive_has_none(desk: Desk, facts: dict[str, Any]) -> None:
    assert archive(desk, archiving(desk, **facts)) == NOTHING
    assert desk.calls("HeadObject") == []


def test_a_copy_of_a_job_that_was_corrected_meanwhile_does_not_complete_the_task(
    desk: Desk,
) -> None:
    """It lay in the archive, or was still being written, when a person named the right job."""
    wrong = archiving(desk, status=Status.HELD, adopted_by="ada")
    stale = archive(desk, wrong)["archived"]
    desk.videos[PATH] = mp4(b"the right film", 12)
    task = desk.note(wrong.task_id, job_id="the-right-one", status=Status.ARCHIVING.value)
    event = {"task_id": task.task_id, "attempt": 1, "archived": stale}
    assert desk.invoke("settle", event) == {"next": "done"}
    assert desk.task(task.task_id).status is Status.ARCHIVING
    right = archive(desk, task)["archived"]
    assert right["key"] != stale["key"]
    desk.invoke("settle", {**event, "archived": right})
    after = desk.task(task.task_id)
    assert (after.status, after.archived["key"]) == (Status.COMPLETED, right["key"])
    assert "job_id" not in after.archived
    stored = desk.account.buckets.latest(ARCHIVE, right["key"])
    assert stored is not None
    assert stored.body == desk.videos[PATH]


def test_a_later_attempt_does_not_take_the_video_of_the_one_before(desk: Desk) -> None:
    first = archiving(desk, status=Status.HELD)
    stale = archive(desk, first)["archived"]
    second = desk.note(first.task_id, attempt=2, job_id="the-second")
    found = archive(desk, second)["archived"]
    assert found["key"] != stale["key"]
    assert found["manifest_key"] != stale["manifest_key"]


def test_a_task_whose_job_runs_is_given_back_to_be_watched(desk: Desk) -> None:
    """A function of the version before ended the wait in the way of its own."""
    task = archiving(desk, status=Status.SUBMITTED)
    with pytest.raises(Exception, match="has not ended"):
        archive(desk, task)
    assert archive(desk, task, attempt=task.attempt + 1) == NOTHING


def test_another_attempt_and_a_task_that_is_gone_have_none(desk: Desk) -> None:
    task = archiving(desk)
    assert archive(desk, task, attempt=2) == NOTHING
    assert archive(desk, task, task_id="b" * 32) == NOTHING


def test_the_same_task_archived_again_has_the_same_answer(desk: Desk) -> None:
    task = archiving(desk)
    first = archive(desk, task)
    desk.videos.clear()
    assert archive(desk, task) == first


@pytest.mark.parametrize(
    ("seconds", "voice", "is_taken"),
    [
        (5, 12, True),
        (4, 12, False),
        (34, 12, True),
        (35, 12, False),
        (12, Decimal("12.4"), True),
        (100, 0, True),
        (100, None, True),
        (40, 15, True),
        (41, 15, False),
    ],
)
def test_a_video_is_as_long_as_its_voice_lets_it_be(
    desk: Desk, seconds: int, voice: Any, is_taken: bool
) -> None:
    task = archiving(desk, seconds, voice)
    if is_taken:
        assert archive(desk, task)["archived"]["seconds"] == seconds
        return
    with pytest.raises(Exception, match=f"it lasts {seconds}.0 s for a voice of"):
        archive(desk, task)
    assert ARCHIVE not in desk.account.buckets.versions


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(10, ""), (11, ""), (9, ""), (12, "20 % longer"), (8, "20 % shorter"), (30, "200 % longer")],
)
def test_a_video_that_is_notably_longer_or_shorter_has_a_warning(
    desk: Desk, seconds: int, words: str
) -> None:
    video = archive(desk, archiving(desk, seconds, voice=10))["archived"]
    assert (words in video.get("warning", "")) if words else ("warning" not in video)


def test_a_voice_that_is_not_known_warns_of_nothing(desk: Desk) -> None:
    assert "warning" not in archive(desk, archiving(desk, 99, voice=0))["archived"]


def test_what_is_no_video_is_never_seen(desk: Desk) -> None:
    task = archiving(desk)
    desk.videos[PATH] = b"<html>not here</html>" * 99
    with pytest.raises(Exception, match=r"."):
        archive(desk, task)
    assert ARCHIVE not in desk.account.buckets.versions


def test_an_object_says_whose_it_is_without_its_manifest(desk: Desk) -> None:
    task = archiving(desk)
    seen: list[dict[str, Any]] = []

    put = wires._put_streamed

    def streamed(client: Any, parameters: dict[str, Any]) -> Any:
        seen.append(parameters)
        return put(client, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wires, "_put_streamed", streamed)
        archive(desk, task)
    (given,) = seen
    assert given["ContentType"] == "video/mp4"
    assert given["IfNoneMatch"] == "*"
    metadata = given["Metadata"]
    assert metadata["task-id"] == task.task_id
    assert (metadata["provider"], metadata["model"]) == ("kie", "infinitalk/from-audio")
    assert metadata["job-id"] == task.job_id
    assert metadata["source-key"] == "in/hello-1.wav"
    tags = dict(parse_qsl(given["Tagging"]))
    assert tags == {
        "provider": "kie", "model": "infinitalk/from-audio", "source": "in/hello-1.wav",
        "ai_generated": "true",
    }  # fmt: skip


def test_a_manifest_is_a_document_of_the_task(desk: Desk) -> None:
    consent = {"by": "ada", "text": "yes"}
    task = archiving(
        desk, prompt="Smile", settings={"resolution": "720p"}, watermark="left", consent=consent,
        charge_usd=0.5,
    )  # fmt: skip
    video = archive(desk, task)["archived"]
    stored = desk.account.buckets.latest(ARCHIVE, video["manifest_key"])
    assert stored is not None
    facts = json.loads(stored.body)
    inputs = facts.pop("inputs")
    assert inputs == {"portrait": dict(task.portrait), "audio": {**task.audio, "seconds": 12}}
    del facts["video"], facts["archived_at"]
    assert facts == {
        "schema": 1, "task_id": task.task_id, "attempt": 1, "provider": "kie",
        "model": "infinitalk/from-audio", "job_id": task.job_id, "prompt": "Smile",
        "settings": {"resolution": "720p"}, "ai_generated": True,
        "digital_source_type": manifest.AI_MARKS["digital-source-type"], "watermark": "left",
        "consent": consent, "stem": "in/hello-1", "charge_usd": 0.5,
        "created_at": task.created_at, "submitted_at": task.submitted_at,
    }  # fmt: skip
    assert video["sha256"] in stored.body.decode()
