"""talkdrop verify: does the archive still hold what was put there?"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import botocore.session
import pytest

from functions import settings
from functions.tasks.task import Status, Task, key_of
from tests.talkdrop.conftest import Account, Person

VIDEO = b"the video"


def folder_of(name: str) -> str:
    return f"videos/2026/03/01/{name.ljust(32, '0')}"


def put(account: Account, key: str, body: bytes) -> dict[str, str]:
    bucket = account.outputs["ArchiveBucket"]
    answer = account.cloud.client("s3").put_object(
        Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256"
    )
    return {"bucket": bucket, "key": key, "version_id": answer["VersionId"], "etag": answer["ETag"]}


def archived(account: Account, name: str, video: bytes = VIDEO, **manifest: object) -> Task:
    """A completed task whose video lies in the archive."""
    manifest_key = f"{folder_of(name)}/manifest.json"
    facts = {
        **put(account, f"{folder_of(name)}/ada.mp4", video), "seconds": 11,
        "sha256": hashlib.sha256(VIDEO).hexdigest(),
        "bytes": 9, "manifest_key": manifest_key,
    }  # fmt: skip
    put(account, manifest_key, json.dumps({"video": {**facts, **manifest}}).encode())
    return account.open(name, status=Status.COMPLETED, archived=facts)


def forget_row(task: Task) -> None:
    key = {"pk": {"S": key_of(task.task_id)}}
    settings.aws("dynamodb").delete_item(TableName=settings.get().table, Key=key)


def test_an_archive_that_agrees_is_verified(account: Account, person: Person) -> None:
    task = archived(account, "f1")
    done = person.types("verify", "--task", task.task_id)
    assert (done.code, done.out) == (0, "1 checked, 1 agree, 0 do not\n")


def test_a_video_that_is_another_is_reported(account: Account, person: Person) -> None:
    task = archived(account, "f2", b"no video.", bytes=10)
    done = person.types("verify", "--task", task.task_id)
    assert done.code == 1
    assert "the video's sha256 is" in done.out
    assert "bytes: the row says 9, the manifest 10" in done.out


def test_a_video_that_was_overwritten_is_reported_though_the_old_version_can_be_read(
    account: Account, person: Person
) -> None:
    task = archived(account, "f3")
    new = put(account, task.archived["key"], b"something else")
    done = person.types("verify", "--task", task.task_id)
    assert done.code == 1
    assert (
        f"current version is {new['version_id']}, the row says {task.archived['version_id']}"
        in done.out
    )
    assert "sha256" not in done.out


def test_a_video_that_was_deleted_is_reported_though_its_version_can_be_read(
    account: Account, person: Person
) -> None:
    task = archived(account, "f4")
    account.cloud.client("s3").delete_object(
        Bucket=task.archived["bucket"], Key=task.archived["key"]
    )
    done = person.types("verify", "--task", task.task_id)
    assert (done.code, "the video is gone" in done.out) == (1, True)


def test_a_damaged_manifest_is_reported_and_the_rest_is_checked(
    account: Account, person: Person
) -> None:
    other = archived(account, "f5", b"no video.")
    damaged = [archived(account, f"f6{number}") for number in range(5)]
    for task, manifest in zip(
        damaged, (b"", b'{"video": {"by', b"[]", b'{"video": {}}', b"\xff"), strict=True
    ):
        put(account, task.archived["manifest_key"], manifest)
    done = person.types("verify")
    assert done.code == 1
    assert f"{other.task_id}: the video's sha256 is" in done.out
    for task in damaged:
        assert f"{task.task_id}: the manifest is damaged" in done.out


def test_a_video_whose_row_has_gone_is_still_checked(account: Account, person: Person) -> None:
    fine, wrong = archived(account, "f7"), archived(account, "f8")
    put(account, wrong.archived["key"], b"something else")
    forget_row(fine)
    forget_row(wrong)
    done = person.types("verify")
    assert folder_of("f7") not in done.out
    assert f"{folder_of('f8')}: the video's current version is" in done.out


def test_a_video_that_nothing_names_is_reported(account: Account, person: Person) -> None:
    put(account, f"{folder_of('f9')}/ada.mp4", VIDEO)
    twice = archived(account, "fa")
    put(account, f"{folder_of('fa')}/bob.mp4", VIDEO)
    forget_row(twice)
    done = person.types("verify")
    assert (
        f"{folder_of('f9')}: neither a row nor a manifest names {folder_of('f9')}/ada.mp4"
        in done.out
    )
    assert f"{folder_of('fa')}: nothing names {folder_of('fa')}/bob.mp4" in done.out


def test_a_later_attempt_without_a_row_is_checked_by_its_own_manifest(
    account: Account, person: Person
) -> None:
    task = archived(account, "fz")
    manifest = account.cloud.client("s3").get_object(
        Bucket=account.outputs["ArchiveBucket"], Key=task.archived["manifest_key"]
    )
    later = json.loads(manifest["Body"].read())
    later["video"] |= {"key": f"{folder_of('fz')}/ada-0a1b2c3d.mp4", "sha256": "0" * 64}
    later["video"]["version_id"] = ""
    put(account, later["video"]["key"], VIDEO)
    put(account, f"{folder_of('fz')}/manifest-0a1b2c3d.json", json.dumps(later).encode())
    forget_row(task)
    done = person.types("verify")
    assert f"{folder_of('fz')}: the video's sha256 is" in done.out
    assert f"{folder_of('fz')}: nothing names" not in done.out


def test_a_video_that_is_just_being_archived_is_no_orphan(account: Account, person: Person) -> None:
    put(account, f"{folder_of('fb')}/ada.mp4", VIDEO)
    account.open("fb", status=Status.ARCHIVING)
    assert folder_of("fb") not in person.types("verify").out


def test_verify_counts_what_it_checks(account: Account, person: Person) -> None:
    before = int(person.types("verify").out.splitlines()[-1].split()[0])
    archived(account, "fc")
    forget_row(archived(account, "fd"))
    assert int(person.types("verify").out.splitlines()[-1].split()[0]) == before + 2


def test_a_copy_that_failed_is_reported(
    account: Account, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 says it in the head of the object; the emulator replicates nothing."""
    task = archived(account, "fe")

    def failed(**answer: Any) -> None:
        answer["parsed"]["ReplicationStatus"] = "FAILED"

    session = botocore.session.get_session()
    session.register("after-call.s3.HeadObject", failed)
    monkeypatch.setattr(botocore.session, "get_session", lambda: session)
    done = person.types("verify", "--task", task.task_id)
    assert (done.code, "ReplicationStatus FAILED" in done.out) == (1, True)
