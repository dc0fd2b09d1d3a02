"""talkdrop erase: a person's data is gone for good, in all versions, and the receipt says it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions import settings
from functions.handlers import intake
from functions.tasks import plans, queries, reuse, table
from functions.tasks.task import Status, Task, job_key
from tests.doors.conftest import CONTEXT, sqs_event
from tests.talkdrop.conftest import Account, Person

FACE, VIDEO = b"\x89PNG a face", b"the video"


def put(account: Account, bucket: str, key: str, body: bytes, **more: Any) -> dict[str, str]:
    answer = account.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body, **more)
    etag = answer["ETag"].strip('"')
    return {"bucket": bucket, "key": key, "version_id": answer["VersionId"], "etag": etag}


def made(account: Account, name: str, folder: str, portrait: dict[str, str], **more: Any) -> Task:
    """A completed task with all that was dropped for it and all that came of it."""
    inbox, archive = account.outputs["InboxBucket"], account.outputs["ArchiveBucket"]
    task_id = name.ljust(32, "0")
    voice = put(account, inbox, f"{folder}hello.mp3", b"a voice " + name.encode())
    put(account, inbox, f"{folder}hello.txt", b"smile")
    home = f"videos/2026/03/01/{task_id}"
    video = put(account, archive, f"{home}/hello.mp4", VIDEO)
    manifest = {"inputs": {"portrait": portrait}, "video": {}}
    put(account, archive, f"{home}/manifest.json", json.dumps(manifest).encode())
    facts: dict[str, Any] = {
        "status": Status.COMPLETED, "stem": "hello", "portrait": portrait, "audio": voice,
        "archived": {**video, "manifest_key": f"{home}/manifest.json"}, "job_id": f"job-{name}",
    }  # fmt: skip
    task = account.open(name, **{**facts, **more})
    table.Update(job_key("kie", f"job-{name}")).set(task_id=task.task_id, attempt=1).run()
    return task


def versions(account: Account, output: str, prefix: str) -> list[str]:
    """Whatever is left under a prefix, hidden or not."""
    found = account.cloud.client("s3").list_object_versions(
        Bucket=account.outputs[output], Prefix=prefix
    )
    return [
        str(one["Key"]) for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, [])
    ]


def face(account: Account, folder: str, name: str = "hello.png", body: bytes = FACE) -> Any:
    return put(account, account.outputs["InboxBucket"], f"{folder}{name}", body)


def test_a_task_is_erased_with_every_version_of_its_files_and_its_rows(
    account: Account, person: Person
) -> None:
    face(account, "e1/", body=b"an older picture")
    task = made(account, "e1", "e1/", face(account, "e1/"))
    inbox = account.outputs["InboxBucket"]
    account.cloud.client("s3").delete_object(Bucket=inbox, Key="e1/hello.png")  # hidden, not gone
    done = person.types("erase", task.task_id, "--yes")
    assert done.code == 0, done.err
    assert versions(account, "InboxBucket", "e1/") == []
    assert versions(account, "ArchiveBucket", f"videos/2026/03/01/{task.task_id}") == []
    assert queries.load(task.task_id) is None
    assert table.read(job_key("kie", "job-e1")) is None


def test_a_long_voice_is_erased_with_its_pieces(account: Account, person: Person) -> None:
    inbox, archive = account.outputs["InboxBucket"], account.outputs["ArchiveBucket"]
    plan = {"bucket": inbox, "key": "plan.json", "version_id": "v", "pieces": 1}
    whole = made(
        account, "e9", "e9/", face(account, "e9/"), candidates=("infinitalk/from-audio",),
        plan=plan, long_voice="split",
    )  # fmt: skip
    (piece_id,) = plans.ids_of_pieces(whole)
    voice = put(account, inbox, f"{plans.FOLDER}{whole.task_id}/1/001.wav", b"a piece")
    put(account, archive, f"pieces/{whole.task_id}/{piece_id}/e9-001.mp4", VIDEO)
    account.open(
        piece_id, status=Status.COMPLETED, parent=whole.task_id, audio=voice, content_key="c0"
    )
    reuse.keep(queries.load_many([piece_id])[0])
    reuse.remember(whole)
    done = person.types("erase", whole.task_id, "--yes")
    assert done.code == 0, done.err
    for pk in (reuse.made_key("c0"), reuse.voice_key(whole)):
        assert "task_id" not in (table.read(pk) or {})
    assert versions(account, "InboxBucket", plans.FOLDER + whole.task_id) == []
    assert versions(account, "ArchiveBucket", f"pieces/{whole.task_id}") == []
    assert queries.load(piece_id) is None
    assert queries.load(whole.task_id) is None


def test_what_another_person_may_reuse_is_not_forgotten_with_this_one(
    account: Account, person: Person
) -> None:
    task = made(account, "e12", "e12/", face(account, "e12/"), content_key="c1")
    table.Update(reuse.made_key("c1")).set(task_id="another").run()
    assert person.types("erase", task.task_id, "--yes").code == 0
    assert (table.read(reuse.made_key("c1")) or {})["task_id"] == "another"


def test_the_receipt_says_what_went_when_by_whom_and_what_is_out_of_reach(
    account: Account, person: Person
) -> None:
    task = made(account, "e2", "e2/", face(account, "e2/"))
    done = person.types("erase", task.task_id, "--yes", "--json")
    receipt = json.loads(done.out)
    assert receipt["tasks"] == [task.task_id]
    erased = {one["key"]: one for one in receipt["versions"]}
    assert set(erased) == {
        "e2/hello.mp3", "e2/hello.png", "e2/hello.txt",
        f"videos/2026/03/01/{task.task_id}/hello.mp4",
        f"videos/2026/03/01/{task.task_id}/manifest.json",
    }  # fmt: skip
    assert erased["e2/hello.png"]["version_id"] == task.portrait["version_id"]
    assert receipt["at"] <= erased["e2/hello.png"]["at"]
    assert receipt["by"].startswith("arn:aws:")
    assert any("kie keeps job job-e2" in line for line in receipt["remains"])
    assert any("backups of the table" in line for line in receipt["remains"])


def test_a_dry_run_and_a_question_without_an_answer_erase_nothing(
    account: Account, person: Person
) -> None:
    task = made(account, "e3", "e3/", face(account, "e3/"))
    shown = person.types("erase", task.task_id, "--dry-run")
    assert shown.code == 0
    assert f"s3://{account.outputs['InboxBucket']}/e3/hello.png" in shown.out
    listed = json.loads(person.types("erase", task.task_id, "--dry-run", "--json").out)
    assert len(listed["versions"]) == 5
    unanswered = person.types("erase", task.task_id)
    assert (unanswered.code, "--yes" in unanswered.err) == (1, True)
    assert queries.load(task.task_id)
    assert len(versions(account, "InboxBucket", "e3/")) == 3


def test_a_portrait_that_others_share_stays_and_says_how_to_erase_it(
    account: Account, person: Person
) -> None:
    shared = face(account, "e4/", "portrait.png")
    one = made(account, "e4", "e4/", shared)
    done = person.types("erase", one.task_id, "--yes")
    assert done.code == 0
    assert "talkdrop erase --portrait e4/portrait.png" in done.out
    assert versions(account, "InboxBucket", "e4/") == ["e4/portrait.png"]


def test_all_that_was_made_of_a_portrait_is_erased_by_its_key(
    account: Account, person: Person
) -> None:
    shared = face(account, "e5/", "portrait.png", b"the face of e5")
    copy = face(account, f"_talkdrop/{'e51'.ljust(32, '0')}/", "portrait-x.png", b"the face of e5")
    other = made(account, "e52", "e52/", face(account, "e52/", body=b"somebody else"))
    tasks = [made(account, "e50", "e5/", shared), made(account, "e51", "e51/", copy, origin="api")]
    done = person.types("erase", "--portrait", "e5/portrait.png", "--yes")
    assert done.code == 0, done.err
    assert [queries.load(task.task_id) for task in tasks] == [None, None]
    assert versions(account, "InboxBucket", "e5/") == []
    assert versions(account, "InboxBucket", "_talkdrop/e51") == []
    assert queries.load(other.task_id)
    assert len(versions(account, "InboxBucket", "e52/")) == 3


def test_a_portrait_is_found_by_the_sha256_of_its_content_and_not_by_the_place_it_lay(
    account: Account, person: Person
) -> None:
    body = b"the face of e6"
    mine = made(account, "e60", "e6/", face(account, "e6/", body=body))
    # Another person's picture under the same name, later.
    other = made(account, "e61", "e6/", face(account, "e6/", body=b"somebody else of e6"))
    sha256 = hashlib.sha256(body).hexdigest()
    done = person.types("erase", "--portrait", sha256, "--yes")
    assert done.code == 0, done.err
    assert queries.load(mine.task_id) is None
    assert queries.load(other.task_id)
    assert person.types("erase", "--portrait", sha256, "--yes").code == 1  # nothing is left of it


def test_a_video_whose_row_has_gone_is_erased_by_portrait_and_by_its_whole_id(
    account: Account, person: Person
) -> None:
    portrait = face(account, "e7/", body=b"the face of e7")
    old, older = (made(account, name, "e7/", portrait) for name in ("e70", "e71"))
    for task in (old, older):
        key = {"pk": {"S": f"task#{task.task_id}"}}
        settings.aws("dynamodb").delete_item(TableName=settings.get().table, Key=key)
    assert person.types("erase", old.task_id, "--yes").code == 0
    assert versions(account, "ArchiveBucket", f"videos/2026/03/01/{old.task_id}") == []
    assert person.types("erase", "--portrait", "e7/hello.png", "--yes").code == 0
    assert versions(account, "ArchiveBucket", f"videos/2026/03/01/{older.task_id}") == []


@pytest.mark.parametrize("status", [Status.SUBMITTED, Status.ARCHIVING, Status.HELD])
def test_what_is_under_way_is_not_erased_since_it_is_paid_for(
    account: Account, person: Person, status: Status
) -> None:
    folder = f"e8{status.lower()}/"
    name = f"e8{'abc'[[Status.SUBMITTED, Status.ARCHIVING, Status.HELD].index(status)]}"
    task = made(account, name, folder, face(account, folder), status=status)
    done = person.types("erase", task.task_id, "--yes")
    assert done.code == 1
    assert f"is {status}" in done.err
    assert len(versions(account, "InboxBucket", folder)) == 3


def test_what_waits_is_cancelled_first_so_that_it_is_not_paid_for(
    account: Account, person: Person
) -> None:
    task = made(
        account, "e9", "e9/", face(account, "e9/"), status=Status.READY, intended_at="", job_id=""
    )
    assert person.types("erase", task.task_id, "--yes").code == 0
    assert queries.load(task.task_id) is None


def test_a_version_under_object_lock_is_hidden_and_the_receipt_says_until_when(
    account: Account, person: Person
) -> None:
    s3, archive = account.cloud.client("s3"), account.outputs["ArchiveBucket"]
    s3.put_object_lock_configuration(
        Bucket=archive, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    task = made(account, "ea", "ea/", face(account, "ea/"))
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    key = task.archived["key"]
    retention: Any = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    s3.put_object_retention(
        Bucket=archive, Key=key, VersionId=task.archived["version_id"], Retention=retention
    )
    done = person.types("erase", task.task_id, "--yes", "--json")
    (kept,) = json.loads(done.out)["locked"]
    assert (done.code, kept["key"]) == (1, key)
    assert kept["until"][:19] == until.isoformat()[:19]
    assert not s3.list_objects_v2(Bucket=archive, Prefix=key).get("Contents")
    # By its id it is found again, though it is hidden and its row has gone.
    assert person.types("erase", task.task_id, "--yes", "--bypass-lock").code == 0
    assert versions(account, "ArchiveBucket", key) == []


def test_copies_in_the_replica_are_erased_too(account: Account, person: Person) -> None:
    s3 = account.cloud.client("s3")
    archive = account.outputs["ArchiveBucket"]
    s3.create_bucket(
        Bucket="the-replica", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    s3.put_bucket_versioning(Bucket="the-replica", VersioningConfiguration={"Status": "Enabled"})
    rule = {
        "ID": "replica", "Status": "Enabled", "Prefix": "",
        "Destination": {"Bucket": "arn:aws:s3:::the-replica"},
    }  # fmt: skip
    s3.put_bucket_replication(
        Bucket=archive,
        ReplicationConfiguration={"Role": "arn:aws:iam::000000000000:role/r", "Rules": [rule]},
    )
    try:
        task = made(account, "eb", "eb/", face(account, "eb/"))
        put(account, "the-replica", f"videos/2026/03/01/{task.task_id}/hello.mp4", VIDEO)
        done = person.types("erase", task.task_id, "--yes", "--json")
        assert done.code == 0, done.err
        assert "the-replica" in {one["bucket"] for one in json.loads(done.out)["versions"]}
        assert not s3.list_object_versions(Bucket="the-replica").get("Versions")
    finally:
        s3.delete_bucket_replication(Bucket=archive)


def test_an_event_that_comes_again_after_the_erasure_opens_nothing(
    account: Account, person: Person
) -> None:
    """The voice is gone before its row is: nothing may take it for forgotten and pay again."""
    task = made(account, "ec", "ec/", face(account, "ec/"))
    assert person.types("erase", task.task_id, "--yes").code == 0
    message = {"audio": {"bucket": account.outputs["InboxBucket"], "key": "ec/hello.mp3"}}
    answer = intake.handler(sqs_event(message), CONTEXT)
    assert answer == {"batchItemFailures": []}
    # The queue is shared: calls of other tests' tasks may still lie in it.
    assert task.task_id not in {one["task_id"] for one in account.submissions()}
    assert [one for one in queries.page(None)[0] if one.audio.get("key") == "ec/hello.mp3"] == []


def test_either_a_task_or_a_portrait_is_named(person: Person) -> None:
    for words in ((), ("5f3a", "--portrait", "x.png")):
        done = person.types("erase", *words, "--yes")
        assert (done.code, "--portrait" in done.err) == (1, True)
    assert person.types("erase", "0" * 32, "--yes").code == 1
