"""A video in parts: where its length is not known or one invocation is too short for it, and what
is gone on from."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from functions.download.download import SourceUnreachable
from functions.handlers.archive import HandOver
from functions.tasks.task import Task
from functions.videos import multipart, paths
from functions.videos.bucket import ArchiveUnavailable
from tests.faults.account import ARCHIVE
from tests.faults.jobs import mp4
from tests.faults.sockets import PutSocket
from tests.paid.desk import Desk
from tests.paid.test_archive import PATH, archiving

PART = 8 << 20
FILM = mp4(b"0123456789abcdef" * (1 << 20), 12)  # 16 MiB and some boxes: three parts
SMALL = mp4(b"a film", 12)
V1 = '"v1"'


def filmed(desk: Desk, content: bytes = FILM) -> Task:
    task = archiving(desk)
    desk.videos[PATH] = content
    return task


def run(desk: Desk, task: Task, seconds: float = 900) -> dict[str, Any]:
    """One invocation of so many seconds."""
    ends = desk.clock.now + seconds
    event = {"task_id": task.task_id, "attempt": task.attempt}
    return dict(desk.invoke("archive", event, milliseconds=[round((ends - desk.clock.now) * 1000)]))


def begun(desk: Desk, task: Task, content: bytes = FILM, parts: int = 2, size: int = PART) -> str:
    """An upload that an earlier invocation left open, with so many parts."""
    path = paths.of(task)
    buckets = desk.account.buckets
    upload_id = buckets.create_multipart_upload(path.bucket, path.key)["UploadId"]
    for number in range(1, parts + 1):
        piece = content[(number - 1) * size : number * size]
        buckets.upload_part(upload_id, number, piece, multipart.checksum_of(piece))
    return str(upload_id)


def ranges(desk: Desk) -> list[int]:
    """The numbers of the parts that were uploaded."""
    return [call["PartNumber"] for call in desk.calls("UploadPart")]


def is_whole(desk: Desk, answer: dict[str, Any], content: bytes = FILM) -> bool:
    video = answer["archived"]
    stored = desk.account.buckets.latest(ARCHIVE, video["key"])
    assert stored is not None
    assert (answer["next"], video["bytes"], video["seconds"]) == ("settle", len(content), 12)
    assert video["sha256"] == hashlib.sha256(content).hexdigest()
    return stored.body == content and desk.account.buckets.uploads == {}


def test_a_video_of_unknown_length_goes_in_parts_of_eight_mebibytes(desk: Desk) -> None:
    desk.source(is_chunked=True)
    task = filmed(desk)
    assert is_whole(desk, run(desk, task))
    assert [len(call["Body"]) for call in desk.calls("UploadPart")] == [
        PART, PART, len(FILM) - 2 * PART,
    ]  # fmt: skip
    (created,) = desk.calls("CreateMultipartUpload")
    assert (created["ChecksumAlgorithm"], created["ChecksumType"]) == ("SHA256", "COMPOSITE")
    assert created["Metadata"]["task-id"] == task.task_id
    (completed,) = desk.calls("CompleteMultipartUpload")
    assert (completed["IfNoneMatch"], completed["MpuObjectSize"]) == ("*", len(FILM))


def test_a_video_that_fits_is_one_request_and_no_upload_is_looked_for(desk: Desk) -> None:
    task = filmed(desk)
    assert is_whole(desk, run(desk, task))
    assert desk.calls("ListMultipartUploads") == desk.calls("UploadPart") == []


def test_where_time_is_short_an_open_upload_is_looked_for_first(desk: Desk) -> None:
    desk.source(etag=V1)
    task = filmed(desk)
    begun(desk, task)
    assert is_whole(desk, run(desk, task, seconds=60))
    assert ranges(desk) == [3]
    assert desk.calls("CreateMultipartUpload") == []


def test_the_slowest_source_in_time_needs_no_parts_though_some_are_there(desk: Desk) -> None:
    desk.source(etag=V1)
    task = filmed(desk)
    begun(desk, task)
    run(desk, task, seconds=20 + len(FILM) / 50_000 + 1)
    assert ranges(desk) == []


def test_parts_of_another_file_are_thrown_away(desk: Desk) -> None:
    desk.source(etag=V1)
    task = filmed(desk)
    old = begun(desk, task, FILM[:PART] + bytes(len(FILM) - PART))
    assert is_whole(desk, run(desk, task, seconds=60))
    assert [call["UploadId"] for call in desk.calls("AbortMultipartUpload")] == [old]
    assert ranges(desk) == [1, 2, 3]


def test_a_source_without_ranges_begins_anew(desk: Desk) -> None:
    task = filmed(desk)
    begun(desk, task)
    assert is_whole(desk, run(desk, task, seconds=60))
    assert ranges(desk) == [1, 2, 3]


@pytest.mark.parametrize("parts", [1, 3])
def test_the_only_part_and_a_whole_file_are_gone_on_from(desk: Desk, parts: int) -> None:
    desk.source(etag=V1)
    content = FILM if parts == 1 else mp4(bytes(3 * PART - len(mp4(b"", 12))), 12)
    task = filmed(desk, content)
    begun(desk, task, content, parts)
    assert is_whole(desk, run(desk, task, seconds=60), content)
    assert ranges(desk) == ([2, 3] if parts == 1 else [3])  # the last is sent once more


@pytest.mark.parametrize(
    ("numbers", "size", "sent"), [((1, 3), PART, [2, 3]), ((2, 3), PART, [1, 2, 3])]
)
def test_only_whole_parts_without_a_gap_are_gone_on_from(
    desk: Desk, numbers: tuple[int, ...], size: int, sent: list[int]
) -> None:
    desk.source(etag=V1)
    task = filmed(desk)
    upload = desk.account.buckets.uploads[begun(desk, task, parts=3)]
    upload.parts = {number: upload.parts[number] for number in numbers}
    assert is_whole(desk, run(desk, task, seconds=60))
    assert ranges(desk) == sent


def test_a_small_part_is_none_to_go_on_from(desk: Desk) -> None:
    desk.source(etag=V1)
    task = filmed(desk)
    begun(desk, task, parts=2, size=PART - 1)
    assert is_whole(desk, run(desk, task, seconds=60))
    assert ranges(desk) == [1, 2, 3]


def test_the_newest_of_its_own_uploads_is_gone_on_from(desk: Desk) -> None:
    desk.source(etag=V1)
    task = filmed(desk)
    begun(desk, task, parts=0)
    desk.wait(1)
    newest = begun(desk, task)
    desk.wait(1)
    path = paths.of(task)
    desk.account.buckets.create_multipart_upload(path.bucket, path.key + ".other")
    run(desk, task, seconds=60)
    (completed,) = desk.calls("CompleteMultipartUpload")
    assert completed["UploadId"] == newest


def test_a_video_that_is_too_slow_for_one_request_is_handed_over_in_parts(desk: Desk) -> None:
    desk.source(etag=V1, speed=100_000)  # 168 s in all
    task = filmed(desk)
    with pytest.raises(HandOver, match="8388608 bytes are there"):
        run(desk, task, seconds=120)
    assert ranges(desk) == [1]
    desk.source(etag=V1)
    assert is_whole(desk, run(desk, task, seconds=120))
    assert ranges(desk) == [1, 2, 3]


def test_a_slow_source_that_cannot_be_gone_on_from_is_an_error(desk: Desk) -> None:
    desk.source(speed=100_000)
    task = filmed(desk)
    for _ in range(2):
        with pytest.raises(SourceUnreachable, match="the time for this download is up"):
            run(desk, task, seconds=120)
    assert desk.calls("CreateMultipartUpload") == []
    assert ARCHIVE not in desk.account.buckets.versions


def test_what_s3_answers_once_it_has_all_the_bytes_stands(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.source(etag=V1)
    task = filmed(desk)
    monkeypatch.setattr(PutSocket, "_put", lambda _: (503, "Slow Down"))
    with pytest.raises(ArchiveUnavailable, match="S3 answered PutObject with"):
        run(desk, task)
    assert desk.calls("CreateMultipartUpload") == []


def test_what_is_no_video_leaves_no_upload(desk: Desk) -> None:
    desk.source(is_chunked=True)
    task = filmed(desk, b"<html>" * 9_000)
    with pytest.raises(Exception, match=r"."):
        run(desk, task)
    assert desk.account.buckets.uploads == {}
    assert ARCHIVE not in desk.account.buckets.versions


def test_another_invocation_that_was_first_is_the_one(desk: Desk) -> None:
    desk.source(is_chunked=True)
    task = filmed(desk, SMALL)
    path = paths.of(task)
    first = lambda: desk.account.buckets.put(path.bucket, path.key, SMALL)  # noqa: E731
    desk.before("CompleteMultipartUpload", first)
    assert is_whole(desk, run(desk, task), SMALL)
    assert len(desk.account.buckets.versions[ARCHIVE][path.key]) == 1


def test_an_upload_that_is_gone_already_needs_no_end(desk: Desk) -> None:
    desk.source(is_chunked=True)
    task = filmed(desk, SMALL)
    path = paths.of(task)

    def first() -> None:
        desk.account.buckets.put(path.bucket, path.key, SMALL)
        desk.before("AbortMultipartUpload", desk.account.buckets.uploads.clear)

    desk.before("CompleteMultipartUpload", first)
    assert is_whole(desk, run(desk, task), SMALL)


def test_an_upload_that_cannot_be_ended_is_an_error(desk: Desk) -> None:
    desk.source(is_chunked=True)
    task = filmed(desk, b"<html>" * 9_000)
    desk.refuse("AbortMultipartUpload")
    with pytest.raises(
        Exception, match="S3 answered AbortMultipartUpload with InternalServerError"
    ):
        run(desk, task)


def test_a_part_that_s3_stored_otherwise_is_an_error(desk: Desk) -> None:
    desk.source(is_chunked=True)
    task = filmed(desk, SMALL)
    desk.instead("UploadPart", lambda _: {"ETag": "e", "ChecksumSHA256": "another"})
    with pytest.raises(Exception, match="S3 stored another part 1 than it was sent"):
        run(desk, task)


# What lies there without its manifest is read once more.


@pytest.mark.parametrize("in_parts", [False, True])
def test_what_an_earlier_invocation_uploaded_is_read_once_more(desk: Desk, in_parts: bool) -> None:
    desk.source(is_chunked=in_parts)
    task = filmed(desk)
    first = run(desk, task)
    desk.account.buckets.remove(ARCHIVE, first["archived"]["manifest_key"], whole=True)
    desk.videos.clear()
    again = run(desk, task)
    assert again == first


@pytest.mark.parametrize(
    ("where", "in_parts"), [(-1, False), (1000, True), (9 << 20, True), (-1, True)]
)
def test_bytes_that_are_not_those_of_the_checksum_are_refused(
    desk: Desk, where: int, in_parts: bool
) -> None:
    desk.source(is_chunked=in_parts)
    task = filmed(desk)
    first = run(desk, task)["archived"]
    desk.account.buckets.remove(ARCHIVE, first["manifest_key"], whole=True)
    (stored,) = desk.account.buckets.versions[ARCHIVE][first["key"]]
    assert stored is not None
    changed = bytearray(stored.body)
    changed[where] ^= 1
    damaged = type(stored)(
        stored.key, stored.version_id, bytes(changed), stored.at, stored.checksum
    )
    desk.account.buckets.versions[ARCHIVE][first["key"]] = [damaged]
    with pytest.raises(Exception, match="other bytes than S3's checksum is of"):
        run(desk, task)


@pytest.mark.parametrize("checksum", ["another-7", ""])
def test_a_checksum_of_other_parts_or_none_speaks_against_nothing(
    desk: Desk, checksum: str
) -> None:
    task = filmed(desk, SMALL)
    first = run(desk, task)["archived"]
    desk.account.buckets.remove(ARCHIVE, first["manifest_key"], whole=True)
    real = desk.account.buckets.head_object

    def head(call: dict[str, Any]) -> Any:
        given = {name: value for name, value in call.items() if name != "ChecksumMode"}
        return {**real(**given), "ChecksumSHA256": checksum}

    desk.instead("HeadObject", head)
    assert run(desk, task)["archived"]["sha256"] == first["sha256"]


def test_what_takes_longer_to_read_than_there_is_time_is_left_to_the_next(desk: Desk) -> None:
    """Forty mebibytes a second, and twenty seconds in hand."""
    task = filmed(desk)
    first = run(desk, task)["archived"]
    desk.account.buckets.remove(ARCHIVE, first["manifest_key"], whole=True)
    with pytest.raises(HandOver):
        run(desk, task, 20 + 0.39)
    assert run(desk, task, 20 + 0.41)["next"] == "settle"
