"""A person asks whether the archive still holds what was put there."""

from __future__ import annotations

import hashlib
import json

from functions import settings
from functions.tasks.task import Status, Task, key_of
from tests.talkdrop.conftest import Person, Town

VIDEO = b"the video"


def folder_of(name: str) -> str:
    return f"videos/2026/03/01/{name.ljust(32, '0')}"


def put(town: Town, key: str, body: bytes) -> dict[str, str]:
    bucket = town.outputs["ArchiveBucket"]
    answer = town.cloud.client("s3").put_object(
        Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256"
    )
    return {"bucket": bucket, "key": key, "version_id": answer["VersionId"], "etag": answer["ETag"]}


def archived(town: Town, name: str, video: bytes = VIDEO, **manifest: object) -> Task:
    """A completed task whose video lies in the archive."""
    manifest_key = f"{folder_of(name)}/manifest.json"
    facts = {
        **put(town, f"{folder_of(name)}/ada.mp4", video), "seconds": 11,
        "sha256": hashlib.sha256(VIDEO).hexdigest(),
        "bytes": 9, "manifest_key": manifest_key,
    }  # fmt: skip
    put(town, manifest_key, json.dumps({"video": {**facts, **manifest}}).encode())
    return town.open(name, status=Status.COMPLETED, archived=facts)


def forget_row(task: Task) -> None:
    key = {"pk": {"S": key_of(task.task_id)}}
    settings.aws("dynamodb").delete_item(TableName=settings.get().table, Key=key)


def test_an_archive_that_agrees_is_verified(town: Town, person: Person) -> None:
    task = archived(town, "f1")
    said = person.types("verify", "--task", task.task_id)
    assert (said.code, said.out) == (0, "1 looked at, 1 agree, 0 do not\n")


def test_a_video_that_is_another_is_told(town: Town, person: Person) -> None:
    task = archived(town, "f2", b"no video.", bytes=10)
    said = person.types("verify", "--task", task.task_id)
    assert said.code == 1
    assert "the video's sha256 is" in said.out
    assert "bytes: the row says 9, the manifest 10" in said.out


def test_a_video_that_was_overwritten_is_told_though_the_old_version_can_be_read(
    town: Town, person: Person
) -> None:
    task = archived(town, "f3")
    new = put(town, task.archived["key"], b"something else")
    said = person.types("verify", "--task", task.task_id)
    assert said.code == 1
    assert (
        f"current version is {new['version_id']}, the row says {task.archived['version_id']}"
        in said.out
    )
    assert "sha256" not in said.out


def test_a_video_that_was_deleted_is_told_though_its_version_can_be_read(
    town: Town, person: Person
) -> None:
    task = archived(town, "f4")
    town.cloud.client("s3").delete_object(Bucket=task.archived["bucket"], Key=task.archived["key"])
    said = person.types("verify", "--task", task.task_id)
    assert (said.code, "the video is gone" in said.out) == (1, True)


def test_a_damaged_manifest_is_told_and_the_rest_is_looked_at(town: Town, person: Person) -> None:
    other = archived(town, "f5", b"no video.")
    damaged = [archived(town, f"f6{number}") for number in range(5)]
    for task, manifest in zip(
        damaged, (b"", b'{"video": {"by', b"[]", b'{"video": {}}', b"\xff"), strict=True
    ):
        put(town, task.archived["manifest_key"], manifest)
    said = person.types("verify")
    assert said.code == 1
    assert f"{other.task_id}: the video's sha256 is" in said.out
    for task in damaged:
        assert f"{task.task_id}: the manifest is damaged" in said.out


def test_a_video_whose_row_has_gone_is_still_looked_at(town: Town, person: Person) -> None:
    fine, wrong = archived(town, "f7"), archived(town, "f8")
    put(town, wrong.archived["key"], b"something else")
    forget_row(fine)
    forget_row(wrong)
    said = person.types("verify")
    assert folder_of("f7") not in said.out
    assert f"{folder_of('f8')}: the video's current version is" in said.out


def test_a_video_that_nothing_tells_of_is_told(town: Town, person: Person) -> None:
    put(town, f"{folder_of('f9')}/ada.mp4", VIDEO)
    twice = archived(town, "fa")
    put(town, f"{folder_of('fa')}/bob.mp4", VIDEO)
    forget_row(twice)
    said = person.types("verify")
    assert (
        f"{folder_of('f9')}: neither a row nor a manifest tells of {folder_of('f9')}/ada.mp4"
        in said.out
    )
    assert f"{folder_of('fa')}: nothing tells of {folder_of('fa')}/bob.mp4" in said.out


def test_a_video_that_is_just_being_archived_is_no_orphan(town: Town, person: Person) -> None:
    put(town, f"{folder_of('fb')}/ada.mp4", VIDEO)
    town.open("fb", status=Status.ARCHIVING)
    assert folder_of("fb") not in person.types("verify").out


def test_verify_counts_what_it_looks_at(town: Town, person: Person) -> None:
    before = int(person.types("verify").out.splitlines()[-1].split()[0])
    archived(town, "fc")
    forget_row(archived(town, "fd"))
    assert int(person.types("verify").out.splitlines()[-1].split()[0]) == before + 2
